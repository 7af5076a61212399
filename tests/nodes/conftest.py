"""What node tests share: a tiny animator on its socket, one thread, ComfyUI's inference mode."""
import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks this small only wait for each other on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def handle(animator_file):
    """What LEO Load Animator puts on its socket for that file."""
    from leo_pack.nodes.animator import AnimatorHandle

    with torch.inference_mode():
        yield AnimatorHandle(animator_file)

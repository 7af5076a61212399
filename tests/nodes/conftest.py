"""What node tests share: a tiny animator, and ComfyUI's inference mode."""
import pytest
import torch

from leo_core.animator import Animator, lia, orthonormal_basis
from leo_core.checkpoints import raw_state, save_animator

CONFIG = lia(32, {4: 16, 8: 16, 16: 8, 32: 8}, style_dim=16, directions=4)


@pytest.fixture(scope="session")
def animator_file(tmp_path_factory) -> str:
    """An animator file of 32 px and 4 directions with random weights of the size training gives them."""
    animator = Animator(CONFIG).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in animator.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
        parameter.data = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
        if name.endswith("modulation.bias"):
            parameter.data += 1
    weight = animator.dictionary.basis.clone()
    animator.dictionary.basis.data = orthonormal_basis(weight)
    path = tmp_path_factory.mktemp("animators") / "small.safetensors"
    save_animator(path, raw_state(animator, weight), CONFIG, torch.float32)
    return str(path)


@pytest.fixture
def handle(animator_file):
    """What LEO Load Animator puts on its socket for that file."""
    from leo_pack.nodes.animator import AnimatorHandle

    with torch.inference_mode():
        yield AnimatorHandle(animator_file)

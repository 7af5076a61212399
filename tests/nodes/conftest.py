"""What node tests share: a tiny animator on its socket, ComfyUI's inference mode."""

import pytest
import torch


@pytest.fixture
def handle(animator_file):
    """What LEO Load Animator puts on its socket for that file."""
    from leo_pack.nodes.support.handles import AnimatorHandle

    with torch.inference_mode():
        yield AnimatorHandle(animator_file)

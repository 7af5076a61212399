"""Nothing that inference runs is missing on some device: no float64, no 3-D sampling, no border padding, no device
named by hand."""

import ast
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from leo_core.animator import Animator, liax
from leo_core.animator.checkpoint import load_animator
from leo_core.flow import FlowField, warp_picture
from leo_core.fullres import FullResolution
from leo_core.lmdm.checkpoint import load_prior
from leo_core.lmdm.prior import Sampling

ROOT = Path(__file__).resolve().parents[2]
INFERENCE = [
    path
    for folder in ("nodes", "leo_core")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "training" not in path.parts
]


def calls(path: Path):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", INFERENCE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_asked_for_that_some_device_lacks(path):
    for call in calls(path):
        name = ast.unparse(call.func)
        assert "grid_sample_3d" not in name and "affine_grid" not in name, f"{path}:{call.lineno}"
        for keyword in call.keywords:
            if keyword.arg == "padding_mode" and isinstance(keyword.value, ast.Constant):
                assert keyword.value.value != "border", f"{path}:{call.lineno}"
        assert name not in ("torch.cuda.is_available", "torch.cuda.synchronize", "torch.cuda.empty_cache"), (
            f"{path}:{call.lineno}: ask ComfyUI"
        )
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("cuda", "mps"):
            raise AssertionError(f"{path}:{call.lineno}: a device named by hand")


class NoDoubles(TorchDispatchMode):
    """A device without float64, which is Apple's: whatever makes or takes one fails. And nothing samples in three
    dimensions."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        tensors = [
            value
            for value in torch.utils._pytree.tree_leaves((arguments, keywords, result))
            if isinstance(value, torch.Tensor)
        ]
        if any(value.dtype in (torch.float64, torch.complex128) for value in tensors):
            raise AssertionError(f"{function} works in float64")
        if "grid_sampler_3d" in str(function) or ("grid_sampler" in str(function) and arguments[3] == 1):
            raise AssertionError(f"{function} is missing on some devices")
        return result


@torch.inference_mode()
@pytest.mark.parametrize("family", ["LIA", "LIA-X"])
def test_the_networks_need_no_float64(family):
    if family == "LIA":
        animator, info = load_animator(ROOT / "models" / "leo-face-64.safetensors")
    else:
        animator = Animator(liax(0.5)).eval()
    size = animator.config.size
    picture = torch.rand(1, 3, size, size) * 2 - 1
    with NoDoubles():
        code, features = animator.encoder(picture)
        pose = animator.motion_head(code)
        displacement, mask = animator.flow_generator(features, code + animator.dictionary(pose))
        animator.decoder(features, displacement, mask)
        if family == "LIA":
            flow = FlowField(displacement, mask, animator.config.align_corners, info.id)
            warp_picture(picture, flow)
            finest = displacement[size], mask[size]
            FullResolution(torch.rand(90, 70, 3), animator.config.align_corners, finest)(
                torch.rand(size, size, 3), *finest
            )


@torch.inference_mode()
def test_the_denoiser_needs_no_float64():
    prior = load_prior(ROOT / "models" / "leo-face-64-prior.safetensors")
    forward, seen = prior.unet.forward, []

    def strict(*arguments):
        with NoDoubles():
            seen.append(forward(*arguments))
        return seen[-1]

    prior.unet.forward = strict
    prior.sample(4, Sampling(steps=2))
    assert seen

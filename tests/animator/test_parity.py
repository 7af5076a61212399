"""The published architecture, computed: golden outputs of tests/data for weights rebuilt from their layouts."""

import argparse
import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from leo_core.animator.checkpoint import load_animator

DATA = Path(__file__).parent.parent / "data"
TOLERANCE = 2e-3  # the goldens are rounded to float16

spec = importlib.util.spec_from_file_location("recipe", DATA / "recipe.py")
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)

NETWORKS = {"lia64": (64, (0.3, 0.9, 1.7)), "lia256": (256, (0.3, 0.9, 1.7)), "liax_half": (512, (0.3, 1.7))}


def error(found: torch.Tensor, gold: torch.Tensor) -> float:
    return ((found.float() - gold.float()).norm() / gold.float().norm()).item()


@pytest.fixture(scope="module", params=NETWORKS)
def files(request, tmp_path_factory):
    """Name of a network and its two files: as released (LIA in a training checkpoint, LIA-X bare), and safetensors."""
    name = request.param
    state = recipe.weights(recipe.load_layout(DATA / f"{name}_layout.json"))
    path = tmp_path_factory.mktemp(name) / name
    torch.save(
        state if name == "liax_half" else {"gen": state, "dis": {}, "args": argparse.Namespace(size=256)},
        path.with_suffix(".pt"),
    )
    save_file(state, path.with_suffix(".safetensors"))
    return name, path.with_suffix(".pt"), path.with_suffix(".safetensors")


@torch.inference_mode()
def test_golden_outputs(files):
    """Of the released form; the test below shows that the safetensors form is the same network to the bit."""
    name, released, _ = files
    animator, _ = load_animator(released)
    gold = load_file(DATA / f"{name}.safetensors")
    size, phases = NETWORKS[name]
    code, features = animator.encoder(recipe.picture(size, phases[0]))
    pose = animator.motion_head(code)
    driving = animator.motion_head(animator.encoder(torch.cat([recipe.picture(size, p) for p in phases]))[0])
    assert error(code, gold["appearance_code"]) < TOLERANCE
    assert error(pose, gold["source_motion"]) < TOLERANCE
    assert error(driving, gold["driving_motion"]) < TOLERANCE
    assert error(animator.dictionary.basis, gold["direction_basis"]) < TOLERANCE
    for scale, maps in features.items():
        assert error(maps.mean((0, 2, 3)), gold[f"feature_{scale}_mean"]) < TOLERANCE
        assert error(maps.std((0, 2, 3)), gold[f"feature_{scale}_std"]) < TOLERANCE

    relative = code + animator.dictionary(driving - driving[:1] + pose)
    displacement, mask = animator.flow_generator(features, relative)
    for scale in animator.config.scales:
        if name != "liax_half" or scale <= 128:  # where LIA-X's goldens end
            raw = gold[f"relative_last_flow_{scale}"].float()
            assert error(displacement[scale][-1:], raw[:, :2].tanh()) < TOLERANCE
            assert error(mask[scale][-1:], raw[:, 2:].sigmoid()) < TOLERANCE
    assert error(animator.decoder(features, displacement, mask), gold["relative_frames"]) < TOLERANCE

    if "absolute_frames" in gold:
        assert (
            error(animator.render(features, code + animator.dictionary(driving)), gold["absolute_frames"]) < TOLERANCE
        )
    if "edited_frame" in gold:
        edited = pose.clone()
        edited[:, 37] += 0.4
        edited[:, 25] -= 0.3
        assert error(animator.render(features, code + animator.dictionary(edited)), gold["edited_frame"]) < TOLERANCE


def test_both_forms_are_the_same_model(files):
    """Every weight bit for bit, and the fingerprint, so that motions are exchanged between the forms."""
    (one, one_info), (other, other_info) = (load_animator(path) for path in files[1:])
    assert one_info.id == other_info.id
    state = other.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())

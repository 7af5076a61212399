"""Prior files that are not what they claim to be."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from leo_core.lmdm.checkpoint import load_prior, save_prior


@pytest.fixture
def parts(prior, tmp_path) -> tuple[dict, dict]:
    """Tensors and metadata of a sound file."""
    save_prior(tmp_path / "sound.safetensors", prior)
    with safe_open(tmp_path / "sound.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def holding(value):
    """A tensor with one value replaced."""

    def change(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[-1] = value
        return tensor

    return change


def longer(tensor):
    return torch.cat([tensor, tensor[:1]])


STATISTICS = (
    "code.mean",
    "code.scale",
    "linear.basis",
    "linear.covariance",
    "linear.livelinesses",
    "start.weights",
    "start.means",
    "start.factors",
)
DAMAGE = (
    *((name, holding(value)) for name in STATISTICS for value in (float("nan"), float("inf"))),
    *((name, longer) for name in STATISTICS if name != "linear.livelinesses"),
    *((name, None) for name in STATISTICS),
    *((name, lambda tensor: tensor[..., None]) for name in STATISTICS),
    ("linear.livelinesses", lambda tensor: tensor[:0]),
    ("start.weights", torch.zeros_like),
    ("start.weights", holding(-0.1)),
    ("code.scale", holding(0.0)),
    ("code.scale", holding(-1.0)),
    ("linear.livelinesses", holding(0.0)),
    ("unet.head.weight", holding(float("nan"))),
    ("unet.head.weight", longer),
    ("unet.head.weight", None),
)


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_a_prior_with_a_damaged_part_is_refused(parts, tmp_path, number):
    (tensors, metadata), (name, change) = parts, DAMAGE[number]
    value = tensors.pop(name)
    if change is not None:
        tensors[name] = change(value).contiguous()
    save_file(tensors, tmp_path / "damaged.safetensors", metadata)
    with pytest.raises(
        ValueError, match="damaged.safetensors claims to be a motion prior but is incomplete or damaged"
    ):
        load_prior(tmp_path / "damaged.safetensors")


@pytest.mark.parametrize(
    "key, value",
    [
        ("leo.animator", ""),
        ("leo.animator", "a" * 201),
        ("leo.fingerprint", "a" * 63),
        ("leo.fingerprint", "g" * 64),
        ("leo.config", "{"),
        ("leo.config", json.dumps({"directions": 5})),
    ],
)
def test_a_prior_that_describes_itself_wrongly_is_refused(parts, tmp_path, key, value):
    tensors, metadata = parts
    save_file(tensors, tmp_path / "odd.safetensors", {**metadata, key: value})
    with pytest.raises(ValueError, match="odd.safetensors claims to be a motion prior"):
        load_prior(tmp_path / "odd.safetensors")
    del metadata[key]
    save_file(tensors, tmp_path / "odd.safetensors", metadata)
    with pytest.raises(ValueError, match="odd.safetensors claims to be a motion prior"):
        load_prior(tmp_path / "odd.safetensors")


def test_an_animator_name_of_200_letters_and_a_positive_amplitude_are_enough(parts, tmp_path):
    tensors, metadata = parts
    tensors["linear.livelinesses"] = torch.full((7,), 0.1)  # of as many motions as there were
    save_file(tensors, tmp_path / "prior.safetensors", {**metadata, "leo.animator": "a" * 200})
    loaded = load_prior(tmp_path / "prior.safetensors")
    assert loaded.animator.name == "a" * 200 and torch.equal(loaded.process.amplitudes, torch.full((7,), 0.1))


def test_whole_numbers_and_files_of_another_kind_are_named(parts, tmp_path):
    tensors, metadata = parts
    whole = {**tensors, "code.mean": tensors["code.mean"].to(torch.int32)}
    save_file(whole, tmp_path / "whole.safetensors", metadata)
    with pytest.raises(ValueError, match="whole.safetensors holds values other than floating-point numbers"):
        load_prior(tmp_path / "whole.safetensors")
    save_file(tensors, tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match="plain.safetensors holds unknown contents, not a motion prior"):
        load_prior(tmp_path / "plain.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_prior_of_any_precision_is_read_as_float32_that_nothing_trains(parts, prior, tmp_path, dtype):
    save_prior(tmp_path / "prior.safetensors", prior, dtype)
    loaded = load_prior(tmp_path / "prior.safetensors")
    with safe_open(tmp_path / "prior.safetensors", "pt") as file:
        assert file.get_tensor("unet.head.weight").dtype == dtype
        assert file.get_tensor("code.mean").dtype == torch.float32, "statistics keep their precision"
    assert {parameter.dtype for parameter in loaded.unet.parameters()} == {torch.float32}
    assert not loaded.unet.training and not any(parameter.requires_grad for parameter in loaded.unet.parameters())

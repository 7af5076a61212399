"""Animator files: one model in every form, and clear refusals of everything else."""
import argparse
import json
import os

import pytest
import torch
from safetensors.torch import save_file

from leo_core.animator import Direction, lia, orthonormal_basis
from leo_core.checkpoints import convert, file_layout, load_animator, read_directions, save_animator

CONFIG = lia(32, {4: 16, 8: 16, 16: 8, 32: 8}, style_dim=16, directions=4)


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    filled = {name: torch.randn(shape, generator=generator) for name, shape in file_layout(CONFIG).items()}
    filled["dictionary.basis"] = orthonormal_basis(filled["dictionary.weight"])
    return filled


@pytest.fixture
def saved(state, tmp_path):
    save_animator(tmp_path / "mine.safetensors", state, CONFIG, torch.float32, {2: Direction("nod", -1.0, 1.0)}, {"licence": "CC0"})
    return tmp_path / "mine.safetensors"


def test_round_trip_keeps_what_is_known(saved):
    animator, info = load_animator(saved)
    assert animator.config == CONFIG
    assert info.id.name == "mine"
    assert info.directions == {2: Direction("nod", -1.0, 1.0)}
    assert info.notes == {"licence": "CC0"}


def test_directions_are_told_without_loading(saved):
    assert read_directions(saved) == (4, {2: Direction("nod", -1.0, 1.0)})


def test_half_and_single_precision_share_a_fingerprint(saved, state, tmp_path):
    save_animator(tmp_path / "half.safetensors", state, CONFIG, torch.float16)
    assert load_animator(saved)[1].id == load_animator(tmp_path / "half.safetensors")[1].id


def test_another_model_has_another_fingerprint(saved, state, tmp_path):
    state["motion_head.layers.0.bias"] += 0.1
    save_animator(tmp_path / "other.safetensors", state, CONFIG)
    assert load_animator(saved)[1].id != load_animator(tmp_path / "other.safetensors")[1].id


def test_dtype_of_the_weights(saved):
    animator, _ = load_animator(saved, dtype=torch.float16)
    assert animator.encoder.stem.weight.dtype == torch.float16
    assert animator.dictionary.basis.dtype == torch.float32


def test_convert_keeps_the_model(saved, tmp_path):
    report = convert(saved, tmp_path / "converted.safetensors", torch.float16)
    assert "LIA, 32 px, 4 directions" in report
    before, after = load_animator(saved), load_animator(tmp_path / "converted.safetensors")
    assert before[1].id == after[1].id
    assert before[1].directions == after[1].directions
    assert before[1].notes == after[1].notes
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.testing.assert_close(before[0].motion_head(before[0].encoder(picture)[0]),
                               after[0].motion_head(after[0].encoder(picture)[0]), rtol=2e-2, atol=2e-2)


def test_interrupted_save_keeps_the_old_file(saved, state, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr("leo_core.checkpoints.save_file", lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        save_animator(saved, state, CONFIG)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


class Executes:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def bad_files(state):
    """Name of a file -> what writes it, and words of the refusal."""
    metadata = {"leo.kind": "animator", "leo.config": json.dumps(CONFIG.to_dict())}
    nan = {**state, "encoder.stem.bias": torch.full((8,), float("nan"))}
    narrow = {**state, "encoder.stem.bias": torch.zeros(9)}
    lacking = {k: v for k, v in state.items() if k != "encoder.stem.bias"}
    return {
        "empty.pt": (lambda p: p.write_bytes(b""), "no model file that can be read safely"),
        "text.pt": (lambda p: p.write_text("not a model"), "no model file that can be read safely"),
        "text.safetensors": (lambda p: p.write_text("not a model"), "not a readable safetensors file"),
        "pickle.pt": (lambda p: torch.save({"gen": {}, "x": Executes()}, p), "no model file that can be read safely"),
        "list.pt": (lambda p: torch.save([1, 2], p), "holds list data"),
        "other.pt": (lambda p: torch.save({"conv.weight": torch.zeros(3)}, p), "is no animator: it holds 1 tensors"),
        "prior.safetensors": (lambda p: save_file({"a": torch.zeros(1)}, p, {"leo.kind": "motion_prior"}), "LEO motion prior"),
        "nan.safetensors": (lambda p: save_file(nan, p, metadata), "not finite"),
        "narrow.safetensors": (lambda p: save_file(narrow, p, metadata), "has shape"),
        "lacking.safetensors": (lambda p: save_file(lacking, p, metadata), "misses 1 tensors"),
        "surplus.safetensors": (lambda p: save_file({**state, "more": torch.zeros(1)}, p, metadata), "do not belong"),
        "deep.safetensors": (lambda p: save_file(state, p, {"leo.kind": "animator", "leo.config": "[" * 5000}), "incomplete or damaged"),
        "scale.safetensors": (lambda p: save_file(state, p, {**metadata, "leo.config": metadata["leo.config"].replace('"4"', '"a"')}),
                              "incomplete or damaged"),
        "none.pt": (lambda p: torch.save({}, p), "it holds nothing"),
        "config.safetensors": (lambda p: save_file(state, p, {"leo.kind": "animator", "leo.config": "{"}), "incomplete or damaged"),
    }


@pytest.mark.parametrize("name", sorted(bad_files({})))
def test_refusals_say_what_was_found(name, state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, message = bad_files(state)[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message) as refusal:
        load_animator(tmp_path / name)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "executed").exists()


def test_truncated_file(saved):
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_animator(saved)


def test_training_checkpoint_with_its_arguments(tmp_path):
    """LIA's released files hold an argparse.Namespace beside the weights: it is let through, and nothing else is."""
    torch.save({"gen": {"x": torch.zeros(1)}, "args": argparse.Namespace(size=256)}, tmp_path / "vox.pt")
    with pytest.raises(ValueError, match="is no animator: it holds 1 tensors, such as x"):
        load_animator(tmp_path / "vox.pt")

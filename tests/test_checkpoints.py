"""Animator files: one model in every form, and clear refusals of everything else."""

import argparse
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from leo_core.animator import Direction, lia, orthonormal_basis
from leo_core.animator.checkpoint import (
    check_layout,
    file_layout,
    learning_rate_scale,
    load_animator,
    raw_state,
    read_dictionary_weight,
    read_directions,
    recognize,
    save_animator,
)
from leo_core.files import write_atomically
from leo_core.training.convert import convert

DATA = Path(__file__).parent / "data"
CONFIG = lia(32, {4: 16, 8: 16, 16: 8, 32: 8}, style_dim=16, directions=4)


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    filled = {name: torch.randn(shape, generator=generator) for name, shape in file_layout(CONFIG).items()}
    filled["dictionary.basis"] = orthonormal_basis(filled["dictionary.weight"])
    return filled


@pytest.fixture
def saved(state, tmp_path):
    save_animator(
        tmp_path / "mine.safetensors",
        state,
        CONFIG,
        torch.float32,
        {2: Direction("nod", -1.0, 1.0)},
        {"license": "CC0"},
    )
    return tmp_path / "mine.safetensors"


def test_round_trip_keeps_what_is_known(saved):
    animator, info = load_animator(saved)
    assert animator.config == CONFIG
    assert info.id.name == "mine"
    assert info.directions == {2: Direction("nod", -1.0, 1.0)}
    assert info.notes == {"license": "CC0"}


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
    torch.testing.assert_close(
        before[0].motion_head(before[0].encoder(picture)[0]),
        after[0].motion_head(after[0].encoder(picture)[0]),
        rtol=2e-2,
        atol=2e-2,
    )


def test_interrupted_save_keeps_the_old_file(saved, state, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(
        "leo_core.animator.checkpoint.save_file", lambda *_: (_ for _ in ()).throw(OSError("No space left on device"))
    )
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
        "empty.pt": (lambda p: p.write_bytes(b""), "not a model file that can be read safely"),
        "text.pt": (lambda p: p.write_text("not a model"), "not a model file that can be read safely"),
        "text.safetensors": (lambda p: p.write_text("not a model"), "not a readable safetensors file"),
        "pickle.pt": (
            lambda p: torch.save({"gen": {}, "x": Executes()}, p),
            "not a model file that can be read safely",
        ),
        "list.pt": (lambda p: torch.save([1, 2], p), "holds list data"),
        "other.pt": (
            lambda p: torch.save({"conv.weight": torch.zeros(3)}, p),
            "is not an animator: it holds 1 tensors",
        ),
        "prior.safetensors": (
            lambda p: save_file({"a": torch.zeros(1)}, p, {"leo.kind": "motion_prior"}),
            "LEO motion prior",
        ),
        "nan.safetensors": (lambda p: save_file(nan, p, metadata), "not finite"),
        "narrow.safetensors": (lambda p: save_file(narrow, p, metadata), "has shape"),
        "lacking.safetensors": (lambda p: save_file(lacking, p, metadata), "lacks 1 of its tensors"),
        "surplus.safetensors": (lambda p: save_file({**state, "more": torch.zeros(1)}, p, metadata), "too many"),
        "deep.safetensors": (
            lambda p: save_file(state, p, {"leo.kind": "animator", "leo.config": "[" * 5000}),
            "incomplete or damaged",
        ),
        "scale.safetensors": (
            lambda p: save_file(state, p, {**metadata, "leo.config": metadata["leo.config"].replace('"4"', '"a"')}),
            "incomplete or damaged",
        ),
        "none.pt": (lambda p: torch.save({}, p), "it holds nothing"),
        "config.safetensors": (
            lambda p: save_file(state, p, {"leo.kind": "animator", "leo.config": "{"}),
            "incomplete or damaged",
        ),
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
    with pytest.raises(ValueError, match="is not an animator: it holds 1 tensors, such as x"):
        load_animator(tmp_path / "vox.pt")


def layout_of(name: str) -> SimpleNamespace:
    """A reader of a released file, of which only names and shapes are known."""
    shapes = {key: tuple(shape) for key, shape in json.loads((DATA / name).read_text()).items()}
    return SimpleNamespace(path=Path("vox.pt"), metadata={}, shapes=shapes)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("lia64_layout.json", ("LIA", 64, 512, 20, 5)),
        ("lia256_layout.json", ("LIA", 256, 512, 20, 5)),
        ("liax_half_layout.json", ("LIA-X", 512, 256, 40, 1)),
    ],
)
def test_released_layouts_are_recognized_to_the_last_tensor(name, expected):
    reader = layout_of(name)
    config, names = recognize(reader)
    assert (config.family, config.size, config.style_dim, config.directions, config.head_depth) == expected
    layout = file_layout(config)
    check_layout(reader, names, layout)
    assert len(set(names.values())) == len(names) and set(names) == layout.keys() - {"dictionary.basis"}


@pytest.mark.parametrize("name", ["lia64_layout.json", "liax_half_layout.json"])
def test_any_lacking_or_surplus_tensor_of_a_released_file_is_named(name):
    config, names = recognize(layout_of(name))
    for key in sorted(names.values())[::17]:
        reader = layout_of(name)
        del reader.shapes[key]
        with pytest.raises(ValueError, match="lacks|incomplete|is not an animator|has shape|too many"):
            again, found = recognize(reader)
            check_layout(reader, found, file_layout(again))
    reader = layout_of(name)
    reader.shapes["dec.more.weight"] = (1,)
    with pytest.raises(ValueError, match=r"holds 1 too many \(dec.more.weight\)"):
        check_layout(reader, names, file_layout(config))
    for unused in ("dec.convs.0.noise.weight", "enc.blur.kernel", "dec.to_rgb1.bias"):
        check_layout(
            SimpleNamespace(path=reader.path, shapes={**layout_of(name).shapes, unused: (1,)}),
            names,
            file_layout(config),
        )


def test_the_learning_rate_factor_belongs_to_weights_alone():
    assert learning_rate_scale("encoder.stem.weight", (8, 3, 2, 2)) == pytest.approx(12**-0.5)
    assert learning_rate_scale("motion_head.layers.0.weight", (8, 4)) == 0.5
    for name, shape in (
        ("encoder.stem.bias", (8,)),
        ("x.norm.weight", (8,)),
        ("dictionary.weight", (8, 4)),
        ("x.gamma", (8, 4)),
    ):
        assert learning_rate_scale(name, shape) == 1


def test_the_weights_that_were_saved_are_the_weights_that_are_used(saved, state):
    animator, _ = load_animator(saved)
    loaded = animator.state_dict()
    assert len(loaded) == len(state) - 1
    for name, value in state.items():
        if name == "dictionary.weight":
            torch.testing.assert_close(read_dictionary_weight(saved), value, rtol=0, atol=0)
        elif name == "dictionary.basis":
            torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)
        else:
            scaled = value * learning_rate_scale(name, tuple(value.shape))
            torch.testing.assert_close(
                loaded[name], scaled.transpose(0, 1) if ".up.conv." in name else scaled, rtol=1e-6, atol=0
            )
    assert not any(parameter.requires_grad for parameter in animator.parameters()) and not animator.training


def test_a_checkpoint_of_before_zip_files_is_the_same_model(lia_state, tmp_path):
    torch.save(lia_state, tmp_path / "vox.pt")
    torch.save(
        {"gen": lia_state, "args": argparse.Namespace(size=64)},
        tmp_path / "old.pt",
        _use_new_zipfile_serialization=False,
    )
    (first, known), (second, again) = (load_animator(tmp_path / name) for name in ("vox.pt", "old.pt"))
    assert known.id == again.id and (known.id.name, again.id.name) == ("vox", "old") and known.directions == {}
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    report = convert(tmp_path / "vox.pt", tmp_path / "own.safetensors", torch.float32)
    assert (
        "vox.pt (" in report
        and "-> own.safetensors (" in report
        and "LIA, 64 px, 20 directions" in report
        and known.id.fingerprint in report
    )
    parameters = sum(
        value.numel()
        for key, value in lia_state.items()
        if not key.endswith((".kernel", ".noise.weight")) and ".to_rgb1." not in key
    )
    assert f"{parameters / 1e6:.1f} M parameters" in report
    third, converted = load_animator(tmp_path / "own.safetensors")
    assert converted.id == known.id
    torch.testing.assert_close(list(third.state_dict().values()), list(first.state_dict().values()), rtol=0, atol=0)


def test_weights_saved_as_parameters_are_the_same_model(lia_state, tmp_path):
    torch.save(lia_state, tmp_path / "plain.pt")
    torch.save({key: torch.nn.Parameter(value) for key, value in lia_state.items()}, tmp_path / "parameters.pt")
    tracked = {key: value.clone().requires_grad_() for key, value in lia_state.items()}
    torch.save(tracked, tmp_path / "tracked.pt", _use_new_zipfile_serialization=False)
    first, *others = (load_animator(tmp_path / name) for name in ("plain.pt", "parameters.pt", "tracked.pt"))
    for animator, known in others:
        assert known.id.fingerprint == first[1].id.fingerprint
        assert all(
            torch.equal(a, b)
            for a, b in zip(first[0].state_dict().values(), animator.state_dict().values(), strict=True)
        )


def test_a_file_is_readable_by_others_and_nothing_is_left_of_a_failure(tmp_path):
    write_atomically(tmp_path / "a.txt", lambda path: Path(path).write_text("new"))
    assert (tmp_path / "a.txt").read_text() == "new" and (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.txt", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    assert os.listdir(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize(
    "directions",
    ["[", "[1]", '{"a": {}}', '{"1": {"name": "nod"}}', '{"1": {"name": "x", "low": "y", "high": 1}}', "[" * 5000],
)
def test_directions_that_cannot_be_read(state, tmp_path, directions):
    save_file(
        state,
        tmp_path / "m.safetensors",
        {"leo.kind": "animator", "leo.config": json.dumps(CONFIG.to_dict()), "leo.directions": directions},
    )
    for read in (load_animator, read_directions):
        with pytest.raises(ValueError, match=r"m\.safetensors has motion directions that cannot be read \("):
            read(tmp_path / "m.safetensors")


def test_what_a_trained_animator_stores_is_what_was_read(saved, state):
    animator, _ = load_animator(saved)
    stored = raw_state(animator, state["dictionary.weight"])
    assert stored.keys() == state.keys()
    for name, value in state.items():
        assert stored[name].dtype == torch.float32 and stored[name].is_contiguous()
        torch.testing.assert_close(stored[name], value, rtol=1e-5, atol=1e-7)

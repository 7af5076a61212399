"""Malformed and damaged files: nothing executes, nothing is allocated beyond twice the file and 64 MB, each refusal
is one readable line.

Reading each file is judged in a process of its own, see limited.py; the files are made by malformed.py.
"""

import itertools
import logging
from pathlib import Path

import malformed
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from leo_core.training.convert import convert

pytestmark = pytest.mark.timeout(3600)  # thousands of files with --full, each read in a process of its own

ROOT = Path(__file__).resolve().parents[2]
PRIOR = ROOT / "models" / "leo-face-64-prior.safetensors"
MOTION = ROOT / "models" / "leo-face-64" / "tilt.safetensors"
CLIP = ROOT / "samples" / "man_talking.mp4"


@pytest.fixture(scope="module")
def models(lia_state, tmp_path_factory) -> list[Path]:
    """One model as .pt, as the training checkpoint of an old torch, and as our own file."""
    folder = tmp_path_factory.mktemp("good")
    torch.save(lia_state, folder / "lia.pt")
    torch.save(
        {"gen": lia_state, "g_optim": {"state": {0: {"step": 1}}}},
        folder / "old.pt",
        _use_new_zipfile_serialization=False,
    )
    convert(folder / "lia.pt", folder / "own.safetensors", torch.float32)
    return [folder / name for name in ("lia.pt", "old.pt", "own.safetensors")]


def content(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return load_file(path), file.metadata()


def own_files(path: Path, counts: tuple[int, int, int]) -> malformed.Files:
    """What can be done to one of our safetensors: lies in the header, poisoned tensors, crafted metadata, damage."""
    poisoned, crafted, damaged = counts
    tensors, metadata = content(path)
    yield from malformed.lying_safetensors(metadata)
    yield from malformed.poisoned(path.stem, tensors, metadata, poisoned)
    yield from itertools.islice(malformed.crafted_metadata(path.stem, tensors, metadata), 0, None, crafted)
    yield from malformed.damaged(path.name, path.read_bytes(), damaged)


def assert_no_fault(results: dict[str, dict], must_load: tuple[str, ...] = ()) -> None:
    faults = {name: result["message"] for name, result in results.items() if result["outcome"] == "fault"}
    counts = {
        outcome: sum(result["outcome"] == outcome for result in results.values()) for outcome in ("refused", "loaded")
    }
    logging.info("%d files: %s", len(results), counts)
    assert not faults
    assert not [name for name in must_load if results[name]["outcome"] != "loaded"]


def test_pickles_that_execute_are_refused(judge, models):
    results = judge("model", models[0], malformed.executing_files())
    assert_no_fault(results)
    assert {result["outcome"] for result in results.values()} == {"refused"}


def test_models_that_promise_more_than_they_hold(judge, models):
    results = judge("model", models[0], [*malformed.allocating_files(), *malformed.foreign_states()])
    assert_no_fault(results)
    assert {result["outcome"] for result in results.values()} == {"refused"}


def test_damaged_models(judge, models, full):
    files = [(path.name, path.read_bytes()) for path in models]
    for path in models[:2]:
        files += malformed.damaged(path.name, path.read_bytes(), 400 if full else 12)
    files += own_files(models[2], (24, 1, 400) if full else (2, 11, 12))
    results = judge("model", models[0], files)
    assert_no_fault(results, tuple(path.name for path in models))


def test_directions_of_damaged_models(judge, models, full):
    """What the page asks for before a model is loaded."""
    tensors, metadata = content(models[2])
    files = [
        *malformed.lying_safetensors(metadata),
        *itertools.islice(malformed.crafted_metadata("own", tensors, metadata), 0, None, 1 if full else 23),
    ]
    assert_no_fault(judge("directions", models[2], files))


def test_damaged_motions(judge, full):
    files = [(MOTION.name, MOTION.read_bytes()), *own_files(MOTION, (1, 1, 2000) if full else (1, 3, 12))]
    assert_no_fault(judge("motion", MOTION, files), (MOTION.name,))


def test_damaged_priors(judge, full, prior_file):
    """Of a small one: what is read first is the same, and a change of a byte more often hits what matters."""
    small = Path(prior_file)
    good = [(PRIOR.name, PRIOR.read_bytes()), (small.name, small.read_bytes())]
    files = own_files(small, (24, 1, 400) if full else (2, 17, 6))
    assert_no_fault(judge("prior", PRIOR, [*good, *files]), tuple(name for name, _ in good))


def test_files_that_are_no_video(judge, full, tmp_path):
    """Playlists too, which would bring in files from elsewhere."""
    elsewhere = tmp_path / "elsewhere.mp4"
    elsewhere.write_bytes(CLIP.read_bytes())
    results = judge("video", CLIP, malformed.not_videos("a text", str(elsewhere)))
    assert_no_fault(results)
    assert {result["outcome"] for result in results.values()} == {"refused"}
    damaged = list(malformed.damaged(CLIP.name, CLIP.read_bytes(), 500 if full else 12))
    assert_no_fault(judge("video", CLIP, [(CLIP.name, CLIP.read_bytes()), *damaged]), (CLIP.name,))

"""The motion prior nodes as a graph would call them."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from leo_pack.nodes import lmdm as nodes
from leo_pack.nodes.support import files
from leo_pack.nodes.support.handles import MotionPriorHandle

from leo_core.identity import AnimatorId
from leo_core.lmdm.checkpoint import load_prior, save_prior
from leo_core.lmdm.prior import PriorConfig
from leo_core.lmdm.training import PriorTrainer, PriorTraining
from leo_core.motion import MotionSequence, trim

ANIMATOR = AnimatorId("walker", "a" * 64)
OTHER = AnimatorId("talker", "b" * 64)
SAMPLING = {"seed": 1, "steps": 4, "sampler": "dpmpp_2m", "eta": 0.0}


def sway(person: int, frames=90, fps=25, animator=ANIMATOR, directions=4) -> MotionSequence:
    generator = torch.Generator().manual_seed(person)
    time = torch.arange(frames).unsqueeze(1) / fps
    codes = torch.randn(directions, generator=generator) + torch.sin(
        4 * time + 6 * torch.rand(directions, generator=generator)
    )
    return MotionSequence(codes, Fraction(fps), animator)


@pytest.fixture(scope="module")
def prior_file(tmp_path_factory) -> Path:
    config = PriorConfig(4, length=20, context=3, channels=(16, 32), head_width=16)
    trainer = PriorTrainer([sway(person) for person in range(4)], config, PriorTraining(steps=30, batch=8))
    path = tmp_path_factory.mktemp("prior") / "walker prior.safetensors"
    save_prior(path, trainer.train())
    return path


@pytest.fixture
def handle(prior_file):
    return MotionPriorHandle.load(str(prior_file))


@pytest.fixture
def leo_folder(comfy_folders, monkeypatch):
    import folder_paths

    folder = comfy_folders / "output" / "leo"
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "leo", ([str(folder)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return folder


def run(node, *args, **kwargs):
    with torch.inference_mode():  # as ComfyUI does
        return node.execute(*args, **kwargs).result[0]


def sample(handle, frames=30, **kwargs):
    return run(nodes.LEOLMDMSampler, handle, frames, **{**SAMPLING, **kwargs})


@pytest.mark.parametrize("node", nodes.NODES, ids=lambda node: node.__name__)
def test_everything_explains_itself(node, leo_folder):
    schema = node.GET_SCHEMA()
    assert schema.node_id == node.__name__ and schema.category.startswith("LEO/")
    assert schema.description and schema.search_aliases
    for item in [*schema.inputs, *schema.outputs]:
        assert item.tooltip and item.tooltip.endswith(".")


def test_the_sampler_starts_from_a_pictures_pose_exactly(handle):
    pose = trim(sway(9), 5, 1)
    motion = sample(handle, 45, start_pose=pose)
    assert motion.codes.shape == (45, 4) and motion.fps == 25 and motion.animator == ANIMATOR
    assert torch.equal(motion.codes[:1], pose.codes)


def test_a_seed_is_a_motion_with_or_without_a_start(handle):
    assert torch.equal(sample(handle).codes, sample(handle).codes)
    assert not torch.equal(sample(handle).codes[0], sample(handle, seed=2).codes[0])


def test_varying_a_motion(handle):
    given = sway(2)
    assert torch.equal(sample(handle, 90, motion=given, variation=0.0).codes, given.codes)
    varied = sample(handle, 90, motion=given, variation=0.5)
    assert torch.equal(varied.codes[0], given.codes[0]) and not torch.allclose(varied.codes, given.codes, atol=1e-3)
    assert len(sample(handle, 33, motion=given, variation=0.5)) == 33


def test_a_motion_goes_on_beyond_its_end(handle):
    given = sway(2, frames=40)
    longer = sample(handle, 100, motion=given, variation=0.0)
    assert len(longer) == 100 and torch.equal(longer.codes[:40], given.codes)


def test_a_motion_of_another_rate_is_brought_to_the_priors(handle):
    given = sway(2, frames=60, fps=50)
    varied = sample(handle, 30, motion=given, variation=0.0)
    assert varied.fps == 25 and torch.allclose(varied.codes, given.codes[::2], atol=2e-3)


def test_joining_keeps_the_motions_and_makes_what_is_between(handle):
    motions = {"motion0": sway(0, 30), "motion1": sway(0, 40), "motion2": sway(0, 20)}
    joined = run(nodes.LEOJoinMotion, motions, 12, **SAMPLING, prior=handle)
    assert len(joined) == 30 + 12 + 40 + 12 + 20
    assert torch.equal(joined.codes[:30], motions["motion0"].codes)
    assert torch.equal(joined.codes[42:82], motions["motion1"].codes)
    assert torch.equal(joined.codes[94:], motions["motion2"].codes)
    assert not torch.allclose(joined.codes[30:42], joined.codes[82:94])


def test_joining_without_a_prior_is_plain_concatenation(handle):
    motions = {"motion0": sway(0, 30), "motion1": sway(1, 40)}
    joined = run(nodes.LEOJoinMotion, motions, 0, **SAMPLING)
    assert torch.equal(joined.codes, torch.cat([m.codes for m in motions.values()]))
    with pytest.raises(ValueError, match="Connect LEO Load Motion Prior"):
        run(nodes.LEOJoinMotion, motions, 12, **SAMPLING)


def test_a_loop_is_the_motion_and_a_way_back(handle):
    given = sway(0, 50)
    loop = run(nodes.LEOLoopMotion, handle, given, 16, **SAMPLING)
    assert len(loop) == 66 and torch.equal(loop.codes[:50], given.codes)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda h: sample(h, start_pose=sway(1, 2)), "LEO Trim Motion"),
        (lambda h: sample(h, start_pose=sway(1, 1, animator=OTHER)), "'talker'.*'walker'"),
        (lambda h: sample(h, motion=sway(1, animator=OTHER)), "'talker'.*'walker'"),
        (lambda h: sample(h, 0), "Ask for 1 or more"),
        (
            lambda h: sample(h, start_pose=MotionSequence(torch.full((1, 4), float("nan")), Fraction(25), ANIMATOR)),
            "not finite",
        ),
        (lambda h: run(nodes.LEOLoopMotion, h, sway(1, animator=OTHER), 8, **SAMPLING), "'talker'.*'walker'"),
        (lambda h: run(nodes.LEOLoopMotion, h, sway(1, fps=30), 8, **SAMPLING), "30 fps.*25 fps.*LEO Retime Motion"),
        (
            lambda h: run(nodes.LEOJoinMotion, {"a": sway(1), "b": sway(2, animator=OTHER)}, 8, **SAMPLING, prior=h),
            "'walker'.*'talker'",
        ),
        (
            lambda h: run(nodes.LEOJoinMotion, {"a": sway(1), "b": sway(2, fps=30)}, 8, **SAMPLING, prior=h),
            "LEO Retime Motion",
        ),
    ],
)
def test_bad_input_says_what_to_do(handle, call, words):
    with pytest.raises(ValueError, match=words):
        call(handle)


def interrupt_after(monkeypatch, calls: int):
    """What pressing Stop does: the check raises from then on."""
    import comfy.model_management as mm

    left = iter(range(calls))

    def check():
        if next(left, None) is None:
            raise mm.InterruptProcessingException

    monkeypatch.setattr(mm, "throw_exception_if_processing_interrupted", check)
    return mm.InterruptProcessingException


def test_sampling_can_be_stopped(handle, monkeypatch):
    with pytest.raises(interrupt_after(monkeypatch, 3)):
        sample(handle, 1000)


def test_sampling_shows_progress_and_the_emerging_motion(handle, monkeypatch):
    import comfy.utils

    told = []
    monkeypatch.setattr(
        comfy.utils,
        "PROGRESS_BAR_HOOK",
        lambda value, total, preview, node_id=None: told.append((value, total, preview)),
    )
    sample(handle, 37)
    assert told[-1][:2] == (8, 8)
    picture = next(preview for _, _, preview in told if preview)[1]
    assert picture.width == 512


def test_a_stage_is_told_by_name_with_the_time_left(monkeypatch):
    from leo_pack.nodes.support import chunks

    told, now = [], [100.0]
    monkeypatch.setattr(chunks, "show_stage", lambda node, text: told.append(text))
    monkeypatch.setattr(chunks.time, "monotonic", lambda: now[0])
    progress = chunks.Progress(125, "rendering", None)
    for done in (0, 20, 40, 41, 125):
        progress.update(done)
        now[0] += 0.3 if done == 40 else 5.0
    assert told == ["rendering 20 of 125, 27 s left", "rendering 40 of 125, 22 s left", "rendering: done in 15 s"]
    steps = chunks.Steps()
    progress = chunks.Progress(9, "rendering", None, steps)
    for _ in steps.each("networks", range(2)):
        with steps.step("encoding"):
            now[0] += 3
    progress.update(2)
    assert told[-1] == "rendering 2 of 9, 21 s left, slowest: encoding"
    assert chunks.stage_text("sampling motion", 1, 50, 10) == "sampling motion 1 of 50, 8 min left"


def train(motions, **settings):
    defaults = {"name": "mine", "steps": 60, "batch": 8, "window": 24, "rate": 3e-3, "seed": 0}
    with torch.inference_mode():
        return nodes.LEOTrainMotionPrior.execute(motions, **{**defaults, **settings})


def test_training_on_motions_of_a_graph_gives_a_prior_that_can_be_chosen(leo_folder):
    with torch.inference_mode():  # codes made in a graph are inference tensors
        motions = {f"motion{person}": sway(person) for person in range(3)}
    before = [motion.codes.clone() for motion in motions.values()]
    result = train(motions)
    assert all(torch.equal(m.codes, b) for m, b in zip(motions.values(), before, strict=True))
    told = result.ui.as_dict()["text"][0]
    assert float(re.search(r"loss 1 -> .* -> ([\d.]+) after training,", told)[1]) < 0.5
    assert files.list_files("motion_prior") == ["mine.safetensors"]

    loaded = run(nodes.LEOLoadMotionPrior, "mine.safetensors")
    assert loaded.prior.animator == ANIMATOR
    motion = sample(loaded, 40, start_pose=trim(motions["motion1"], 0, 1))
    assert torch.equal(motion.codes, sample(result.result[0], 40, start_pose=trim(motions["motion1"], 0, 1)).codes)
    sampled = [
        sample(loaded, 24, seed=seed, start_pose=trim(motions[f"motion{seed % 3}"], seed, 1)).codes
        for seed in range(12)
    ]
    # Around where each of them rests: one pose does not tell where that is, so samples rest in more places than three
    # people do.
    moved, known = (
        sum((codes - codes.mean(0)).square().mean(0) for codes in every).div(len(every)).sqrt()
        for every in (sampled, before)
    )
    assert (moved > 0.5 * known).all() and (moved < 2 * known).all()


def test_a_taken_name_gets_a_number_and_nothing_leaves_the_folder(leo_folder):
    motions = {"motion0": sway(0)}
    for _ in range(2):
        train(motions, steps=1)
    assert sorted(path.name for path in leo_folder.iterdir()) == ["mine 2.safetensors", "mine.safetensors"]
    for name in ("../mine", "a/b", "", ".hidden", "c:\\x", "x" * 200):
        with pytest.raises(ValueError, match="is not a valid file name"):
            train(motions, steps=1, name=name)


def test_stopping_the_training_leaves_no_file(leo_folder, monkeypatch):
    with pytest.raises(interrupt_after(monkeypatch, 5)):
        train({"motion0": sway(0)})
    assert not leo_folder.exists() or not list(leo_folder.iterdir())


@pytest.mark.parametrize(
    "motions, words",
    [
        ({"motion0": sway(0), "motion1": sway(1, animator=OTHER)}, "'walker'.*'talker'"),
        ({"motion0": sway(0, 5), "motion1": sway(1, 9)}, "longest of 2 motions has 9 frames.*longer clips"),
        ({}, "at least one"),
    ],
)
def test_training_refuses_what_it_cannot_learn_from(leo_folder, motions, words):
    with pytest.raises(ValueError, match=words):
        train(motions)


def test_short_clips_shorten_the_window(leo_folder):
    train({"motion0": sway(0, 18)}, steps=1, window=64)
    assert load_prior(leo_folder / "mine.safetensors").config.length == 18


def test_training_needs_no_package_that_comfyui_does_not_bring(leo_folder, monkeypatch):
    import sys

    for package in ("matplotlib", "accelerate", "cv2", "tensorboard"):
        monkeypatch.setitem(sys.modules, package, None)
    train({"motion0": sway(0)}, steps=2)

"""Choose Motion as a graph would call it, with the animator's prior and the motions that come with the pack."""

import pytest
import torch
from leo_pack.nodes import ready_made
from leo_pack.nodes.ready_made import LEOChooseMotion
from leo_pack.nodes.support.files import PACK_MODELS
from leo_pack.nodes.support.handles import MotionPriorHandle, shipped_animator

from leo_core.motion import MotionSequence, load_motion, trim


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture
def pose():
    return MotionSequence(torch.full((1, 20), 0.2), ready_made.ops.load_motion(talk())[0].fps, shipped_animator().id)


def talk():
    return PACK_MODELS / "leo-face-128" / "talk.safetensors"


def chosen(pose, **inputs):
    return LEOChooseMotion.execute(pose, **inputs).result[0]


def test_the_motions_of_the_pack_are_offered_by_name():
    offered = next(port for port in LEOChooseMotion.GET_SCHEMA().inputs if port.id == "motion").options
    assert offered[0] == "sampled" and {"talk", "nod", "look around", "wink"} < set(offered)


def test_a_ready_made_motion_starts_at_the_pose_and_lasts_as_long_as_asked(pose):
    talking, _ = load_motion(talk())
    moved = chosen(pose, motion="talk", seconds=10.0)
    assert len(moved) == 250 and torch.allclose(moved.codes[:1], pose.codes, atol=1e-6)
    change = talking.codes - talking.codes[:1]
    assert torch.allclose(moved.codes[:150] - pose.codes, change, atol=1e-5)
    assert (moved.codes[1:] - moved.codes[:-1]).abs().amax() < 1.01 * (change[1:] - change[:-1]).abs().amax()
    assert torch.equal(chosen(pose, motion="talk", seconds=10.0, seed=5).codes, moved.codes)


def test_the_prior_is_asked_for_only_when_it_is_needed():
    assert LEOChooseMotion.check_lazy_status(motion="sampled", prior=None) == ["prior"]
    assert LEOChooseMotion.check_lazy_status(motion="talk", prior=None) == []
    assert LEOChooseMotion.check_lazy_status(motion="sampled", prior="loaded") == []
    assert LEOChooseMotion.check_lazy_status(motion="sampled") == []


def test_a_sampled_motion_starts_at_the_pose_and_follows_the_seed(pose):
    prior = MotionPriorHandle.load(str(PACK_MODELS / "leo-face-128-prior.safetensors"))
    short = {"motion": "sampled", "seconds": 0.8, "steps": 3, "prior": prior}
    first, again, other = (chosen(pose, seed=seed, **short) for seed in (1, 1, 2))
    assert len(first) == 20 and torch.equal(trim(first, 0, 1).codes, pose.codes)
    assert torch.equal(first.codes, again.codes) and not torch.equal(first.codes, other.codes)


def test_what_is_missing_is_named(pose):
    with pytest.raises(ValueError, match="none is connected. Connect LEO Load Motion Prior, or choose a ready-made"):
        chosen(pose)
    with pytest.raises(ValueError, match="no ready-made motion 'fly'. Choose 'sampled' or one of: blink, "):
        chosen(pose, motion="fly")

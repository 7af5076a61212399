"""The algebra of motions: what the operations promise to leave alone, and what they do."""
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_core import motion as ops
from leo_core.identity import AnimatorId
from leo_core.motion import MotionSequence

ANIMATOR = AnimatorId("walker", "a" * 64)
OTHER = AnimatorId("talker", "b" * 64)
settings.register_profile("motion", deadline=None)
settings.load_profile("motion")


def make(frames=12, directions=5, seed=0, fps=Fraction(25), animator=ANIMATOR, scale=1.0) -> MotionSequence:
    generator = torch.Generator().manual_seed(seed)
    return MotionSequence(scale * torch.randn(frames, directions, generator=generator), fps, animator)


@st.composite
def motions(draw, min_frames=1, max_frames=40, directions=None):
    frames = draw(st.integers(min_frames, max_frames))
    width = directions or draw(st.integers(1, 24))
    scale = draw(st.sampled_from([1e-3, 1.0, 50.0]))
    fps = draw(st.sampled_from([Fraction(15), Fraction(25), Fraction(30000, 1001)]))
    return make(frames, width, draw(st.integers(0, 2**31)), fps, scale=scale)


def same(first: MotionSequence, second: MotionSequence) -> bool:
    return torch.equal(first.codes, second.codes) and first.fps == second.fps and first.animator == second.animator


class TestTransfer:
    @given(motions(min_frames=2, directions=6), st.data())
    def test_a_driver_in_its_reference_pose_gives_exactly_the_source(self, driving, data):
        reference = data.draw(st.integers(0, len(driving) - 1))
        pose = make(1, 6, seed=99)
        moved = ops.transfer(driving, pose, "relative", reference, gain=data.draw(st.floats(-4, 4)))
        assert torch.equal(moved.codes[reference], pose.codes[0])

    @given(motions(directions=6))
    def test_absolute_transfer_takes_the_driving_poses_over(self, driving):
        assert same(ops.transfer(driving, make(1, 6, seed=99), "absolute"), driving)

    @given(motions(directions=6), st.sampled_from(["relative", "absolute"]))
    def test_no_gain_holds_the_source_pose(self, driving, mode):
        pose = make(1, 6, seed=99)
        assert torch.equal(ops.transfer(driving, pose, mode, gain=0.0).codes, pose.codes.expand(len(driving), 6))

    def test_relative_transfer_adds_the_change_of_pose(self):
        driving, pose = make(4, 2), make(1, 2, seed=7)
        moved = ops.transfer(driving, pose, reference=1, gain=torch.tensor([1.0, 0.5]))
        expected = pose.codes + torch.tensor([1.0, 0.5]) * (driving.codes - driving.codes[1:2])
        torch.testing.assert_close(moved.codes, expected)

    def test_the_best_match_is_the_frame_that_holds_the_source_pose(self):
        driving = make(30, 5)
        pose = replace(driving, codes=driving.codes[17:18] + 0.01)
        assert ops.closest_frame(driving, pose) == 17

    def test_the_input_is_left_alone(self):
        driving, pose = make(), make(1)
        before = driving.codes.clone(), pose.codes.clone()
        ops.transfer(driving, pose, gain=2.0)
        assert torch.equal(driving.codes, before[0]) and torch.equal(pose.codes, before[1])

    def test_another_animator_is_refused_with_both_names(self):
        with pytest.raises(ValueError, match="(?s)walker.*talker"):
            ops.transfer(make(), make(1, animator=OTHER))

    def test_a_clip_is_not_a_pose(self):
        with pytest.raises(ValueError, match="one frame, got 3"):
            ops.transfer(make(), make(3))

    def test_a_reference_outside_the_clip_is_refused(self):
        with pytest.raises(ValueError, match="12 frames"):
            ops.transfer(make(12), make(1), reference=12)

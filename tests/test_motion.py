"""The algebra of motions: what the operations promise to leave alone, and what they do."""

import tracemalloc
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from leo_core import motion as ops
from leo_core.animator import MotionDictionary, lia, orthonormal_basis
from leo_core.identity import AnimatorId
from leo_core.motion import MotionSequence
from leo_core.rates import exact_rate

ANIMATOR = AnimatorId("walker", "a" * 64)
OTHER = AnimatorId("talker", "b" * 64)
settings.register_profile(
    "motion", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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


class TestNothingToDoIsExactlyTheInput:
    @given(motions())
    def test_zero_edit(self, motion):
        assert same(ops.edit_directions(motion, torch.zeros(motion.directions)), motion)
        assert same(ops.edit_directions(motion, torch.ones(motion.directions), 0.0), motion)

    @given(motions(directions=4), st.data())
    def test_blend_at_its_ends(self, first, data):
        second = replace(first, codes=make(len(first), 4, data.draw(st.integers(0, 999))).codes)
        assert same(ops.blend(first, second, 0.0), first)
        assert same(ops.blend(first, second, 1.0), second)
        assert same(ops.blend(first, second, torch.zeros(len(first))), first)

    @given(motions())
    def test_retime_to_the_same_rate_or_length(self, motion):
        assert same(ops.change_rate(motion, motion.fps), motion)
        assert same(ops.stretch(motion, len(motion)), motion)

    @given(motions())
    def test_trim_to_full(self, motion):
        assert same(ops.trim(motion), motion)
        assert same(ops.trim(motion, 0, len(motion)), motion)

    @given(motions())
    def test_reverse_twice(self, motion):
        assert same(ops.reverse(ops.reverse(motion)), motion)

    @given(motions())
    def test_no_smoothing_no_gain_all_directions(self, motion):
        assert same(ops.smooth(motion, 0.0), motion)
        assert same(ops.amplify(motion, 1.0), motion)
        assert same(ops.select_directions(motion, torch.ones(motion.directions, dtype=torch.bool)), motion)

    @given(motions())
    def test_parts_joined_again(self, motion):
        cut = len(motion) // 2
        parts = [ops.trim(motion, 0, cut)] if cut else []
        assert same(ops.concatenate([*parts, ops.trim(motion, cut)]), motion)

    @given(motions(), st.text(max_size=40))
    def test_save_and_load(self, tmp_path, motion, description):
        ops.save_motion(tmp_path / "walk.safetensors", motion, description)
        loaded, text = ops.load_motion(tmp_path / "walk.safetensors")
        assert same(loaded, motion) and text == description and loaded.animator.name == motion.animator.name


class TestTheDictionaryIsLinear:
    """Edits and blends of driving motions are edits and blends of what is rendered."""

    @given(motions(min_frames=2, directions=6), st.floats(-3, 3), st.sampled_from(["relative", "absolute"]))
    def test_blend_commutes_with_transfer(self, first, weight, mode):
        second = replace(first, codes=make(len(first), 6, seed=5).codes)
        pose = make(1, 6, seed=99)
        mixed_first = ops.transfer(ops.blend(first, second, weight), pose, mode)
        mixed_last = ops.blend(ops.transfer(first, pose, mode), ops.transfer(second, pose, mode), weight)
        torch.testing.assert_close(
            mixed_first.codes, mixed_last.codes, rtol=1e-4, atol=1e-4 * float(first.codes.abs().max() + 1)
        )

    @given(motions(min_frames=2, directions=6), st.integers(0, 999))
    def test_edit_commutes_with_transfer(self, driving, seed):
        pose, amounts = make(1, 6, seed=99), make(1, 6, seed=seed).codes[0]
        tolerance = dict(rtol=1e-4, atol=1e-5 * float(driving.codes.abs().max() + 1))
        # absolute: editing the driver edits the result
        torch.testing.assert_close(
            ops.transfer(ops.edit_directions(driving, amounts), pose, "absolute").codes,
            ops.edit_directions(ops.transfer(driving, pose, "absolute"), amounts).codes,
            **tolerance,
        )
        # relative: editing the source's pose does, and a constant edit of the driver changes nothing
        torch.testing.assert_close(
            ops.transfer(driving, ops.edit_directions(pose, amounts)).codes,
            ops.edit_directions(ops.transfer(driving, pose), amounts).codes,
            **tolerance,
        )
        torch.testing.assert_close(
            ops.transfer(ops.edit_directions(driving, amounts), pose).codes,
            ops.transfer(driving, pose).codes,
            **tolerance,
        )
        # a curve that starts at nothing edits the result by the curve
        curve = torch.linspace(0, 1, len(driving))
        torch.testing.assert_close(
            ops.transfer(ops.edit_directions(driving, amounts, curve), pose).codes,
            ops.edit_directions(ops.transfer(driving, pose), amounts, curve).codes,
            **tolerance,
        )

    def test_a_blend_of_codes_is_the_blend_of_latents(self):
        dictionary = MotionDictionary(lia(64, {4: 8, 8: 8, 16: 8, 32: 8, 64: 8}, style_dim=32, directions=6))
        weight = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
        dictionary.load_state_dict({"basis": orthonormal_basis(weight)})
        first, second = make(9, 6, seed=1), make(9, 6, seed=2)
        mixed = ops.blend(first, second, 0.3)
        torch.testing.assert_close(
            dictionary(mixed.codes),
            0.7 * dictionary(first.codes) + 0.3 * dictionary(second.codes),
            rtol=1e-5,
            atol=1e-5,
        )

    def test_the_best_match_is_the_nearest_latent(self):
        basis = orthonormal_basis(torch.randn(32, 6, generator=torch.Generator().manual_seed(1)))
        driving, pose = make(40, 6), make(1, 6, seed=9)
        latents = driving.codes @ basis.T - pose.codes @ basis.T
        assert ops.closest_frame(driving, pose) == int(latents.norm(dim=1).argmin())


class TestBlendAndEdit:
    def test_a_curve_takes_over_frame_by_frame(self):
        first, second = make(5, 3, seed=1), make(5, 3, seed=2)
        mixed = ops.blend(first, second, torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))
        assert torch.equal(mixed.codes[:2], first.codes[:2]) and torch.equal(mixed.codes[3:], second.codes[3:])
        torch.testing.assert_close(mixed.codes[2], (first.codes[2] + second.codes[2]) / 2)

    def test_a_pose_blends_with_a_clip(self):
        clip, pose = make(7, 3), make(1, 3, seed=4)
        assert len(ops.blend(pose, clip, 0.5)) == len(ops.blend(clip, pose, 0.5)) == 7
        assert torch.equal(ops.blend(clip, pose, 1.0).codes, pose.codes.expand(7, 3))

    def test_clips_of_different_length_are_refused_with_both(self):
        with pytest.raises(ValueError, match="(?s)7 frames.*9"):
            ops.blend(make(7), make(9), 0.5)

    def test_an_edit_moves_only_what_it_names(self):
        motion = make(6, 4)
        edited = ops.edit_directions(motion, torch.tensor([0.0, 2.0, 0.0, 0.0]), torch.linspace(0, 1, 6))
        assert torch.equal(edited.codes[:, [0, 2, 3]], motion.codes[:, [0, 2, 3]])
        torch.testing.assert_close(edited.codes[:, 1] - motion.codes[:, 1], 2 * torch.linspace(0, 1, 6))

    def test_an_edit_for_another_number_of_directions_is_refused(self):
        with pytest.raises(ValueError, match="3 amounts.*5 directions"):
            ops.edit_directions(make(directions=5), torch.ones(3))

    def test_a_curve_of_another_length_is_refused(self):
        with pytest.raises(ValueError, match="4 weights for 12 frames"):
            ops.edit_directions(make(12), torch.ones(5), torch.ones(4))

    def test_amplify_scales_around_the_mean_pose(self):
        motion = make(50, 4)
        wide = ops.amplify(motion, torch.tensor([0.0, 1.0, 2.0, 3.0]))
        torch.testing.assert_close(wide.codes.mean(0), motion.codes.mean(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(wide.codes.std(0), motion.codes.std(0) * torch.tensor([0.0, 1.0, 2.0, 3.0]))

    def test_select_holds_the_rest_at_the_first_or_a_given_pose(self):
        motion, chosen = make(9, 3), torch.tensor([True, False, False])
        kept = ops.select_directions(motion, chosen)
        assert torch.equal(kept.codes[:, 0], motion.codes[:, 0])
        assert torch.equal(kept.codes[:, 1:], motion.codes[:1, 1:].expand(9, 2))
        resting = ops.select_directions(motion, chosen, make(1, 3, seed=4))
        assert torch.equal(resting.codes[:, 1:], make(1, 3, seed=4).codes[:, 1:].expand(9, 2))

    def test_joining_motions_of_different_rates_or_animators_is_refused(self):
        with pytest.raises(ValueError, match="motion 2 at 30"):
            ops.concatenate([make(), make(fps=Fraction(30))])
        with pytest.raises(ValueError, match="(?s)walker.*talker"):
            ops.concatenate([make(), make(animator=OTHER)])

    def test_a_trim_beyond_the_end_is_refused(self):
        with pytest.raises(ValueError, match="frames 0 to 11"):
            ops.trim(make(12), 10, 5)


class TestRetime:
    @staticmethod
    def wave(hertz, frames, fps):
        time = torch.arange(frames, dtype=torch.float64) / fps
        return MotionSequence(torch.sin(2 * torch.pi * hertz * time)[:, None].float(), Fraction(fps), ANIMATOR)

    @pytest.mark.parametrize("old,new", [(25, 50), (50, 25), (24, 60), (60, 24), (30, 25), (25, 30)])
    def test_a_movement_keeps_its_timing_at_another_rate(self, old, new):
        slow = ops.change_rate(self.wave(2, 4 * old, old), Fraction(new))
        assert len(slow) == 4 * new and slow.fps == new
        expected = self.wave(2, 4 * new, new).codes
        torch.testing.assert_close(slow.codes[:-2], expected[:-2], rtol=0, atol=0.02)
        torch.testing.assert_close(slow.codes, expected, rtol=0, atol=0.1)  # the end may be past the last frame

    def test_movement_too_fast_for_the_new_rate_vanishes_and_does_not_fold(self):
        folded = ops.change_rate(self.wave(18, 400, 50), Fraction(25))
        assert folded.codes[12:-12].abs().max() < 0.01

    @given(motions(min_frames=2), st.integers(2, 120))
    def test_stretching_keeps_the_first_and_last_pose_and_the_rate(self, motion, frames):
        stretched = ops.stretch(motion, frames)
        assert len(stretched) == frames and stretched.fps == motion.fps
        torch.testing.assert_close(
            stretched.codes[[0, -1]], motion.codes[[0, -1]], rtol=1e-5, atol=1e-5 * float(motion.codes.abs().max())
        )

    @given(motions(min_frames=2, max_frames=20), st.integers(2, 5))
    def test_slow_motion_passes_through_every_original_frame(self, motion, factor):
        slow = ops.stretch(motion, (len(motion) - 1) * factor + 1)
        assert torch.equal(slow.codes[::factor], motion.codes)

    @given(motions(min_frames=1, max_frames=30), st.sampled_from([Fraction(12), Fraction(24000, 1001), Fraction(60)]))
    def test_a_held_pose_stays_held(self, motion, fps):
        still = replace(motion, codes=motion.codes[:1].expand(len(motion), -1).contiguous())
        resampled = ops.change_rate(still, fps)
        torch.testing.assert_close(resampled.codes, still.codes[:1].expand(len(resampled), -1), rtol=1e-6, atol=1e-6)

    def test_the_duration_is_kept_to_a_frame_over_an_hour(self):
        hour = make(90_000, 2)
        ntsc = ops.change_rate(hour, Fraction(30000, 1001))
        assert abs(len(ntsc) / ntsc.fps - len(hour) / hour.fps) <= 1 / ntsc.fps

    def test_a_clip_can_shrink_to_two_frames_or_one(self):
        motion = make(500, 3)
        assert torch.equal(ops.stretch(motion, 1).codes, motion.codes[:1])
        torch.testing.assert_close(ops.stretch(motion, 2).codes, motion.codes[[0, -1]])

    @pytest.mark.parametrize("fps", [15, 30])
    def test_an_hour_is_resampled_in_no_more_memory_than_it_takes_itself(self, fps):
        hour = make(90_000, 20)
        tracemalloc.start()
        ops.change_rate(hour, Fraction(fps))
        peak = tracemalloc.get_traced_memory()[1]  # what NumPy and SciPy took beside the result
        tracemalloc.stop()
        assert peak < hour.codes.nbytes

    def test_the_speed_divides_the_length(self):
        assert [len(ops.change_speed(make(40), speed)) for speed in (0.5, 1, 2, 1000)] == [80, 40, 20, 1]

    @pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf"), 5e-324])
    def test_no_speed_is_refused(self, speed):
        with pytest.raises(ValueError, match="speed"):
            ops.change_speed(make(6), speed)

    @pytest.mark.parametrize("fps", [0.0, -25.0, float("nan"), float("inf")])
    def test_no_rate_is_refused(self, fps):
        with pytest.raises(ValueError, match="number above 0"):
            exact_rate(fps)

    def test_a_motion_is_repeated_or_cut_to_a_length(self):
        motion = make(6)
        assert torch.equal(ops.repeat(motion, 8).codes, torch.cat([motion.codes, motion.codes[:2]]))
        assert torch.equal(ops.repeat(motion, 4).codes, motion.codes[:4]) and ops.repeat(motion, 6) is motion
        closed = ops.concatenate([motion, ops.trim(motion, 0, 1)])
        assert torch.equal(ops.repeat(closed, 12).codes, torch.cat([motion.codes, motion.codes]))

    def test_ping_pong_loops_without_doubled_turns(self):
        loop = ops.ping_pong(make(6)).codes
        assert len(loop) == 10
        steps = (torch.roll(loop, -1, 0) - loop).abs().sum(1)
        assert (steps > 0).all()


class TestSmooth:
    @given(motions(min_frames=4, max_frames=60), st.floats(0.01, 100))
    def test_the_mean_and_the_ends_stay(self, motion, seconds):
        calm = ops.smooth(motion, seconds)
        assert torch.equal(calm.codes[[0, -1]], motion.codes[[0, -1]])
        torch.testing.assert_close(
            calm.codes.mean(0), motion.codes.mean(0), rtol=1e-4, atol=1e-5 * float(motion.codes.abs().max())
        )

    def test_slow_passes_fast_goes_the_period_is_halved(self):
        time = torch.arange(1000) / 25
        for hertz, low, high in [(0.2, 0.97, 1.01), (1.0, 0.45, 0.55), (4.0, 0.0, 0.02)]:
            wave = MotionSequence(torch.sin(2 * torch.pi * hertz * time)[:, None], Fraction(25), ANIMATOR)
            ratio = ops.smooth(wave, 1.0).codes[200:800].std() / wave.codes[200:800].std()
            assert low <= ratio <= high, hertz

    def test_no_delay(self):
        motion = make(200, 3)
        forward, backward = ops.smooth(motion, 0.5), ops.reverse(ops.smooth(ops.reverse(motion), 0.5))
        torch.testing.assert_close(forward.codes, backward.codes, rtol=1e-4, atol=1e-5)

    def test_no_period_is_refused(self):
        with pytest.raises(ValueError, match="0 seconds or more, got nan"):
            ops.smooth(make(6), float("nan"))

    def test_a_straight_move_is_left_alone(self):
        ramp = MotionSequence(torch.linspace(-1, 2, 80)[:, None], Fraction(25), ANIMATOR)
        torch.testing.assert_close(ops.smooth(ramp, 3.0).codes, ramp.codes, rtol=0, atol=1e-5)


class TestFiles:
    def write(self, path, codes, **changes):
        metadata = {
            "leo.kind": "motion",
            "leo.fps": "25",
            "leo.fingerprint": "a" * 64,
            "leo.animator": "walker",
            "leo.description": "",
        }
        save_file(
            {"codes": codes}, path, {key: value for key, value in {**metadata, **changes}.items() if value is not None}
        )

    def test_a_motion_is_a_few_kilobytes(self, tmp_path):
        ops.save_motion(tmp_path / "m.safetensors", make(64, 20), "waves")
        assert (tmp_path / "m.safetensors").stat().st_size < 6000

    def test_views_and_reversed_motions_save_what_they_show(self, tmp_path):
        part = ops.trim(ops.reverse(make(50)), 10, 5)
        ops.save_motion(tmp_path / "m.safetensors", part)
        assert same(ops.load_motion(tmp_path / "m.safetensors")[0], part)
        assert (tmp_path / "m.safetensors").stat().st_size < 1000

    def test_a_held_pose_saves_all_its_frames(self, tmp_path):
        held = MotionSequence(make(1, 4).codes.expand(30, 4), Fraction(25), ANIMATOR)
        ops.save_motion(tmp_path / "m.safetensors", held)
        assert same(ops.load_motion(tmp_path / "m.safetensors")[0], held)

    def test_a_header_larger_than_a_motion_has_is_not_read(self, tmp_path):
        self.write(tmp_path / "m.safetensors", torch.zeros(3, 2), **{"leo.description": "x" * 100_000})
        with pytest.raises(ValueError, match="not a motion file.*header of 100"):
            ops.load_motion(tmp_path / "m.safetensors")

    @pytest.mark.parametrize(
        "changes,message",
        [
            ({"leo.kind": "animator"}, "animator, not a motion"),
            ({"leo.kind": None}, "not a motion"),
            ({"leo.fps": "25.0"}, "frame rate '25.0'"),
            ({"leo.fps": "1/0"}, "frame rate"),
            ({"leo.fps": "0"}, "frame rate"),
            ({"leo.fingerprint": "x"}, "fingerprint 'x'"),
            ({"leo.animator": ""}, "animator ''"),
        ],
    )
    def test_metadata_that_does_not_say_whose_it_is(self, tmp_path, changes, message):
        self.write(tmp_path / "m.safetensors", torch.zeros(3, 2), **changes)
        with pytest.raises(ValueError, match=message):
            ops.load_motion(tmp_path / "m.safetensors")

    @pytest.mark.parametrize(
        "codes,message",
        [
            (torch.zeros(3, 2, dtype=torch.float64), "F64"),
            (torch.zeros(6), r"shape \[6\]"),
            (torch.full((2, 2), float("nan")), "finite"),
            (torch.zeros(0, 4), "shape"),
        ],
    )
    def test_codes_that_are_no_motion(self, tmp_path, codes, message):
        self.write(tmp_path / "m.safetensors", codes)
        with pytest.raises(ValueError, match=message):
            ops.load_motion(tmp_path / "m.safetensors")

    @pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 64, (10**6).to_bytes(8, "little") + b"{" * 100])
    def test_files_that_are_no_safetensors(self, tmp_path, content):
        (tmp_path / "m.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="m.safetensors"):
            ops.load_motion(tmp_path / "m.safetensors")

    def test_a_cut_off_file(self, tmp_path):
        path = tmp_path / "m.safetensors"
        ops.save_motion(path, make(64, 20))
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ValueError, match="not a readable"):
            ops.load_motion(path)

    def test_a_novel_is_no_description(self, tmp_path):
        with pytest.raises(ValueError, match="2000 fit"):
            ops.save_motion(tmp_path / "m.safetensors", make(), "x" * 2001)
        assert not list(tmp_path.iterdir())


class TestPlot:
    @staticmethod
    def colored(strip):
        """Rows of a strip where a colored pixel (not paper, grid, text) is."""
        return ((strip.amax(-1) - strip.amin(-1)) > 0.2).any(1).sum()

    def test_moving_directions_show_and_still_ones_are_flat(self):
        codes = torch.zeros(100, 3)
        codes[:, 0] = torch.sin(torch.arange(100) / 5)
        codes[:, 1] = codes[:, 0] / 3
        picture = ops.plot(MotionSequence(codes, Fraction(25), ANIMATOR), width=400, strip=48)
        assert picture.shape == (1, 3 * 48 + 18, 400, 3) and 0 <= picture.min() and picture.max() <= 1
        heights = [int(self.colored(picture[0, 48 * d : 48 * d + 48])) for d in range(3)]
        assert heights[0] > 2 * heights[1] > 4 * heights[2] > 0

    @pytest.mark.parametrize("frames", [1, 2, 3, 5000])
    def test_any_length_fills_the_width(self, frames):
        picture = ops.plot(make(frames, 2), width=300, strip=48)[0, :48]
        assert ((picture.amax(-1) - picture.amin(-1)) > 0.2).any(0)[36:].all()

    def test_a_spike_in_a_long_motion_is_seen(self):
        codes = torch.zeros(50_000, 1)
        codes[31_234] = 1
        picture = ops.plot(MotionSequence(codes, Fraction(25), ANIMATOR), width=300, strip=48)
        assert self.colored(picture[0, :48]) > 15


@pytest.mark.parametrize("frames", [1, 50, 5000])
def test_the_outline_keeps_every_peak_at_one_scale(frames):
    codes = torch.zeros(frames, 3)
    codes[:, 1] = 7
    codes[frames // 2, 0] = 4 * (frames > 1)
    codes[frames // 3, 2] -= 1 * (frames > 1)
    lines = ops.outline(replace(make(frames, 3), codes=codes), columns=100)
    assert {len(line) for line in lines} == {min(frames, 200)}
    assert set(lines[1]) == {0}  # a held direction lies in the middle, wherever it is held
    if frames > 1:
        assert max(lines[0]) == 1
        assert min(lines[2]) == pytest.approx(-0.25, abs=0.01)

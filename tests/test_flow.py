"""What edits of a flow leave alone, what they hold still, and what pictures of it show."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_core import flow as ops
from leo_core.animator import Animator, AnimatorConfig
from leo_core.animator.layers import warp
from leo_core.flow import FlowField
from leo_core.identity import AnimatorId

ANIMATOR = AnimatorId("walker", "a" * 64)
SCALES = (8, 16, 32, 64)


def make(
    frames=3, seed=0, reach=0.3, align_corners=False, animator=ANIMATOR, dtype=torch.float16, scales=SCALES
) -> FlowField:
    generator = torch.Generator().manual_seed(seed)
    return FlowField(
        {r: (reach * (2 * torch.rand(frames, 2, r, r, generator=generator) - 1)).to(dtype) for r in scales},
        {r: torch.rand(frames, 1, r, r, generator=generator).to(dtype) for r in scales},
        align_corners,
        animator,
    )


def uniform(x, y, frames=1, **changes) -> FlowField:
    flow = make(frames, dtype=torch.float32, **changes)
    return replace(
        flow, displacement={r: torch.tensor([x, y]).reshape(1, 2, 1, 1).expand(frames, 2, r, r) for r in flow.scales}
    )


def same(first: FlowField, second: FlowField) -> bool:
    return all(
        torch.equal(getattr(first, part)[r], getattr(second, part)[r])
        and getattr(first, part)[r].dtype == getattr(second, part)[r].dtype
        for part in ("displacement", "mask")
        for r in first.scales
    )


def tiny_animator(align_corners=False) -> Animator:
    config = AnimatorConfig("tiny", 64, 32, 6, {4: 8, 8: 8, 16: 8, 32: 8, 64: 8}, 2, align_corners, False, 0, 0)
    animator, generator = Animator(config).eval(), torch.Generator().manual_seed(0)
    animator.load_state_dict(
        {
            name: 0.3 * torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
            for name, value in animator.state_dict().items()
        }
    )
    return animator


class TestNothingToDoIsExactlyTheInput:
    @given(st.integers(0, 999))
    @settings(deadline=None, max_examples=10)
    def test_strength_one_no_region_no_weight_no_field(self, seed):
        flow = make(seed=seed)
        assert same(ops.scale_strength(flow, 1.0), flow)
        assert same(ops.freeze(flow, torch.zeros(1, 50, 70)), flow)
        assert same(ops.freeze(flow, torch.zeros(1, 50, 70), make(1, seed + 2)), flow)
        assert same(ops.blend_flows(flow, make(seed=seed + 1), 0.0), flow)
        assert same(ops.blend_flows(make(seed=seed + 1), flow, 1.0), flow)
        assert same(ops.add_displacement(flow, torch.zeros(1, 2, 40, 40)), flow)
        assert same(
            ops.add_displacement(flow, ops.displacement_from_picture(torch.full((1, 9, 9, 3), 128 / 255), 0.5)), flow
        )

    def test_the_input_is_left_alone(self):
        flow, before = make(), make()
        ops.scale_strength(flow, 0.0)
        ops.freeze(flow, torch.ones(1, 8, 8))
        ops.add_displacement(flow, torch.ones(1, 2, 8, 8))
        assert same(flow, before)


class TestStrength:
    @pytest.mark.parametrize("align_corners", [False, True])
    def test_none_is_the_familys_warp_without_displacement(self, align_corners):
        flow = ops.scale_strength(make(align_corners=align_corners), 0.0)
        picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
        expected = warp(picture, torch.zeros(3, 2, 64, 64), align_corners)
        torch.testing.assert_close(ops.warp_picture(picture, flow), expected)
        assert torch.allclose(expected[:1], picture, atol=1e-5) == align_corners

    def test_per_frame(self):
        flow = make()
        weak = ops.scale_strength(flow, torch.tensor([0.0, 0.5, 1.0]))
        assert not weak.displacement[64][0].any()
        torch.testing.assert_close(weak.displacement[64][1], flow.displacement[64][1] / 2)
        assert torch.equal(weak.displacement[64][2], flow.displacement[64][2])
        assert torch.equal(weak.mask[64], flow.mask[64])


class TestFreeze:
    def test_the_region_is_the_source_warp_and_the_rest_moves(self):
        flow, region = make(align_corners=True), torch.zeros(1, 256, 256)
        region[:, 60:130, 100:190] = 1
        frozen = ops.freeze(flow, region)
        picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
        difference = (ops.warp_picture(picture, frozen) - picture).abs().amax(1)
        assert difference[:, 15:33, 25:48].max() < 1 / 255
        torch.testing.assert_close(
            ops.warp_picture(picture, frozen)[..., 50:, :], ops.warp_picture(picture, flow)[..., 50:, :]
        )

    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("own_still", [False, True])
    def test_a_frozen_region_decodes_like_the_still_picture(self, align_corners, own_still):
        animator, flow = tiny_animator(align_corners), make(3, align_corners=align_corners)
        region = torch.zeros(1, 64, 64)
        region[:, 20:31, 17:40] = 1
        still = make(1, seed=9, align_corners=align_corners) if own_still else None
        rest = still or FlowField(
            {r: torch.zeros(1, 2, r, r) for r in SCALES},
            {r: torch.ones(1, 1, r, r) for r in SCALES},
            align_corners,
            ANIMATOR,
        )
        with torch.inference_mode():
            _, features = animator.encoder(2 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) - 1)
            frozen = ops.freeze(flow, region, still)
            decoded = animator.decoder(features, frozen.displacement, frozen.mask)
            expected = animator.decoder(features, rest.displacement, rest.mask)
            moving = animator.decoder(features, flow.displacement, flow.mask)
        difference = (decoded - expected).abs().amax(1)
        assert difference[:, 20:31, 17:40].max() < 1 / 255
        assert (moving - expected).abs().amax(1)[:, 20:31, 17:40].max() > 10 / 255  # there was something to hold
        assert (decoded - moving)[..., -8:, -8:].abs().max() < 0.5 * (expected - moving)[..., -8:, -8:].abs().max()

    def test_a_mask_for_another_number_of_frames_is_refused(self):
        with pytest.raises(ValueError, match="2 frames and the flow 3"):
            ops.freeze(make(3), torch.ones(2, 8, 8))

    def test_a_clip_is_no_still(self):
        with pytest.raises(ValueError, match="3 frames but must have one"):
            ops.freeze(make(3), torch.ones(1, 8, 8), make(3))


class TestBlendAndAdd:
    def test_halfway_is_the_mean(self):
        first, second = make(seed=1, dtype=torch.float32), make(seed=2, dtype=torch.float32)
        mixed = ops.blend_flows(first, second, 0.5)
        torch.testing.assert_close(mixed.displacement[32], (first.displacement[32] + second.displacement[32]) / 2)
        torch.testing.assert_close(mixed.mask[16], (first.mask[16] + second.mask[16]) / 2)

    def test_one_frame_mixes_with_all(self):
        clip, still = make(3), make(1, seed=5)
        assert len(ops.blend_flows(clip, still, 0.5)) == len(ops.blend_flows(still, clip, 0.5)) == 3

    def test_flows_of_other_animators_or_lengths_are_refused(self):
        with pytest.raises(ValueError, match="(?s)walker.*talker"):
            ops.blend_flows(make(), make(animator=AnimatorId("talker", "b" * 64)), 0.5)
        with pytest.raises(ValueError, match="3 frames and the second 2"):
            ops.blend_flows(make(3), make(2), 0.5)
        with pytest.raises(ValueError, match="scales"):
            ops.blend_flows(make(), make(scales=(8, 16)), 0.5)

    def test_a_red_picture_moves_the_content_right_at_every_scale(self):
        red = torch.full((1, 20, 20, 3), 128 / 255)
        red[..., 0] = 1
        still = uniform(0.0, 0.0, align_corners=True)
        moved = ops.add_displacement(still, ops.displacement_from_picture(red, 0.25))
        picture = torch.zeros(1, 1, 65, 65)
        picture[..., 30:35, 20:25] = 1
        columns = ops.warp_picture(picture, moved)[0, 0].sum(0)
        center = (columns * torch.arange(65)).sum() / columns.sum()
        assert abs(float(center) - (22 + 0.25 * 64)) < 0.6
        for r in SCALES:
            torch.testing.assert_close(
                moved.displacement[r], torch.tensor([-0.5, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, r, r)
            )


class TestWarpPicture:
    @pytest.mark.parametrize("align_corners", [False, True])
    def test_a_large_picture_moves_as_a_small_one(self, align_corners):
        smooth = torch.nn.functional.interpolate(
            torch.rand(1, 2, 5, 5, generator=torch.Generator().manual_seed(1)),
            (64, 64),
            mode="bicubic",
            align_corners=True,
        )
        flow = make(1, align_corners=align_corners, dtype=torch.float32)
        flow = replace(flow, displacement={64: 0.15 * (smooth - 0.5)}, mask={64: flow.mask[64]})
        large = torch.nn.functional.interpolate(
            torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(2)),
            (256, 256),
            mode="bicubic",
            align_corners=False,
        )
        small = torch.nn.functional.interpolate(large, (64, 64), mode="area")
        shrunk = torch.nn.functional.interpolate(ops.warp_picture(large, flow), (64, 64), mode="area")
        difference = (shrunk - ops.warp_picture(small, flow)).abs()
        # 64 px pictures blur at their border, where outside is black
        assert difference[..., 6:-6, 6:-6].max() < 0.02

    def test_a_shift_of_whole_pixels_is_four_times_as_many_in_a_picture_four_times_as_large(self):
        picture = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(3))
        moved = ops.warp_picture(picture, uniform(2 * 16 / 63, 0.0, align_corners=True))
        torch.testing.assert_close(moved[..., :192], picture[..., 64:], rtol=0, atol=1e-3)


class TestPictures:
    def test_hue_says_where_the_content_goes_and_white_is_still(self):
        still = ops.color(uniform(0.0, 0.0), 32)
        assert still.shape == (1, 32, 32, 3) and torch.equal(still, torch.ones(1, 32, 32, 3))
        right, left = ops.color(uniform(-0.2, 0.0), 32)[0, 0, 0], ops.color(uniform(0.2, 0.0), 32)[0, 0, 0]
        assert right[0] > right[1:].max() + 0.9 and left[1:].min() > left[0] + 0.9  # red, cyan
        weak = ops.color(uniform(-0.2, 0.0), 32, full=0.8)[0, 0, 0]
        assert weak[0] == 1 and 0.7 < weak[1] < 0.8

    def test_arrows_end_where_the_content_goes(self):
        white = torch.ones(1, 96, 96, 3)
        drawn = ops.arrows(uniform(-0.25, 0.0, frames=2), white, every=96)  # one arrow, at the middle
        assert drawn.shape == (2, 96, 96, 3)
        ys, xs = torch.nonzero(drawn[0, ..., 1] < 0.5, as_tuple=True)
        assert xs.max() in (48, 49) and 35 <= xs.min() <= 37  # from 12 pixels to the left of it
        assert (ys - 48).abs().max() <= 8

    def test_arrows_from_outside_the_picture_reach_its_border(self):
        white = torch.ones(1, 96, 96, 3)
        drawn = [ops.arrows(uniform(-far, 0.0), white, every=96) for far in (1.2, 6e4)]
        assert torch.equal(*drawn) and (drawn[0][0, 48, :48, 1] < 0.5).all()
        aslant = ops.arrows(uniform(-6e4, -6e4), white, every=96)
        dark = torch.nonzero(aslant[0, :20, :20, 1] < 0.5)  # without the head
        assert len(dark) >= 20 and (dark[:, 0] - dark[:, 1]).abs().max() <= 2

    def test_the_farthest_a_flow_can_reach_is_drawn_in_a_second(self):
        """Drawn in full length, pixel by pixel also outside the picture, it would take hours, more than is waited for
        any test."""
        assert ops.arrows(uniform(-6e4, -5e4), torch.ones(1, 512, 512, 3), every=8).shape == (1, 512, 512, 3)

    def test_more_arrows_than_can_be_told_apart_are_refused_with_a_spacing_that_works(self):
        with pytest.raises(ValueError, match="1048576 arrows on a picture of 4096 x 4096.* spacing of 16 or more"):
            ops.arrows(uniform(0.1, 0.0), torch.ones(1, 1, 1, 3).expand(1, 4096, 4096, 3), every=4)

    def test_drawing_arrows_can_be_stopped(self):
        with pytest.raises(KeyboardInterrupt):
            ops.arrows(
                uniform(0.1, 0.0),
                torch.ones(1, 96, 96, 3),
                24,
                progress=lambda done: (_ for _ in ()).throw(KeyboardInterrupt),
            )

    def test_the_grid_is_regular_where_nothing_moves_and_shifted_where_it_does(self):
        still, moved = (
            ops.grid(uniform(0.0, 0.0, align_corners=True), 64, 16),
            ops.grid(uniform(-8 / 63, 0.0, align_corners=True), 64, 16),
        )
        dark = still[0, 8, :, 0] < 0.6
        assert dark.nonzero().flatten().tolist() == [0, 1, 16, 17, 32, 33, 48, 49]
        assert (moved[0, 8, 4:, 0] < 0.6).nonzero().flatten().tolist() == [0, 1, 16, 17, 32, 33, 48, 49]

    def test_the_inpainted_part_is_what_the_mask_leaves_out(self):
        flow = make(2, dtype=torch.float32)
        mask = {**flow.mask, 64: torch.ones(2, 1, 64, 64)}
        mask[64][:, :, :32] = 0
        painted = ops.inpainted(replace(flow, mask=mask), 128)
        assert painted.shape == (2, 128, 128)
        assert painted[:, :60].min() > 0.99 and painted[:, 68:].max() < 0.01

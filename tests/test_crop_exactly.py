"""Crops and pastes against figures worked out by hand: borders, fades, shapes, paths, and what is refused."""

import math

import numpy as np
import pytest
import torch

from leo_core.crop import Paste, crop_subject, scaled


def picture(height=90, width=120):
    return torch.rand((height, width, 3), generator=torch.Generator().manual_seed(0))


def box(x, y, width, height):
    return {"x": x, "y": y, "width": width, "height": height}


@pytest.mark.parametrize("border, mode", [("edge", "edge"), ("reflect", "reflect"), ("black", "constant")])
def test_a_box_far_outside_is_filled_as_asked_on_every_side(border, mode):
    """Also where the box reaches out by more than the picture's own size."""
    photo = (picture(20, 30) * 255).to(torch.uint8)
    for left, top, right, bottom in ((7, 5, 3, 11), (70, 45, 65, 50)):
        where = box(-left, -top, left + 30 + right, top + 20 + bottom)
        cut = crop_subject(1, (20, 30), where, margin=0, aspect=0, border=border).cut(photo)
        assert np.array_equal(cut, np.pad(photo, ((top, bottom), (left, right), (0, 0)), mode=mode))
        assert cut.dtype == torch.uint8


def test_a_picture_one_pixel_high_has_nothing_to_reflect():
    photo = picture(1, 40)
    cut = crop_subject(1, (1, 40), box(0, 0, 40, 1), margin=0, aspect=0, border="reflect").cut(photo)
    assert cut.shape == (8, 40, 3) and torch.equal(cut, photo.expand(8, 40, 3))


def test_the_fade_is_half_way_up_in_its_middle_on_every_side_with_room():
    weights = Paste(crop_subject(1, (300, 400), box(100, 80, 100, 100), margin=0), feather=0.2).weights(0)
    share = (torch.arange(20) + 0.5) / 20
    rise = torch.cat([share**2 * (3 - 2 * share), torch.ones(30)])
    expected = torch.cat([rise, rise.flip(0)])
    assert torch.allclose(weights, expected[:, None] * expected[None], atol=1e-6)
    weights = Paste(crop_subject(1, (300, 400), box(200, 100, 200, 200), margin=0), feather=0.2).weights(0)
    assert (weights[40:, 40:] == 1).all() and (weights[:39].amax(1) < 1).all() and (weights[:, :39].amax(0) < 1).all()


def test_a_feather_is_a_share_of_half_a_side_at_most():
    crop = crop_subject(1, (300, 400), box(100, 80, 100, 100), margin=0)
    for feather in (-0.01, 0.51, math.nan):
        with pytest.raises(ValueError, match="from 0 to 0.5"):
            Paste(crop, feather)
    assert (Paste(crop, 0).weights(0) == 1).all()
    widest = Paste(crop, 0.5).weights(0)
    assert widest[50, 50] == pytest.approx(1, abs=0.001) and widest[50, 25] == pytest.approx(0.5, abs=0.02)


def test_a_grown_subject_covers_all_of_itself_and_fades_beyond():
    mask = torch.zeros(1, 300, 400)
    mask[0, 120:180, 150:210] = 1
    crop = crop_subject(1, (300, 400), box(80, 50, 200, 200), mask, margin=0)
    weights = Paste(crop, 0.1, "subject").weights(0)  # a feather of 20 pixels
    assert torch.allclose(weights[70:130, 70:130], torch.ones(60, 60), atol=1e-5)
    row, column = weights[100, 129:151], weights[129:151, 100]
    assert torch.allclose(row, column, atol=1e-6) and torch.allclose(row, weights[100, 49:71].flip(0), atol=1e-6)
    assert (row.diff() <= 0).all() and (row[1:20].diff() < 0).all() and row[11] == pytest.approx(0.5, abs=0.05)
    assert (weights[100, 151:] == 0).all() and (weights[:49] == 0).all()
    assert torch.equal(Paste(crop, 0, "subject").weights(0), crop.subject[0])


def test_the_shape_of_each_frame_is_pasted_there_and_the_last_one_afterward():
    masks = torch.zeros(3, 90, 120)
    for t in range(3):
        masks[t, 20 + 5 * t : 40 + 5 * t, 10 + 30 * t : 30 + 30 * t] = 1
    crop = crop_subject(3, (90, 120), mask=masks, margin=0.5, track="follow", smooth=0)
    paste = Paste(crop, 0, "subject")
    for t in range(5):
        pasted = paste(torch.zeros(90, 120, 3), torch.ones(8, 8, 3), t)
        assert torch.allclose(pasted[..., 0], masks[min(t, 2)], atol=1e-5)
    still = crop_subject(3, (90, 120), box(0, 0, 120, 90), masks, margin=0, track="follow", smooth=0)
    assert [crop.corner(t) for t in (2, 3, 99)] == [(20, 60)] * 3 and len(still.subject) == 3


def test_which_frames_show_nobody_is_known_beyond_the_last_one():
    crop = crop_subject(3, (90, 120), [[], [box(5, 5, 20, 20)], []], track="follow", missing="pass through")
    assert crop.missing_of(2).tolist() == [True, False] and crop.missing_of(5).tolist() == [True, False] + [True] * 3
    assert crop.is_missing(7) and crop.passes_through(7) and not crop.passes_through(1)
    with pytest.raises(ValueError, match="nobody in the first 1 frames"):
        crop.missing_of(1)


def test_bytes_are_rounded_to_the_nearest():
    base = torch.full((90, 120, 3), 100, dtype=torch.uint8)
    crop = crop_subject(1, (90, 120), box(20, 20, 40, 40), margin=0)
    for value, byte in ((0.0, 0), (0.5 / 255 + 0.001, 1), (200.7 / 255, 201), (1.0, 255)):
        pasted = Paste(crop, 0)(base, torch.full((40, 40, 3), value))
        assert (pasted[20:60, 20:60] == byte).all() and (pasted[:20] == 100).all()


def test_a_scaled_picture_keeps_its_places_and_its_range():
    dot = torch.zeros(8, 8, 3)
    dot[1, 5] = 1
    large = scaled(dot, (32, 32))
    assert large.min() >= 0 and large.max() <= 1, "bicubic overshoots"
    weight = large[..., 0]
    places = torch.arange(32) + 0.5
    assert (weight.sum(1) @ places / weight.sum()).item() == pytest.approx(6, abs=0.1)
    assert (weight.sum(0) @ places / weight.sum()).item() == pytest.approx(22, abs=0.1)
    assert scaled(dot, (8, 8)) is dot


@pytest.mark.parametrize(
    "mask",
    [
        torch.zeros(90, 120).index_fill_(0, torch.arange(30, 50), 1),
        torch.zeros(1, 1, 90, 120).index_fill_(2, torch.arange(30, 50), 1),
        torch.zeros(1, 90, 120, 1).index_fill_(1, torch.arange(30, 50), 1),
        torch.zeros(1, 90, 120, dtype=torch.bool).index_fill_(1, torch.arange(30, 50), True),
        torch.zeros(1, 45, 60).index_fill_(1, torch.arange(15, 25), 1),
        torch.full((1, 90, 120), 0.5).index_fill_(1, torch.arange(30, 50), 0.6),
    ],
    ids=["2-D", "channel first", "channel last", "bool", "half the size", "soft"],
)
def test_every_form_of_mask_gives_its_place_in_the_pictures(mask):
    for frames in (1, 3):
        crop = crop_subject(frames, (90, 120), mask=mask, margin=0, aspect=0, track="follow")
        assert crop.size == (20, 120) and [crop.corner(t) for t in range(frames)] == [(30, 0)] * frames


def test_masks_of_several_channels_are_refused():
    for shape in ((1, 3, 90, 120), (90,), (1, 1, 1, 90, 120)):
        with pytest.raises(ValueError, match="expected one of .height, width."):
            crop_subject(1, (90, 120), mask=torch.ones(shape))


@pytest.mark.parametrize("x, y", [(120, 40), (-10, 40), (50, 90), (50, -10)])
def test_a_box_that_only_touches_the_picture_shows_nobody(x, y):
    with pytest.raises(ValueError, match="nobody in the picture of 120x90"):
        crop_subject(1, (90, 120), box(x, y, 10, 10))
    inward = box(x + (x < 0) - (x == 120), y + (y < 0) - (y == 90), 10, 10)
    assert crop_subject(1, (90, 120), [[box(x, y, 10, 10), inward]], pick="index").size == (15, 15)


def test_people_are_told_apart_by_area_and_followed_in_both_directions():
    wide, square = box(10, 10, 60, 5), box(50, 40, 20, 20)
    assert crop_subject(1, (90, 120), [[wide, square]], margin=0).corner(0) == (40, 50)
    stacked = [box(50, 10, 10, 10), box(50, 70, 10, 10), box(100, 40, 10, 10)]
    assert crop_subject(1, (90, 120), [stacked], margin=0, pick="nearest").corner(0) == (10, 50)
    assert crop_subject(1, (90, 120), [stacked], margin=0, pick="nearest", point=(0.5, 0.9)).corner(0) == (70, 50)
    falling = [[box(50, 70, 10, 10), box(50, 10 + 4 * t, 10, 10)][:: 1 if t % 2 else -1] for t in range(8)]
    falling[3] = None
    crop = crop_subject(8, (90, 120), falling, margin=0, track="follow", smooth=0, pick="index", index=0)
    assert [crop.corner(t)[0] for t in range(8)] == [10, 14, 18, 18, 26, 30, 34, 38]
    with pytest.raises(ValueError, match="2 people in picture 1.*no index 2"):
        crop_subject(2, (90, 120), [[], [wide, square]], pick="index", index=2)


def test_a_crop_has_some_pixels_and_not_more_than_memory():
    assert crop_subject(1, (90, 120), box(50, 50, 1, 1)).size == (8, 8)
    assert crop_subject(1, (90, 120), box(50, 50, 20, 40), margin=0.25).size == (60, 60)
    assert crop_subject(1, (90, 120), box(50, 50, 20, 40), margin=0, aspect=2).size == (40, 80)
    assert crop_subject(1, (90, 120), box(50, 50, 80, 20), margin=0, aspect=2).size == (40, 80)
    for margin, aspect in ((1e4, 1.0), (math.inf, 1.0), (0.0, 1e9)):
        with pytest.raises(ValueError, match="smaller margin"):
            crop_subject(1, (90, 120), box(50, 50, 20, 40), margin=margin, aspect=aspect)


def test_a_leap_of_the_subject_becomes_a_gaussian_glide():
    boxes = [[box(100 if t < 30 else 200, 100, 20, 20)] for t in range(60)]
    crop = crop_subject(60, (300, 400), boxes, margin=0, track="follow", smooth=4)
    glide = 50 * (1 + torch.erf((torch.arange(60) - 29.5) / (4 * 2**0.5)))
    assert (torch.tensor([crop.corner(t)[1] for t in range(60)]) - 100 - glide).abs().max() < 1
    assert {crop.corner(t)[0] for t in range(60)} == {100}
    resting = crop_subject(60, (300, 400), boxes, margin=0, track="follow", smooth=1e6)
    lefts = [resting.corner(t)[1] for t in range(60)]
    assert max(lefts) - min(lefts) <= 10 and abs(lefts[30] - 150) <= 5


def test_without_boxes_or_a_mask_the_crop_is_the_whole_picture():
    photo = picture(90, 120)
    crop = crop_subject(1, (90, 120), margin=0.25, aspect=0)
    assert crop.size == (90, 120) and crop.corner(0) == (0, 0) and torch.equal(crop.cut(photo), photo)


@pytest.mark.parametrize("border", ["edge", "reflect", "black"])
def test_a_subject_ends_where_the_picture_does_whatever_the_border_shows(border):
    crop = crop_subject(1, (90, 120), box(-10, 0, 60, 60), torch.ones(1, 90, 120), margin=0, border=border)
    assert (crop.subject[0, :, :10] == 0).all() and (crop.subject[0, :, 10:] == 1).all()


def test_each_of_two_frames_fades_where_its_own_box_has_room():
    crop = crop_subject(2, (90, 120), [[box(0, 20, 40, 40)], [box(40, 20, 40, 40)]], margin=0, track="follow", smooth=0)
    paste = Paste(crop, 0.2)
    left = [paste(torch.zeros(90, 120, 3), torch.ones(40, 40, 3), t)[40, crop.corner(t)[1], 0].item() for t in (0, 1)]
    assert left[0] == 1 and left[1] < 0.1


def test_pictures_of_another_size_are_refused_with_what_to_do():
    crop = crop_subject(1, (90, 120), box(20, 20, 40, 40))
    with pytest.raises(ValueError) as refused:
        crop.cut(picture(60, 80))
    assert str(refused.value) == (
        "The crop was made from pictures of 120x90, but this one is 80x60. "
        "Use the crop with the pictures it was made from, or resize them to that size first."
    )

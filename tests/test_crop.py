"""Whatever goes into a crop comes back at its own size and place, and the rest of the picture is not touched."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leo_core.crop import Paste, crop_subject, scaled
from leo_core.motion import fill_missing


def picture(height=90, width=120, channels=3, seed=0):
    return torch.rand((height, width, channels), generator=torch.Generator().manual_seed(seed))


def box(x, y, width, height):
    return {"x": x, "y": y, "width": width, "height": height}


def center_x(crop, frame):
    return crop.corner(frame)[1] + crop.size[1] / 2


def round_trip(photo, crop, **paste):
    return Paste(crop, **paste)(photo, crop.cut(photo))


@pytest.mark.parametrize(
    "what",
    [
        {"boxes": box(1000, 700, 900, 1200)},
        {"boxes": [[box(-300.5, -200.25, 1500.0, 1100.75)]]},
        {"boxes": box(3700, 2800, 900, 900), "border": "black"},
        {"boxes": box(3700, 2800, 900, 900), "border": "reflect"},
        {},
    ],
    ids=["inside", "over the corner", "black border", "reflected border", "whole picture"],
)
def test_round_trip_on_twelve_megapixels_changes_nothing(what):
    photo = picture(3000, 4000)
    crop = crop_subject(1, (3000, 4000), **what)
    assert torch.equal(round_trip(photo, crop), photo)


def test_round_trip_of_a_mask_one_pixel_wide():
    photo, mask = picture(300, 400), torch.zeros(1, 300, 400)
    mask[0, 50:200, 77] = 1
    crop = crop_subject(1, (300, 400), mask=mask, margin=0)
    assert crop.size == (150, 150)
    assert crop.corner(0) == (50, 2)
    for region in ("box", "subject"):
        assert torch.equal(round_trip(photo, crop, region=region), photo)


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-200, 130),
    st.floats(-200, 100),
    st.floats(1, 400),
    st.floats(1, 400),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.sampled_from(["edge", "reflect", "black"]),
)
def test_round_trip_of_any_box_that_shows_the_picture(x, y, width, height, margin, aspect, border):
    if x + width <= 0 or y + height <= 0 or x >= 120 or y >= 90:
        return
    photo = picture()
    crop = crop_subject(1, (90, 120), box(x, y, width, height), margin=margin, aspect=aspect, border=border)
    assert torch.equal(round_trip(photo, crop), photo)
    if aspect:
        assert crop.size[1] / crop.size[0] == pytest.approx(aspect, abs=2 / min(crop.size))


def test_nothing_outside_the_box_changes_and_the_middle_is_replaced():
    photo = picture(300, 400)
    crop = crop_subject(1, (300, 400), box(100, 80, 100, 100), margin=0)
    pasted = Paste(crop, feather=0.1)(photo, torch.ones(64, 64, 3))
    outside = torch.ones(300, 400, dtype=torch.bool)
    outside[80:180, 100:200] = False
    assert torch.equal(pasted[outside], photo[outside])
    assert (pasted[90:170, 110:190] > 0.99999).all()
    assert (photo != 1).any(), "the picture that came in is not changed"


def test_the_fade_rises_smoothly_and_sides_on_the_border_of_the_picture_do_not_fade():
    crop = crop_subject(1, (300, 400), box(0, 80, 200, 200), margin=0)
    weights = Paste(crop, feather=0.2).weights(0)
    assert (weights[100, :160] == 1).all(), "the left side is the border of the picture"
    right = weights[100, 160:]
    assert (right.diff() < 0).all() and right[-1] < 0.01 and right.diff().abs().max() < 0.05
    assert weights[0].max() < 0.01 and weights[38].max() < 1, "the upper side has room for the whole fade of 40 pixels"
    assert weights[-1].max() < 0.01 and weights[-21].max() == 1, "the lower side has room for 20"


def test_a_fade_at_the_border_grows_gradually():
    last = None
    for gap in range(0, 40):
        weights = Paste(crop_subject(1, (300, 400), box(gap, 80, 200, 200), margin=0), feather=0.1).weights(0)
        if last is not None:
            assert (weights[100] - last[100]).abs().max() < 0.52
            assert (weights[100].mean() - last[100].mean()).abs() < 0.01
        last = weights


def test_pictures_of_another_size_are_scaled_to_the_box():
    ramp = torch.linspace(0, 1, 64)[None, :, None].expand(64, 64, 3)
    crop = crop_subject(1, (300, 400), box(100, 80, 128, 128), margin=0)
    pasted = Paste(crop, feather=0)(torch.zeros(300, 400, 3), ramp)
    assert pasted[144, 100:228, 0].diff().min() >= 0
    assert pasted[144, 164, 0] == pytest.approx(0.5, abs=0.01)
    assert scaled(picture(512, 512), (128, 128)).shape == (128, 128, 3)
    assert scaled(picture(512, 512), (128, 128)).std() < 0.2, "shrinking averages, it does not skip pixels"


def test_bytes_and_alpha_are_kept():
    photo = (picture(300, 400, 4) * 255).to(torch.uint8)
    crop = crop_subject(1, (300, 400), box(100, 80, 100, 100))
    same = Paste(crop)(photo, crop.cut(photo)[..., :3].float() / 255)
    assert torch.equal(same, photo)
    changed = Paste(crop)(photo, torch.zeros(8, 8, 3))
    assert torch.equal(changed[..., 3], photo[..., 3]) and changed.dtype == torch.uint8


def test_margin_and_aspect_add_around_the_middle():
    crop = crop_subject(1, (300, 400), box(150, 100, 40, 80), margin=0.5)
    assert crop.size == (160, 160) and crop.corner(0) == (60, 90)
    crop = crop_subject(1, (300, 400), box(150, 100, 40, 80), margin=0, aspect=0)
    assert crop.size == (80, 40) and crop.corner(0) == (100, 150)


def test_the_border_is_shown_as_asked():
    photo = picture(20, 20)
    cuts = {
        b: crop_subject(1, (20, 20), box(-10, 0, 20, 20), margin=0, border=b).cut(photo)
        for b in ("edge", "reflect", "black")
    }
    assert torch.equal(cuts["edge"][:, 0], photo[:, 0])
    assert torch.equal(cuts["reflect"][:, 0], photo[:, 10])
    assert (cuts["black"][:, :10] == 0).all()
    assert all(torch.equal(cut[:, 10:], photo[:, :10]) for cut in cuts.values())


@pytest.mark.parametrize(
    "form",
    [box(10.4, 20.6, 30, 30), [box(10.4, 20.6, 30, 30)], [[box(10.4, 20.6, 30, 30)]]],
    ids=["dict", "list", "lists"],
)
def test_every_form_of_bounding_box_is_understood(form):
    crop = crop_subject(3, (90, 120), form, margin=0)
    assert crop.size == (30, 30) and crop.corner(2) == (21, 10)


PEOPLE = [box(60, 10, 20, 20), box(5, 5, 40, 40), box(90, 60, 10, 10)]


def test_one_of_several_people_is_chosen_and_followed():
    assert crop_subject(1, (90, 120), [PEOPLE], margin=0).corner(0) == (5, 5)
    assert crop_subject(1, (90, 120), [PEOPLE], margin=0, pick="index", index=2).corner(0) == (60, 90)
    assert crop_subject(1, (90, 120), [PEOPLE], margin=0, pick="nearest", point=(0.6, 0.2)).corner(0) == (10, 60)
    moving = [[box(60 + t, 10, 20, 20), box(5, 5, 40 - t, 40)][:: 1 if t % 2 else -1] for t in range(10)]
    crop = crop_subject(10, (90, 120), moving, margin=0, pick="nearest", point=(0.6, 0.2), track="follow", smooth=0)
    assert [crop.corner(t)[1] for t in range(10)] == [60 + t for t in range(10)]
    with pytest.raises(ValueError, match="3 people in picture 0.*Choose 0 to 2"):
        crop_subject(1, (90, 120), [PEOPLE], pick="index", index=3)


def test_a_still_box_holds_the_whole_movement():
    crop = crop_subject(5, (90, 120), [[box(10 * t, 20, 20, 20)] for t in range(5)], margin=0, aspect=0)
    assert crop.size == (20, 60) and len(crop.corners) == 1 and crop.corner(4) == (20, 0)


def test_following_is_smooth_and_keeps_one_size():
    shaking = torch.randn((200, 2), generator=torch.Generator().manual_seed(0)) * 4
    boxes = [[box(50 + t / 2 + shaking[t, 0].item(), 60, 40 + shaking[t, 1].item(), 40)] for t in range(200)]
    raw = crop_subject(200, (300, 400), boxes, track="follow", smooth=0)
    calm = crop_subject(200, (300, 400), boxes, track="follow", smooth=5)
    jerk = [torch.tensor([center_x(c, t) for t in range(200)]).diff(n=2).abs().mean().item() for c in (raw, calm)]
    assert jerk[0] > 5 and jerk[1] < 1, "whole pixels: a slow path moves by steps of one"
    assert abs(center_x(calm, 100) - 120) < 4


@pytest.mark.parametrize("missing", ["hold", "interpolate", "pass through"])
@pytest.mark.parametrize("how", ["boxes", "mask"])
def test_frames_without_a_subject_keep_the_length(missing, how):
    lost = {0, 5, 6, 7, 11}
    what = {"boxes": [[] if t in lost else [box(10 * t, 20, 16, 16)] for t in range(12)]}
    if how == "mask":
        what = {"mask": torch.zeros(12, 90, 160)}
        for t in set(range(12)) - lost:
            what["mask"][t, 20:36, 10 * t : 10 * t + 16] = 1
    crop = crop_subject(12, (90, 160), **what, margin=0, track="follow", smooth=0, missing=missing)
    lefts = [crop.corner(t)[1] for t in range(12)]
    assert [crop.is_missing(t) for t in range(12)] == [t in lost for t in range(12)]
    assert lefts[:5] == [10, 10, 20, 30, 40] and lefts[8:] == [80, 90, 100, 100]
    assert lefts[5:8] == ([50, 60, 70] if missing == "interpolate" else [40, 40, 40])
    photo, paste = picture(90, 160), Paste(crop)
    changed = [not torch.equal(paste(photo, torch.zeros(16, 16, 3), t), photo) for t in range(12)]
    assert changed == [missing != "pass through" or t not in lost for t in range(12)]


@settings(deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=30).filter(lambda gone: not all(gone)),
    st.sampled_from(["hold", "interpolate", "pass through"]),
)
def test_missing_rows_are_filled_from_known_ones_alone(gone, policy):
    missing = torch.tensor(gone)
    values = torch.arange(len(gone), dtype=torch.float32)[:, None] * torch.tensor([1.0, -2.0])
    values[missing] = float("nan")
    filled = fill_missing(values, missing, policy)
    assert torch.equal(filled[~missing], values[~missing])
    assert torch.isfinite(filled).all()
    if policy == "interpolate" and not gone[0] and not gone[-1]:
        assert torch.allclose(filled[:, 0], torch.arange(len(gone), dtype=torch.float32), atol=1e-4)


def test_only_the_subject_is_pasted_when_asked():
    mask = torch.zeros(1, 300, 400)
    mask[0, 120:180, 150:210] = 1
    crop = crop_subject(1, (300, 400), mask=mask, margin=1)
    photo = picture(300, 400)
    pasted = Paste(crop, feather=0.05, region="subject")(photo, torch.ones(32, 32, 3))
    changed = (pasted != photo).any(-1).nonzero()
    assert (pasted[125:175, 155:205] > 0.99).all()
    assert changed.amin(0).tolist() >= [105, 135] and changed.amax(0).tolist() <= [195, 225]
    with pytest.raises(ValueError, match="Connect a mask to LEO Crop Subject"):
        Paste(crop_subject(1, (300, 400)), region="subject")


def test_a_still_crop_has_room_for_the_shape_in_every_frame():
    """So that a photo shows no second copy of the subject beside a shape that has moved on."""
    masks = torch.zeros(5, 300, 400)
    for t in range(5):
        masks[t, 100:150, 100 + 20 * t : 140 + 20 * t] = 1
    clip, photo = (
        crop_subject(5, (300, 400), mask=masks, margin=0.5),
        crop_subject(1, (300, 400), mask=masks, margin=0.5),
    )
    union = photo.subject
    assert photo.corner(0) == clip.corner(0) and photo.size == clip.size == (240, 240)
    assert union.shape == clip.subject.shape == (1, 240, 240) and torch.equal(union, clip.subject)
    assert union.sum() == 50 * 120
    followed = crop_subject(5, (300, 400), mask=masks, track="follow", smooth=0)
    assert followed.subject.sum((1, 2)).tolist() == [50 * 40] * 5


def test_boxes_and_a_mask_together_give_the_place_and_the_shape():
    mask = torch.zeros(1, 300, 400)
    mask[0, 120:180, 150:210] = 1
    crop = crop_subject(1, (300, 400), box(100, 100, 200, 150), mask, margin=0)
    assert crop.size == (200, 200) and crop.subject.shape == (1, 200, 200) and crop.subject.sum() == 3600


@pytest.mark.parametrize(
    "what, message",
    [
        ({"boxes": [[], []]}, "nobody in any of the 2 pictures"),
        ({"boxes": []}, "nobody in any"),
        ({"boxes": box(500, 10, 20, 20)}, "nobody in any"),
        ({"boxes": [[box(0, 0, 9, 9)]] * 3}, "boxes for 3 pictures, but there are 2"),
        ({"boxes": {"left": 3}}, "x, y, width and height"),
        ({"mask": torch.zeros(1, 64, 64)}, "mask is empty.*disconnect it"),
        ({"mask": torch.ones(3, 90, 120)}, "3 masks for 2 pictures"),
    ],
)
def test_what_cannot_be_cropped_says_why(what, message):
    with pytest.raises(ValueError, match=message):
        crop_subject(2, (90, 120), **what)


def test_a_picture_of_another_size_is_refused():
    crop = crop_subject(1, (90, 120))
    with pytest.raises(ValueError, match="made from pictures of 120x90.*100x90"):
        crop.cut(picture(90, 100))
    with pytest.raises(ValueError, match="120x90"):
        Paste(crop)(picture(90, 100), picture(8, 8))

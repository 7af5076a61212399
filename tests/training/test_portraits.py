"""Moved portraits: actions do what they are called, flow reproduces frames, the same seed gives the same clip;
performances blink and talk."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from leo_core.__main__ import main
from leo_core.face import CONTROLS, NAMES, HeadPose, measure
from leo_core.training.data import read_source
from leo_core.training.decoding import read_photo
from leo_core.training.landmarks import read_landmarks
from leo_core.training.portraits.acting import draw_look
from leo_core.training.portraits.commands import open_portrait, render_portrait
from leo_core.training.portraits.performing import STYLES, perform, perform_person
from leo_core.training.portraits.puppet import ACTIONS, Pose, Puppet
from leo_core.training.portraits.render import renderer

ROOT = Path(__file__).resolve().parent.parent.parent
LANDMARKS = ROOT / "tests" / "data" / "astronaut_landmarks.npz"
PHOTO = read_photo(ROOT / "samples" / "astronaut.png")
FACE = read_landmarks(LANDMARKS)["astronaut.png"][0]


def controls_of(**actions: float) -> dict[str, float]:
    puppet = Puppet(FACE)
    amounts = [[actions.get(name.replace(" ", "_"), 0.0) for name in ACTIONS]]
    _, landmarks = puppet.posed(Pose(np.array(amounts), puppet.head))
    return dict(zip(NAMES, measure(landmarks, 256)[0].tolist(), strict=True))


@pytest.mark.parametrize(
    ("action", "control", "least"),
    [
        ("jaw", "jaw open", 0.7),
        ("smile", "smile", 0.6),
        ("wide", "mouth wide", 0.5),
        ("pucker", "pucker", 0.5),
        ("upper", "upper lip up", 0.6),
        ("lower", "lower lip down", 0.6),
        ("press", "press lips", 0.6),
        ("sideways", "mouth sideways", 0.6),
        ("left_lid", "close left eye", 0.5),
        ("right_lid", "close right eye", 0.5),
        ("brows_up", "brows up", 0.6),
        ("brows_down", "brows down", 0.4),
        ("gaze_sideways", "look sideways", 0.6),
        ("gaze_up", "look up", 0.6),
    ],
)
def test_an_action_raises_the_control_that_it_is_for(action, control, least):
    rest, acted = controls_of(), controls_of(**{action: 1.0})
    assert acted[control] - rest[control] > least
    for still in ("turn", "nod", "tilt", "across", "down", "nearer"):
        assert abs(acted[still] - rest[still]) < 0.1


def test_a_photo_at_rest_is_itself():
    puppet = Puppet(FACE)
    vertices, landmarks = puppet.posed(Pose(np.zeros((1, len(ACTIONS))), puppet.head))
    np.testing.assert_allclose(landmarks[0, :468], FACE[:468], atol=0.6)
    sheet = puppet.part == 0
    np.testing.assert_allclose(vertices[0, sheet, :2], puppet.texture[sheet], atol=0.6)


def test_lips_and_lids_never_pass_through_each_other():
    closed = controls_of(close=1.0, jaw=-0.5, left_lid=1.4, right_lid=1.4)
    assert closed["jaw open"] > -0.02 and closed["close left eye"] < 1.4


def test_wide_eyes_and_raised_ones_have_no_holes():
    portrait = open_portrait(PHOTO, FACE, None, 256, np.random.default_rng(0))
    puppet = Puppet(portrait.landmarks)
    wide = {"left lid": -0.35, "right lid": -0.35, "gaze up": 0.9}
    actions = np.array([[wide.get(name, 0.0) for name in ACTIONS]] * 2)
    head = HeadPose(*(np.repeat(part, 2, 0) for part in (puppet.head.rotation, puppet.head.scale, puppet.head.origin)))
    green = np.broadcast_to(np.uint8([0, 255, 0]), portrait.photo.shape).copy()
    look = draw_look(np.random.default_rng(0), portrait.photo)
    with renderer().context:
        clip = renderer().render(portrait, puppet, Pose(actions, head), look, 128, green)
    eyes = (clip.regions[0] == 255) & (np.arange(128)[:, None] < 64)
    assert eyes.sum() > 50 and (clip.coverage[0][eyes] == 255).all()


def test_flow_reproduces_what_the_first_frame_shows():
    clip = render_portrait(PHOTO, FACE, None, [0, 1], 96, 6)
    size = 96
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float32)
    errors, repeated = [], []
    for t in range(1, 6):
        at = grid + clip.backward_flow[t].astype(np.float32) * size / 2
        warped = cv2.remap(clip.frames[0], at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        seen = clip.visible[t]
        assert seen.mean() > 0.5
        for picture, into in ((warped, errors), (clip.frames[0], repeated)):
            into.append(np.abs(picture.astype(float) - clip.frames[t])[seen].mean())
    assert np.mean(errors) < 0.35 * np.mean(repeated)
    assert (clip.regions[0] > 0).mean() < 0.2 and clip.controls.shape == (6, len(NAMES))


def test_eyes_can_act_alone():
    """They look around and wink; head and mouth stay as they are in the photo."""
    clip = render_portrait(PHOTO, FACE, None, [5, 1], 96, 12, "eyes")
    away = {name: clip.controls[:, k] - clip.controls[0, k] for k, name in enumerate(NAMES)}
    assert all(np.abs(away[name]).max() < 0.05 for name in ("turn", "nod", "tilt", "across", "jaw open", "smile"))
    assert np.ptp(away["look sideways"]) > 0.5 and np.ptp(away["look up"]) > 0.5
    winks = np.abs(away["close left eye"] - away["close right eye"])
    assert winks.max() > 0.3 and np.median(winks) < 0.1 + winks.max() / 2
    still = np.abs(clip.frames[1:].astype(float) - clip.frames[:1]).mean((0, 3))
    assert still[clip.regions[0] == 0].mean() < 0.1 * still[clip.regions[0] > 0].mean()


def test_the_same_seed_gives_the_same_clip():
    first, second = (render_portrait(PHOTO, FACE, None, [3, 1], 64, 3) for _ in range(2))
    assert all(np.array_equal(value, getattr(second, name)) for name, value in vars(first).items())


def test_the_command_leaves_out_what_is_not_a_portrait(tmp_path, caplog):
    cv2.imwrite(str(tmp_path / "astronaut.png"), cv2.cvtColor(PHOTO, cv2.COLOR_RGB2BGR))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    names = np.array(["astronaut.png", "broken.jpg", "missing.jpg"])
    np.savez(tmp_path / "landmarks.npz", names=names, landmarks=np.stack([FACE] * 3))
    command = [
        "render-portraits",
        "--photos",
        str(tmp_path),
        "--landmarks",
        str(tmp_path / "landmarks.npz"),
        "--out",
        str(tmp_path / "out"),
        "--size",
        "32",
        "--frames",
        "3",
        "--held-out",
        "0",
    ]
    assert main(command) == 0
    assert "broken.jpg" in caplog.text and "missing.jpg" in caplog.text
    assert [clip["identity"] for clip in json.loads((tmp_path / "out" / "manifest.json").read_text())["clips"]] == [
        "astronaut"
    ]
    (clip,) = read_source(str(tmp_path / "out"), 32)
    assert clip.framing == "face" and clip.regions is not None and clip.exact


@pytest.mark.parametrize("style", STYLES)
def test_a_performance_stays_in_range_and_moves(style):
    controls = perform(style, 6, 25, np.random.default_rng(1))
    assert controls.shape == (150, len(NAMES)) and np.isfinite(controls).all()
    assert np.abs(np.diff(controls, axis=0)).max() < 0.8
    assert controls.std(0).max() > 0.02


def test_people_blink_as_often_as_people_do_and_close_both_eyes():
    minutes = 4
    controls = np.concatenate([perform_person(60, 25, np.random.default_rng(k)) for k in range(minutes)])
    lids = controls[:, [NAMES.index("close left eye"), NAMES.index("close right eye")]]
    shut = (lids - np.median(lids, 0) > 0.5).all(1)
    blinks = (shut[1:] & ~shut[:-1]).sum() / minutes
    assert 8 <= blinks <= 30
    low, high = ([getattr(control, end) for control in CONTROLS] for end in ("low", "high"))
    assert (controls >= np.array(low) - 0.21).all() and (controls <= np.array(high) + 0.21).all()


def test_an_unknown_style_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match="no style 'dance'.*talk"):
        perform("dance", 1, 25, np.random.default_rng(0))

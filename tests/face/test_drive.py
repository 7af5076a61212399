"""Landmarks become controls, and controls become an animator's motion."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from leo_core import face
from leo_core.animator import LIAX_DIRECTIONS, Direction
from leo_core.identity import AnimatorId
from leo_core.motion import MotionSequence
from leo_core.training.portraits.puppet import ACTIONS, Pose, Puppet

spec = importlib.util.spec_from_file_location("face_helpers", Path(__file__).with_name("conftest.py"))
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)

FPS = Fraction(25)
OURS = AnimatorId("ours", "a" * 64)
NAMED = {i: Direction(name, -3.0, 3.0) for i, name in enumerate(face.NAMES)}
# What one unit of a puppet's action moves; the others are measured off other shapes than they are posed by.
MOVED_BY = {
    "jaw open": "jaw",
    "smile": "smile",
    "pucker": "pucker",
    "close left eye": "left lid",
    "close right eye": "right lid",
    "brows up": "brows up",
    "brows down": "brows down",
    "look sideways": "gaze sideways",
    "look up": "gaze up",
}


def posed(mean_face, actions, angles=None):
    """Landmarks of the mean face in a picture of 256 px, with amounts of actions [T, A] and angles [T, 3]."""
    count = len(actions)
    angles = np.zeros((count, 3)) if angles is None else angles
    head = face.HeadPose(face.rotation_of(*angles.T), np.full(count, 128.0), np.tile([128.0, 128.0, 0.0], (count, 1)))
    puppet = Puppet(
        face.HeadPose(np.eye(3)[None], np.array([128.0]), np.array([[128.0, 128.0, 0.0]])).to_picture(mean_face[None])[
            0
        ]
    )
    return puppet.posed(Pose(actions, head))[1]


def test_the_mean_face_is_at_rest(mean_face):
    assert np.abs(face.measure(posed(mean_face, np.zeros((1, len(ACTIONS)))), 256)[0, :6]).max() < 0.05


def test_angles_and_place_are_read_exactly(mean_face):
    rng = np.random.default_rng(0)
    angles = rng.uniform(-1, 1, (50, 3)) * face.ANGLE_UNITS
    controls = face.measure(posed(mean_face, np.zeros((50, len(ACTIONS))), angles), 256)
    assert np.abs(controls[:, :3] - angles / face.ANGLE_UNITS).max() < 0.03


@pytest.mark.parametrize("control", MOVED_BY)
def test_a_face_moved_by_a_known_amount_tells_it(mean_face, control):
    """While the head turns, and whatever the other parts of the face do."""
    rng = np.random.default_rng(1)
    actions = np.zeros((120, len(ACTIONS)))
    own = ACTIONS.index(MOVED_BY[control])
    actions[:, own] = rng.uniform(0, 0.8, 120)
    # A jaw that drops takes the corners of the mouth down with it, which a test of smiles leaves out.
    for name in {"jaw open": ("left lid", "brows up"), "smile": ("left lid", "brows up")}.get(control, ("jaw",)):
        actions[:, ACTIONS.index(name)] = rng.uniform(0, 0.5, 120)
    angles = rng.uniform(-0.5, 0.5, (120, 3)) * face.ANGLE_UNITS
    measured = face.measure(posed(mean_face, actions, angles), 256)[:, face.NAMES.index(control)]
    assert np.corrcoef(measured, actions[:, own])[0, 1] > 0.95


# How far the points that define a control go for one unit of it, in face heights or, of lids and irises, eye widths.
LOWER, UPPER, CORNERS = (87, 14, 317), (82, 13, 312), (61, 291)
ONE_UNIT = {
    "jaw open": ((LOWER, (0, 0.16, 0)),),
    "smile": ((CORNERS, (0, -0.05, 0)),),
    "mouth wide": (((61,), (-0.045, 0, 0)), ((291,), (0.045, 0, 0))),
    "pucker": ((CORNERS, (0, 0, 0.045)),),
    "mouth sideways": (((*LOWER, *UPPER, 37, 0, 267, 84, 17, 314), (0.05, 0, 0)),),
    "brows up": (((70, 63, 105, 66, 107, 300, 293, 334, 296, 336), (0, -0.05, 0)),),
    "brows down": (((107, 55, 336, 285), (0, 0.03, 0)),),
    "close left eye": (((386, 385, 387), (0, 0.22, 0)),),
    "close right eye": (((159, 158, 160), (0, 0.22, 0)),),
    "look sideways": (((468, 473), (0.2, 0, 0)),),
    "look up": (((468, 473), (0, -0.12, 0)),),
}


@pytest.mark.parametrize("control", ONE_UNIT)
def test_each_control_is_recovered_in_its_own_units_from_real_faces(people, control):
    """Five people, their heads turned, placed and sized at random, their landmarks off by a tenth of a pixel."""
    rng = np.random.default_rng(2)
    told, measured = [], []
    for landmarks in people:
        pose = face.head_pose(landmarks[None])
        own = np.repeat(pose.to_head(landmarks[None]), 40, 0)
        unit = 1.0
        if control.startswith(("close", "look")):
            unit = np.linalg.norm(own[0, 263] - own[0, 362])
        amounts = rng.uniform(0, 0.6, 40)
        for points, move in ONE_UNIT[control]:
            own[:, points] += amounts[:, None, None] * unit * np.array(move)
        angles = rng.uniform(-0.5, 0.5, (40, 3)) * face.ANGLE_UNITS
        place = rng.uniform(100, 156, (40, 3)) * [1, 1, 0]
        posed = face.HeadPose(face.rotation_of(*angles.T), rng.uniform(100, 160, 40), place).to_picture(own)
        values = face.measure(posed + rng.normal(0, 0.1, posed.shape), 256)[:, face.NAMES.index(control)]
        told.append(amounts - amounts.mean())
        measured.append(values - values.mean())
    told, measured = np.concatenate(told), np.concatenate(measured)
    assert np.corrcoef(told, measured)[0, 1] > 0.95
    assert 0.9 < (told @ measured) / (told @ told) < 1.1


def test_landmarks_of_the_detector_measure_like_those_they_were_made_of(track):
    seen = face.read_detections(helpers.detected(track, (256, 256)))
    assert seen.missing == 0 and seen.size == (256, 256)
    assert np.abs(seen.controls() - face.measure(track, 256)).max() < 0.02


def test_one_of_several_faces_is_followed(track):
    value = helpers.detected(track, (256, 512))
    other = helpers.detected(track[::-1] * 0.5 + [256, 0, 0], (256, 512))
    for place, (here, there) in enumerate(zip(value["frames"], other["frames"], strict=True)):
        here.insert(place % 2, there[0])
    largest = face.read_detections(value, "largest")
    right = face.read_detections(value, "nearest", point=(0.9, 0.2))
    assert np.abs(largest.landmarks - track).max() < 1
    assert np.abs(right.landmarks[..., :2] - (track[::-1] * 0.5 + [256, 0, 0])[..., :2]).max() < 1
    with pytest.raises(ValueError, match="there is no index 2"):
        face.read_detections(value, "index", 2)


def test_frames_without_a_face_are_bridged_or_held(track):
    gone = track.copy()
    gone[20:30] = np.nan
    controls = face.read_detections(helpers.detected(gone, (256, 256))).controls()
    bridged, held = (face.filled(controls, policy) for policy in ("interpolate", "hold"))
    assert np.array_equal(held[25], held[19]) and np.array_equal(bridged[40], controls[40])
    assert np.allclose(bridged[25], controls[19] + (controls[30] - controls[19]) * 6 / 11, atol=1e-5)
    with pytest.raises(ValueError, match="None of the 75 frames shows a face"):
        face.filled(np.full_like(controls, np.nan), "hold")


def test_calibration_puts_the_driver_at_rest(track):
    controls = face.measure(track, 256)
    assert np.array_equal(face.calibrated(controls, "absolute"), controls)
    assert not face.calibrated(controls, "neutral frame", 7)[7].any()
    automatic = face.calibrated(controls, "automatic")
    lids = [face.NAMES.index(name) for name in ("close left eye", "close right eye")]
    assert np.abs(np.median(automatic, 0)).max() < 0.15
    assert np.median(automatic[:, lids]) < 0.1 < automatic[:, lids].max(), "open eyes are rest, a blink is not"
    with pytest.raises(ValueError, match="frames 0 to 74"):
        face.calibrated(controls, "neutral frame", 75)


def test_place_counts_as_in_a_crop_around_the_head(track):
    """The same talker, small in a wide picture."""
    wide = track * 0.25 + np.array([900, 300, 0])
    near, far = (
        face.steady_place(face.calibrated(face.measure(points, size), "absolute"))
        for points, size in ((track, 256), (wide, (1920, 1080)))
    )
    assert np.abs(near - far).max() < 0.02


def test_smoothing_takes_jitter_and_leaves_blinks(track):
    rng = np.random.default_rng(0)
    clean = np.zeros((100, 20))
    lid = face.NAMES.index("close left eye")
    clean[48:53, lid] = [0.5, 1.0, 1.0, 0.7, 0.2]
    noisy = clean + rng.normal(0, 0.02, clean.shape)
    smooth = face.smoothed(noisy, 0.4, FPS)
    assert np.abs(smooth[47:54, lid] - noisy[47:54, lid]).max() < 0.03, "the blink"
    quiet = np.r_[0:40, 60:100]
    assert smooth[quiet][:, lid].std() < 0.6 * noisy[quiet][:, lid].std()
    assert np.abs(np.diff(smooth[:, :3], 2, axis=0)).mean() < 0.15 * np.abs(np.diff(noisy[:, :3], 2, axis=0)).mean()
    assert np.array_equal(face.smoothed(noisy, 0, FPS), noisy)


def test_smoothing_has_no_delay():
    wave = np.sin(np.arange(200) / 12)[:, None] * np.ones(20)
    smooth = face.smoothed(wave, 0.3, FPS)
    lags = [np.corrcoef(smooth[10:-10, 0], np.roll(wave[:, 0], lag)[10:-10])[0, 1] for lag in (-1, 0, 1)]
    assert np.argmax(lags) == 1


def test_what_the_capture_does_not_say_stays_unknown_through_smoothing():
    controls = np.random.default_rng(0).normal(size=(20, 20))
    controls[:, 3:6] = np.nan
    smooth = face.smoothed(controls, 0.3, FPS)
    assert np.isnan(smooth[:, 3:6]).all() and np.isfinite(smooth[:, 6:]).all()


def test_named_directions_follow_their_controls_and_back(track):
    controls = face.measure(track, 256)
    motion, idle = face.driven(controls, FPS, OURS, 32, NAMED | {20: Direction("mystery", -1, 1)})
    assert idle == ["mystery"] and motion.fps == FPS and motion.directions == 32
    assert np.allclose(motion.codes[:, :20].numpy(), 3 * controls, atol=1e-5) and not motion.codes[:, 20:].any()
    assert np.allclose(face.to_controls(motion, NAMED), controls, atol=1e-5)


def test_lia_x_follows_by_its_published_names():
    controls = np.zeros((3, 20), np.float32)
    for row, (name, value) in enumerate((("turn", -1), ("jaw open", 1), ("close left eye", 1))):
        controls[row, face.NAMES.index(name)] = value
    motion, idle = face.driven(controls, FPS, OURS, 40, LIAX_DIRECTIONS)
    index = {direction.name: i for i, direction in LIAX_DIRECTIONS.items()}
    assert motion.codes[0, index["yaw"]] == -1.0
    assert motion.codes[1, index["mouth open(-) close(+)"]] == pytest.approx(-0.4)
    assert motion.codes[2, index["eyes closed(-) open(+)"]] == pytest.approx(-0.2)
    assert "neck" in idle and "yaw" not in idle


def test_a_slider_moves_its_control_along_its_range_from_where_the_pose_has_it():
    own = torch.full((1, 20), 0.25)
    pose = MotionSequence(own, FPS, OURS)
    smiling, lost = face.expressed(pose, {"turn": -0.5, "smile": 1.0, "close left eye": -1.0}, NAMED)
    changed = dict(zip(face.NAMES, (smiling.codes - own)[0].tolist(), strict=True))
    assert not lost and smiling.fps == FPS and smiling.animator == OURS
    assert {name: value for name, value in changed.items() if value} == pytest.approx(
        {"turn": -1.5, "smile": 3.0, "close left eye": -0.9}
    )


def test_sliders_that_nothing_follows_are_named():
    some = {0: Direction("turn", -3.0, 3.0), 1: Direction("", 0.0, 0.0)}
    pose = MotionSequence(torch.zeros(1, 2), FPS, OURS)
    turned, lost = face.expressed(pose, {"turn": 1.0, "smile": 0.5, "nod": 0.0}, some)
    assert turned.codes.tolist() == [[3.0, 0.0]] and lost == ["smile"]
    liax = MotionSequence(torch.zeros(1, 40), FPS, OURS)
    blinking, lost = face.expressed(liax, {"close left eye": 1.0, "close right eye": 1.0}, LIAX_DIRECTIONS)
    (eyes,) = (i for i, direction in LIAX_DIRECTIONS.items() if direction.name == "eyes closed(-) open(+)")
    assert not lost and blinking.codes[0, eyes] == pytest.approx(LIAX_DIRECTIONS[eyes].low)


def test_an_animator_without_names_is_refused():
    with pytest.raises(ValueError, match="none has a name.*Use leo-face-128 or LIA-X"):
        face.driven(np.zeros((2, 20), np.float32), FPS, OURS, 20, {3: Direction("", -1, 1)})


@pytest.mark.parametrize(
    "value, message",
    [
        (None, "Connect that output"),
        ({"frames": []}, "Connect that output"),
        ({"frames": [], "image_size": (1, 1)}, "no pictures"),
    ],
)
def test_something_else_than_landmarks_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        face.read_detections(value)


def test_landmarks_without_irises_are_refused_and_broken_ones_count_as_no_face(track):
    value = helpers.detected(track[:3], (256, 256))
    value["frames"][1][0]["landmarks_xy"][5] = np.nan
    assert face.read_detections(value).missing == 1
    value["frames"][1][0]["landmarks_xy"] = value["frames"][1][0]["landmarks_xy"][:468]
    with pytest.raises(ValueError, match="expected 478 with irises"):
        face.read_detections(value)

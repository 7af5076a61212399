"""Faces compared by landmarks: tracks whose motion, gain and shape are known."""

import json
from pathlib import Path

import numpy as np
import pytest

from leo_core.__main__ import main
from leo_core.face import HeadPose, head_pose, rotation_of
from leo_core.training import evaluate_landmarks
from leo_core.training.evaluate_landmarks import (
    Pair,
    find_all,
    pairs,
    proportions,
    report,
    save_recording,
    summary,
    table,
)
from leo_core.training.landmarks import read_landmarks

ROOT = Path(__file__).resolve().parent.parent.parent
FACE = read_landmarks(ROOT / "tests" / "data" / "astronaut_landmarks.npz")["astronaut.png"][0].astype(np.float64)
POSE = head_pose(FACE[None])
HEAD = POSE.to_head(FACE[None])[0]
JAW = [87, 14, 317, 84, 17, 314, 148, 152, 377]
UPPER_LIDS = {"left": [386, 385, 387], "right": [159, 158, 160]}
WAVES = np.sin(np.linspace(0, 9, 30)[:, None] * [1, 1.7, 2.3, 0.6])


def acting(
    jaw: np.ndarray, left_lid: np.ndarray, turn: np.ndarray, tilt: np.ndarray, head: np.ndarray = HEAD
) -> np.ndarray:
    """Landmarks [T, 478, 3] of a face that does this; lengths in face heights, angles in radians."""
    moved = np.repeat(head[None], len(jaw), 0)
    moved[:, JAW, 1] += jaw[:, None]
    moved[:, UPPER_LIDS["left"], 1] += left_lid[:, None]
    pose = HeadPose(
        rotation_of(turn, np.zeros_like(turn), tilt),
        np.repeat(POSE.scale, len(jaw)),
        np.repeat(POSE.origin, len(jaw), 0),
    )
    return pose.to_picture(moved)


def drive(*gains: float, head: np.ndarray = HEAD) -> np.ndarray:
    return acting(*(WAVES * [0.05, 0.004, 0.3, 0.1] * gains + [0.06, 0, 0, 0]).T, head=head)


def test_gain_and_correlation_are_those_of_each_movement_alone():
    figures = summary(
        [Pair("a", drive(1, 1, 1, 1), drive(0.5, 0, 0.8, -1)), Pair("b", drive(0.4, 1, 1, 1), drive(0.2, 0, 0.8, -1))]
    )
    rows = figures["rows"]
    for row, gain in (("mouth opening", 0.5), ("yaw", 0.8), ("roll", -1.0)):
        assert rows[row]["gain"] == pytest.approx(gain, abs=0.01), row
        assert rows[row]["correlation"] == pytest.approx(np.sign(gain), abs=0.01), row
    assert abs(rows["left eye"]["gain"]) < 0.02 and figures["lost"] == 0
    still = summary([Pair("still", np.repeat(FACE[None], 3, 0), drive(1, 1, 1, 1)[:3])])
    assert still["rows"]["yaw"]["gain"] is None and "| yaw | - | - |" in table(still, "Title")


def test_what_a_clip_is_like_on_average_does_not_count_as_following():
    """Two clips, one with an open mouth throughout: rendered likewise, but without any motion."""
    still = drive(0, 0, 0, 0)
    wide = still + 0
    wide[:, JAW, 1] += 10
    figures = summary([Pair("a", drive(1, 1, 1, 1), still), Pair("b", drive(1, 1, 1, 1) + (wide - still), wide)])
    assert abs(figures["rows"]["mouth opening"]["gain"]) < 0.01


def test_distance_is_in_pixels_and_lost_faces_are_counted_and_left_out():
    driving = drive(1, 1, 1, 1)
    rendered = driving + [3.0, 4.0, 50.0]
    rendered[[3, 7]] = np.nan
    driving[11] = np.nan
    figures = summary([Pair("a", driving, rendered)])
    assert figures["AKD"] == pytest.approx(5) and figures["lost"] == 2 and figures["driving without a face"] == 1
    kept = np.delete(driving, [3, 7, 11], 0)[:, :, :2]
    assert figures["AKD ratio"] == pytest.approx(5 / np.linalg.norm(kept - kept[:1], axis=-1).mean())
    text = table(figures, "Title")
    assert (
        "faces lost 2 (1 driving frames show none)" in text
        and "AKD 5.00 px" in text
        and "| mouth opening | 1.00 | 1.00 |" in text
    )
    assert "faces lost 30" in table(summary([Pair("none", drive(1, 1, 1, 1), np.full((30, 478, 3), np.nan))]), "Title")


def test_a_result_that_becomes_its_driver_is_told_from_one_that_stays_itself():
    photo_head = HEAD * [1.12, 1, 1]  # another person, broader
    photo = acting(*np.zeros((4, 1)), head=photo_head)[0]
    itself, becomes = (Pair("a", drive(1, 1, 1, 1), drive(1, 1, 1, 1, head=head), photo) for head in (photo_head, HEAD))
    far = itself.identity()[2]
    assert far > 0.02
    assert itself.identity()[0] < 0.1 * far and itself.identity()[1] == pytest.approx(far, rel=0.2)
    assert becomes.identity()[1] < 0.1 * far and becomes.identity()[0] == pytest.approx(far, rel=0.2)
    # A face of other proportions makes a little less of the same movement.
    assert itself.expression()[0] < 0.15 * itself.expression()[1]
    assert Pair("a", drive(1, 1, 1, 1), drive(0, 0, 0, 0, head=photo_head), photo).expression()[0] == pytest.approx(
        itself.expression()[1], rel=0.01
    )
    text = table(summary([itself]), "Cross")
    assert "from the photo's" in text and "AKD" not in text


def test_a_turned_head_and_an_open_mouth_keep_a_persons_proportions():
    still, moved = drive(0, 0, 0, 0)[:1], drive(1.5, 2, 2, 2)
    assert np.abs(proportions(moved) - proportions(still)).max() < 0.01
    assert np.abs(proportions(2 * still) - proportions(still)).max() < 1e-6


class Marked:
    """Finds a face as far to the right as the picture's first pixel is red; none where it is black."""

    def __init__(self, video: bool = False):
        assert video

    def faces(self, picture):
        assert picture.shape == (256, 256, 3)
        red = int(picture[0, 0, 0])
        return [FACE + [red, 0, 0]] if red else []


def frames(*reds: int) -> np.ndarray:
    return np.stack([np.full((32, 32, 3), red, np.uint8) for red in reds])


def write_recordings(folder: Path) -> None:
    folder.mkdir()
    save_recording(folder, "000 a", driving=frames(10, 20, 30), rendered=frames(11, 21, 0))
    save_recording(folder, "000 a on 00 b", driver=np.array("000 a"), photo=frames(50), rendered=frames(50, 60, 70))


def test_recordings_are_compared_once_where_mediapipe_is_and_again_from_the_file(tmp_path, monkeypatch, capsys):
    write_recordings(tmp_path / "kept")
    monkeypatch.setattr(evaluate_landmarks, "MediaPipe", Marked)
    assert main(["evaluate-landmarks", str(tmp_path / "kept"), "--json", str(tmp_path / "a.json")]) == 0
    first = capsys.readouterr().out
    assert "rebuilt from the first frame: 1 clips, 3 frames, faces lost 1" in first and "AKD 1.00 px" in first
    assert "on other people's photos: 1 clips, 3 frames, faces lost 0" in first

    monkeypatch.setattr(evaluate_landmarks, "MediaPipe", None)
    file = tmp_path / "kept" / "landmarks.npz"
    assert (
        main(
            ["evaluate-landmarks", str(tmp_path / "kept"), "--landmarks", str(file), "--json", str(tmp_path / "b.json")]
        )
        == 0
    )
    assert capsys.readouterr().out == first
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    assert json.loads((tmp_path / "a.json").read_text())["self"]["per clip"]["000 a"]["lost"] == 1


def test_landmarks_that_do_not_fit_the_recordings_are_refused(tmp_path):
    folder = tmp_path / "kept"
    write_recordings(folder)
    found = find_all(folder, lambda: Marked(video=True))
    with pytest.raises(ValueError, match="lack 000 a/rendered"):
        pairs(folder, {name: track for name, track in found.items() if name != "000 a/rendered"})
    with pytest.raises(ValueError, match="2 rendered frames and 3 driving"):
        pairs(folder, found | {"000 a/rendered": found["000 a/rendered"][:2]})
    with pytest.raises(ValueError, match="photo of 000 a on 00 b"):
        pairs(folder, found | {"000 a on 00 b/photo": np.full((1, 478, 3), np.nan)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="evaluate MODEL"):
        report(tmp_path / "empty")

"""Controls read off pictures, held against those that the pictures were made with."""

import json
from pathlib import Path

import numpy as np

from leo_core.__main__ import main
from leo_core.face import NAMES, measure
from leo_core.training import evaluate_controls
from leo_core.training.humans.motion import CONTROLS
from leo_core.training.landmarks import read_landmarks

FACE = read_landmarks(Path(__file__).resolve().parents[1] / "data" / "astronaut_landmarks.npz")["astronaut.png"][0]
JAW = [87, 14, 317, 84, 17, 314, 148, 152, 377]


def opened(amount: float) -> np.ndarray:
    face = FACE.copy()
    face[JAW, 1] += amount
    return face


class Half:
    """Finds a mouth that opens half as far as the picture's gray says, and nobody in the dark."""

    def faces(self, picture):
        gray = float(picture[0, 0, 0])
        return [opened(gray / 8 / 2)] if gray else []


def folder_of(path: Path, split: str, framing: str = "face") -> Path:
    grays = np.array([0, 40, 80, 120, 160, 200])
    frames = np.broadcast_to(grays[:, None, None, None], (6, 64, 64, 3)).astype(np.uint8)
    controls = measure(np.stack([opened(gray / 8) for gray in grays]), 256)
    if framing == "head":
        jaw = CONTROLS["head"].names.index("open mouth")
        controls = controls[:, [NAMES.index("jaw open")]] * np.eye(10)[jaw]
    np.savez(path / "a.npz", frames=frames, controls=controls)
    entry = {"file": "a.npz", "split": split, "framing": framing}
    (path / "manifest.json").write_text(json.dumps({"clips": [entry]}))
    return path


def test_a_detector_that_sees_half_of_a_movement_has_half_the_gain(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate_controls, "MediaPipe", Half)
    assert main(["evaluate-controls", str(folder_of(tmp_path, "val"))]) == 0
    printed = capsys.readouterr().out
    assert "| jaw open | 1.00 | 0.50 |" in printed
    assert "| turn | 0.00 | 0.00 |" in printed and all(f"| {name} |" in printed for name in NAMES)
    assert "5 frames of 1 clips; no face in 1 more" in printed


def test_a_rendered_head_is_read_by_the_controls_that_say_what_its_rig_does(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate_controls, "MediaPipe", Half)
    assert main(["evaluate-controls", str(folder_of(tmp_path, "train", "head"))]) == 0
    printed = capsys.readouterr().out
    assert "| open mouth | 1.00 | 0.50 |" in printed and "| turn | 0.00 | 0.00 |" in printed
    assert "jaw open" not in printed


def test_a_folder_without_held_out_clips_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate_controls, "MediaPipe", Half)
    assert main(["evaluate-controls", str(folder_of(tmp_path, "train"))]) == 1
    assert "has 0 clips to read" in capsys.readouterr().err

"""``prior-motions``: people in clips and drawn performances become motions that a prior is trained on."""

from pathlib import Path

import numpy as np

from leo_core.__main__ import main
from leo_core.face import CODE_UNIT, NAMES, measure
from leo_core.motion import load_motion
from leo_core.training.landmarks import save_arrays
from leo_core.training.prior_motions import measured
from leo_core.video import read_video

ROOT = Path(__file__).resolve().parent.parent.parent
RECORDING = np.load(ROOT / "tests" / "data" / "talking_face.npz")
FACE_128 = ROOT / "models" / "leo-face-128.safetensors"


def landmarks(frames: int) -> np.ndarray:
    """A face whose jaw opens and closes once a second, [T, 478, 3] in a picture of 256 px."""
    face = np.repeat(RECORDING["mean"][None] * 120 + [128, 128, 0], frames, 0).astype(np.float32)
    chin = face[0, :, 1] > face[0, 13, 1]
    face[:, chin, 1] += 6 * np.sin(2 * np.pi * np.arange(frames)[:, None] / 25)
    return face


def test_a_clip_and_drawn_people_become_motions(tmp_path, capsys, caplog):
    clip = ROOT / "samples" / "woman_talking.mp4"
    frames = sum(1 for _ in read_video(str(clip)))
    save_arrays(tmp_path / "landmarks.npz", {clip.name: landmarks(frames)})
    out = tmp_path / "motions"
    arguments = ["prior-motions", str(FACE_128), str(out), "--performances", "2", "--seconds", "3"]
    assert (
        main(
            [
                *arguments,
                "--clips",
                str(clip),
                str(ROOT / "samples" / "moving.mp4"),
                "--landmarks",
                str(tmp_path / "landmarks.npz"),
            ]
        )
        == 0
    )
    assert "3 motions" in capsys.readouterr().out and "moving.mp4 is left out" in caplog.text
    real = load_motion(out / "real_woman_talking.safetensors")[0]
    assert len(real) == frames and real.fps == read_video(str(clip)).fps
    jaw = real.codes[:, NAMES.index("jaw open")].numpy() / CODE_UNIT
    assert np.ptp(jaw) > 0.2
    drawn = load_motion(out / "act_001.safetensors")[0]
    assert len(drawn) == 75 and drawn.animator == real.animator


def test_what_shows_no_face_or_no_time_makes_no_motion():
    face = landmarks(60)
    face[10] = np.nan
    assert np.isfinite(measured(face, (256, 256), 25)).all()
    face[:20] = np.nan
    assert measured(face, (256, 256), 25) is None
    assert measured(landmarks(20), (256, 256), 25) is None


def test_the_detectors_jitter_is_taken_off_heads_and_no_syllable_off_lips():
    face, nod, jaw = landmarks(75), NAMES.index("nod"), NAMES.index("jaw open")
    shaken = face + np.random.default_rng(0).normal(0, 1, face.shape)  # pixels

    def trembling(controls: np.ndarray) -> float:
        return np.abs(np.diff(controls[:, nod], 2, axis=0)).mean()

    assert trembling(measured(shaken, (256, 256), 25)) < trembling(measure(shaken, (256, 256))) / 4
    assert np.ptp(measured(face, (256, 256), 25)[:, jaw]) > 0.95 * np.ptp(measure(face, (256, 256))[:, jaw])

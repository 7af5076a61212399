"""Write samples/talking.csv, a recording of face capture of nobody: five seconds of talk, blinks, glances and nods,
made of sums of waves.

.dev/venv/bin/python scripts/sample_capture.py
"""

import sys
from fractions import Fraction

import numpy as np
from environment import ROOT

sys.path.append(str(ROOT))
from leo_core import face  # noqa: E402

FPS, SECONDS = 30, 5
BLINKS, GLANCES = (0.8, 2.5, 4.1), ((1.9, 0.5, 0.2), (3.6, -0.6, 0.1))  # seconds; sideways, up
WORDS = ((0.3, 2.2), (2.6, 4.4))


def controls() -> np.ndarray:
    """[T, K]."""
    t = np.arange(FPS * SECONDS) / FPS
    talks = sum(np.clip(np.minimum(t - start, stop - t) / 0.12, 0, 1) for start, stop in WORDS)
    syllable = np.clip(0.5 + 0.5 * np.sin(2 * np.pi * (3.6 * t + 0.35 * np.sin(2.1 * t))), 0, 1) ** 1.5
    stress = 0.55 + 0.45 * np.sin(2 * np.pi * 0.63 * t + 1)
    round_lips = np.clip(np.sin(2 * np.pi * 1.15 * t + 0.6), 0, 1) ** 2
    blink = sum(np.interp(t, at + np.array([-0.09, 0, 0.04, 0.2]), [0, 1, 1, 0]) for at in BLINKS)
    look = sum(np.exp(-(((t - at) / 0.45) ** 4))[:, None] * [side, up] for at, side, up in GLANCES)
    smile = np.interp(t, [0, 2.2, 2.6, 4.3, 5], [0.05, 0.1, 0.35, 0.1, 0.5])
    values = {
        "turn": 0.22 * np.sin(2 * np.pi * 0.21 * t) + 0.12 * look[:, 0],
        "nod": 0.12 * talks * np.sin(2 * np.pi * 0.9 * t) * stress + 0.05,
        "tilt": 0.1 * np.sin(2 * np.pi * 0.17 * t + 0.8),
        "jaw open": 0.5 * talks * syllable * stress,
        "smile": smile,
        "mouth wide": 0.7 * smile - 0.45 * talks * round_lips,
        "pucker": 0.5 * talks * round_lips,
        "lower lip down": 0.2 * talks * syllable,
        "upper lip up": 0.15 * talks * syllable + 0.1 * smile,
        "close left eye": blink + 0.12 * smile,
        "close right eye": blink + 0.12 * smile,
        "brows up": 0.35 * talks * np.clip(stress - 0.7, 0, 1) * 3 + 0.1 * np.clip(look[:, 1], 0, 1),
        "look sideways": look[:, 0],
        "look up": look[:, 1],
    }
    return np.stack([values.get(name, np.zeros_like(t)) for name in face.NAMES], 1).astype(np.float32)


if __name__ == "__main__":
    face.save_capture(ROOT / "samples" / "talking.csv", controls(), Fraction(FPS))

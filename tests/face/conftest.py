"""A face that nobody has: the mean of many portraits, and that face with the movement of a real talker."""

from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[1] / "data" / "talking_face.npz"


def detected(landmarks: np.ndarray, size: tuple[int, int]) -> dict:
    """FACE_LANDMARKS as ComfyUI's detector makes it of landmarks [T, 478, 3] in pixels; NaN is a frame without a
    face."""
    frames = []
    for points in landmarks.astype(np.float64):
        if not np.isfinite(points).all():
            frames.append([])
            continue
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        scale, turn = 140 / (high - low).max(), 0.2  # of the detector's own crop, 192 pixels wide and turned upright
        matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        canonical = np.concatenate([(points[:, :2] - low) @ matrix.T, points[:, 2:] * scale], 1)
        frames.append(
            [
                {
                    "bbox_xyxy": np.array([*low, *high], np.float32),
                    "blendshapes": {},
                    "landmarks_xy": points[:, :2].astype(np.float32),
                    "landmarks_3d": canonical.astype(np.float32),
                    "presence": 0.99,
                    "score": 0.9,
                    "transformation_matrix": np.eye(4),
                }
            ]
        )
    return {"frames": frames, "image_size": size, "connection_sets": {}}


@pytest.fixture(scope="session")
def track() -> np.ndarray:
    """Landmarks of 75 frames at 25 fps in pictures of 256 px."""
    return np.load(DATA)["track"].astype(np.float32)


@pytest.fixture(scope="session")
def mean_face() -> np.ndarray:
    """Landmarks [478, 3] in the head's own frame."""
    return np.load(DATA)["mean"].astype(np.float64)


@pytest.fixture(scope="session")
def people() -> np.ndarray:
    """Landmarks [5, 478, 3] of samples/portrait_1.jpg to portrait_5.jpg, in their 256 px (MediaPipe)."""
    return np.load(DATA.with_name("sample_portraits.npz"))["landmarks"].astype(np.float64)

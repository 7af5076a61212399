"""Faces as ComfyUI's Detect Face Landmarks (MediaPipe) hands them on: one of them chosen, followed, and measured."""

from dataclasses import dataclass

import numpy as np

from ..files import quoted
from ..people import Box, Pick, follow
from .controls import LANDMARKS, measure


@dataclass(frozen=True)
class Detections:
    """One person's face over time.

    :param landmarks: [T, 478, 3] pixels, NaN in frames without a face.
    :param size: (height, width) of the pictures.
    """

    landmarks: np.ndarray
    size: tuple[int, int]

    @property
    def missing(self) -> int:
        """Frames without a face."""
        return int(np.isnan(self.landmarks).any((1, 2)).sum())

    def controls(self) -> np.ndarray:
        """[T, K], NaN in frames without a face."""
        return measure(self.landmarks, (self.size[1], self.size[0]))


def read_detections(
    value: object, pick: Pick = "largest", index: int = 0, point: tuple[float, float] = (0.5, 0.5)
) -> Detections:
    """The face of one person out of a FACE_LANDMARKS: {"frames": a list of faces per picture, "image_size": (height,
    width)}.

    A face has ``landmarks_xy`` [478, 2] in pixels, and ``landmarks_3d`` [478, 3] in a unit of the detector's own,
    whose depth is brought to pixels by the spread of the two in the picture's plane.

    :param pick, index, point: who, as in `crop.crop_subject`.
    :raises ValueError: another structure, no pictures, or nobody of that index.
    """
    if not isinstance(value, dict) or not {"frames", "image_size"} <= value.keys():
        raise ValueError(
            "Expected the face_landmarks of Detect Face Landmarks (MediaPipe): frames and an image_size. Connect that "
            "output."
        )
    frames = value["frames"]
    if not frames:
        raise ValueError("The face landmarks hold no pictures. Detect on at least one.")
    try:
        height, width = (int(side) for side in value["image_size"])
        people = [[_box_of(face) for face in found] for found in frames]
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(
            f"The face landmarks are not those of Detect Face Landmarks (MediaPipe): {quoted(error)}. Connect that "
            "output."
        ) from None
    landmarks = np.full((len(frames), LANDMARKS, 3), np.nan, np.float32)
    for place, who in enumerate(follow(people, (height, width), pick, index, point)):
        if who is not None:
            landmarks[place] = _in_pixels(frames[place][who])
    return Detections(landmarks, (height, width))


def _box_of(face: dict) -> Box:
    left, top, right, bottom = (float(value) for value in face["bbox_xyxy"][:4])
    return left, top, right, bottom


def _in_pixels(face: dict) -> np.ndarray:
    """[478, 3]; NaN when a number is not finite."""
    flat, deep = (np.asarray(face[key], np.float64) for key in ("landmarks_xy", "landmarks_3d"))
    if flat.shape != (LANDMARKS, 2) or deep.shape != (LANDMARKS, 3):
        raise ValueError(
            f"A face has landmarks of shape {list(flat.shape)} and {list(deep.shape)}; expected {LANDMARKS} with "
            "irises. Use Detect Face Landmarks (MediaPipe)."
        )
    points = np.concatenate(
        [flat, deep[:, 2:] * (flat.std(0) ** 2).sum() ** 0.5 / max((deep[:, :2].std(0) ** 2).sum() ** 0.5, 1e-6)], 1
    )
    return points if np.isfinite(points).all() else np.full_like(points, np.nan)

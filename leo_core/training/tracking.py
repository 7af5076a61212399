"""Where the points of real clips move, estimated: the flow that teaches where no exact one is known (our choice).

Between two frames far apart in time a classical estimator errs, and where bodies move it finds few pixels to believe
in. So each frame is followed from its neighbor: OpenCV's DIS, which starts from the flow found there. What that is
worth: docs/training.md.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..files import write_atomically
from .data import Clip, shrunk

DETAIL = 128  # pixels, at least, that clips are read at to be followed, however small the animator
# pixels, at least, of the pictures that DIS sees: it errs by 0.13 of the movement of bodies there, in 128 px by 0.17
SIDE = 256
SPAN = 128  # frames followed in one piece
MISMATCH = 25  # gray levels by which a picture warped by a believed flow may be off


def follow(frames: np.ndarray, reference: int) -> tuple[np.ndarray, np.ndarray]:
    """Flow of every frame to one of them, and where to believe it: forward and backward flow agree, and the
    reference warped by it looks like the frame.

    :param frames: [T, S, S, 3] uint8.
    :return: displacement [T, S, S, 2] float16 in normalized units, as `Clip.flow`, and [T, S, S] bool.
    """
    side = frames.shape[1]
    size = max(side, SIDE)
    scale = size / side
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    estimator.setFinestScale(0)  # limbs are a few pixels wide
    flow = np.zeros((*frames.shape[:3], 2), np.float16)
    believed = np.ones(frames.shape[:3], bool)
    large = cv2.resize(frames[reference], (size, size), interpolation=cv2.INTER_CUBIC)
    gray = cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    for order in (range(reference + 1, len(frames)), range(reference - 1, -1, -1)):
        backward, forward = np.zeros((2, size, size, 2), np.float32)
        for t in order:
            picture = cv2.resize(frames[t], (size, size), interpolation=cv2.INTER_CUBIC)
            seen = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            # the estimator writes into the flow it starts from
            backward, forward = estimator.calc(seen, gray, backward.copy()), estimator.calc(gray, seen, forward.copy())
            place = x + backward[..., 0], y + backward[..., 1]
            error = np.linalg.norm(backward + cv2.remap(forward, *place, cv2.INTER_LINEAR), axis=-1)
            agrees = error < 0.5 * scale + 0.1 * np.linalg.norm(backward, axis=-1)
            mismatch = cv2.absdiff(cv2.remap(large, *place, cv2.INTER_LINEAR), picture).mean(-1)
            agrees &= cv2.blur(mismatch, (round(3 * scale),) * 2) < MISMATCH
            small, share = (
                cv2.resize(v, (side, side), interpolation=cv2.INTER_AREA) for v in (backward, agrees.astype(np.float32))
            )
            flow[t], believed[t] = small * (2 / size), share > 0.5
    return flow, believed


def spans(clip: Clip) -> Iterator[Clip]:
    """The clip in pieces of up to SPAN frames, about as long as each other."""
    count = -(-len(clip.frames) // SPAN)
    for frames in np.array_split(clip.frames, count):
        yield replace(clip, frames=frames)


def track(clips: list[Clip], size: int, folder: Path | None = None) -> list[Clip]:
    """Clips at size x size pixels, all with flow. Each piece of one that had none comes back twice: with flow to its
    first frame and to its middle one.

    :param clips: without flow of max(size, DETAIL) pixels; with flow of size.
    :param folder: where flow is kept, for the next run on the same clips.
    """
    done = [clip for clip in clips if clip.flow is not None]
    pieces = [piece for clip in clips if clip.flow is None for piece in spans(clip)]
    for piece in tqdm(pieces, desc="following real clips", disable=None if pieces else True):
        for reference in (0, len(piece.frames) // 2):
            flow, believed = remembered(piece.frames, reference, folder)
            done.append(shrunk(replace(piece, flow=flow, visible=believed, reference=reference, exact=False), size))
    return done


def remembered(frames: np.ndarray, reference: int, folder: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """`follow`, from the folder if it was asked the same before."""
    if folder is None:
        return follow(frames, reference)
    key = hashlib.sha256(repr((frames.shape, reference, SIDE, MISMATCH)).encode() + frames.tobytes()).hexdigest()[:24]
    path = folder / f"{key}.npz"
    if path.is_file():
        with np.load(path) as data:
            return data["flow"], data["believed"]
    flow, believed = follow(frames, reference)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, flow=flow, believed=believed))
    return flow, believed

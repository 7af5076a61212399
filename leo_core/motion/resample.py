"""The same movement in another number of frames, at another speed or frame rate; and frames that are missing."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from scipy import sparse
from scipy.interpolate import CubicSpline

from .edit import trim
from .sequence import MOST_FRAMES, MotionSequence

Missing = Literal["hold", "interpolate", "pass through"]

PIECE = 2**16  # numbers that resampling works on at once
SPLINE_MEMORY = 32  # frames: a spline forgets by 0.27 a frame, and this is beyond double precision


def stretch(motion: MotionSequence, frames: int) -> MotionSequence:
    """Play the motion in another number of frames at its own frame rate, from the same first to the same last pose.

    The same number of frames gives exactly the input. See `_resample` for the method.

    :raises ValueError: no frames, or a pose stretched: it has no movement to stretch, so only its one frame is
        repeated.
    """
    _require_possible(frames)
    if frames == len(motion):
        return motion
    if len(motion) == 1:
        return replace(motion, codes=motion.codes.repeat(frames, 1))
    if frames == 1:
        return trim(motion, 0, 1)
    codes = _resample(motion.codes, Fraction(len(motion) - 1, frames - 1), frames)
    codes[-1] = motion.codes[-1]
    return replace(motion, codes=codes)


def change_speed(motion: MotionSequence, speed: float) -> MotionSequence:
    """The same movement faster or slower at the same frame rate: 2 takes half the time; one frame at least is left.

    :raises ValueError: a speed that is not a positive number, or so low that the motion gets too long.
    """
    if not 0 < speed < math.inf:
        raise ValueError(
            f"The speed of a motion must be above 0, got {speed}. Use 1 for the original speed, or reverse the motion "
            f"to play it backward."
        )
    return stretch(motion, max(1, round(min(len(motion) / speed, MOST_FRAMES + 1))))


def change_rate(motion: MotionSequence, fps: Fraction) -> MotionSequence:
    """The same movement in the same time at another frame rate; frame i shows time i / fps, so sound stays in step.

    The same rate gives exactly the input. See `_resample` for the method. The result has round(T new / old) frames;
    when that reaches past the last frame, by less than one of its intervals, the movement runs on as it ended.

    :raises ValueError: a frame rate that is not positive.
    """
    if fps <= 0:
        raise ValueError(f"A motion needs a positive frame rate, got {fps}.")
    if fps == motion.fps:
        return motion
    frames = max(1, math.floor(len(motion) * fps / motion.fps + Fraction(1, 2)))
    _require_possible(frames)
    if len(motion) == 1:
        return replace(motion, codes=motion.codes.repeat(frames, 1), fps=fps)
    return replace(motion, codes=_resample(motion.codes, motion.fps / fps, frames), fps=fps)


def _require_possible(frames: int) -> None:
    if not 1 <= frames <= MOST_FRAMES:
        raise ValueError(
            f"The motion would have {frames} frames; 1 to {MOST_FRAMES} are possible. Choose another length, speed or "
            f"frame rate."
        )


def fill_missing(values: torch.Tensor, missing: torch.Tensor, policy: Missing) -> torch.Tensor:
    """Replace the rows of missing frames: motion codes of a clip, or the boxes of a crop.

    :param values: [T, N]; what stands in missing rows does not matter.
    :param missing: bool [T], not all True.
    :param policy: ``interpolate`` between the neighbors, otherwise the last known row is held. Before the first known
        row and after the last, the nearest one is held.
    :return: [T, N]; rows that are not missing are exact.
    """
    known, places = (~missing).nonzero()[:, 0], torch.arange(len(missing))
    before = known[(torch.searchsorted(known, places, right=True) - 1).clamp(min=0)]
    if policy != "interpolate":
        return values[before]
    after = known[torch.searchsorted(known, places).clamp(max=len(known) - 1)]
    share = ((places - before) / (after - before).clamp(min=1)).clamp(0, 1).to(values)[:, None]
    return torch.lerp(values[before], values[after], share)


def _resample(codes: torch.Tensor, step: Fraction, frames: int) -> torch.Tensor:
    """Codes [T, D] at the positions 0, step, 2 step, .. as [frames, D], with T >= 2.

    When the rate rises: a cubic spline through the frames (natural ends), which returns a frame unchanged where a
    position meets it. When it falls (step > 1): a Hann-windowed sinc of ten zero crossings to a side, which passes
    only what the new rate can carry (the usual filter of sound resamplers), with the motion continued
    point-symmetrically beyond its ends so that the ends stay. Both in double precision and piece by piece: in time
    proportional to the longer motion, and in hardly more memory than the result takes.
    """
    values = codes.numpy()
    half_width = min(10 * float(step), len(values) - 1)
    reach = SPLINE_MEMORY if step <= 1 else math.ceil(half_width)
    piece = max(1, PIECE // (values.shape[1] if step <= 1 else 2 * reach + 2))
    result = torch.empty(frames, values.shape[1])
    for start in range(0, frames, piece):
        # multiplied before divided: positions that meet a frame are whole numbers exactly
        positions = np.arange(start, min(start + piece, frames), dtype=np.float64) * step.numerator / step.denominator
        first, last = math.floor(positions[0]) - reach, math.floor(positions[-1]) + reach + 1
        if step <= 1:
            first, last = max(first, 0), min(last, len(values) - 1)
            part = CubicSpline(
                np.arange(first, last + 1), values[first : last + 1].astype(np.float64), bc_type="natural"
            )(positions)
        else:
            part = _filter(_continued(values, first, last), positions - first, float(step), half_width, reach)
        result[start : start + piece] = torch.from_numpy(part)
    return result


def _filter(values: np.ndarray, positions: np.ndarray, step: float, half_width: float, reach: int) -> np.ndarray:
    """Values [T, D] at positions [P], through a windowed sinc that passes what every step-th frame can carry: [P,
    D]."""
    nearest = np.floor(positions).astype(np.int64)
    taps = nearest[:, None] + np.arange(-reach, reach + 2)
    distance = taps - positions[:, None]
    weights = np.sinc(distance / step) * np.cos(0.5 * np.pi * np.clip(distance / half_width, -1, 1)) ** 2
    weights /= weights.sum(1, keepdims=True)
    rows = np.arange(len(positions) + 1) * taps.shape[1]
    return sparse.csr_array((weights.ravel(), taps.ravel(), rows), shape=(len(positions), len(values))) @ values


def _continued(values: np.ndarray, first: int, last: int) -> np.ndarray:
    """Values [T, D] from frame first to last in double precision, point-symmetric beyond their ends by up to T
    frames."""
    end = len(values) - 1
    frame = np.arange(first, last + 1)
    rows = values[np.clip(np.where(frame > end, 2 * end - frame, np.abs(frame)), 0, end)].astype(np.float64)
    for beyond, pole in ((frame < 0, 0), (frame > end, end)):
        rows[beyond] = 2 * values[pole].astype(np.float64) - rows[beyond]
    return rows

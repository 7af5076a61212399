"""Editing motion: transfer, displacement along directions, blending, trimming, loops, smoothing, exaggeration."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from scipy import linalg

from .sequence import MotionSequence, pose_code, require_compatible

MAX_PERIOD = 2000  # frames; the smoother's equations lose their digits beyond


def transfer(
    driving: MotionSequence,
    source_pose: MotionSequence,
    mode: Literal["relative", "absolute"] = "relative",
    reference: int = 0,
    gain: float | torch.Tensor = 1.0,
) -> MotionSequence:
    """Put the motion of one subject on another: the effective codes to render the source picture with (LIA's two
    modes).

    Relative: source + gain (driving_t - driving_reference). A driving frame equal to the reference gives exactly the
    source's codes. Absolute: source + gain (driving_t - source), which at gain 1 is exactly driving_t.
    Gain 0 holds the source's pose in both modes (the gain is our choice; LIA's is 1).

    :param driving: the motion to follow; the result has its length and frame rate.
    :param source_pose: a motion of one frame, the source picture's own code.
    :param reference: index of the driving frame that corresponds to the source's pose; negative counts from the end.
    :param gain: how far to follow, a number or one per direction [D].
    :raises ValueError: another animator, a source pose of more than one frame, or a reference outside the driving
        motion.
    """
    require_compatible("driving motion", driving, "source pose", source_pose)
    pose = pose_code(source_pose)
    gain = torch.as_tensor(gain, dtype=torch.float32)
    if mode == "absolute":
        return replace(
            driving, codes=torch.lerp(pose.expand_as(driving.codes), driving.codes, gain.expand_as(driving.codes))
        )
    if mode != "relative":
        raise ValueError(f"Motion is transferred 'relative' or 'absolute', got '{mode}'.")
    if not -len(driving) <= reference < len(driving):
        raise ValueError(
            f"The reference frame {reference} is outside the driving motion, which has {len(driving)} frames. "
            f"Choose 0 to {len(driving) - 1}."
        )
    return replace(driving, codes=pose + gain * (driving.codes - driving.codes[reference]))


def closest_frame(motion: MotionSequence, pose: MotionSequence) -> int:
    """Index of the frame whose pose is nearest to a given one, the first of equals.

    The Euclidean distance of codes is that of latents, since the dictionary is orthonormal. As a reference for
    relative transfer it starts the two subjects from the same pose (our choice, after the best-frame search of
    first-order motion models).

    :raises ValueError: another animator, or a pose of more than one frame.
    """
    require_compatible("motion", motion, "pose", pose)
    return int((motion.codes - pose_code(pose)).square().sum(1).argmin())


def edit_directions(
    motion: MotionSequence, amounts: torch.Tensor, weight: float | torch.Tensor = 1.0
) -> MotionSequence:
    """Add a fixed displacement along the motion directions, all the time or along a curve.

    :param amounts: [D] in code units; zero leaves a direction exactly as it is.
    :param weight: how much of it applies, a number or one per frame [T].
    :raises ValueError: amounts or weights of another length than the motion's directions or frames.
    """
    if amounts.shape != (motion.directions,):
        raise ValueError(f"The edit has {amounts.numel()} amounts, but the motion has {motion.directions} directions.")
    return replace(motion, codes=motion.codes + _per_frame(weight, motion) * amounts)


def blend(first: MotionSequence, second: MotionSequence, weight: float | torch.Tensor) -> MotionSequence:
    """Mix two motions: weight 0 is exactly the first, 1 exactly the second. A pose blends with every frame of the
    other.

    :param weight: a number or one per frame [T].
    :raises ValueError: another animator, or clips of different lengths or frame rates.
    """
    require_compatible("first motion", first, "second motion", second)
    if len(first) != 1 and len(second) != 1 and (len(first) != len(second) or first.fps != second.fps):
        raise ValueError(
            f"The first motion has {len(first)} frames at {first.fps} fps, the second {len(second)} at {second.fps}. "
            f"Make them alike with LEO Retime Motion or LEO Trim Motion."
        )
    longest = max(first, second, key=len)
    start, end = torch.broadcast_tensors(first.codes, second.codes)
    return replace(longest, codes=torch.lerp(start, end, _per_frame(weight, longest)))


def trim(motion: MotionSequence, start: int = 0, frames: int | None = None) -> MotionSequence:
    """The frames start .. start + frames of a motion; None for all that follow.

    :raises ValueError: nothing is left, or the range reaches beyond the motion.
    """
    stop = len(motion) if frames is None else start + frames
    if not 0 <= start < stop <= len(motion):
        raise ValueError(
            f"Frames {start} to {stop - 1} were asked for, but the motion has frames 0 to {len(motion) - 1}."
        )
    return replace(motion, codes=motion.codes[start:stop])


def reverse(motion: MotionSequence) -> MotionSequence:
    """The motion backwards."""
    return replace(motion, codes=motion.codes.flip(0))


def repeat(motion: MotionSequence, frames: int) -> MotionSequence:
    """Repeat a motion until it has this many frames, or cut it short. A last frame that equals the first is not shown
    twice.

    :param frames: 1 or more.
    """
    if frames == len(motion):
        return motion
    closed = len(motion) > 1 and torch.equal(motion.codes[0], motion.codes[-1])
    return replace(motion, codes=motion.codes[torch.arange(frames) % (len(motion) - closed)])


def ping_pong(motion: MotionSequence) -> MotionSequence:
    """There and back as one period of a loop: the turning frames are not doubled, so T frames become 2 T - 2."""
    return replace(motion, codes=torch.cat([motion.codes, motion.codes.flip(0)[1:-1]]))


def smooth(motion: MotionSequence, seconds: float) -> MotionSequence:
    """Remove fast movement without delay, keeping each direction's mean and its first and last pose.

    A Whittaker-Henderson smoother (the trend of a Hodrick-Prescott filter): the codes y that minimize
    |y - x|^2 + lambda |second difference of y|^2, here under the conditions that the ends and the mean stay (our
    choice).
    It is linear, zero-phase and solved for the whole clip at once, in time and memory proportional to it.

    :param seconds: period whose amplitude is halved; slower movement passes, faster is removed. 0 changes nothing.
        Periods above MAX_PERIOD frames act like that many.
    :raises ValueError: a negative period.
    """
    if not seconds >= 0:
        raise ValueError(f"The smoothing period must be 0 seconds or more, got {seconds}.")
    if seconds == 0 or len(motion) < 4:  # the conditions alone fix three frames
        return motion
    result = torch.from_numpy(whittaker(motion.codes.numpy(), seconds * float(motion.fps)).astype(np.float32))
    result[[0, -1]] = motion.codes[[0, -1]]
    return replace(motion, codes=result)


def whittaker(values: np.ndarray, period: float) -> np.ndarray:
    """What `smooth` does, to any values [T, D] and with the period in frames: float64 [T, D]."""
    frames, values = len(values), values.astype(np.float64)
    if period <= 0 or frames < 4:
        return values
    penalty = (
        min(period, MAX_PERIOD) / (2 * math.pi)
    ) ** 4  # gain 1 / (1 + penalty w^4) is one half at w = 2 pi / period
    bands = np.zeros((3, frames))
    for offset, products in enumerate(([1.0, 4.0, 1.0], [-2.0, -2.0], [1.0])):  # of the second difference [1, -2, 1]
        for i, product in enumerate(products):
            bands[offset, i : i + frames - 2] += penalty * product
    bands[0] += 1
    conditions = np.zeros((frames, 3))
    conditions[0, 0] = conditions[-1, 1] = 1
    conditions[:, 2] = 1 / frames
    solved = linalg.solveh_banded(
        bands, np.concatenate([values, conditions], 1), lower=True, overwrite_ab=True, overwrite_b=True
    )
    free, responses = solved[:, :-3], solved[:, -3:]
    multipliers = np.linalg.solve(conditions.T @ responses, conditions.T @ (free - values))
    return free - responses @ multipliers


def amplify(motion: MotionSequence, gain: float | torch.Tensor) -> MotionSequence:
    """Scale the movement around its mean pose: 0 holds the mean, 1 is exactly the input, more exaggerates.

    :param gain: a number or one per direction [D].
    """
    mean = mean_pose(motion).codes.expand_as(motion.codes)
    return replace(
        motion, codes=torch.lerp(mean, motion.codes, torch.as_tensor(gain, dtype=torch.float32).expand_as(mean))
    )


def mean_pose(motion: MotionSequence) -> MotionSequence:
    """The average pose, a motion of one frame."""
    return replace(motion, codes=motion.codes.mean(0, keepdim=True, dtype=torch.float64).float())


def select_directions(
    motion: MotionSequence, chosen: torch.Tensor, rest: MotionSequence | None = None
) -> MotionSequence:
    """Keep the movement in some directions and hold the others still.

    :param chosen: bool [D], True keeps the direction.
    :param rest: the pose that the others hold; the motion's first by default.
    :raises ValueError: another animator, a rest of more than one frame, or a choice of another length.
    """
    rest = rest or trim(motion, 0, 1)
    require_compatible("motion", motion, "rest pose", rest)
    if chosen.shape != (motion.directions,):
        raise ValueError(f"The choice covers {chosen.numel()} directions, but the motion has {motion.directions}.")
    return replace(motion, codes=torch.where(chosen, motion.codes, pose_code(rest)))


def concatenate(motions: Sequence[MotionSequence]) -> MotionSequence:
    """One motion after the other, as they are.

    :raises ValueError: another animator or frame rate, or nothing to join.
    """
    if not motions:
        raise ValueError("There are no motions to join. Connect at least one.")
    first = motions[0]
    for number, motion in enumerate(motions[1:], 2):
        require_compatible("first motion", first, f"motion {number}", motion)
        if motion.fps != first.fps:
            raise ValueError(
                f"The first motion runs at {first.fps} fps, motion {number} at {motion.fps}. Bring them to the same "
                f"rate with LEO Retime Motion."
            )
    return replace(first, codes=torch.cat([motion.codes for motion in motions]))


def _per_frame(weight: float | torch.Tensor, motion: MotionSequence) -> torch.Tensor:
    """A weight as a column [1 or T, 1] beside the motion's codes."""
    weight = torch.as_tensor(weight, dtype=torch.float32).reshape(-1, 1)
    if len(weight) not in (1, len(motion)):
        raise ValueError(f"There are {len(weight)} weights for {len(motion)} frames; give one for all or one for each.")
    return weight

"""Controls over time as motion: calibrated to a face at rest, smoothed, and put on the named directions of an
animator."""

from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np
import torch

from ..identity import AnimatorId, Direction
from ..motion import MotionSequence, fill_missing, whittaker
from ..motion.resample import Missing
from .controls import CONTROLS, NAMES, SIZE_UNIT

GROUPS = tuple(dict.fromkeys(control.group for control in CONTROLS))
_GROUP = np.array([control.group for control in CONTROLS])
Calibration = Literal["absolute", "neutral frame", "automatic"]

# Periods of the smoother, in the period asked for: heads are heavy, lips are not.
_PERIODS = {"head": 1.0, "place": 1.0, "mouth": 0.4, "eyes": 1.0, "brows": 0.6, "gaze": 0.6}
# Lids and gaze that leave their smooth course by more than the first of these are kept more and more, from the second
# on exactly.
_JITTER, _BLINK = 0.1, 0.25

# Directions of other animators that one or two controls move: name -> ((control, weight), ..). These are LIA-X's
# published names; which way its yaw, pitch, roll and eyeballs count is not published, and here follows ours.
_OTHER_NAMES = {
    "yaw": (("turn", 1.0),),
    "pitch": (("nod", 1.0),),
    "roll": (("tilt", 1.0),),
    "pout": (("pucker", 1.0),),
    "mouth open(-) close(+)": (("jaw open", -1.0),),
    "eyes closed(-) open(+)": (("close left eye", -0.5), ("close right eye", -0.5)),
    "eyebrows": (("brows up", 1.0),),
    "eyeballs": (("look sideways", 1.0),),
}


def gains(groups: dict[str, float]) -> np.ndarray:
    """One gain per control, [K], of gains per group; 1 for groups that are not listed."""
    return np.array([groups.get(group, 1.0) for group in _GROUP], np.float32)


def calibrated(controls: np.ndarray, calibration: Calibration, neutral: int = 0) -> np.ndarray:
    """Controls [T, K] counted from a face at rest.

    ``absolute`` leaves them as they are: 0 is the mean person's face at rest. ``neutral frame`` subtracts those of
    one frame, ``automatic`` those of the driver's own rest: the mean of the twentieth of the frames that are nearest
    to the median of all, with half the weight on each control's distance that its spread asks for.

    :param controls: NaN in controls that are not known; no row is NaN altogether.
    :raises ValueError: the neutral frame does not exist.
    """
    if calibration == "absolute":
        return controls
    if calibration == "neutral frame":
        if not 0 <= neutral < len(controls):
            raise ValueError(
                f"The neutral frame {neutral} does not exist: the face has frames 0 to {len(controls) - 1}."
            )
        return controls - controls[neutral]
    if calibration != "automatic":
        raise ValueError(f"Calibration is 'absolute', 'neutral frame' or 'automatic', got '{calibration}'.")
    median = np.median(controls, 0)
    away = np.nan_to_num(np.abs(controls - median) / (np.abs(controls - median).mean(0) + 0.05)).sum(1)
    nearest = np.argsort(away, kind="stable")[: max(1, len(controls) // 20)]
    return controls - controls[nearest].mean(0)


def steady_place(controls: np.ndarray) -> np.ndarray:
    """Place and size [T, K] as in a crop around the head that stands still over the clip, with a face of the size at
    rest.

    Controls that say where a head is count in the picture they were measured in; a small face in a wide picture
    moves little of it, and much of a crop around it.
    """
    result = controls.copy()
    across, down, nearer = (NAMES.index(name) for name in ("across", "down", "nearer"))
    size = np.median(controls[:, nearer])
    for axis in (across, down):
        result[:, axis] = (controls[:, axis] - np.median(controls[:, axis])) / SIZE_UNIT**size
    result[:, nearer] -= size
    return result


def smoothed(controls: np.ndarray, seconds: float, fps: Fraction) -> np.ndarray:
    """Controls [T, K] without jitter, without delay, blinks as quick as they were.

    `whittaker` with a period per group; lids and gaze that move further than jitter does keep their own course.

    :param seconds: period whose amplitude is halved in the head's movement; the face's is shorter. 0 changes nothing.
    """
    result = controls.astype(np.float64)
    for group, period in _PERIODS.items():
        chosen = (_GROUP == group) & np.isfinite(result).all(0)
        values = result[:, chosen]
        slow = whittaker(values, seconds * period * float(fps))
        if group in ("eyes", "gaze"):
            apart = np.abs(values - slow)
            around = np.pad(apart, ((1, 1), (0, 0)), mode="edge")
            apart = np.max([around[:-2], apart, around[2:]], 0)
            share = np.clip((apart - _JITTER) / (_BLINK - _JITTER), 0, 1)
            slow = slow + share * share * (3 - 2 * share) * (values - slow)
        result[:, chosen] = slow
    return result.astype(controls.dtype)


def driven(
    controls: np.ndarray, fps: Fraction, animator: AnimatorId, count: int, directions: dict[int, Direction]
) -> tuple[MotionSequence, list[str]]:
    """Controls on an animator's named directions.

    A direction with the name of a control, as our animators have them, follows it: 1 is the upper end of its range.
    For LIA-X's published names see `_OTHER_NAMES`: 1 and -1 are the ends of their ranges. Directions of other names,
    and controls that are not known (NaN), are left at rest, which is 0.

    :param controls: [T, K].
    :param count: number of the animator's directions.
    :return: the motion, and the names of the directions that stay at rest because nothing here moves them.
    :raises ValueError: no direction has a name that is known.
    """
    values = dict(zip(NAMES, controls.T, strict=True))
    codes = np.zeros((len(controls), count), np.float32)
    idle, moved = [], 0
    for index, direction in directions.items():
        name = direction.name.casefold()
        if name in values:
            codes[:, index] = np.nan_to_num(values[name]) * direction.high
        elif name in _OTHER_NAMES:
            value = sum(weight * np.nan_to_num(values[control]) for control, weight in _OTHER_NAMES[name])
            codes[:, index] = np.where(value >= 0, value * direction.high, -value * direction.low)
        else:
            if direction.name:
                idle.append(direction.name)
            continue
        moved += 1
    if not moved:
        named = ", ".join(direction.name for direction in directions.values() if direction.name)
        raise ValueError(
            f"The animator {animator} has no direction named after a face control "
            f"({named or 'none has a name'}), so a face "
            f"cannot drive it. Use leo-face-128 or LIA-X, or read a driving video with LEO Motion Encoder."
        )
    return MotionSequence(torch.from_numpy(codes), fps, animator), idle


def expressed(
    pose: MotionSequence, amounts: dict[str, float], directions: dict[int, Direction]
) -> tuple[MotionSequence, list[str]]:
    """A pose changed by face controls.

    :param pose: a motion of one frame.
    :param amounts: control -> how far to move it from where the pose has it: 1 by all that its range has above rest,
        -1 by all below. Controls that are not listed stay.
    :return: the new pose, and the listed controls other than 0 that no direction follows.
    :raises ValueError: no direction has a name that is known.
    """
    ranges = {control.name: (control.low, control.high) for control in CONTROLS}
    controls = np.zeros((1, len(NAMES)), np.float32)
    for name, amount in amounts.items():
        low, high = ranges[name]
        controls[0, NAMES.index(name)] = amount * (high if amount >= 0 else -low)
    change, _ = driven(controls, pose.fps, pose.animator, pose.directions, directions)
    named = {direction.name.casefold() for direction in directions.values()}
    followed = named | {control for name in named for control, _ in _OTHER_NAMES.get(name, ())}
    lost = [name for name, amount in amounts.items() if amount and name not in followed]
    return replace(pose, codes=pose.codes + change.codes), lost


def filled(controls: np.ndarray, missing: Missing) -> np.ndarray:
    """Controls [T, K] with frames that have no face, all NaN, held or interpolated.

    :raises ValueError: no frame has a face.
    """
    absent = np.isnan(controls).all(1)
    if absent.all():
        raise ValueError(
            f"None of the {len(controls)} frames shows a face. Lower the detector's confidence, or crop closer."
        )
    return fill_missing(torch.from_numpy(controls), torch.from_numpy(absent), missing).numpy()


def to_controls(motion: MotionSequence, directions: dict[int, Direction]) -> np.ndarray:
    """Controls [T, K] of a motion of one of our animators: the way back of `driven`, NaN where it has no such
    direction.

    :raises ValueError: no direction has the name of a control.
    """
    places = {direction.name.casefold(): (index, direction.high) for index, direction in directions.items()}
    known = [name for name in NAMES if name in places]
    if not known:
        raise ValueError(
            f"The directions of animator {motion.animator} are not named after face controls, so other rigs "
            "cannot use their motion. Use leo-face-128."
        )
    controls = np.full((len(motion), len(NAMES)), np.nan, np.float32)
    for name in known:
        index, high = places[name]
        controls[:, NAMES.index(name)] = motion.codes[:, index].numpy() / high
    return controls

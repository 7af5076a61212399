"""A motion: a sequence of motion codes with a frame rate, and the animator whose codes they are."""

import re
from dataclasses import dataclass
from fractions import Fraction

import torch

from ..identity import AnimatorId, require_same_animator

FPS = re.compile(r"[1-9]\d{0,11}(/[1-9]\d{0,11})?", re.ASCII)
MOST_FRAMES = 10_000_000  # four days at 25 fps


@dataclass(frozen=True)
class MotionSequence:
    """Motion codes of one subject over time (LEO's a = [alpha_1 .. alpha_L]). Immutable: operations return new ones.

    :param codes: [T, D] float32 on the CPU, finite, T >= 1; T == 1 is a pose.
    :param fps: frames per second, exact and positive.
    :param animator: the animator whose codes these are.
    :raises ValueError: codes of another shape or dtype, not finite, or fps not positive.
    """

    codes: torch.Tensor
    fps: Fraction
    animator: AnimatorId

    def __post_init__(self):
        if self.codes.ndim != 2 or 0 in self.codes.shape:
            raise ValueError(f"A motion needs codes of shape [frames, directions], got {list(self.codes.shape)}.")
        if self.codes.dtype != torch.float32 or self.codes.device.type != "cpu":
            raise ValueError(f"Motion codes are float32 on the CPU, got {self.codes.dtype} on {self.codes.device}.")
        if not torch.isfinite(self.codes).all():
            raise ValueError("The motion holds codes that are not finite (NaN or infinite). Encode or sample it again.")
        if self.fps <= 0:
            raise ValueError(f"A motion needs a positive frame rate, got {self.fps}.")

    def __len__(self) -> int:
        return self.codes.shape[0]

    @property
    def directions(self) -> int:
        return self.codes.shape[1]


def pose_code(pose: MotionSequence) -> torch.Tensor:
    """The [D] code of a motion of one frame."""
    if len(pose) != 1:
        raise ValueError(
            f"A pose is a motion of one frame, got {len(pose)} frames. Use the pose of LEO Encoder, or cut one frame "
            f"with LEO Trim Motion."
        )
    return pose.codes[0]


def require_compatible(first_what: str, first: MotionSequence, second_what: str, second: MotionSequence) -> None:
    """Raise ValueError unless two motions hold codes of the same animator."""
    require_same_animator(first_what, first.animator, second_what, second.animator)
    require_directions(first_what, first, second_what, second.directions)


def require_directions(what: str, motion: MotionSequence, other_what: str, directions: int) -> None:
    """Raise ValueError unless a motion has as many directions as what it is used with, which a damaged or forged
    file may not.

    :param other_what: what has ``directions`` of them, for the message ("animator", "motion prior", "pose").
    """
    if motion.directions != directions:
        raise ValueError(
            f"The {what} has {motion.directions} directions and the {other_what} {directions}, although both name "
            f"animator {motion.animator}: one of them is damaged. Encode the {what} again."
        )

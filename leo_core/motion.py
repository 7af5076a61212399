"""Motion as data: a sequence of motion codes, a few numbers per frame."""
from dataclasses import dataclass
from fractions import Fraction

import torch

from .identity import AnimatorId


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

"""Motion as data: a sequence of motion codes, a few numbers per frame, and what can be done with it before rendering.

Every operation is a pure function of MotionSequence values: nothing is changed in place, nothing is random, and an
operation that has nothing to do (a gain of one, a zero edit, a blend weight of zero) returns its input's codes bit for bit.
The motion dictionary is linear and orthonormal (LIA, LEO), so sums and differences of codes are sums and differences of
displacements of the latent code, and distances between codes are distances between latents.
"""
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import torch

from .identity import AnimatorId, require_same_animator


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


def transfer(
    driving: MotionSequence,
    source_pose: MotionSequence,
    mode: Literal["relative", "absolute"] = "relative",
    reference: int = 0,
    gain: float | torch.Tensor = 1.0,
) -> MotionSequence:
    """Put the motion of one subject on another: the effective codes to render the source picture with (LIA's two modes).

    Relative: source + gain (driving_t - driving_reference). A driving frame equal to the reference gives exactly the
    source's codes. Absolute: source + gain (driving_t - source), which at gain 1 is exactly driving_t.
    Gain 0 holds the source's pose in both modes (the gain is our choice; LIA's is 1).

    :param driving: the motion to follow; the result has its length and frame rate.
    :param source_pose: a motion of one frame, the source picture's own code.
    :param reference: index of the driving frame that corresponds to the source's pose; negative counts from the end.
    :param gain: how far to follow, a number or one per direction [D].
    :raises ValueError: another animator, a source pose of more than one frame, or a reference outside the driving motion.
    """
    _require_compatible("driving motion", driving, "source pose", source_pose)
    pose = _pose_code(source_pose)
    gain = torch.as_tensor(gain, dtype=torch.float32)
    if mode == "absolute":
        return replace(driving, codes=torch.lerp(pose.expand_as(driving.codes), driving.codes, gain.expand_as(driving.codes)))
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

    The Euclidean distance of codes is that of latents, since the dictionary is orthonormal. As a reference for relative
    transfer it starts the two subjects from the same pose (our choice, after the best-frame search of first-order motion models).

    :raises ValueError: another animator, or a pose of more than one frame.
    """
    _require_compatible("motion", motion, "pose", pose)
    return int((motion.codes - _pose_code(pose)).square().sum(1).argmin())


def _pose_code(pose: MotionSequence) -> torch.Tensor:
    """The [D] code of a motion of one frame."""
    if len(pose) != 1:
        raise ValueError(
            f"A pose is a motion of one frame, got {len(pose)} frames. Use the pose of LEO Encoder, or cut one frame with LEO Trim Motion."
        )
    return pose.codes[0]


def _require_compatible(first_what: str, first: MotionSequence, second_what: str, second: MotionSequence) -> None:
    """Raise ValueError unless two motions speak the codes of one animator."""
    require_same_animator(first_what, first.animator, second_what, second.animator)
    if first.directions != second.directions:
        raise ValueError(
            f"The {first_what} has {first.directions} directions and the {second_what} {second.directions}, though both name "
            f"animator {first.animator}: one of them is damaged. Encode it again."
        )

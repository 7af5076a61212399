"""Which animator a motion, a prior or an appearance belongs to, and what its directions are called.

Motion codes mean nothing outside the animator that wrote them: direction 7 of one model opens the mouth, of
another it turns the head. Everything that carries codes or features therefore carries an AnimatorId.
"""

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AnimatorId:
    """Name (for people) and fingerprint (for comparison) of an animator. Two ids are equal when their fingerprints
    are."""

    name: str
    fingerprint: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnimatorId) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __str__(self) -> str:
        return f"'{self.name}' ({self.fingerprint[:8]})"


@dataclass(frozen=True)
class Direction:
    """What one motion direction moves, and the range of amounts (in code units) in which faces stay faces."""

    name: str
    low: float
    high: float


def require_same_animator(first_what: str, first: AnimatorId, second_what: str, second: AnimatorId) -> None:
    """Raise ValueError, naming both animators, unless two values belong to the same animator.

    :param first_what: what the first value is, for the message ("motion", "motion prior", "appearance").
    """
    if first != second:
        raise ValueError(
            f"The {first_what} belongs to animator {first}, but the {second_what} belongs to animator {second}. "
            f"Motion codes of different animators do not mix: make both with the same Load Animator node."
        )


def tensor_digest(value: torch.Tensor) -> str:
    """SHA-256 of a tensor's shape and values, cast to float16 so that float16 and float32 forms of one model agree."""
    half = value.detach().to("cpu", torch.float16).contiguous()
    return hashlib.sha256(str(list(half.shape)).encode() + half.numpy().tobytes()).hexdigest()


def fingerprint(digests: dict[str, str]) -> str:
    """One SHA-256 (64 hex digits) over the names and `tensor_digest`s of a model's parts, in the order of the names."""
    return hashlib.sha256("".join(f"{name}:{digests[name]};" for name in sorted(digests)).encode()).hexdigest()

"""Which animator a motion, a prior or an appearance belongs to.

Motion codes mean nothing outside the animator that wrote them: direction 7 of one model opens the mouth, of
another it turns the head. Everything that carries codes or features therefore carries an AnimatorId.
"""
import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AnimatorId:
    """Name (for people) and fingerprint (for comparison) of an animator. Two ids are equal when their fingerprints are."""

    name: str
    fingerprint: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnimatorId) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __str__(self) -> str:
        return f"'{self.name}' ({self.fingerprint[:8]})"


def require_same_animator(first_what: str, first: AnimatorId, second_what: str, second: AnimatorId) -> None:
    """Raise ValueError, naming both animators, unless two values speak the same motion codes.

    :param first_what: what the first value is, for the message ("motion", "motion prior", "appearance").
    """
    if first != second:
        raise ValueError(
            f"The {first_what} belongs to animator {first}, but the {second_what} belongs to animator {second}. "
            f"Motion codes of different animators do not mix: make both with the same Load Animator node."
        )


def fingerprint(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names, shapes and float16 values in the order of the names; 64 hex digits.

    Cast to float16 first, so that float16 and float32 forms of one model agree (our choice).
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().to("cpu", torch.float16).contiguous()
        digest.update(f"{name}{list(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()

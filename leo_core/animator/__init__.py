"""The image animator: LIA (LEO's own) and LIA-X as configurations of shared layers."""

from .config import LIAX_DIRECTIONS, AnimatorConfig, Direction, lia, liax
from .layers import fast_bfloat16
from .model import (
    Animator,
    Appearance,
    Encoder,
    FlowGenerator,
    InpaintingDecoder,
    MotionDictionary,
    MotionHead,
    encode_motion,
    orthonormal_basis,
)

__all__ = [
    "Animator",
    "AnimatorConfig",
    "Appearance",
    "Direction",
    "Encoder",
    "FlowGenerator",
    "InpaintingDecoder",
    "LIAX_DIRECTIONS",
    "MotionDictionary",
    "MotionHead",
    "encode_motion",
    "fast_bfloat16",
    "lia",
    "liax",
    "orthonormal_basis",
]

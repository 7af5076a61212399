"""The image animator: LIA (LEO's own) and LIA-X as configurations of shared layers."""
from .config import AnimatorConfig, lia, liax
from .model import (Animator, Appearance, Encoder, FlowGenerator, InpaintingDecoder, MotionDictionary, MotionHead,
                    orthonormal_basis)

__all__ = ["Animator", "AnimatorConfig", "Appearance", "Encoder", "FlowGenerator", "InpaintingDecoder",
           "MotionDictionary", "MotionHead", "lia", "liax", "orthonormal_basis"]

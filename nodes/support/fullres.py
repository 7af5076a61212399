"""The full-resolution warp with the animator's networks: what LEO Render Video and LEO Inpainting Decoder share."""

import comfy.model_management as mm
import torch

from ...leo_core.animator import Appearance
from ...leo_core.fullres import FullResolution
from .images import opaque


class FullResolutionFrames:
    """Frames of one photo at its own resolution; goes on on the CPU when the device's memory does not hold one.

    :param handle: AnimatorHandle that made the appearance.
    :param original: the picture the appearance was made from, [H, W, 1, 3 or 4 channels] in 0..1.
    """

    def __init__(self, handle, appearance: Appearance, original: torch.Tensor):
        handle.load(handle.flow_generator)
        features = handle.for_flow(appearance.features)
        displacement, mask = handle.generate_flow(
            features, handle.own_latent(appearance), handle.anchor(features, appearance)
        )
        finest = handle.config.size
        self._rest = displacement[finest].cpu(), mask[finest].cpu()
        self._original = opaque(original).cpu()
        self._align_corners = handle.config.align_corners
        # Bicubic sampling is not available on Apple's GPUs.
        self._use("cpu" if handle.device.type == "mps" else handle.device)

    def _use(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._warp = FullResolution(self._original.to(device), self._align_corners, self._rest)

    def __call__(self, decoded: torch.Tensor, displacement: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One frame [H, W, 3] in 0..1 on the CPU from the decoder's [S, S, 3], and displacement and mask [1, ., S,
        S]."""
        try:
            return self._warp(decoded, displacement, mask).cpu()
        except Exception as error:
            mm.raise_non_oom(error)
            if self._device.type == "cpu":
                raise
        # outside the except block, whose exception keeps the failed frame's tensors alive
        self._use("cpu")
        mm.soft_empty_cache()
        return self._warp(decoded, displacement, mask)

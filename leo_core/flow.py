"""Flow maps as data: what a motion code does to the picture, per scale."""
from dataclasses import dataclass

import torch

from .identity import AnimatorId


@dataclass(frozen=True)
class FlowField:
    """Backward flows and visibility masks of T frames at every scale of an animator (LEO's phi). Immutable.

    :param displacement: resolution r -> [T, 2, r, r] (x, y) in normalised units, -2..2 at most in practice; 2 is the
        whole width. Frame t at pixel p shows the source at ``identity_grid[p] + displacement[t, :, p]``, where the
        identity grid is linspace(-1, 1) along each axis.
    :param mask: resolution r -> [T, 1, r, r] in 0..1; 1 keeps the warped source, 0 leaves the pixel to inpainting.
    :param align_corners: how the animator's family samples that grid (LIA: False, LIA-X: True).
    :param animator: the animator that made the flows.
    """

    displacement: dict[int, torch.Tensor]
    mask: dict[int, torch.Tensor]
    align_corners: bool
    animator: AnimatorId

    def __len__(self) -> int:
        return next(iter(self.mask.values())).shape[0]

    @property
    def scales(self) -> list[int]:
        return sorted(self.mask)

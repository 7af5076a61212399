"""Frames at the photo's own resolution: the animator's finest flow moves the original pixels, and the decoder's are
taken only where it had to inpaint. All of this is our choice; the paper shows the decoder's picture as it is.
"""
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import remap

from .flow import looked_at, shift_of

# The contrast (0..1, over the three colours) that counts as an edge when the flow is upsampled.
_EDGE = 0.3
# Masks below the first are inpainted and above the second are the photo's; between, they mix.
_DECISION = 0.2, 0.8
# Cells that repeat the border around what is sampled: bicubic sampling there reads two of them.
_RIM = 2
# The decoder's colours are matched to the warped photo's over this share of the picture.
_MATCH = 1 / 24


class FullResolution:
    """Warps one photo by the flows of its animation.

    The networks' idea of "not moved" is a little off (LIA samples half a pixel beside the grid, and no network
    reconstructs its source perfectly). The flow of the source's own pose tells how far: with it, the photo in its own
    pose comes back as it is.

    :param original: what the encoder saw, at its own resolution: [H, W, 3] in 0..1, on the device to work on.
    :param align_corners: as in FlowField.
    :param rest: displacement [1, 2, S, S] and mask [1, 1, S, S] of the source's own pose.
    """

    def __init__(self, original: torch.Tensor, align_corners: bool, rest: tuple[torch.Tensor, torch.Tensor]):
        self.align_corners = align_corners
        self._size = original.shape[:2]
        self._original = _with_rim(original.movedim(-1, 0)[None].float())
        displacement, mask = (part.to(self._original) for part in rest)
        self._rest = _with_rim(torch.cat([shift_of(displacement, align_corners), mask], 1))

    def __call__(self, decoded: torch.Tensor, displacement: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One frame.

        :param decoded: the decoder's picture [S, S, 3] in 0..1.
        :param displacement: finest displacement [1, 2, S, S].
        :param mask: finest mask [1, 1, S, S], 1 keeps the warped photo.
        :return: [H, W, 3] in 0..1.
        """
        shift, keep = self.at_full_size(displacement, mask)
        warped = _look_up(self._original, shift, "bicubic").clamp(0, 1)
        painted = self._painted(decoded.movedim(-1, 0)[None].to(self._original), warped, keep)
        return torch.lerp(painted, warped, keep)[0].movedim(0, -1)

    def at_full_size(self, displacement: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Flow and mask for every pixel of the photo.

        :return: how far each pixel looks away in shares of the picture, [1, 2, H, W]; 1 where it is the photo's own and 0
            where it is painted, [1, 1, H, W].
        """
        shift = shift_of(displacement.to(self._original), self.align_corners)
        unmoved = _look_up(self._rest, shift - self._rest[:, :2, _RIM:-_RIM, _RIM:-_RIM])
        shift = shift - unmoved[:, :2]
        # What is inpainted in the source's own pose too was not uncovered by the movement.
        keep = _decided(mask.to(self._original) + 1 - unmoved[:, 2:])

        guide = _look_up(self._original, F.interpolate(shift, self._size, mode="bilinear", align_corners=False))
        cells = shift.shape[-1]
        moved = upsample_along_edges(torch.cat([shift * cells, keep], 1), guide)
        shift, keep = moved[:, :2] / cells, moved[:, 2:]
        return shift, keep * _inside(shift)

    @staticmethod
    def _painted(decoded: torch.Tensor, warped: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """The decoder's picture at full size, its colours shifted to those of the warped photo around it."""
        size = decoded.shape[-1]
        small = F.interpolate(torch.cat([warped, keep], 1), (size, size), mode="bilinear", align_corners=False, antialias=True)
        known = small[:, 3:]
        reach = size * _MATCH
        kernel = 2 * round(2 * reach) + 1
        blurred = gaussian_blur2d(torch.cat([(small[:, :3] - decoded) * known, known], 1), (kernel, kernel), (reach, reach))
        matched = decoded + blurred[:, :3] / (blurred[:, 3:] + 0.05)
        return F.interpolate(matched, warped.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)


def _with_rim(picture: torch.Tensor) -> torch.Tensor:
    return F.pad(picture, (_RIM,) * 4, mode="replicate")


def _look_up(picture: torch.Tensor, shift: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    """What each pixel looks at in a picture with a rim, the border's pixel beyond the border."""
    height, width = (side - 2 * _RIM for side in picture.shape[-2:])
    x, y = ((looked_at(shift) + 1) / 2).unbind(1)
    x = (x * width - 0.5).clamp(-1, width) + _RIM
    y = (y * height - 0.5).clamp(-1, height) + _RIM
    return remap(picture, x, y, mode, align_corners=True)


def _inside(shift: torch.Tensor) -> torch.Tensor:
    """1 where the photo has the pixel looked for, falling to 0 over a hundredth of its side beyond the border."""
    beyond = (looked_at(shift).abs() - 1).amax(1, keepdim=True)
    return (1 - beyond * 50).clamp(0, 1)


def _decided(keep: torch.Tensor) -> torch.Tensor:
    """Masks are never quite 0 or 1; without a decision the decoder's blur would lie like haze over the photo."""
    low, high = _DECISION
    share = ((keep - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def upsample_along_edges(values: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """Bring values [1, C, h, w] to the size of a guide [1, 3, H, W], their jumps along its edges.

    Joint bilateral upsampling (Kopf et al., 2007) over the four nearest cells. Its range term acts as far as the cells
    differ, so that a smooth field is interpolated linearly and texture does not bend it.

    :param values: in units in which a difference of 1 is a jump.
    """
    small = F.interpolate(guide, values.shape[-2:], mode="bilinear", align_corners=False, antialias=True)
    rows, columns = (_nearest_cells(*sides, guide.device) for sides in zip(guide.shape[-2:], values.shape[-2:], strict=True))
    corners = [
        (cell_row, cell_column, share_row[:, None] * share_column)
        for cell_row, share_row in rows
        for cell_column, share_column in columns
    ]
    pooled = F.pad(values, (0, 1, 0, 1), mode="replicate")
    jump = F.max_pool2d(pooled, 2, 1) + F.max_pool2d(-pooled, 2, 1)
    first_row, first_column = rows[0][0], columns[0][0]
    jump = jump.amax(1, keepdim=True).clamp(max=1)[:, :, first_row][..., first_column]
    total = upsampled = 0
    for row, column, share in corners:
        unlike = (guide - small[:, :, row][..., column]).square().sum(1, keepdim=True)
        weight = share * (torch.exp(-jump * unlike / (2 * _EDGE**2)) + 1e-6)
        total = total + weight
        upsampled = upsampled + weight * values[:, :, row][..., column]
    return upsampled / total


def _nearest_cells(count: int, cells: int, device: torch.device) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """For each of ``count`` pixels along a side the cell before it and the one after, each with its linear share."""
    place = ((torch.arange(count, device=device) + 0.5) * cells / count - 0.5).clamp(0, cells - 1)
    before = place.floor().long().clamp(max=cells - 2)
    share = place - before
    return (before, 1 - share), (before + 1, share)

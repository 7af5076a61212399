"""Bands and tiles of a photo's rows and columns, with the weights that interpolate a coarser flow in them.

"Cells" are those of the flow, with one more at either end that repeats the border; block ``b`` lies between cells ``b``
and ``b + 1``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

# The largest height and width of a patch.
_PATCH = 8


@dataclass(frozen=True)
class Tile:
    """A run of rows or columns whose colors are computed together.

    :param pixels: of the photo.
    :param cells: those that the pixels lie between.
    :param linear: weights of these cells for each pixel: [n, cells].
    :param blocks: the blocks.
    :param inside: which of these each pixel lies in: [n].
    :param painted: the cells, counted without the border's, that bicubic interpolation reads.
    :param cubic: weights of these for each pixel: [n, painted].
    """

    pixels: slice
    cells: slice
    linear: torch.Tensor
    blocks: slice
    inside: torch.Tensor
    painted: slice
    cubic: torch.Tensor


@dataclass(frozen=True)
class Band:
    """A run of tiles whose edges are followed together.

    :param pixels: of the photo.
    :param tiles: those that it is cut into.
    :param places: where the pixels are, -1..1 from border to border: [n].
    :param patches: pixels, counted from the first, that lie in the same block; the last is repeated: [size, patches].
    :param weights: of the first and the second cell for these pixels, and their ``places``: [3, size, patches].
    :param block: of each patch.
    """

    pixels: slice
    tiles: list[Tile]
    places: torch.Tensor
    patches: torch.Tensor
    weights: torch.Tensor
    block: torch.Tensor


def bands(length: int, cells: int, band: int, tile: int, device: torch.device) -> Iterator[Band]:
    """Divide a side of ``length`` pixels, on which the flow has ``cells`` cells, into bands of ``band`` pixels and
    these into tiles of ``tile``."""
    place = (torch.arange(length) + 0.5) * (cells / length) + 0.5
    block = place.floor().long()
    cubic = F.interpolate(torch.eye(cells)[None, None], (length, cells), mode="bicubic", align_corners=False)[0, 0]
    in_block = -(-length // cells)
    size = -(-in_block // -(-in_block // _PATCH))

    def near(pixels: slice) -> slice:
        return slice(int(block[pixels.start]), int(block[pixels.stop - 1]) + 2)

    def tile_of(pixels: slice) -> Tile:
        around = near(pixels)
        painted = slice(max(around.start - 2, 0), min(around.stop, cells))
        return Tile(
            pixels,
            around,
            (1 - (place[pixels, None] - torch.arange(around.start, around.stop)).abs()).clamp(min=0).to(device),
            slice(around.start, around.stop - 1),
            (block[pixels] - around.start).to(device),
            painted,
            cubic[pixels, painted].contiguous().to(device),
        )

    for pixels in _cut(slice(0, length), band):
        runs = [
            (int(run[0]), int(run[-1]))
            for b in range(int(block[pixels.start]), int(block[pixels.stop - 1]) + 1)
            for run in torch.where(block[pixels] == b)[0].split(size)
            if len(run)
        ]
        patches = torch.tensor([[min(begin + i, end) for begin, end in runs] for i in range(size)])
        places = (2 * torch.arange(pixels.start, pixels.stop) + 1 - length) / length
        after = (place - block)[pixels]
        yield Band(
            pixels,
            [tile_of(part) for part in _cut(pixels, tile)],
            places.to(device),
            patches.to(device),
            torch.stack([1 - after, after, places])[:, patches].to(device),
            block[pixels][patches[0]].to(device),
        )


def _cut(pixels: slice, longest: int) -> Iterator[slice]:
    for start in range(pixels.start, pixels.stop, longest):
        yield slice(start, min(start + longest, pixels.stop))

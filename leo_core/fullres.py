"""Frames at the photo's own resolution: the animator's finest flow moves the original pixels, and the decoder's are
taken only where it had to inpaint. All of this is our choice; the paper shows the decoder's picture as it is.

On a CPU a frame is made tile by tile, so that what one step writes is still in the cache when the next reads it, and
a step that would change nothing is skipped. Asking a GPU what would change something makes it wait: there the frame
is one tile and every step is taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d

from .flow import looked_at, shift_of

# The contrast (0..1, over the three colours) that counts as an edge when the flow is upsampled.
_EDGE = 0.3
# Where edges would move the flow by less than about this share of a cell, it is interpolated.
_NOTICEABLE = 0.05
# Masks below the first are inpainted and above the second are the photo's; between, they mix.
_DECISION = 0.2, 0.8
# Pixels that repeat the border around what is sampled: bicubic sampling there reads two of them.
_RIM = 2
# The decoder's colours are matched to the warped photo's over this share of the picture.
_MATCH = 1 / 24
# A place that far beyond the border, of 1 from the middle to it, may be rounding.
_NOWHERE = 1e-6
# What looks less than this many pixels away has not moved.
_STILL = 1 / 64
# Height and width of a tile, largest height and width of a patch, and pixels of patches at once on a CPU and elsewhere.
_TILE = 256, 256
_PATCH = 8
_CHUNK = 2**15
_CHUNK_ELSEWHERE = 2**22


@dataclass(frozen=True)
class _Stretch:
    """A tile's part of one side of the photo. "Cells" are the flow's, counted with one more that repeats the border's.

    :param pixels: of the photo.
    :param places: where they are in the photo with its rim, -1..1 from border to border: [n].
    :param cells: those that the pixels lie between; between cells ``b`` and ``b + 1`` is block ``b``.
    :param linear: weights of these cells for each pixel: [n, cells].
    :param painted: the cells, counted without the border's, that bicubic interpolation reads.
    :param cubic: weights of these: [n, painted].
    :param patches: pixels, counted from the first, that lie in the same block; the last is repeated: [size, patches].
    :param before, after: weights of the first and second cell for these pixels.
    :param block: of each patch.
    """

    pixels: slice
    places: torch.Tensor
    cells: slice
    linear: torch.Tensor
    painted: slice
    cubic: torch.Tensor
    patches: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor
    block: torch.Tensor


def _stretches(length: int, cells: int, longest: int, device: torch.device) -> Iterator[_Stretch]:
    """Cut a side of so many pixels, over which the flow has so many cells, into tiles of ``longest`` pixels."""
    place = (torch.arange(length) + 0.5) * (cells / length) + 0.5
    block = place.floor().long()
    cubic = F.interpolate(torch.eye(cells)[None, None], (length, cells), mode="bicubic", align_corners=False)[0, 0]
    in_block = -(-length // cells)
    size = -(-in_block // -(-in_block // _PATCH))
    for start in range(0, length, longest):
        pixels = slice(start, min(start + longest, length))
        first, last = int(block[start]), int(block[pixels.stop - 1])
        runs = [
            (int(run[0]), int(run[-1]))
            for b in range(first, last + 1)
            for run in torch.where(block[pixels] == b)[0].split(size)
            if len(run)
        ]
        patches = torch.tensor([[min(begin + i, end) for begin, end in runs] for i in range(size)])
        near, painted = slice(first, last + 2), slice(max(first - 2, 0), min(last + 2, cells))
        yield _Stretch(
            pixels,
            (2 * torch.arange(start, pixels.stop, device=device) + 1 - length) / (length + 2 * _RIM),
            near,
            (1 - (place[pixels, None] - torch.arange(near.start, near.stop)).abs()).clamp(min=0).to(device),
            painted,
            cubic[pixels, painted].to(device),
            patches.to(device),
            (1 + block - place)[pixels][patches].to(device),
            (place - block)[pixels][patches].to(device),
            block[pixels][patches[0]].to(device),
        )


@dataclass(frozen=True)
class _Flow:
    """A frame's flow in cells, one more around them that repeats the border's.

    :param values: 1 where a cell is the photo's own and 0 where it is painted, and how far it looks away, right and
        down, in cells: [3, S + 2, S + 2].
    :param seen: the first of these again, and where it looks, (x, y) as `_Stretch.places`: [3, S + 2, S + 2].
    :param colours: of the warped photo: [3, S + 2, S + 2].
    :param limits: of each cell how many pixels it moves, this negated, how far it looks beyond the border, -1 being
        in the middle of the photo, and how much of it is painted: [4, S + 2, S + 2].
    :param jump: how much the values differ around each block, 1 at most: [S + 1, S + 1].
    :param edges: whether the flow follows the photo's edges in a block: [S + 1, S + 1].
    """

    values: torch.Tensor
    seen: torch.Tensor
    colours: torch.Tensor
    limits: torch.Tensor
    jump: torch.Tensor
    edges: torch.Tensor


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
        self._height, self._width = original.shape[:2]
        # Width and height of the photo in those of the photo with its rim.
        self._share = self._width / (self._width + 2 * _RIM), self._height / (self._height + 2 * _RIM)
        photo = original.movedim(-1, 0)[None].float()
        self._original = _with_rim(photo)
        displacement, mask = (part.to(photo) for part in rest)
        self._rest = _with_rim(torch.cat([shift_of(displacement, align_corners), mask], 1))
        self._cells = cells = mask.shape[-1]
        self._small = _with_rim(
            F.interpolate(photo, (cells, cells), mode="bilinear", align_corners=False, antialias=True)
        )
        reach = cells * _MATCH
        self._blur = gaussian_blur2d(
            torch.eye(cells, device=photo.device)[None, None], (2 * round(2 * reach) + 1, 1), (reach, 1.0)
        )[0, 0]
        self._rows, self._columns = (
            list(_stretches(side, cells, longest if photo.is_cpu else side, photo.device))
            for side, longest in zip((self._height, self._width), _TILE, strict=True)
        )

    def __call__(self, decoded: torch.Tensor, displacement: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One frame.

        :param decoded: the decoder's picture [S, S, 3] in 0..1.
        :param displacement: finest displacement [1, 2, S, S].
        :param mask: finest mask [1, 1, S, S], 1 keeps the warped photo.
        :return: [H, W, 3] in 0..1.
        """
        flow = self._read(displacement, mask)
        painted = self._matched(decoded.movedim(-1, 0).to(flow.colours), flow)
        frame = self._original.new_empty(3, self._height, self._width)
        for rows in self._rows:
            for columns in self._columns:
                self._fill(frame[:, rows.pixels, columns.pixels], flow, painted, rows, columns)
        return frame.movedim(0, -1)

    def at_full_size(self, displacement: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Flow and mask for every pixel of the photo.

        :return: how far each pixel looks away in shares of the picture, [1, 2, H, W]; 1 where it is the photo's own
            and 0 where it is painted, [1, 1, H, W].
        """
        flow, whole = self._read(displacement, mask), self._original.new_empty(1, 3, self._height, self._width)
        for rows in self._rows:
            for columns in self._columns:
                keep, x, y = self._upsampled(flow, rows, columns)
                kept = keep * self._inside(x, y)
                whole[0, :, rows.pixels, columns.pixels] = torch.stack([*self._moved(x, y, rows, columns), kept])
        return whole[:, :2], whole[:, 2:]

    def _read(self, displacement: torch.Tensor, mask: torch.Tensor) -> _Flow:
        shift = shift_of(displacement.to(self._original), self.align_corners)
        unmoved = _look_up(self._rest, looked_at(shift - self._rest[:, :2, _RIM:-_RIM, _RIM:-_RIM]))
        shift = shift - unmoved[:, :2]
        # What is inpainted in the source's own pose too was not uncovered by the movement.
        keep = _decided(mask.to(shift) + 1 - unmoved[:, 2:])
        seen = looked_at(shift)
        values, seen, colours = (
            F.pad(maps, (1,) * 4, mode="replicate")[0]
            for maps in (
                torch.cat([keep, shift * self._cells], 1),
                torch.cat([keep, seen], 1),
                _look_up(self._small, seen),
            )
        )
        self._extend(seen)
        keep, x, y = values
        moved = torch.maximum(x.abs() * (self._width / self._cells), y.abs() * (self._height / self._cells))
        limits = torch.stack([moved, -moved, torch.maximum(seen[1].abs(), seen[2].abs()) - 1, 1 - keep])
        self._extend(seen)
        for place, share in zip(seen[1:], self._share, strict=True):
            place *= share

        jump, contrast = _spread(values).amax(0), _spread(colours).square().sum(0)
        edges = jump * jump.clamp(max=1) * contrast > 8 * _EDGE**2 * _NOTICEABLE
        return _Flow(values, seen, colours, limits, jump.clamp(max=1), edges)

    def _extend(self, seen: torch.Tensor) -> None:
        """Move the repeated cells half a cell outwards: from the border's middle to the border, or from there to
        their own middle."""
        half = 1 / self._cells
        seen[1, :, 0] -= half
        seen[1, :, -1] += half
        seen[2, 0] -= half
        seen[2, -1] += half

    def _matched(self, decoded: torch.Tensor, flow: _Flow) -> torch.Tensor:
        """The decoder's picture [3, S, S], its colours shifted to those of the warped photo around what is painted."""
        _, _, beyond, painted = flow.limits[:, 1:-1, 1:-1]
        known = (1 - painted) * _fading(beyond)
        differs, known = (
            self._blur @ part @ self._blur.T for part in ((flow.colours[:, 1:-1, 1:-1] - decoded) * known, known)
        )
        return decoded + differs / (known + 0.05)

    def _fill(self, tile: torch.Tensor, flow: _Flow, painted: torch.Tensor, rows: _Stretch, columns: _Stretch) -> None:
        """Compute some rows and columns of a frame into the tile [3, rows, columns]."""
        own = self._original[0, :, _RIM:-_RIM, _RIM:-_RIM][:, rows.pixels, columns.pixels]
        farthest = nearest = beyond = hidden = torch.inf
        if tile.is_cpu:
            farthest, nearest, beyond, hidden = flow.limits[:, rows.cells, columns.cells].flatten(1).amax(1).tolist()
        if farthest < _STILL and hidden == 0:
            tile.copy_(own)
            return
        keep, x, y = self._upsampled(flow, rows, columns)
        if beyond > _NOWHERE:
            keep = keep * self._inside(x, y)
        if -nearest < _STILL:
            across, down = self._moved(x, y, rows, columns)
            moves = (torch.maximum(across.abs() * self._width, down.abs() * self._height) >= _STILL) | (keep < 0.999)
        torch.clamp(_sample(self._original, x, y, "bicubic")[0], 0, 1, out=tile)
        if beyond > _NOWHERE or hidden > 0:
            picture = rows.cubic @ (painted[:, rows.painted, columns.painted] @ columns.cubic.T)
            torch.lerp(picture.clamp_(0, 1), tile, keep, out=tile)
        if -nearest < _STILL:
            torch.lerp(own, tile, moves.to(tile), out=tile)  # a fraction of the time of `where`

    def _upsampled(self, flow: _Flow, rows: _Stretch, columns: _Stretch) -> torch.Tensor:
        """Which pixels of a tile are the photo's own, and where they look, (x, y) as `_Stretch.places`: [3, rows,
        columns].

        The jumps of the flow lie along the edges of the warped photo: joint bilateral upsampling (Kopf et al., 2007)
        over the four nearest cells. Its range term acts as far as the cells differ, so that a smooth flow is
        interpolated linearly and texture does not bend it. Where it would make no difference to be seen, everything
        is interpolated linearly.
        """
        whole = rows.linear @ (flow.seen[:, rows.cells, columns.cells] @ columns.linear.T)
        edges = flow.edges[rows.block][:, columns.block]
        patches = (
            edges.nonzero()
            if edges.is_cpu
            else torch.cartesian_prod(*(torch.arange(n, device=edges.device) for n in edges.shape))
        )
        count = (_CHUNK if edges.is_cpu else _CHUNK_ELSEWHERE) // (len(rows.patches) * len(columns.patches))
        for down, across in zip(*(part.split(count) for part in patches.T.contiguous()), strict=True):
            places = rows.patches[:, down].mul_(len(columns.places))[:, None] + columns.patches[:, across]
            whole.flatten(1).index_copy_(
                1, places.flatten(), self._along_edges(flow, rows, columns, down, across).flatten(1)
            )
        return whole

    def _along_edges(
        self, flow: _Flow, rows: _Stretch, columns: _Stretch, down: torch.Tensor, across: torch.Tensor
    ) -> torch.Tensor:
        """What `_upsampled` gives, of patches along edges: [3, rows, columns, patches].

        :param down: which patches, by their place in ``rows``: [patches]; across: in ``columns``.
        """
        side = self._cells + 2
        block = rows.block[down] * side + columns.block[across]
        values, seen, colours = (
            [maps.flatten(1)[:, block + step] for step in (0, 1, side, side + 1)]
            for maps in (flow.values, flow.seen[1:], flow.colours)
        )
        above, below = rows.before[:, None, down], rows.after[:, None, down]
        left, right = columns.before[:, across], columns.after[:, across]

        ends = [left * seen[i][:, None] + right * seen[i + 1][:, None] for i in (0, 2)]
        x, y = above * ends[0][:, None] + below * ends[1][:, None]
        guide = _sample(self._original, x.flatten(0, 1), y.flatten(0, 1), "bilinear")[0].view(3, *x.shape)
        # Squared distances of colours, less that to the first corner's: linear in the pixel's colour.
        jump = flow.jump.flatten()[rows.block[down] * (side - 1) + columns.block[across]] / _EDGE**2
        mean, total = torch.zeros_like(guide), above * left
        for corner, share in enumerate((above * right, below * left, below * right), 1):
            slope = (colours[corner] - colours[0]) * jump
            offset = (colours[0].square() - colours[corner].square()).sum(0) * (jump / 2)
            weight = (
                torch.addcmul(offset, guide[0], slope[0])
                .addcmul_(guide[1], slope[1])
                .addcmul_(guide[2], slope[2])
                .exp_()
                .mul_(share)
            )
            total += weight
            mean.addcmul_(weight, (values[corner] - values[0])[:, None, None])
        mean = torch.addcdiv(values[0][:, None, None], mean, total)
        mean[1].mul_(2 * self._share[0] / self._cells).add_(columns.places[columns.patches[:, across]])
        mean[2].mul_(2 * self._share[1] / self._cells).add_(rows.places[rows.patches[:, down]][:, None])
        return mean

    def _moved(
        self, x: torch.Tensor, y: torch.Tensor, rows: _Stretch, columns: _Stretch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """How far the pixels of a tile look away, right and down, in shares of the picture."""
        across, down = self._share
        return (x - columns.places) / (2 * across), (y - rows.places[:, None]) / (2 * down)

    def _inside(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """1 where the photo has the pixel looked for, and less where that is to be painted."""
        across, down = self._share
        return _fading(torch.maximum(x.abs() / across, y.abs() / down) - 1)


def _spread(maps: torch.Tensor) -> torch.Tensor:
    """Difference between the largest and the least of every two by two cells, [C, n + 1, n + 1] -> [C, n, n]."""
    most, least = (
        function(function(maps[:, 1:], maps[:, :-1])[..., 1:], function(maps[:, 1:], maps[:, :-1])[..., :-1])
        for function in (torch.maximum, torch.minimum)
    )
    return most - least


def _with_rim(picture: torch.Tensor) -> torch.Tensor:
    return F.pad(picture, (_RIM,) * 4, mode="replicate")


def _sample(picture: torch.Tensor, x: torch.Tensor, y: torch.Tensor, mode: str) -> torch.Tensor:
    """`grid_sample` of a picture [1, C, H, W] with a rim at places [h, w], which are kept within reach of it: [1, C,
    h, w]."""
    for place, side in ((x, picture.shape[-1]), (y, picture.shape[-2])):
        reach = (side - 2 * _RIM + 1) / side
        place.clamp_(-reach, reach)
    # Complex numbers lie in memory as the places of a grid do, and are put together in a fraction of the time of
    # `stack`.
    return F.grid_sample(picture, torch.view_as_real(torch.complex(x, y))[None], mode, align_corners=False)


def _look_up(picture: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """What cells that look where `looked_at` says, [1, 2, h, w], see in a picture [1, C, H, W] with a rim: [1, C, h,
    w]."""
    x, y = (axis * ((side - 2 * _RIM) / side) for axis, side in zip(seen[0], picture.shape[:1:-1], strict=True))
    return _sample(picture, x, y, "bilinear")


def _fading(beyond: torch.Tensor) -> torch.Tensor:
    """1 inside the photo, falling to 0 over a hundredth of its side beyond the border."""
    return (1 - beyond * 50).clamp(0, 1)


def _decided(keep: torch.Tensor) -> torch.Tensor:
    """Masks are never quite 0 or 1; without a decision the decoder's blur would lie like haze over the photo."""
    low, high = _DECISION
    share = ((keep - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)

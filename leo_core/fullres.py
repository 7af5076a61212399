"""Frames at the photo's own resolution: the animator's finest flow moves the original pixels, and the decoder's are
taken only where it had to inpaint. All of this is our choice; the paper shows the decoder's picture as it is.

On a CPU a frame is made in bands of rows, for which the flow is upsampled, and these tile by tile, so that what one
step writes is still in the cache when the next reads it; a step that would change nothing is skipped. Asking a GPU
what would change something makes it wait: there the frame is one tile and every step is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d

from .flow import looked_at, shift_of
from .stretches import Band, bands

# The contrast (0..1, over the three colours) that counts as an edge when the flow is upsampled.
_EDGE = 0.3
# Where edges would move the flow by less than about this share of a cell, it is interpolated.
_NOTICEABLE = 0.05
# Masks below the first are inpainted and above the second are the photo's; between, they mix.
_DECISION = 0.2, 0.8
# The decoder's colours are matched to the warped photo's over this share of the picture.
_MATCH = 1 / 24
# The decoder's picture is left out where it would have less than this share in a tile.
_SEEN = 1 / 64
# What the photo lacks is painted to the full this far beyond its border, of 1 from the middle to it.
_FADES = 1 / 50
# Pixels around the photo that repeat its border.
_RIM = 2
# What looks less than this many pixels away has not moved.
_STILL = 1 / 64
# Pixels of a band, the fewest and the most of its rows, rows and columns of a tile, and pixels of patches at once on a
# CPU and elsewhere.
_BAND = 2**18
_ROWS = 64, 512
_TILE = 64, 512
_CHUNK = 2**15
_CHUNK_ELSEWHERE = 2**22


@dataclass(frozen=True)
class _Flow:
    """A frame's flow in cells, one more around them that repeats the border's.

    :param cells: which are the photo's own, 1, or painted, 0; how far they look away, right and down, in shares of
        the picture; their colours in the warped photo; where they look, (x, y) as `Band.places`:
        [8, S + 2, S + 2].
    :param wide: the last two side by side, and the first, in the columns of the photo: [S + 2, W * 2] and [S + 2, W].
    :param limits: how much of a cell is painted; how far it looks beyond the border, -1 being in the middle of the
        photo; 1 where it differs from the photo; 1 where it does not: [4, S + 2, S + 2].
    :param moves: 1 in blocks that differ from the photo and 0 elsewhere: [S + 1, S + 1].
    :param jump: how much the first three differ around each block, 1 at most: [S + 1, S + 1].
    :param edges: whether the flow follows the photo's edges in a block: [S + 1, S + 1].
    """

    cells: torch.Tensor
    wide: tuple[torch.Tensor, torch.Tensor]
    limits: torch.Tensor
    moves: torch.Tensor
    jump: torch.Tensor
    edges: torch.Tensor


@dataclass(frozen=True)
class _Needs:
    """What is to be done in a part of a frame.

    :param moves: something moves.
    :param rests: something does not.
    :param paints: the decoder's picture is to be seen.
    :param crosses: the border is looked across.
    """

    moves: bool
    rests: bool
    paints: bool
    crosses: bool


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
        # Not every device can repeat a border while it samples, so the photo carries the pixels that bicubic
        # interpolation reads beyond its own; `_photo` is a view without them.
        self._rimmed = F.pad(original.movedim(-1, 0)[None].float(), (_RIM,) * 4, mode="replicate")
        self._photo = photo = self._rimmed[..., _RIM:-_RIM, _RIM:-_RIM]
        self._height, self._width = original.shape[:2]
        self._size = photo.new_tensor([self._width, self._height])[:, None, None]
        # From -1..1 over the photo to the same over it and its rim, and where all that can be seen is the border's,
        # for x and y of every pixel of a row.
        sides = self._size.flatten().repeat(self._width)
        farthest = (sides + 1) / (sides + 2 * _RIM)
        self._shrink, self._seen = sides / (sides + 2 * _RIM), torch.stack([-farthest, farthest])
        displacement, mask = (part.to(photo) for part in rest)
        self._cells = cells = mask.shape[-1]
        still = torch.zeros_like(displacement)
        self._unmoved = shift_of(still, align_corners)
        self._scale = float((shift_of(still + 1, align_corners) - self._unmoved)[0, 0, 0, 0])
        self._centres = looked_at(still)
        self._rest = torch.cat([shift_of(displacement, align_corners), mask], 1)
        self._small = F.interpolate(photo, (cells, cells), mode="bilinear", align_corners=False, antialias=True)
        reach = cells * _MATCH
        self._blur = gaussian_blur2d(
            torch.eye(cells, device=photo.device)[None, None], (2 * round(2 * reach) + 1, 1), (reach, 1.0)
        )[0, 0]
        # Around the cells, those that repeat the border's lie on the border when it is asked who looks beyond, and
        # half a cell outside when flow is interpolated.
        inner = (torch.arange(cells, device=photo.device) * 2 + 1) / cells - 1
        self._on_border, self._outside = (
            torch.stack(
                torch.meshgrid(*[F.pad(F.pad(inner, (1, 0), value=-end), (0, 1), value=end)] * 2, indexing="xy")
            )
            for end in (1.0, 1 + 1 / cells)
        )
        rows = min(max(_BAND // self._width, _ROWS[0]), _ROWS[1]) if photo.is_cpu else self._height
        down, right = (_TILE[0], max(_TILE[1], self._width // 4)) if photo.is_cpu else (self._height, self._width)
        self._down = list(bands(self._height, cells, rows, down, photo.device))
        (self._across,) = bands(self._width, cells, self._width, right, photo.device)

    def __call__(self, decoded: torch.Tensor, displacement: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One frame.

        :param decoded: the decoder's picture [S, S, 3] in 0..1.
        :param displacement: finest displacement [1, 2, S, S].
        :param mask: finest mask [1, 1, S, S], 1 keeps the warped photo.
        :return: [H, W, 3] in 0..1.
        """
        flow = self._read(displacement, mask)
        needs = self._needs(flow)
        painted: list[torch.Tensor] = []
        if any(tile.paints for row in needs for tile in row):
            picture = self._matched(decoded.movedim(-1, 0).to(flow.cells), flow).movedim(0, 1).flatten(0, 1)
            # Three colors side by side are one matrix product.
            painted = [
                (picture[:, columns.painted] @ columns.cubic.T).view(self._cells, -1) for columns in self._across.tiles
            ]
        frame = self._photo.new_empty(3, self._height, self._width)
        done = 0
        for rows in self._down:
            self._fill(frame[:, rows.pixels], flow, painted, rows, needs[done : done + len(rows.tiles)])
            done += len(rows.tiles)
        return frame.movedim(0, -1)

    def at_full_size(self, displacement: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Flow and mask for every pixel of the photo.

        :return: how far each pixel looks away in shares of the picture, [1, 2, H, W]; 1 where it is the photo's own
            and 0 where it is painted, [1, 1, H, W].
        """
        flow, whole = self._read(displacement, mask), self._photo.new_empty(1, 3, self._height, self._width)
        for rows in self._down:
            places, keep = self._upsampled(flow, rows, True)
            part = whole[0, :, rows.pixels]
            part[0] = (places[..., 0] - self._across.places) / 2
            part[1] = (places[..., 1] - rows.places[:, None]) / 2
            part[2] = keep * _inside(places)
        return whole[:, :2], whole[:, 2:]

    def _read(self, displacement: torch.Tensor, mask: torch.Tensor) -> _Flow:
        # `shift_of` is linear, and what it adds the same in every frame.
        shift = torch.add(self._unmoved, displacement.to(self._photo), alpha=self._scale)
        unmoved = _look_up(self._rest, torch.add(self._centres, shift - self._rest[:, :2], alpha=2))
        shift -= unmoved[:, :2]
        # What is inpainted in the source's own pose too was not uncovered by the movement.
        keep = _decided(mask.to(shift) + 1 - unmoved[:, 2:])
        colours = _look_up(self._small, torch.add(self._centres, shift, alpha=2))
        cells = F.pad(torch.cat([keep, shift, colours], 1), (1,) * 4, mode="replicate")[0]
        keep, shift = cells[:1], cells[1:3]
        seen = torch.add(self._outside, shift, alpha=2)
        x, y, kept = self._widened(torch.cat([seen, keep]))
        beyond = torch.add(self._on_border, shift, alpha=2).abs_().amax(0, keepdim=True).sub_(1)
        moved = (shift.abs() * self._size).amax(0, keepdim=True)
        moves = ((moved >= _STILL) | (keep < 1)).to(shift)
        limits = torch.cat([1 - keep, beyond, moves, 1 - moves])

        own, across, down = _spread(cells[:3])
        jump = torch.maximum(own, torch.maximum(across, down) * self._cells)
        most, contrast = jump.clamp(max=1), _spread(cells[3:]).square_().sum(0)
        edges = jump * most * contrast > 8 * _EDGE**2 * _NOTICEABLE
        return _Flow(
            torch.cat([cells, seen]),
            (torch.view_as_real(torch.complex(x, y)).flatten(1), kept),
            limits,
            _corners(torch.maximum, moves[0]),
            most,
            edges,
        )

    def _widened(self, cells: torch.Tensor) -> torch.Tensor:
        """Maps of the flow's cells [C, S + 2, S + 2] in the columns of the photo, [C, S + 2, W]."""
        wide = cells.new_empty(*cells.shape[:2], self._width)
        for columns in self._across.tiles:
            torch.mm(cells.flatten(0, 1)[:, columns.cells], columns.linear.T, out=wide.flatten(0, 1)[:, columns.pixels])
        return wide

    def _matched(self, decoded: torch.Tensor, flow: _Flow) -> torch.Tensor:
        """The decoder's picture [3, S, S], its colours shifted to those of the warped photo around what is painted."""
        painted, beyond = flow.limits[:2, 1:-1, 1:-1]
        known = (1 - painted) * _fading(beyond)
        differs = torch.cat([(flow.cells[3:6, 1:-1, 1:-1] - decoded) * known, known[None]])
        differs = self._blur @ differs @ self._blur.T
        return decoded + differs[:3] / (differs[3] + 0.05)

    def _needs(self, flow: _Flow) -> list[list[_Needs]]:
        """For every row of tiles, what is to be done in each. Off the CPU this is not checked: all of it."""
        tiles = [rows for band in self._down for rows in band.tiles]
        if not flow.limits.is_cpu:
            return [[_Needs(True, True, True, True)] * len(self._across.tiles)] * len(tiles)
        most = torch.stack([flow.limits[..., columns.cells].amax(-1) for columns in self._across.tiles])
        return [
            [
                _Needs(moving > 0, resting > 0, hidden > _SEEN or beyond > _SEEN * _FADES, beyond > _SEEN * _FADES)
                for hidden, beyond, moving, resting in most[..., rows.cells].amax(-1).tolist()
            ]
            for rows in tiles
        ]

    def _fill(
        self, band: torch.Tensor, flow: _Flow, painted: list[torch.Tensor], rows: Band, needs: list[list[_Needs]]
    ) -> None:
        """Compute some rows of a frame into the band [3, rows, W].

        :param painted: the decoder's picture in the columns of each tile: [S, 3 * columns].
        :param needs: of each tile.
        """
        photo = self._photo[0, :, rows.pixels]
        every = [tile for row in needs for tile in row]
        if not any(tile.moves for tile in every):
            band.copy_(photo)
            return
        places, keep = self._upsampled(flow, rows, any(tile.paints for tile in every))
        for down, row in zip(rows.tiles, needs, strict=True):
            here = slice(down.pixels.start - rows.pixels.start, down.pixels.stop - rows.pixels.start)
            for number, (across, need) in enumerate(zip(self._across.tiles, row, strict=True)):
                own, tile = photo[:, here, across.pixels], band[:, here, across.pixels]
                if not need.moves:
                    tile.copy_(own)
                    continue
                looks = places[here, across.pixels]
                share = keep[here, across.pixels] if need.paints else keep
                if need.crosses:
                    share = _inside(looks).mul_(share)
                made = self._sampled(looks)
                if need.paints:
                    picture = (down.cubic @ painted[number][down.painted]).unflatten(1, (3, -1)).movedim(1, 0)
                    torch.lerp(picture, made, share, out=made)
                if need.rests:
                    share = flow.moves[down.blocks, across.blocks][down.inside].index_select(1, across.inside)
                    # a fraction of the time of `where`
                    torch.lerp(own, made.clamp_(0, 1), share, out=tile)
                else:
                    torch.clamp(made, 0, 1, out=tile)

    def _sampled(self, looks: torch.Tensor) -> torch.Tensor:
        """The photo where the pixels look, [h, w, 2], which are overwritten: [3, h, w]."""
        shrink, (least, most) = self._shrink[: looks[0].numel()], self._seen[:, : looks[0].numel()]
        looks.flatten(1).mul_(shrink).clamp_(least, most)
        return F.grid_sample(self._rimmed, looks[None], "bicubic", align_corners=False)[0]

    def _upsampled(self, flow: _Flow, rows: Band, paints: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the pixels of some rows look, (x, y) as `Band.places`, [rows, W, 2], and, if it ``paints``, which
        are the photo's own, [rows, W].

        The jumps of the flow lie along the edges of the warped photo: joint bilateral upsampling (Kopf et al., 2007)
        over the four nearest cells. Its range term acts as far as the cells differ, so that a smooth flow is
        interpolated linearly and texture does not bend it. Where it would make no difference to be seen, everything
        is interpolated linearly.
        """
        wide, kept = flow.wide
        places = wide.new_empty(len(rows.places), self._width, 2)
        keep = kept.new_empty(len(rows.places) if paints else 0, self._width)
        for tile in rows.tiles:
            here = slice(tile.pixels.start - rows.pixels.start, tile.pixels.stop - rows.pixels.start)
            torch.mm(tile.linear, wide[tile.cells], out=places[here].flatten(1))
            if paints:
                torch.mm(tile.linear, kept[tile.cells], out=keep[here])
        columns = self._across
        edges = flow.edges.index_select(0, rows.block).index_select(1, columns.block)
        patches = (
            edges.nonzero()
            if edges.is_cpu
            else torch.cartesian_prod(*(torch.arange(n, device=edges.device) for n in edges.shape))
        )
        count = (_CHUNK if edges.is_cpu else _CHUNK_ELSEWHERE) // (len(rows.patches) * len(columns.patches))
        for down, across in zip(*(part.split(count) for part in patches.T.contiguous()), strict=True):
            above, right = rows.patches.index_select(1, down), columns.patches.index_select(1, across)
            pixels = (above.mul_(self._width)[:, None] + right).flatten()
            *own, x, y = self._along_edges(flow, rows, down, across, paints)
            torch.view_as_complex(places).view(-1).index_copy_(0, pixels, torch.complex(x, y).flatten())
            if paints:
                keep.view(-1).index_copy_(0, pixels, own[0].flatten())
        return places, keep

    def _along_edges(
        self, flow: _Flow, rows: Band, down: torch.Tensor, across: torch.Tensor, paints: bool
    ) -> torch.Tensor:
        """What `_upsampled` gives, of patches along edges: which pixels are the photo's own, if it ``paints``, and
        where they look, [2 or 3, rows, columns, patches].

        :param down: which patches, by their place in ``rows``: [patches]; across: of a row.
        """
        side, columns = self._cells + 2, self._across
        row = rows.block.index_select(0, down)
        block = row * side + columns.block.index_select(0, across)
        corners = torch.cat([block, block + 1, block + side, block + side + 1])
        cells = flow.cells.flatten(1).index_select(1, corners).unflatten(1, (4, -1))
        above, below, y = rows.weights.index_select(-1, down)[:, :, None]
        left, right, x = columns.weights.index_select(-1, across)

        ends = left * cells[6:, ::2, None] + right * cells[6:, 1::2, None]
        places = torch.addcmul(above * ends[:, 0, None], below, ends[:, 1, None])
        guide = _look_up(self._photo, places.flatten(1, 2)[None]).view(3, *places.shape[1:])
        # Squared distances of colours, less that to the first corner's: linear in the pixel's colour.
        jump = flow.jump.flatten().index_select(0, block - row) / _EDGE**2
        steps = cells[:6, 1:] - cells[:6, :1]
        slopes, energy = steps[3:] * jump, cells[3:6].square().sum(0)
        offsets = (energy[0] - energy[1:]) * (jump / 2)
        first = 0 if paints else 1
        mean, total = torch.zeros_like(guide[first:]), above * left
        for i, share in enumerate((above * right, below * left, below * right)):
            weight = (
                torch.addcmul(offsets[i], guide[0], slopes[0, i])
                .addcmul_(guide[1], slopes[1, i])
                .addcmul_(guide[2], slopes[2, i])
                .exp_()
                .mul_(share)
            )
            total += weight
            mean.addcmul_(weight, steps[first:3, i, None, None])
        mean = torch.addcdiv(cells[first:3, 0, None, None], mean, total)
        mean[-2].mul_(2).add_(x)
        mean[-1].mul_(2).add_(y)
        return mean


def _corners(function: Callable[..., torch.Tensor], maps: torch.Tensor) -> torch.Tensor:
    """A function of two maps of every two by two cells, [..., n + 1, n + 1] -> [..., n, n]."""
    rows = function(maps[..., 1:, :], maps[..., :-1, :])
    return function(rows[..., 1:], rows[..., :-1])


def _spread(maps: torch.Tensor) -> torch.Tensor:
    """Difference between the largest and the least of every two by two cells, [C, n + 1, n + 1] -> [C, n, n]."""
    return _corners(torch.maximum, maps) - _corners(torch.minimum, maps)


def _look_up(picture: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """A picture [1, C, H, W] sampled at places [1, 2, h, w] as `looked_at` gives them, its border repeated:
    [1, C, h, w]."""
    height, width = picture.shape[2:]
    x, y = (seen[:, axis].clamp(1 / side - 1, 1 - 1 / side) for axis, side in ((0, width), (1, height)))
    places = torch.view_as_real(torch.complex(x, y))
    return F.grid_sample(picture, places, "bilinear", align_corners=False)


def _inside(places: torch.Tensor) -> torch.Tensor:
    """1 where the photo has the pixel that is looked for at (x, y) [h, w, 2], and less where that is to be painted."""
    return _fading(torch.maximum(*places.abs().unbind(-1)), 1)


def _fading(beyond: torch.Tensor, border: float = 0) -> torch.Tensor:
    """1 up to the border, falling to 0 over a hundredth of the photo's side beyond it."""
    return torch.rsub(beyond, 1 / _FADES * border + 1, alpha=1 / _FADES).clamp_(0, 1)


def _decided(keep: torch.Tensor) -> torch.Tensor:
    """Masks are never quite 0 or 1; without a decision the decoder's blur would lie like haze over the photo."""
    low, high = _DECISION
    share = ((keep - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)

"""Flow maps as data: what a motion code does to the picture, per scale; edited and looked at before anything is
decoded.

Every operation returns a new FlowField; one that has nothing to do (strength 1, an empty freeze mask, a blend weight
of 0) returns its input's values bit for bit, so that an unedited flow decodes to the same frames.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import kornia
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from PIL import Image, ImageDraw

from .animator.layers import warp
from .identity import AnimatorId, require_same_animator

LARGEST_VIEW = 8192  # pixels of a picture's side; beyond, one frame takes gigabytes
MOST_ARROWS = 2**16  # in a picture: seconds of drawing, and a spacing of 8 pixels on 2048 (our choice)


@dataclass(frozen=True)
class FlowField:
    """Backward flows and visibility masks of T frames at every scale of an animator (LEO's phi). Immutable.

    :param displacement: resolution r -> [T, 2, r, r] (x, y) in normalized units, -2..2 at most in practice; 2 is the
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


def scale_strength(flow: FlowField, strength: float | torch.Tensor) -> FlowField:
    """Shorten, lengthen or turn round every displacement; masks stay.

    :param strength: a number or one per frame [T]. 1 is exactly the input; 0 leaves the family's own sampling of the
        identity grid, which with LIA's align_corners=False is a resampling by half a pixel and not the identity.
    """
    strength = _per_frame(strength, flow)
    return _finite(replace(flow, displacement={r: (d * strength).to(d.dtype) for r, d in flow.displacement.items()}))


def freeze(flow: FlowField, region: torch.Tensor, still: FlowField | None = None) -> FlowField:
    """Hold a region of the picture still: there the flow becomes that of a still picture.

    What a decoder paints at a pixel also comes from the coarser scales, upsampled with a filter of two cells. The
    region therefore grows by one cell at every coarser scale, so that nothing that moves outside reaches into it.
    With LIA's decoder the region is then exactly the still picture; LIA-X's convolutions reach further and let a
    trace through.

    :param region: [1 or T, H, W] in 0..1, 1 frozen, any size; between, flows are mixed.
    :param still: flow of the picture at rest (one frame), for instance of its own pose; zero displacement with
        nothing left to inpainting by default.
    :raises ValueError: a region for another number of frames, or a still flow of another animator or of several
        frames.
    """
    if region.shape[0] not in (1, len(flow)):
        raise ValueError(
            f"The mask has {region.shape[0]} frames and the flow {len(flow)}. Connect one mask for all frames, "
            f"or one for each."
        )
    if still is not None:
        _require_compatible("flow", flow, "still flow", still)
        if len(still) != 1:
            raise ValueError(
                f"The still flow has {len(still)} frames but must have one: the flow of the source's own pose."
            )
    displacement, mask = {}, {}
    amount = None
    for r in reversed(flow.scales):
        if amount is None:
            amount = F.adaptive_max_pool2d(region[:, None].float(), r)
        else:
            amount = F.max_pool2d(F.adaptive_max_pool2d(amount, r), 3, stride=1, padding=1)
        rest = (0.0, 1.0) if still is None else (still.displacement[r], still.mask[r])
        displacement[r] = _mix(flow.displacement[r], rest[0], amount)
        mask[r] = _mix(flow.mask[r], rest[1], amount)
    return _finite(replace(flow, displacement=displacement, mask=mask))


def blend_flows(first: FlowField, second: FlowField, weight: float | torch.Tensor) -> FlowField:
    """Mix displacements and masks of two flows: weight 0 is exactly the first, 1 exactly the second.

    A flow of one frame mixes with every frame of the other.

    :param weight: a number or one per frame [T].
    :raises ValueError: another animator, or different numbers of frames.
    """
    _require_compatible("first flow", first, "second flow", second)
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        raise ValueError(
            f"The first flow has {len(first)} frames and the second {len(second)}. Make the motions the same length "
            f"first."
        )
    longest = max(first, second, key=len)
    weight = _per_frame(weight, longest)
    return _finite(
        replace(
            longest,
            displacement={r: _mix(first.displacement[r], second.displacement[r], weight) for r in first.scales},
            mask={r: _mix(first.mask[r], second.mask[r], weight) for r in first.scales},
        )
    )


def add_displacement(flow: FlowField, displacement: torch.Tensor) -> FlowField:
    """Add a displacement field of one's own to every scale; masks stay.

    :param displacement: [1 or T, 2, H, W] (x, y) in the units of FlowField, any size.
    :raises ValueError: a field for another number of frames.
    """
    if displacement.shape[0] not in (1, len(flow)):
        raise ValueError(
            f"The added field has {displacement.shape[0]} frames and the flow {len(flow)}. Give one field for all "
            f"frames, or one for each."
        )
    added = {r: resize(displacement.float(), r) for r in flow.scales}
    return _finite(replace(flow, displacement={r: (d + added[r]).to(d.dtype) for r, d in flow.displacement.items()}))


def displacement_from_picture(picture: torch.Tensor, reach: float) -> torch.Tensor:
    """A picture that says where its content is to move, as a displacement field.

    Red says how far to the right (darker than middle gray: left), green how far down (darker: up).

    :param picture: [T, H, W, 1, 3 or 4] in 0..1; what is transparent does not move. The two bytes next to the middle
        (0.498 and 0.502) are no movement, as 8-bit pictures have no exact middle.
    :param reach: how far full red or green moves, as a part of the picture's width or height.
    :return: [T, 2, H, W], minus the movement: a backward flow points to where the content comes from.
    """
    field = 2 * rearrange(picture[..., :2].expand(-1, -1, -1, 2), "t h w c -> t c h w") - 1
    if picture.shape[-1] == 4:
        field = field * picture[:, None, ..., 3]
    return torch.where(field.abs() < 0.0042, torch.zeros_like(field), -2 * reach * field)


def inpainted(flow: FlowField, size: int) -> torch.Tensor:
    """Where the finest scale leaves the picture to inpainting, [T, size, size] in 0..1.

    :raises ValueError: no side between 1 and 8192 pixels.
    """
    _require_drawable("side", size)
    return resize(1 - flow.mask[flow.scales[-1]].float(), size)[:, 0]


def color(flow: FlowField, size: int, full: float = 0.0) -> torch.Tensor:
    """The finest scale's movement on the usual color wheel: hue says where the content goes, white means no movement.

    :param full: length (2 is the whole width) that is fully saturated; 0 takes the longest of all frames, so that the
        colors of a clip compare.
    :return: [T, size, size, 3] in 0..1.
    :raises ValueError: no side between 1 and 8192 pixels, or no such length.
    """
    _require_drawable("side", size)
    if not 0 <= full < math.inf:
        raise ValueError(
            f"Full color cannot be at a movement of {full / 2:g} of the width. Give 0 or more; 0 uses the largest "
            f"movement in the clip."
        )
    displacement = resize(flow.displacement[flow.scales[-1]].float(), size)
    full = full or float(displacement.norm(dim=1).max()) or 1.0
    return rearrange(color_wheel(-displacement, full), "t c h w -> t h w c")


def color_wheel(movement: torch.Tensor, full: float) -> torch.Tensor:
    """Movement [N, 2, H, W] (x right, y down) as colors [N, 3, H, W] in 0..1: the direction as hue, the length as
    saturation.

    :param full: length that is fully saturated.
    """
    hue = torch.atan2(movement[:, 1], movement[:, 0]).remainder(2 * math.pi)
    hsv = torch.stack([hue, (movement.norm(dim=1) / full).clamp(max=1), torch.ones_like(hue)], 1)
    return kornia.color.hsv_to_rgb(hsv)


def _arrow_count(height: int, width: int, every: int) -> int:
    return len(range(every // 2, height, every)) * len(range(every // 2, width, every))


def arrows(
    flow: FlowField, backdrop: torch.Tensor, every: int = 24, progress: Callable[[int], None] = lambda done: None
) -> torch.Tensor:
    """Arrows over a picture, each from where the flow fetches the source to where it shows it: the way things move.

    :param backdrop: [1 or T, H, W, 3] in 0..1; the result has its size.
    :param every: pixels between arrows.
    :param progress: called with the number of frames done, several times while one is drawn and at the end; may
        raise to stop.
    :return: [T, H, W, 3] in 0..1.
    :raises ValueError: no spacing between 1 and 8192 pixels, or more than 65,536 arrows in a picture.
    """
    _require_drawable("spacing", every)
    height, width = backdrop.shape[1:3]
    if _arrow_count(height, width, every) > MOST_ARROWS:
        enough = next(
            wider for wider in range(every, LARGEST_VIEW) if _arrow_count(height, width, wider) <= MOST_ARROWS
        )
        raise ValueError(
            f"A spacing of {every} pixels puts {_arrow_count(height, width, every)} arrows on a picture of {width} x "
            f"{height} pixels, "
            f"and at most {MOST_ARROWS} can be drawn. Use a spacing of {enough} or more, or a smaller picture."
        )
    y, x = (axis.ravel() for axis in np.mgrid[every // 2 : height : every, every // 2 : width : every])
    displacement = flow.displacement[flow.scales[-1]].float()
    # both axes of a field run from the first to the last pixel's center
    places = torch.from_numpy(np.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1)).float()
    sampled = F.grid_sample(displacement, repeat(places, "n c -> t 1 n c", t=len(flow)), align_corners=True)[:, :, 0]
    away = sampled.numpy() * np.array([[width - 1], [height - 1]]) / 2
    # Lines are drawn pixel by pixel also outside the picture: they end a little beyond its border, far enough for the
    # head to keep its size.
    beyond, heads = every + 8, np.stack([x, y])
    borders = np.where(away < 0, -beyond, np.array([[width], [height]]) + beyond)
    away = away * np.minimum(1, (borders - heads) / np.where(away == 0, 1e-9, away)).min(axis=1, keepdims=True)
    tails_x, tails_y = (heads + away).swapaxes(0, 1)
    result = torch.empty(len(flow), height, width, 3)
    for t in range(len(flow)):
        picture = Image.fromarray((backdrop[t % len(backdrop)].clamp(0, 1) * 255).round().byte().numpy())
        draw = ImageDraw.Draw(picture)
        for number, (x0, y0, x1, y1) in enumerate(
            zip(tails_x[t].tolist(), tails_y[t].tolist(), x.tolist(), y.tolist(), strict=True)
        ):
            if number % 1000 == 0:
                progress(t)
            _arrow(draw, x0, y0, x1, y1, every / 4)
        result[t] = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)
    progress(len(flow))
    return result


def grid(flow: FlowField, size: int, every: int = 24, picture: torch.Tensor | None = None) -> torch.Tensor:
    """How the finest scale bends space: a grid of lines on the source, warped like the source.

    :param every: pixels between lines.
    :param picture: source [1, H, W, 3] in 0..1 to draw the grid on; white by default.
    :return: [T, size, size, 3] in 0..1.
    :raises ValueError: no side or spacing between 1 and 8192 pixels.
    """
    _require_drawable("side", size)
    _require_drawable("spacing", every)
    line = (torch.arange(size) % every < 1.5).float()
    lines = torch.maximum(line[None, :], line[:, None])
    paper = (
        torch.ones(1, 3, size, size)
        if picture is None
        else resize(rearrange(picture[..., :3].float(), "b h w c -> b c h w"), size)
    )
    ink = torch.tensor([0.1, 0.3, 0.6])[:, None, None]
    drawn = torch.lerp(paper, ink.expand_as(paper), 0.8 * lines)
    return rearrange(warp_picture(drawn, flow), "t c h w -> t h w c")


def warp_picture(picture: torch.Tensor, flow: FlowField) -> torch.Tensor:
    """Move a picture of any size as the finest scale moves the source; what comes from outside is black.

    At the scale's own size this is exactly the family's warp. At another size the same points of the picture are
    sampled.

    :param picture: [1 or T, C, H, W].
    :return: [T, C, H, W].
    """
    size, r = picture.shape[-2:], flow.scales[-1]
    if size == (r, r):
        return warp(picture, flow.displacement[r], flow.align_corners)
    shift = F.interpolate(
        shift_of(flow.displacement[r], flow.align_corners), size, mode="bilinear", align_corners=False
    )
    pictures = picture.float().expand(len(flow), -1, -1, -1)
    across, down = looked_at(shift).unbind(1)
    return kornia.geometry.transform.remap(pictures, across, down, align_corners=False, normalized_coordinates=True)


def shift_of(displacement: torch.Tensor, align_corners: bool) -> torch.Tensor:
    """A family's displacement as how far the center of each cell looks away, in shares of the picture: right at any
    size.

    LIA (align_corners=False) means by -1 and 1 the outer edges of the border pixels, LIA-X their centers.

    :param displacement: [T, 2, r, r] as in FlowField.
    :return: [T, 2, r, r] float32.
    """
    size = displacement.shape[-1]
    cells = torch.arange(size, device=displacement.device, dtype=torch.float32)
    grid = 2 * cells / (size - 1) - 1
    seen = torch.stack(torch.meshgrid(grid, grid, indexing="xy")) + displacement.float()
    if align_corners:
        seen = seen * ((size - 1) / size)
    centers = (2 * cells + 1) / size - 1
    return (seen - torch.stack(torch.meshgrid(centers, centers, indexing="xy"))) / 2


def looked_at(shift: torch.Tensor) -> torch.Tensor:
    """Where each pixel looks: shares of the picture [T, 2, H, W] -> (x, y) in -1..1 from border to border, [T, 2, H,
    W]."""
    y, x = ((2 * torch.arange(n, device=shift.device) + 1) / n - 1 for n in shift.shape[-2:])
    return torch.stack(torch.meshgrid(x, y, indexing="xy")) + 2 * shift


def resize(field: torch.Tensor, size: int) -> torch.Tensor:
    """[T, C, H, W] -> [T, C, size, size], filtered where it shrinks."""
    if field.shape[-2:] == (size, size):
        return field
    return F.interpolate(field, (size, size), mode="bilinear", align_corners=False, antialias=True)


def _require_drawable(what: str, pixels: int) -> None:
    if not 1 <= pixels <= LARGEST_VIEW:
        raise ValueError(f"A {what} of {pixels} pixels cannot be drawn. Give 1 to {LARGEST_VIEW}.")


def _arrow(draw: ImageDraw.ImageDraw, x0: float, y0: float, x1: float, y1: float, head: float) -> None:
    """One arrow, dark with a light rim so that it reads on any picture; a dot where nothing moves."""
    length = math.hypot(x1 - x0, y1 - y0)
    for color, width in (((255, 255, 255), 3), ((200, 30, 60), 1)):
        if length < 1:
            draw.ellipse([x1 - 0.5 * width, y1 - 0.5 * width, x1 + 0.5 * width, y1 + 0.5 * width], color)
            continue
        draw.line([(x0, y0), (x1, y1)], color, width)
        angle, barb = math.atan2(y1 - y0, x1 - x0), min(head, 0.5 * length)
        for side in (2.6, -2.6):
            draw.line(
                [(x1, y1), (x1 + barb * math.cos(angle + side), y1 + barb * math.sin(angle + side))], color, width
            )


def _finite(flow: FlowField) -> FlowField:
    """An edited flow, unless the edit overflowed or had no number to go by: a decoder paints nothing from that."""
    if not all(torch.isfinite(maps).all() for maps in (*flow.displacement.values(), *flow.mask.values())):
        raise ValueError(
            "The edited flow holds values that are not finite numbers. Choose a smaller strength, and check the "
            "connected inputs for NaN."
        )
    return flow


def _mix(first: torch.Tensor, second: torch.Tensor | float, weight: torch.Tensor) -> torch.Tensor:
    """first (1 - weight) + second weight in float32, exactly first or second at the ends, in first's dtype."""
    second = torch.as_tensor(second).float()
    shape = torch.broadcast_shapes(first.shape, second.shape, weight.shape)
    return torch.lerp(first.float().expand(shape), second.expand(shape), weight.expand(shape)).to(first.dtype)


def _per_frame(weight: float | torch.Tensor, flow: FlowField) -> torch.Tensor:
    """A weight as [1 or T, 1, 1, 1] beside the flow's maps."""
    weight = torch.as_tensor(weight, dtype=torch.float32).reshape(-1, 1, 1, 1)
    if len(weight) not in (1, len(flow)):
        raise ValueError(f"There are {len(weight)} weights for {len(flow)} frames; give one for all or one for each.")
    return weight


def _require_compatible(first_what: str, first: FlowField, second_what: str, second: FlowField) -> None:
    """Raise ValueError unless two flows were made by one animator, at one set of scales."""
    require_same_animator(first_what, first.animator, second_what, second.animator)
    if first.scales != second.scales:
        raise ValueError(
            f"The {first_what} has the scales {first.scales}, the {second_what} {second.scales}. Make both with LEO "
            f"Flow Generator."
        )

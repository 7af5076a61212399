"""Where the subject is: crop it out at its own resolution, and paste what was rendered back to its own place.

A cut picture is copied pixel by pixel, never resampled, so pasting it back unchanged changes nothing. Its box has whole
pixels and one size for a whole clip; only its corner moves. All of this is our choice; the paper crops beforehand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d, get_gaussian_kernel1d

from .motion.resample import Missing, fill_missing
from .people import Box, Pick, boxes_of_person

Border = Literal["edge", "reflect", "black"]
Track = Literal["still", "follow"]
Region = Literal["box", "subject"]

# A crop smaller than this shows nobody (our choice); thin masks are widened to it.
_SMALLEST_SIDE = 8
_LARGEST_CROP = 2**29  # pixels
# Rows pasted at a time, few enough to stay in the cache between steps.
_ROWS = 64


@dataclass(frozen=True)
class Crop:
    """The box of a subject in a picture or in every frame of a clip. Immutable.

    :param corners: (y, x) of the top left pixel, int64 [T, 2] on the CPU; T is 1 for a still box. May lie outside.
    :param size: (height, width) of the box in pixels, the same in every frame.
    :param source: (height, width) of the pictures it belongs to.
    :param border: what a cut shows where the box leaves the picture.
    :param subject: the subject's mask in the box, [1 or T, h, w] in 0..1, or None when there was no mask.
    :param missing: bool [T]: frames where no subject was found and the box was made up.
    :param policy: what those frames do: keep the ``hold`` or ``interpolate`` box, or ``pass through`` unchanged.
    """

    corners: torch.Tensor
    size: tuple[int, int]
    source: tuple[int, int]
    border: Border
    subject: torch.Tensor | None
    missing: torch.Tensor
    policy: Missing

    def corner(self, frame: int) -> tuple[int, int]:
        """(y, x) of the box in a frame; the last known one afterward."""
        y, x = self.corners[min(frame, len(self.corners) - 1)].tolist()
        return y, x

    def is_missing(self, frame: int) -> bool:
        """Whether the subject was not found in this frame."""
        return bool(self.missing[min(frame, len(self.missing) - 1)])

    def missing_of(self, frames: int) -> torch.Tensor:
        """In which of the first ``frames`` frames of the clip the subject was not found, bool [frames].

        :raises ValueError: in all of them.
        """
        missing = self.missing[torch.arange(frames).clamp(max=len(self.missing) - 1)]
        if missing.all():
            raise ValueError(
                f"The crop found nobody in the first {frames} frames. Use the crop with the clip it was made from, "
                f"trimmed the same way."
            )
        return missing

    def passes_through(self, frame: int) -> bool:
        """Whether this frame is to be left as it is, because the subject was not found in it."""
        return self.policy == "pass through" and self.is_missing(frame)

    def cut(self, picture: torch.Tensor, frame: int = 0) -> torch.Tensor:
        """Cut one picture [H, W, C] of any dtype to the box [h, w, C].

        :raises ValueError: a picture of another size than the crop was made from.
        """
        self._require_size(picture)
        (y, x), (height, width) = self.corner(frame), self.size
        rows, row_inside = _border_index(y, height, self.source[0], self.border)
        columns, column_inside = _border_index(x, width, self.source[1], self.border)
        cut = picture[rows.to(picture.device)][:, columns.to(picture.device)]
        if self.border == "black":
            inside = row_inside[:, None] & column_inside[None]
            cut = cut * inside[..., None].to(cut)
        return cut

    def _require_size(self, picture: torch.Tensor) -> None:
        if tuple(picture.shape[:2]) != self.source:
            raise ValueError(
                f"The crop was made from pictures of {self.source[1]}x{self.source[0]}, but this one is "
                f"{picture.shape[1]}x{picture.shape[0]}. "
                "Use the crop with the pictures it was made from, or resize them to that size first."
            )


class Paste:
    """Puts pictures into the box of a crop, fading out toward its sides.

    :param feather: width of the fade as a share of the box's shorter side, 0 .. 0.5. Sides that lie on the border of
        the picture, or outside it, do not fade: there is nothing to blend with.
    :param region: paste the whole ``box``, or only the ``subject`` of the crop's mask, grown and faded by the
        feather.
    :raises ValueError: region ``subject`` of a crop that has no mask, or another feather.
    """

    def __init__(self, crop: Crop, feather: float = 0.1, region: Region = "box"):
        if not 0 <= feather <= 0.5:
            raise ValueError(f"The feather is a fraction of the box's shorter side from 0 to 0.5, got {feather:g}.")
        if region == "subject" and crop.subject is None:
            raise ValueError(
                "Pasting only the subject needs its mask, and this crop was made without one. "
                "Connect a mask to LEO Crop Subject, or choose the region 'box'."
            )
        self.crop = crop
        self._fade = feather * min(crop.size)
        self._subject = crop.subject if region == "subject" else None
        still = len(crop.corners) == 1 and (self._subject is None or len(self._subject) == 1)
        self._weights = self.weights(0) if still else None

    def weights(self, frame: int) -> torch.Tensor:
        """How much of the pasted picture shows in the box, [h, w] float32 in 0..1."""
        weights = self.crop_ramp(frame)
        if self._subject is not None:
            subject = self._subject[min(frame, len(self._subject) - 1)]
            weights = weights * _grow(subject, round(self._fade))
        return weights

    def crop_ramp(self, frame: int) -> torch.Tensor:
        """The fade toward the sides of the box alone, [h, w]."""
        (y, x), (height, width) = self.crop.corner(frame), self.crop.size
        rows = _ramp(height, self._fade, y, self.crop.source[0] - y - height)
        columns = _ramp(width, self._fade, x, self.crop.source[1] - x - width)
        return rows[:, None] * columns[None]

    def __call__(self, base: torch.Tensor, picture: torch.Tensor, frame: int = 0) -> torch.Tensor:
        """A new picture: base with the box replaced. Outside the box, and where the weights are 0, base is exact.

        :param base: [H, W, 3 or 4], uint8 or float in 0..1; an alpha channel is kept.
        :param picture: [h', w', 3] float in 0..1 of any size; it is scaled to the box.
        :raises ValueError: a base of another size than the crop was made from.
        """
        self.crop._require_size(base)
        out = base.clone()
        if self.crop.passes_through(frame):
            return out
        (y, x), (height, width) = self.crop.corner(frame), self.crop.size
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + height, self.crop.source[0]), min(x + width, self.crop.source[1])
        inside = slice(top - y, bottom - y), slice(left - x, right - x)
        weights = self.weights(frame) if self._weights is None else self._weights
        picture = scaled(picture, self.crop.size)[inside].to(base.device)
        weights = weights[inside].to(picture)
        for area, part, share in zip(
            out[top:bottom, left:right, :3].split(_ROWS), picture.split(_ROWS), weights.split(_ROWS), strict=True
        ):
            _mix_into(area, part, share)
        return out


def _mix_into(area: torch.Tensor, picture: torch.Tensor, weights: torch.Tensor) -> None:
    """Blend a picture [h, w, 3] in 0..1 into area [h, w, 3] in place, by weights [h, w] in 0..1.

    Works on color planes, the memory layout that full resolution produces; mixing layouts takes three times as long.
    """
    as_bytes = area.dtype == torch.uint8
    planes = picture.movedim(-1, 0)
    planes = planes * 255 if as_bytes else planes
    if (weights < 1).any():
        planes = torch.lerp(area.movedim(-1, 0).to(planes.dtype), planes, weights)
    if as_bytes:
        planes = planes.round().clamp_(0, 255).to(torch.uint8)
    area.copy_(planes.movedim(0, -1))


def scaled(picture: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A picture [h, w, 3] in 0..1 at another (height, width); itself when it has that size."""
    if tuple(picture.shape[:2]) == size:
        return picture
    planes = picture.movedim(-1, 0)[None].float()
    result = F.interpolate(planes, size, mode="bicubic", align_corners=False, antialias=True)
    return result[0].clamp(0, 1).movedim(0, -1)


def crop_subject(
    frames: int,
    source: tuple[int, int],
    boxes: dict | list | None = None,
    mask: torch.Tensor | None = None,
    *,
    pick: Pick = "largest",
    index: int = 0,
    point: tuple[float, float] = (0.5, 0.5),
    margin: float = 0.25,
    aspect: float = 1.0,
    border: Border = "edge",
    track: Track = "still",
    smooth: float = 5.0,
    missing: Missing = "hold",
) -> Crop:
    """Find the crop of one subject.

    :param frames: number of pictures.
    :param source: their (height, width).
    :param boxes: a box {"x", "y", "width", "height"} in pixels, a list of them for every picture alike, or a list of
        such lists with one entry per picture, which may be empty. Values may be floats.
    :param mask: [1 or frames, H', W'] in 0..1, or [H', W'], or with a channel axis of 1; gives the box where there
        are no boxes, and the subject's shape. For one picture also any number of masks: all the places where the
        subject will be.
    :param pick: which of several people: the ``largest``, the one of an ``index`` in the order of the list, or the
        one ``nearest`` to a point (x, y) in shares of the picture. Decided where people are first found, then
        followed.
    :param margin: room added on each side, as a share of the box.
    :param aspect: width over height of the crop, reached by adding; 0 keeps the box's own.
    :param track: one ``still`` box and shape around all of a clip, or a box of one size that follows the subject.
    :param smooth: standard deviation in frames of the smoothing of a followed path; 0 does not smooth.
    :param missing: see Crop; a missing frame's box is held or interpolated (``pass through`` holds it).
    :raises ValueError: no subject in any picture, no such index, or a count that matches neither 1 nor the pictures.
    """
    subject = None if mask is None else _fit_mask(mask, frames, source)
    if boxes is not None:
        path = boxes_of_person(boxes, frames, source, pick, index, point)
    elif subject is not None:
        path = [_box_of_mask(m) for m in subject] * (frames if len(subject) == 1 else 1)
    else:
        path, margin = [(0.0, 0.0, float(source[1]), float(source[0]))] * frames, 0.0
    absent = _absent(path, source, "The mask is empty in" if boxes is None else "The bounding boxes show nobody in")
    shown = _boxes_shown(path, absent, track, missing)
    sides = _sides((shown[:, 2:] - shown[:, :2]).amax(0).tolist(), margin, aspect)
    centers = _smooth((shown[:, :2] + shown[:, 2:]) / 2, smooth)
    corners = (centers - torch.tensor(sides) / 2).round().long().flip(1)
    crop = Crop(corners, (sides[1], sides[0]), source, border, None, absent, missing)
    return crop if subject is None else replace(crop, subject=_subject_in(crop, subject, track))


def _absent(path: Sequence[Box | None], source: tuple[int, int], nobody: str) -> torch.Tensor:
    """In which pictures there is no box, bool [T]. :raises ValueError: in all of them; ``nobody`` says of what."""
    absent = torch.tensor([box is None for box in path])
    if absent.all():
        raise ValueError(
            f"{nobody} {'the picture' if len(path) == 1 else f'any of the {len(path)} pictures'} of "
            f"{source[1]}x{source[0]}. Check the node that makes it (a lower threshold finds more), or disconnect "
            "it to use the whole picture."
        )
    return absent


def _boxes_shown(path: Sequence[Box | None], absent: torch.Tensor, track: Track, missing: Missing) -> torch.Tensor:
    """What a crop has to show, [T, 4] float64, what is absent filled in; [1, 4] around all of it for a still box."""
    placed = torch.tensor([box or (0.0, 0.0, 0.0, 0.0) for box in path], dtype=torch.float64)
    filled = fill_missing(placed, absent, missing)
    if track == "follow":
        return filled
    known = filled[~absent]
    return torch.cat([known[:, :2].amin(0), known[:, 2:].amax(0)])[None]


def _subject_in(crop: Crop, subject: torch.Tensor, track: Track) -> torch.Tensor:
    """The subject's masks [1 or T, H, W] in the box of a crop, [1 or T, h, w]; outside the picture there is none."""
    if track == "still":
        subject = subject.amax(0, keepdim=True)
    outside_is_empty = replace(crop, border="black")
    count = max(len(subject), len(crop.corners))
    return torch.stack(
        [outside_is_empty.cut(subject[min(t, len(subject) - 1)][..., None], t)[..., 0] for t in range(count)]
    )


def _as_masks(mask: torch.Tensor) -> torch.Tensor:
    """A mask of any of the shapes that nodes give, [H, W], [N, H, W], [N, 1, H, W] or [N, H, W, 1], as [N, H, W]."""
    if mask.ndim == 2:
        return mask[None]
    if mask.ndim == 4 and 1 in (mask.shape[1], mask.shape[3]):
        return mask[:, 0] if mask.shape[1] == 1 else mask[..., 0]
    if mask.ndim != 3:
        raise ValueError(
            f"Found a mask of shape {list(mask.shape)}; expected one of [height, width] for all pictures or one for "
            "each. Connect a MASK output."
        )
    return mask


def _fit_mask(mask: torch.Tensor, frames: int, source: tuple[int, int]) -> torch.Tensor:
    """The masks [1 or frames, H, W] at the size of the pictures; of one picture, all places of any number of them."""
    mask = _as_masks(mask)
    if frames == 1:
        mask = mask.amax(0, keepdim=True)
    if len(mask) not in (1, frames):
        raise ValueError(f"Found {len(mask)} masks for {frames} pictures. Connect one mask for all, or one for each.")
    mask = mask.float().cpu()
    if tuple(mask.shape[1:]) != source:
        mask = F.interpolate(mask[:, None], source, mode="nearest-exact")[:, 0]
    return mask


def _box_of_mask(mask: torch.Tensor) -> Box | None:
    inside = mask > 0.5
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _sides(box: list[float], margin: float, aspect: float) -> tuple[int, int]:
    """(width, height) of the crop in whole pixels."""
    width, height = (max(_SMALLEST_SIDE, side * (1 + 2 * margin)) for side in box)
    if aspect > 0:
        width, height = max(width, height * aspect), max(height, width / aspect)
    if not width * height <= _LARGEST_CROP:  # also refuses NaN
        raise ValueError(
            f"The crop would be {width:.5g}x{height:.5g} pixels, more than any picture has. Choose a smaller margin, "
            "or an aspect nearer to 1."
        )
    return round(width), round(height)


def _smooth(path: torch.Tensor, deviation: float) -> torch.Tensor:
    """Gaussian over time of [T, 2]; the ends are held."""
    if deviation <= 0 or len(path) == 1:
        return path
    reach = min(round(3 * deviation), 10 * len(path))
    # float: kornia 0.8, the last one for Python 3.10, takes no int
    kernel = get_gaussian_kernel1d(2 * reach + 1, float(deviation), dtype=path.dtype)[None]
    held = F.pad(path.T[:, None], (reach, reach), mode="replicate")
    return F.conv1d(held, kernel)[:, 0].T


def _border_index(start: int, length: int, count: int, border: Border) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of ``count`` pixels a cut shows at each place from ``start`` on, and whether that place is inside."""
    places = torch.arange(start, start + length)
    inside = (places >= 0) & (places < count)
    if border == "reflect" and count > 1:
        places = places % (2 * count - 2)
        places = torch.minimum(places, 2 * count - 2 - places)
    return places.clamp(0, count - 1), inside


def _ramp(length: int, fade: float, room_before: int, room_after: int) -> torch.Tensor:
    """Smooth rise and fall along one side of the box. The fade is no wider than the room between the box and the border
    of the picture, so that it appears and goes gradually when a followed box touches the border."""
    places = torch.arange(length) + 0.5
    ramp = torch.ones(length)
    for distance, room in ((places, room_before), (length - places, room_after)):
        wide = min(fade, max(room, 0))
        if wide > 0:
            share = (distance / wide).clamp(0, 1)
            ramp = ramp * share * share * (3 - 2 * share)
    return ramp


def _grow(subject: torch.Tensor, reach: int) -> torch.Tensor:
    """The mask [h, w] widened by half the reach and faded over it, 0..1."""
    if reach < 2:
        return subject
    grown = subject[None, None]
    for kernel in ((reach | 1, 1), (1, reach | 1)):
        grown = F.max_pool2d(grown, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
    return gaussian_blur2d(grown, (reach | 1, reach | 1), (reach / 4, reach / 4), border_type="replicate")[0, 0]

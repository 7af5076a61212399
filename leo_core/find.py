"""Where faces are in a picture: a small heatmap network of our own, quick enough for every frame of a clip on a CPU.

After CenterNet (Zhou et al. 2019): one map says where the middles of faces are, four more how far the middle is from a
cell and how large the face is. A face's box is the extent of MediaPipe's 468 landmarks, hairline to chin and cheek to
cheek. The network, its sizes and its training (`leo_core.training.train_finder`) are our choice.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open

from .files import require_kind

STRIDE = 8
GRID = 64  # pictures are padded to multiples of this
AREA = 432**2  # pixels that a picture is brought to
# A crop that shows a head as animators expect it grows the face by this share on each side.
HEAD = 0.125
# What is taken for a face: in a picture; and in a clip, where a surer face was in the frame before or after.
CONFIDENT, LIKELY = 0.64, 0.45
# Most of what is taken for a face by mistake is small: letters, folds, patterns. Below this share of the picture's
# height a find has its confidence lowered by so much.
SMALL, DOUBT = 0.05, 0.08
SAME_FACE = 0.4  # boxes that overlap by more, as intersection over union, are one face
KIND = "face finder"


@dataclass(frozen=True)
class Face:
    """A face that was found: left, top, right, bottom in pixels, and a confidence in 0..1, lowered for small ones."""

    box: tuple[float, float, float, float]
    confidence: float

    def head(self) -> dict:
        """The BOUNDING_BOX of the head, in the form that detectors of ComfyUI write."""
        left, top, right, bottom = self.box
        width, height = right - left, bottom - top
        return {
            "x": left - HEAD * width,
            "y": top - HEAD * height,
            "width": (1 + 2 * HEAD) * width,
            "height": (1 + 2 * HEAD) * height,
            "label": "head",
            "score": self.confidence,
        }


class Convolution(nn.Sequential):
    """3x3 or 1x1 convolution, a normalization that only training has, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        norm: type[nn.Module] = nn.Identity,
        relu: bool = True,
    ):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2),
            norm(outputs),
            nn.ReLU(inplace=True) if relu else nn.Identity(),
        )


class Residual(nn.Module):
    def __init__(self, width: int, norm: type[nn.Module]):
        super().__init__()
        self.first, self.second = Convolution(width, width, norm=norm), Convolution(width, width, norm=norm, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(self.first(x)))


class FaceFinder(nn.Module):
    """Pictures [N, 3, H, W] in -1..1, sides multiples of `GRID` -> [N, 5, H / 8, W / 8].

    The channels: the logit that a face's middle is here; how far right and down of this cell's middle it is, and the
    logarithms of the face's width and height; the four in units of cells.

    :param norm: what normalizes between convolutions while it is trained; folded into the convolutions for use.
    """

    WIDTHS = (12, 20, 32, 48, 52, 52)  # at strides 2, 4, .. 64

    def __init__(self, norm: type[nn.Module] = nn.Identity):
        super().__init__()
        widths = self.WIDTHS
        self.stem = nn.Sequential(
            Convolution(3, widths[0], stride=2, norm=norm), Convolution(widths[0], widths[1], stride=2, norm=norm)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(Convolution(before, width, stride=2, norm=norm), Residual(width, norm))
            for before, width in zip(widths[1:], widths[2:], strict=False)
        )
        self.laterals = nn.ModuleList(Convolution(width, widths[2], 1, norm=norm, relu=False) for width in widths[2:])
        self.head = nn.Sequential(Convolution(widths[2], widths[2], norm=norm), nn.Conv2d(widths[2], 5, 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        x, levels = self.stem(pictures), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        top = self.laterals[-1](levels[-1])
        for lateral, level in zip(self.laterals[-2::-1], levels[-2::-1], strict=True):
            top = lateral(level) + F.interpolate(top, scale_factor=2, mode="nearest")
        return self.head(F.relu(top))


def decode(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps [N, 5, h, w] -> boxes [N, h, w, 4] in pixels of the network's picture, and confidences [N, h, w]."""
    rows, columns = (torch.arange(n, device=maps.device) + 0.5 for n in maps.shape[2:])
    middle = torch.stack([columns[None, :] + maps[:, 1], rows[:, None] + maps[:, 2]], -1)
    half = maps[:, 3:5].clamp(max=8).exp().movedim(1, -1) / 2
    return STRIDE * torch.cat([middle - half, middle + half], -1), maps[:, 0].sigmoid()


def load_finder(path: str | os.PathLike) -> FaceFinder:
    """The finder of a file that `train-finder` wrote, in float32.

    :raises ValueError: it is another file, or a damaged one.
    """
    try:
        with safe_open(path, "pt") as file:
            require_kind(Path(path), file.metadata(), KIND, "Restore the file that came with LEO.")
            state = {name: file.get_tensor(name).float() for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}). Fetch it again.") from None
    finder = FaceFinder().eval().requires_grad_(False)
    expected = {name: value.shape for name, value in finder.state_dict().items()}
    if {name: value.shape for name, value in state.items()} != expected:
        raise ValueError(f"{path} holds a {KIND} of another version of LEO. Restore the file that came with this one.")
    finder.load_state_dict(state)
    return finder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub leaves it out


def find_faces(
    finder: FaceFinder, picture: torch.Tensor, thorough: bool = False, confident: float = CONFIDENT
) -> list[Face]:
    """The faces in a picture, the largest first.

    The picture is looked at in two sizes, about 432 pixels square and half of that, so that faces from a twentieth
    of its height up to all of it are seen; smaller ones have to be surer.

    :param picture: [H, W, 1, 3 or 4], uint8 or float in 0..1.
    :param thorough: look at its mirror image as well, and take a face for as sure as both say; and look at a large
        picture in one more size, four times the pixels, for small faces.
    :param confident: the least confidence.
    """
    height, width = picture.shape[:2]
    pixels = picture[..., :3].movedim(-1, 0)[None]
    scale = math.sqrt(AREA / (height * width))
    found: list[tuple[list[float], float]] = []
    for factor in (2, 1, 0.5) if thorough and scale < 0.5 else (1, 0.5):
        size = [max(GRID // 4, round(side * scale * factor)) for side in (height, width)]
        pixels = shrunk(pixels, size)
        shown = framed(pixels)
        maps = finder(shown)
        if thorough:
            mirrored = finder(shown.flip(-1)).flip(-1)
            maps[:, 0] = (maps[:, 0] + mirrored[:, 0]) / 2
        boxes, scores = decode(maps)
        peaks = scores == F.max_pool2d(scores[:, None], 3, 1, 1)[:, 0]
        small = (boxes[..., 3] - boxes[..., 1]) < SMALL * size[0]
        scores = torch.where(small, scores - DOUBT, scores)
        chosen = (peaks & (scores >= confident))[0]
        steps = torch.tensor([width / size[1], height / size[0]]).repeat(2)
        found += zip((boxes[0][chosen] * steps).tolist(), scores[0][chosen].tolist(), strict=True)
    kept: list[Face] = []
    for box, score in sorted(found, key=lambda pair: -pair[1]):
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        if (
            0 <= middle[0] < width
            and 0 <= middle[1] < height
            and all(overlap(box, face.box) < SAME_FACE for face in kept)
        ):
            left, top, right, bottom = box
            kept.append(Face((left, top, right, bottom), score))
    return sorted(kept, key=lambda face: -(face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))


def supported(found: list[list[Face]]) -> list[list[Face]]:
    """Of what was found in consecutive frames, what is `CONFIDENT`, or overlaps such a face over frames without a
    gap."""
    kept = [[face.confidence >= CONFIDENT for face in faces] for faces in found]
    for order in (range(1, len(found)), range(len(found) - 2, -1, -1)):
        step = 1 if order.step > 0 else -1
        for t in order:
            known = [face for face, keep in zip(found[t - step], kept[t - step], strict=True) if keep]
            kept[t] = [
                keep or any(overlap(face.box, other.box) > SAME_FACE for other in known)
                for face, keep in zip(found[t], kept[t], strict=True)
            ]
    return [
        [face for face, keep in zip(faces, keeps, strict=True) if keep]
        for faces, keeps in zip(found, kept, strict=True)
    ]


def shrunk(pixels: torch.Tensor, size: list[int]) -> torch.Tensor:
    """[1, C, H, W], uint8 or float in 0..1, at another size and as float, antialiased."""
    if pixels.dtype == torch.uint8:
        return F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False).float() / 255
    step = min(pixels.shape[2] // size[0], pixels.shape[3] // size[1])
    if step > 1:
        # Whole steps by sums of rows, then of columns: a quarter of the time of interpolating.
        rows, columns = pixels.shape[2] // step, pixels.shape[3] // step
        x = pixels[0, :, : rows * step, : columns * step].movedim(0, -1).contiguous()
        x = added(x.view(rows, step, -1).unbind(1))
        x = added(x.view(rows, columns, step, -1).unbind(2))
        pixels = x.div_(step**2).movedim(-1, 0)[None]
    if list(pixels.shape[2:]) == size:
        return pixels.float()
    return F.interpolate(pixels.float(), size, mode="bilinear", antialias=True, align_corners=False)


def added(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of two or more tensors, in one pass over each."""
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total


def framed(pixels: torch.Tensor) -> torch.Tensor:
    """[1, 1 or 3, H, W] in 0..1 as the finder takes it: three colors in -1..1, and gray to the right and below up to
    the grid."""
    pixels = pixels.expand(-1, 3, -1, -1) * 2 - 1
    height, width = pixels.shape[2:]
    return F.pad(pixels, (0, -width % GRID, 0, -height % GRID)).contiguous(memory_format=torch.channels_last)


def overlap(a, b) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    inside = width * height
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside or 1.0)

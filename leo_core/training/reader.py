"""What a motion reader learns by: batches, initial weights (`train_reader.py` has the command).

Faces whose controls are known (moved portraits, or pictures with landmarks) are shown in other places, sizes,
angles, lights and qualities; the reader learns each control by its squared error over its spread. L1 would learn the
median of controls that are mostly at rest, which is rest (our choice, measured: docs/training.md).

Motion is what changes from frame to frame of one person, while a reader that learns from single pictures spends most
of its capacity on how people differ. So frames come in groups from one clip, augmented alike, and the loss also covers
the differences within a group (our choice).
"""

import numpy as np
import torch
import torch.nn.functional as F

from .. import face
from ..animator.reader import MotionReader
from .augmentation import moved
from .data import Clip, before_backdrop

GROUP = 4  # frames of one clip that are augmented alike
LEAST_CORRELATION, MOST_SCALED = 0.8, 1.5  # of `recalibrate`
WIDTHS = {64: 32, 32: 64, 16: 96, 8: 128, 4: 192}
# What a control's error is divided by: about its spread over faces that act.
SPREAD = np.array(
    [0.45, 0.5, 0.4, 0.4, 0.4, 0.8, 0.4, 0.5, 0.7, 0.6, 0.5, 0.5, 0.5, 0.4, 0.35, 0.35, 0.5, 0.5, 0.5, 0.4], np.float32
)
# Spreads by which a group that stands still is taken to differ. Landmarks of real clips tremble by about as much of
# what faces do, and by far less of how heads move.
STILL = np.array([0.1 if control.group in ("head", "place") else 0.2 for control in face.CONTROLS], np.float32)


def sample(clips: list[Clip], count: int, size: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [count, 3, size, size] in -1..1 of clips with known controls, augmented, and their controls [count, K].

    Each `GROUP` of them in a row is of one clip.
    """
    backdrops = [clip.backdrop for clip in clips if clip.backdrop is not None]
    pictures, controls = [], []
    for clip in (clips[i] for i in rng.integers(len(clips), size=count // GROUP)):
        times = rng.integers(len(clip.frames), size=GROUP)
        frames = clip.frames[times].astype(np.float32)
        if clip.coverage is not None and backdrops and rng.random() < 0.4:
            frames = before_backdrop(clip, times, backdrops[rng.integers(len(backdrops))])
        pictures.append(torch.from_numpy(frames))
        controls.append(torch.from_numpy(clip.controls[times]))
    return augment(torch.cat(pictures).permute(0, 3, 1, 2) / 127.5 - 1, torch.cat(controls), size, rng)


def reading_loss(found: torch.Tensor, controls: torch.Tensor) -> torch.Tensor:
    """Loss of controls [N, K] read from what `sample` gives: of each, and of how they differ within a group.

    Differences count over how much the group differs, so that a face that hardly moves is read as finely as one that
    does.
    """
    error = (found - controls) / torch.from_numpy(SPREAD)
    groups = (controls / torch.from_numpy(SPREAD)).unflatten(0, (-1, GROUP))
    within = error.unflatten(0, (-1, GROUP))
    within = (within - within.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + torch.from_numpy(STILL))
    # Squared where it is small; a few wrong landmarks must not dominate.
    each, among = (F.smooth_l1_loss(part, torch.zeros_like(part), beta=1.5) for part in (error, within))
    return each + among


def augment(
    pictures: torch.Tensor, controls: torch.Tensor, size: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror, turn, zoom, shift and degrade pictures [N, 3, S, S], a `GROUP` alike; the controls that say where a
    head is go along. Half of the groups also sway by a pixel or two from picture to picture, as heads do."""
    count = len(pictures)

    def draw(low: float, high: float) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, count // GROUP).astype(np.float32)).repeat_interleave(GROUP)

    mirrored = draw(0, 1) < 0.5
    pictures = torch.where(mirrored[:, None, None, None], pictures.flip(-1), pictures)
    controls = torch.where(mirrored[:, None], controls[:, face.MIRROR] * torch.tensor(face.SIGN), controls)
    swaying = draw(0, 1) < 0.5

    def sway(spread: float) -> torch.Tensor:
        return swaying * torch.from_numpy(rng.normal(0, spread, count).astype(np.float32))

    angle = draw(-0.2, 0.2) * (draw(0, 1) < 0.6) + sway(0.015)
    zoom = torch.exp(draw(-0.28, 0.22) + sway(0.01))
    shift = torch.stack([draw(-0.16, 0.16) + sway(0.01) for _ in range(2)], 1)
    controls, theta = moved(controls, angle, zoom, shift)
    grid = F.affine_grid(theta, [count, 1, size, size], align_corners=False)
    pictures = F.grid_sample(pictures, grid, "bilinear", "border", align_corners=False)

    gray = (draw(0, 1) < 0.15)[:, None, None, None]
    pictures = torch.where(gray, pictures.mean(1, keepdim=True), pictures)
    gain = torch.exp(draw(-0.4, 0.3))[:, None] * torch.exp(torch.stack([draw(-0.14, 0.14) for _ in range(3)], 1))
    gamma = torch.exp(draw(-0.35, 0.35))[:, None, None, None]
    pictures = ((pictures + 1) / 2).clamp(1e-3, 1) ** gamma * gain[..., None, None] + draw(-0.1, 0.1)[
        :, None, None, None
    ]
    # blur: down and up again; noise of half of the pictures
    blurred = F.interpolate(
        F.interpolate(pictures, scale_factor=float(rng.uniform(0.4, 0.9)), mode="area"), size, mode="bilinear"
    )
    pictures = torch.where((draw(0, 1) < 0.25)[:, None, None, None], blurred, pictures)
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, np.float32))
    pictures = pictures + noise * (draw(0, 0.05) * (draw(0, 1) < 0.5))[:, None, None, None]
    return pictures.clamp(0, 1) * 2 - 1, controls


def initialize(reader: MotionReader, generator: torch.Generator) -> None:
    """Normal weights by fan-in, biases 0; what is added to a residual stream, and the last layer, starts small."""
    for name, parameter in reader.named_parameters():
        if parameter.ndim == 1:
            parameter.data.zero_()
        else:
            fan = parameter[0].numel()
            scale = {"code": 0.05, "conv2": 0.3}.get(name.split(".")[-2], 1.4)
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * scale / fan**0.5)


def reading(
    reader: MotionReader, frames: np.ndarray, precision: torch.dtype = torch.float32, batch: int = 64
) -> np.ndarray:
    """Codes [T, K] of frames [T, S, S, 3] uint8."""
    result = []
    with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        for start in range(0, len(frames), batch):
            pictures = torch.from_numpy(frames[start : start + batch]).permute(0, 3, 1, 2) / 127.5 - 1
            result.append(reader(pictures).float())
    return torch.cat(result).numpy()


def recalibrate(
    state: dict[str, torch.Tensor], found: list[np.ndarray], true: list[np.ndarray]
) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """A reader's weights with controls that it reads too small scaled up, by the least squares of the truth on the
    reading (our choice).

    A reader that has seen few people understates what new ones do: their readings correlate with the truth and fall
    short of it. Clips' means over time stay out of the fit, and the mean reading stays where it was. Controls that are
    read with a correlation under 0.8 are left alone, for there it is noise that would be scaled.

    :param found: codes [T, K] read off clips of people that it never saw; true: their controls.
    :return: the new weights, and the factor of each control, 1 to `MOST_SCALED`.
    """
    # A reading averages a picture and its mirror image, so mirror images take part in the fit.
    found, true = (
        [*values, *(v[:, face.MIRROR] * np.array(face.SIGN, np.float32) for v in values)] for values in (found, true)
    )
    read = np.concatenate([f - f.mean(0) for f in found])
    truth = np.concatenate([t - t.mean(0) for t in true])
    together, power = (read * truth).mean(0), (read**2).mean(0) + 1e-9
    correlation = together / np.sqrt(power * ((truth**2).mean(0) + 1e-9))
    factor = np.where(correlation >= LEAST_CORRELATION, np.clip(together / power, 1, MOST_SCALED), 1).astype(np.float32)
    middle = torch.from_numpy(np.concatenate(found).mean(0).astype(np.float32))
    scale = torch.from_numpy(factor)
    return {
        **state,
        "code.weight": state["code.weight"] * scale[:, None],
        "code.bias": state["code.bias"] * scale + (1 - scale) * middle,
    }, factor

"""Training batches of the animator: views of clips, augmented, with flow targets for the pairs of source and driving
view."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F

from .augmentation import moved, recolored
from .data import Clip, before_backdrop
from .humans.motion import CONTROLS, REACH, Controls

DRIVINGS = 3  # views rebuilt from the source view, per clip and step


@dataclass
class Batch:
    """Views of B clips, and how the N later ones follow from the first.

    :param views: [B, 1 + N, 3, S, S] in -1..1; the first is the source.
    :param flow: [B, N, 2, S, S] normalized displacement to the source; weight: [B, N, 1, S, S], 0 where unknown.
    :param visible: [B, N, 1, S, S] in 0..1, and exact: [B, N] whether it is known.
    :param regions: [B, N, 1, S, S] in 0..1: mouth and eyes, where known.
    :param controls: [B, 1 + N, K], and controlled: [B] whether they are known.
    :param teacher_forced: [B], 1 where the generator is given the known controls in place of the encoder's reading
        of them.
    """

    views: torch.Tensor
    flow: torch.Tensor
    weight: torch.Tensor
    visible: torch.Tensor
    exact: torch.Tensor
    regions: torch.Tensor
    controls: torch.Tensor
    controlled: torch.Tensor
    teacher_forced: torch.Tensor

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(*(getattr(self, column.name).to(device) for column in fields(self)))


def sample_batch(
    clips: list[Clip],
    count: int,
    rng: np.random.Generator,
    augment: float,
    teacher_forcing: float,
    drivings: int = DRIVINGS,
) -> Batch:
    """Draw clips and views, put rendered people before other backdrops, flip, zoom and recolor them. All chance is
    rng's.

    :param augment: 0..1, how far the pictures are changed.
    :param teacher_forcing: probability that a render's true controls go to the generator.
    :param drivings: views rebuilt from each source.
    :raises ValueError: renders of heads and of bodies are mixed.
    """
    layout = controls_of(clips)
    backdrops = [clip.backdrop for clip in clips if clip.backdrop is not None]
    rows = [
        sample_clip(clips[rng.integers(len(clips))], rng, augment, teacher_forcing, layout, backdrops, drivings)
        for _ in range(count)
    ]
    return Batch(*(torch.stack(column) for column in zip(*rows, strict=True)))


def controls_of(clips: list[Clip]) -> Controls:
    """The controls that the renders among the clips record; those of heads where there are none.

    :raises ValueError: renders of heads and of bodies are mixed.
    """
    found = {CONTROLS[clip.framing] for clip in clips if clip.controls is not None}
    if len(found) > 1:
        raise ValueError(
            "Renders of heads and renders of bodies record different controls. Train on one kind at a time."
        )
    return found.pop() if found else CONTROLS["head"]


def sample_clip(
    clip: Clip,
    rng: np.random.Generator,
    augment: float,
    teacher_forcing: float,
    layout: Controls,
    backdrops: Sequence[np.ndarray] = (),
    drivings: int = DRIVINGS,
) -> tuple[torch.Tensor, ...]:
    """One row of a `Batch`, its tensors in that order."""
    times = rng.integers(len(clip.frames), size=1 + drivings)
    if clip.flow is not None:
        times[0] = clip.reference
    frames = clip.frames[times].astype(np.float32)
    if clip.coverage is not None and len(backdrops) and rng.random() < 0.7 * augment:
        frames = before_backdrop(clip, times, recolored(backdrops[int(rng.integers(len(backdrops)))], rng))
    views = torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1
    maps = known_maps(clip, times[1:])
    controls = (
        torch.zeros(1 + drivings, len(layout.names))
        if clip.controls is None
        else torch.from_numpy(clip.controls[times])
    )
    if rng.random() < 0.5 * augment:
        views, maps = views.flip(-1), maps.flip(-1)
        maps[:, 0] = -maps[:, 0]
        controls = controls[:, layout.mirror] * torch.tensor(layout.sign)
    zoom = 1 - augment * rng.uniform(0, 0.2)
    shift = torch.tensor(rng.uniform(-1, 1, 2) * (1 - zoom), dtype=torch.float32)
    views, maps = zoomed(views, maps, zoom, shift)
    controls = zoomed_controls(controls, zoom, shift, layout)
    if layout is CONTROLS["face"]:
        # The generator gets used to the reader's small errors. With more noise than this it ignores small movements
        # of the head.
        controls = controls + augment * torch.from_numpy(rng.normal(0, 0.01, tuple(controls.shape)).astype(np.float32))
    gain = torch.tensor(1 + augment * (rng.uniform(-0.2, 0.2) + rng.uniform(-0.1, 0.1, 3)), dtype=torch.float32)
    views = ((views + 1) * gain[:, None, None] + augment * rng.uniform(-0.15, 0.15) - 1).clamp(-1, 1)
    flow, weight, visible, regions = maps.split((2, 1, 1, 1), 1)
    exact = torch.full((drivings,), float(clip.flow is not None and clip.exact))
    controlled = torch.tensor(float(clip.controls is not None))
    forced = controlled * float(rng.random() < teacher_forcing)
    return views, flow, weight, visible, exact, regions, controls, controlled, forced


def known_maps(clip: Clip, times: np.ndarray) -> torch.Tensor:
    """Flow (2), its weight, visibility and regions of frames [n], [n, 5, S, S]; where nothing is known, flow of
    weight 0 and all to be seen."""
    flow = np.zeros((len(times), *clip.frames.shape[1:3], 2), np.float32)
    weight, regions = np.zeros((2, *flow.shape[:3]), np.float32)
    if clip.flow is not None and clip.visible is not None:
        flow[:], weight[:] = clip.flow[times], clip.visible[times]
    visible = weight if clip.flow is not None and clip.exact else np.ones_like(weight)
    if clip.regions is not None:
        regions = clip.regions[times] / np.float32(255)
    return torch.from_numpy(np.concatenate([flow, np.stack([weight, visible, regions], -1)], -1)).permute(0, 3, 1, 2)


def zoomed(
    views: torch.Tensor, maps: torch.Tensor, zoom: float, shift: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The part of views and `known_maps` that is ``zoom`` wide, around ``shift`` [2] in half widths."""
    size = views.shape[-1]
    theta = torch.cat([torch.eye(2) * zoom, shift[:, None]], 1)
    grid = F.affine_grid(theta[None], [1, 1, size, size], align_corners=False)
    views = F.grid_sample(views, grid.expand(len(views), -1, -1, -1), "bilinear", "border", False)
    maps = F.grid_sample(maps, grid.expand(len(maps), -1, -1, -1), "bilinear", "border", False)
    maps[:, :2] /= zoom
    centers = F.affine_grid(torch.eye(2, 3)[None], [1, 1, size, size], align_corners=False)
    inside = (centers + maps[:, :2].permute(0, 2, 3, 1)).abs().amax(-1, keepdim=True) <= 1
    maps[:, 3:4] *= inside.permute(0, 3, 1, 2)  # what the zoom cut off cannot be seen in the source
    return views, maps


def zoomed_controls(controls: torch.Tensor, zoom: float, shift: torch.Tensor, layout: Controls) -> torch.Tensor:
    """Controls [n, K] as they are measured in what `zoomed` shows."""
    count = len(controls)
    if layout is CONTROLS["face"]:
        controls, _ = moved(controls, torch.zeros(count), torch.full((count,), 1 / zoom), shift.expand(count, 2))
    if layout.rest:
        rest = torch.tensor(layout.rest)
        controls = ((controls * REACH + rest - shift.repeat(len(rest) // 2)) / zoom - rest) / REACH
    return controls

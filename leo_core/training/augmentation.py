"""What training changes about its pictures: face controls under affine maps, and the colors of backdrops (our
choice)."""

import numpy as np
import torch

from .. import face


def moved(
    controls: torch.Tensor, angle: torch.Tensor, zoom: torch.Tensor, shift: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Controls [N, K] of pictures resampled by an affine map, and the map for `affine_grid`.

    :param angle: [N] radians by which the content turns, as tilt counts; zoom: [N] by which it grows; shift: [N, 2]
        of the sampled window, in half pictures.
    """
    cos, sin = angle.cos(), angle.sin()
    # content turns by R(angle); sampling goes the other way: source = R^-1 (target / zoom) + shift
    inverse = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    theta = torch.cat([inverse / zoom[:, None, None], shift[..., None]], 2)
    result = controls.clone()
    at = {name: k for k, name in enumerate(face.NAMES)}
    place = controls[:, [at["across"], at["down"]]] * face.PLACE_UNIT
    place = torch.einsum("nij,nj->ni", inverse.transpose(1, 2), place - shift) * zoom[:, None]
    result[:, [at["across"], at["down"]]] = place / face.PLACE_UNIT
    result[:, at["tilt"]] += angle / float(face.ANGLE_UNITS[2])
    result[:, at["nearer"]] += zoom.log() / float(np.log(face.SIZE_UNIT))
    return result, theta


def recolored(backdrop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A backdrop [S, S, 3] uint8 in other colors, [S, S, 3] float32 in 0..255.

    Official portraits mostly have blue backdrops, and an animator that has seen nothing else paints blue beside every
    head that turns.
    """
    colors = backdrop[..., rng.permutation(3)].astype(np.float32)
    if rng.random() < 0.4:
        colors = 255 - colors
    return (colors * np.exp(rng.uniform(-1.2, 0.4, 3).astype(np.float32))).clip(0, 255)

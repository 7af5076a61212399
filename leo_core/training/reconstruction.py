"""Rebuild the frames of a clip from its first one: scores and contact sheets."""

import numpy as np
import torch
from kornia.geometry import remap
from PIL import Image

from .. import face
from ..animator import Animator
from .data import Clip
from .pictures import to_pictures


@torch.no_grad()
def held_out_score(animator: Animator, clips: list[Clip], frames: int = 8) -> dict[str, float | None]:
    """How well frames are rebuilt from frame 0.

    :return: mean over clips of the L1 (0..1) of rebuilt frames and of repeating frame 0, and of the ratio of the two;
        only clips that move (repeating errs by over 0.001, our choice) have a ratio, None where no clip does.
    """
    ours, repeated = [], []
    for clip in clips:
        times = np.linspace(1, len(clip.frames) - 1, frames).astype(int)
        rebuilt, truth = rebuild(animator, clip.frames, times)
        ours.append((rebuilt - truth).abs().mean().item())
        repeated.append((to_pictures(clip.frames[:1]) / 2 + 0.5 - truth).abs().mean().item())
    ratios = [a / b for a, b in zip(ours, repeated, strict=True) if b > 1e-3]
    return {
        "l1": float(np.mean(ours)),
        "repeat": float(np.mean(repeated)),
        "ratio": float(np.mean(ratios)) if ratios else None,
    }


def known_codes(animator: Animator, clip: Clip) -> torch.Tensor:
    """Motion codes [T, D] of a clip's known controls, 0 in the other directions.

    :raises ValueError: its controls are not known, or not those that the animator's directions follow.
    """
    if clip.controls is None or clip.framing != "face" or not animator.config.reader:
        raise ValueError(
            f"{clip.name} has no face controls that this animator's directions follow. Use clips that render-clips or "
            f"render-portraits wrote, and an animator with a motion reader."
        )
    codes = torch.zeros(len(clip.frames), animator.config.directions)
    codes[:, : clip.controls.shape[1]] = face.CODE_UNIT * torch.from_numpy(clip.controls)
    return codes


def rebuild(
    animator: Animator, frames: np.ndarray, times: np.ndarray, codes: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames at ``times`` rebuilt from frame 0, and the true ones; both [n, 3, S, S] in 0..1.

    :param codes: [T, D] motion codes of all frames, taken relative to frame 0; by default each frame's own, as the
        encoder reads it.
    """
    code, features = animator.encoder(to_pictures(frames[:1]))
    truth = to_pictures(frames[times])
    alpha = animator.encode_motion(truth) if codes is None else animator.motion_head(code) + codes[times] - codes[:1]
    pictures = animator.render(features, code + animator.dictionary(alpha), animator.anchor(features, code))
    return (pictures / 2 + 0.5).clamp(0, 1), truth / 2 + 0.5


def warp_by_known_flow(clip: Clip, times: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames at ``times`` as the reference frame warped by the clip's own flow, with nothing painted, and the true
    ones; both [n, 3, S, S] in 0..1. A yardstick: what a flow generator that makes the tracked flow would reach.

    :raises ValueError: its flow is not known.
    """
    if clip.flow is None:
        raise ValueError(f"{clip.name} comes without flow. Use clips that render-clips or render-portraits wrote.")
    size = clip.frames.shape[1]
    rows, columns = np.mgrid[:size, :size]
    displacement = clip.flow[times].astype(np.float32) * (size / 2)  # [n, S, S, 2] in pixels
    x, y = (torch.from_numpy(start + displacement[..., k]) for k, start in enumerate((columns, rows)))
    source = to_pictures(clip.frames[[clip.reference] * len(times)])
    pictures = remap(source, x.float(), y.float(), "bilinear", "border", align_corners=True)
    return (pictures / 2 + 0.5).clamp(0, 1), to_pictures(clip.frames[times]) / 2 + 0.5


@torch.no_grad()
def transfer(
    animator: Animator, photo: torch.Tensor, frames: np.ndarray, times: np.ndarray, codes: torch.Tensor | None = None
) -> torch.Tensor:
    """A photo [1, 3, S, S] in -1..1 under the motion of frames at ``times`` relative to frame 0: [n, 3, S, S] in
    0..1.

    :param codes: [T, D] motion codes of all frames; by default as the encoder reads them.
    """
    code, features = animator.encoder(photo)
    shown = [0, *times]
    alpha = animator.encode_motion(to_pictures(frames[shown])) if codes is None else codes[shown]
    latents = code + animator.dictionary(animator.motion_head(code) + alpha[1:] - alpha[:1])
    pictures = animator.render(features, latents, animator.anchor(features, code))
    return (pictures / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def frame_sheet(animator: Animator, clips: list[Clip], columns: int = 8) -> Image.Image:
    """Per clip two rows: driving frames, and the same rebuilt from the first."""
    rows = []
    for clip in clips:
        times = np.linspace(0, len(clip.frames) - 1, columns).astype(int)
        rebuilt, truth = rebuild(animator, clip.frames, times)
        rows += [torch.cat(list(truth), -1), torch.cat(list(rebuilt), -1)]
    sheet = torch.cat(rows, -2).permute(1, 2, 0)
    return Image.fromarray((sheet * 255).round().byte().numpy())

"""Whether each named direction moves what it says and little else: ``python -m leo_core evaluate-directions``.

Photos are rendered at both ends of half of each direction's range, added to their own pose, and the face controls of
what is seen are measured by landmarks. Only animators whose directions are face controls can be measured. The
yardstick is our choice.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..animator import Animator, Direction
from ..animator.checkpoint import load_animator
from ..face import CODE_UNIT, NAMES, measure
from ..files import write_atomically
from .evaluate_landmarks import SIDE, enlarged
from .landmarks import Finder, MediaPipe, find_clip
from .outputs import PICTURE, file_to_write
from .pictures import read_pictures

PART = 0.5  # of a direction's range


@dataclass(frozen=True)
class Response:
    """What a direction moves.

    :param gain: how far its own control moves, relative to how far it was told to.
    :param other: the control that moves most besides, and ``selectivity``: how many times as far the own one moves.
    """

    direction: str
    gain: float
    other: str
    selectivity: float


@torch.no_grad()
def ends(animator: Animator, photo: torch.Tensor, directions: list[Direction]) -> torch.Tensor:
    """A photo [1, 3, S, S] in -1..1 at the low and the high end of each direction, [2 * K, 3, S, S] in 0..1."""
    code, features = animator.encoder(photo)
    amounts = torch.tensor([(PART * direction.low, PART * direction.high) for direction in directions])
    steps = torch.eye(len(directions))[:, None] * amounts[..., None]  # [K, 2, K]
    latents = code + animator.dictionary(animator.motion_head(code) + steps.flatten(0, 1))
    anchor = animator.anchor(features, code)
    pictures = [animator.render(features, part, anchor) for part in latents.split(8)]
    return (torch.cat(pictures) / 2 + 0.5).clamp(0, 1)


def responses(moved: np.ndarray, directions: list[Direction]) -> list[Response]:
    """
    :param moved: [K, K] in units of a control: how far control k goes from the low to the high end of direction d.
    """
    result = []
    for d, direction in enumerate(directions):
        others = np.abs(np.delete(moved[d], d))
        names = [name for k, name in enumerate(NAMES) if k != d]
        told = PART * (direction.high - direction.low) / CODE_UNIT
        result.append(
            Response(
                direction.name,
                float(moved[d, d] / told),
                names[int(others.argmax())],
                float(abs(moved[d, d]) / max(others.max(), 1e-6)),
            )
        )
    return result


def table(rows: list[Response]) -> str:
    """Markdown."""
    lines = ["| direction | gain | moves most besides | selectivity |", "| --- | --- | --- | --- |"]
    return "\n".join(lines + [f"| {r.direction} | {r.gain:.2f} | {r.other} | {r.selectivity:.1f} |" for r in rows])


def respond(
    animator: Animator, directions: list[Direction], photos: list[torch.Tensor], finder: Finder
) -> tuple[list[Response], np.ndarray]:
    """Responses as means over photos [1, 3, S, S] in -1..1, and the first photo's pictures [2 * K, S, S, 3] uint8."""
    shown, moved = [], []
    for photo in photos:
        frames = (ends(animator, photo, directions).permute(0, 2, 3, 1) * 255).round().byte().numpy()
        controls = measure(find_clip((enlarged(frame) for frame in frames), finder), SIDE)
        low, high = controls[::2], controls[1::2]
        moved.append(high - low)
        shown.append(frames)
    return responses(np.nanmean(moved, 0), directions), shown[0]


def evaluate_directions(args: argparse.Namespace) -> None:
    """Run ``evaluate-directions``."""
    finder = MediaPipe()
    animator, info = load_animator(args.model)
    directions = [info.directions[i] for i in sorted(info.directions)]
    if tuple(direction.name for direction in directions) != NAMES:
        raise ValueError(
            f"{args.model.name} has directions that are not the face controls, and only these can be measured by "
            f"landmarks. Name an animator that was trained with --reader."
        )
    rows, shown = respond(animator, directions, list(read_pictures(args.photos, animator.config.size).split(1)), finder)
    print(table(rows))
    if args.sheet:
        pairs = shown.reshape(5, -1, 2, *shown.shape[1:])  # five rows of directions, low beside high
        sheet = np.concatenate([np.concatenate([np.concatenate(list(pair), 1) for pair in row], 1) for row in pairs])
        write_atomically(args.sheet, lambda path: Image.fromarray(sheet).save(path))


def add_commands(subparsers) -> None:
    """``evaluate-directions``."""
    parser = subparsers.add_parser("evaluate-directions", help="measure what each direction moves (needs MediaPipe)")
    parser.add_argument("model", type=Path, help="animator file")
    parser.add_argument("photos", type=Path, nargs="+", help="photos of one person each")
    parser.add_argument(
        "--sheet", type=file_to_write(*PICTURE), help="picture to write: the first photo at both ends of each direction"
    )
    parser.set_defaults(run=evaluate_directions)

"""Find out what an animator's motion directions move, and name them: ``python -m leo_core directions``.

The dictionary's directions come without names. What each one moves is found by rendering the same pictures with a
little more and a little less of it: the pictures differ where the direction acts, and the flow shows how.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange, reduce, repeat
from PIL import Image, ImageDraw

from ..animator import Animator, Direction
from ..animator.checkpoint import load_animator, write_directions
from ..directions import REACH, deviation_of
from ..files import write_atomically
from ..flow import color_wheel
from ..identity import require_same_animator
from ..motion import load_motion
from .outputs import PICTURE, file_to_write
from .pictures import read_pictures


@dataclass(frozen=True)
class Responses:
    """What every direction does to a set of pictures. D directions, N pictures of side S.

    :param deviation: [D] standard deviation of the codes, in code units.
    :param change: [D, S, S] how much a pixel differs between two deviations more and two less, mean over pictures,
        0..1.
    :param movement: [D, 2, S, S] where the content goes (x right, y down) from less to more, mean over pictures; 2
        is the whole width.
    :param renders: [N, D, 2, 3, S, S] the first few pictures with two deviations less and more, in 0..1.
    :param sources: [N, 3, S, S] the same pictures with their own pose, in 0..1.
    """

    deviation: torch.Tensor
    change: torch.Tensor
    movement: torch.Tensor
    renders: torch.Tensor
    sources: torch.Tensor


SHOWN = 2  # pictures on the contact sheet
FAINT = 0.1  # share of the strongest direction's effect below which no name is proposed
BATCH = 8


@torch.inference_mode()
def respond(
    animator: Animator,
    pictures: torch.Tensor,
    codes: torch.Tensor | None = None,
    known: dict[int, Direction] | None = None,
) -> Responses:
    """Render every picture with a little less and a little more of every direction.

    :param pictures: [N, 3, S, S] in -1..1, at least two unless codes are given.
    :param codes: [M, D] to take the deviations from, such as all frames of the training motions; the pictures' own
        otherwise.
    :param known: directions whose useful range is known; it says their deviation.
    :raises ValueError: fewer than two codes, which have no deviation.
    """
    size, count = animator.config.size, animator.config.directions
    read = [animator.encoder(picture[None]) for picture in pictures]
    poses = animator.motion_head(torch.cat([z for z, _ in read]))
    codes = poses if codes is None else codes
    if len(codes) < 2:
        raise ValueError(
            f"Deviations need at least two pictures or a motion, got {len(codes)} code. Give more pictures."
        )
    deviation = codes.std(0)
    for index, direction in (known or {}).items():
        deviation[index] = deviation_of(direction)
    # all directions with less, then all with more
    steps = REACH * torch.cat([-torch.diag(deviation), torch.diag(deviation)])
    change, movement = torch.zeros(count, size, size), torch.zeros(count, 2, size, size)
    renders, sources = [], []
    for number, ((z, features), pose) in enumerate(zip(read, poses, strict=True)):
        latents = z + animator.dictionary(torch.cat([steps, torch.zeros(1, count)]) + pose)
        painted, moved, anchor = [], [], animator.anchor(features, z)
        for part in latents.split(BATCH):
            displacement, mask = animator.flow_generator(features, part, anchor)
            painted.append(animator.decoder(features, displacement, mask).float().clamp(-1, 1) / 2 + 0.5)
            moved.append(displacement[size])
        images, flows = torch.cat(painted), torch.cat(moved)
        less, more = images[:count], images[count : 2 * count]
        change += reduce((more - less).abs(), "d c h w -> d h w", "mean") / len(pictures)
        movement += (flows[:count] - flows[count : 2 * count]) / len(pictures)
        if number < SHOWN:
            renders.append(torch.stack([less, more], 1))
            sources.append(images[-1])
    return Responses(deviation, change, movement, torch.stack(renders), torch.stack(sources))


def propose(responses: Responses) -> dict[int, Direction]:
    """Names for the directions that show an effect: where it acts and how the content moves, minus before plus.

    The movement is fitted, where pixels change, by a shift, a growth and a turn around the center of the change; the
    largest of the four names it, if together they explain half of the movement, else it is a "change". Directions with
    less than FAINT of the strongest effect keep their number as name. Only a proposal (our choice): look at the sheet.
    """
    strength = responses.change.mean((1, 2))
    proposed: dict[int, Direction] = {}
    for d, change in enumerate(responses.change):
        reach = REACH * float(responses.deviation[d])
        name = f"direction {d}"
        if strength[d] >= FAINT * strength.max() and strength[d] > 0:
            name = _unique(f"{_where(change)} {_how(change, responses.movement[d])}", proposed)
        proposed[d] = Direction(name, -reach, reach)
    return proposed


def contact_sheet(responses: Responses, names: dict[int, Direction], cell: int = 128) -> torch.Tensor:
    """One row per direction: each shown picture with less, itself, and more; where it changes; where content goes.

    :param cell: side of a picture on the sheet in pixels.
    :return: [H, W, 3] in 0..1.
    """
    strength = responses.change.mean((1, 2))
    heat = responses.change / responses.change.amax().clamp(min=1e-6)
    ways = color_wheel(responses.movement, max(float(responses.movement.norm(dim=1).amax()), 1e-6))
    columns = [
        picture
        for renders, source in zip(responses.renders, responses.sources, strict=True)
        for picture in (renders[:, 0], source.expand(len(heat), -1, -1, -1), renders[:, 1])
    ]
    columns += [repeat(1 - heat, "d h w -> d 3 h w"), ways]
    rows = torch.stack(
        [torch.nn.functional.interpolate(c, (cell, cell), mode="bilinear", antialias=True) for c in columns], 1
    )
    label, header = 220, 18
    sheet = Image.new("RGB", (label + len(columns) * cell, header + len(heat) * cell), "white")
    body = (rearrange(rows, "d n c h w -> (d h) (n w) c").clamp(0, 1) * 255).round().byte().numpy()
    sheet.paste(Image.fromarray(body), (label, header))
    draw = ImageDraw.Draw(sheet)
    titles = ["less", "as it is", "more"] * len(responses.sources) + ["where it changes", "where it goes"]
    for i, title in enumerate(titles):
        draw.text((label + i * cell + 4, 3), title, "black")
    for d in range(len(heat)):
        name = names[d].name if d in names else ""
        facts = f"deviation {responses.deviation[d]:.3f}\neffect {100 * strength[d]:.2f} %"
        draw.text((6, header + d * cell + 6), f"{d}\n{name}\n{facts}", "black")
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255)


def run_directions(args: argparse.Namespace) -> None:
    animator, info = load_animator(args.model)
    codes = None
    if args.motions:
        motions = [load_motion(path)[0] for path in args.motions]
        for motion in motions:
            require_same_animator("motion", motion.animator, "model", info.id)
        codes = torch.cat([motion.codes for motion in motions])
    known = {} if args.anew else info.directions
    responses = respond(animator, read_pictures(args.pictures, animator.config.size), codes, known)
    directions = propose(responses) | known
    if args.names:
        for index, name in json.loads(args.names.read_text()).items():
            directions[int(index)] = Direction(name, directions[int(index)].low, directions[int(index)].high)
    sheet = (contact_sheet(responses, directions, args.cell) * 255).round().byte().numpy()
    write_atomically(args.sheet, lambda path: Image.fromarray(sheet).save(path))
    print(json.dumps({i: direction.name for i, direction in directions.items()}, indent=1))
    if args.write:
        write_directions(args.model, directions)


def add_commands(subparsers) -> None:
    """``directions``: a contact sheet of what every direction moves, and names kept in the model file."""
    parser = subparsers.add_parser("directions", help="find out what an animator's directions move, and name them")
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+", help="pictures of people, or folders of them")
    parser.add_argument(
        "--sheet", type=file_to_write(*PICTURE), required=True, help="picture file to write the contact sheet to"
    )
    parser.add_argument("--motions", type=Path, nargs="*", default=[], help="motion files to take the deviations from")
    parser.add_argument(
        "--names",
        type=Path,
        help='JSON of names that you chose from the sheet, {"7": "turn head"}; "" takes a name away',
    )
    parser.add_argument("--anew", action="store_true", help="do not keep the names and ranges that the model file has")
    parser.add_argument("--cell", type=int, default=128, help="side of one picture on the sheet")
    parser.add_argument("--write", action="store_true", help="keep names and ranges in the model file")
    parser.set_defaults(run=run_directions)


def _plane(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y of every pixel in -1..1, [S, S] each."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    return x, y


def _where(change: torch.Tensor) -> str:
    """The part of the picture where pixels change, from the center and spread of the change."""
    x, y = _plane(change.shape[-1])
    weight = change / change.sum()
    center_x, center_y = float((weight * x).sum()), float((weight * y).sum())
    spread = float((weight * ((x - center_x) ** 2 + (y - center_y) ** 2)).sum()) ** 0.5
    if spread > 0.55:  # a change all over the picture has 0.82
        return "whole"
    vertical = "upper" if center_y < -0.2 else "lower" if center_y > 0.2 else ""
    horizontal = "left" if center_x < -0.2 else "right" if center_x > 0.2 else ""
    return f"{vertical} {horizontal}".strip() or "middle"


def _how(change: torch.Tensor, movement: torch.Tensor) -> str:
    """How the content moves there from less to more, in words: minus before plus."""
    x, y = _plane(change.shape[-1])
    weight = (change / change.sum()).flatten()
    x, y = (axis.flatten() - (weight * axis.flatten()).sum() for axis in (x, y))
    spread = (weight * (x**2 + y**2)).sum().sqrt().clamp(min=1e-3)
    flow = movement.flatten(1)
    mean = (weight * flow).sum(1)
    moved = flow - mean[:, None]
    growth = (weight * (x * moved[0] + y * moved[1])).sum() / spread
    turn = (weight * (x * moved[1] - y * moved[0])).sum() / spread
    parts = torch.stack([mean[0], mean[1], growth, turn])
    if parts.square().sum() < 0.5 * (weight * flow.square()).sum():
        return "change"
    largest = int(parts.abs().argmax())
    words = (
        ("left-right", "right-left"),
        ("up-down", "down-up"),
        ("small-large", "large-small"),
        ("tilt left-right", "tilt right-left"),
    )
    return words[largest][0 if parts[largest] > 0 else 1]


def _unique(name: str, taken: dict[int, Direction]) -> str:
    names = {direction.name for direction in taken.values()}
    number, candidate = 2, name
    while candidate in names:
        number, candidate = number + 1, f"{name} {number}"
    return candidate

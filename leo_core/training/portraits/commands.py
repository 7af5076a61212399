"""``render-portraits``: photos of people to clips with exact flow and controls; ``portraits-sheet``: a picture to
look at."""

import argparse
import json
import logging
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...files import write_atomically
from ..decoding import read_photo
from ..landmarks import check_portrait, read_landmarks
from ..outputs import PICTURE, file_to_write
from .acting import ACTS, draw_look
from .puppet import Puppet
from .render import Portrait, PortraitClip, renderer

log = logging.getLogger(__name__)


def person_mask(photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A mask of the person [H, W] uint8 by GrabCut (Rother et al. 2004, by OpenCV) around the face, where none is
    known."""
    side = 128
    small = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
    points = landmarks[:, :2] * side / photo.shape[0]
    (left, top), (right, bottom) = points.min(0), points.max(0)
    mask = np.full((side, side), cv2.GC_PR_BGD, np.uint8)
    height = bottom - top
    head = ((left + right) / 2, (top + bottom) / 2 - 0.1 * height), (1.5 * (right - left), 1.55 * height), 0.0
    cv2.ellipse(mask, head, cv2.GC_PR_FGD, -1)
    mask[round(min(bottom + 0.25 * height, side - 1)) :] = cv2.GC_PR_FGD
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), cv2.GC_FGD)
    mask[:2], mask[: round(0.7 * side), :2], mask[: round(0.7 * side), -2:] = cv2.GC_BGD, cv2.GC_BGD, cv2.GC_BGD
    cv2.setRNGSeed(0)  # it starts its clusters at random, from OpenCV's own generator: the same photo, the same mask
    cv2.grabCut(small, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    person = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    soft = cv2.resize(cv2.GaussianBlur(person, (0, 0), 1), photo.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.round(soft * 255).astype(np.uint8)


def open_portrait(
    photo: np.ndarray, landmarks: np.ndarray, mask: np.ndarray | None, side: int, rng: np.random.Generator
) -> Portrait:
    """A square of ``side`` pixels around the face, its place and size drawn.

    :raises ValueError: the face is too small or turned away too far.
    """
    check_portrait(landmarks)
    height = float(np.linalg.norm(landmarks[10, :2] - landmarks[152, :2]))
    low, high = landmarks[:468, :2].min(0), landmarks[:468, :2].max(0)
    scale = side * rng.uniform(0.42, 0.68) / height
    center = (low + high) / 2 + rng.normal(0, 0.04, 2) * side / scale
    matrix = np.array([[scale, 0, side / 2 - scale * center[0]], [0, scale, side / 2 - scale * center[1]]])
    if mask is None:
        mask = person_mask(photo, landmarks)
    mask = cv2.resize(mask, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR)

    def cut(picture: np.ndarray) -> np.ndarray:
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        return cv2.warpAffine(picture, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    points = np.concatenate([landmarks[:, :2] * scale + matrix[:, 2], landmarks[:, 2:] * scale], 1)
    return Portrait(cut(photo), np.clip(cut(mask).astype(np.float32) / 255, 0, 1), points)


def render_portrait(
    photo: np.ndarray, landmarks: np.ndarray, mask: np.ndarray | None, seed, size: int, frames: int, act: str = "all"
) -> PortraitClip:
    """One clip. The same arguments give the same clip.

    :param act: what moves, one of `acting.ACTS`.
    """
    rng = np.random.default_rng(seed)
    portrait = open_portrait(photo, landmarks, mask, max(256, 2 * size), rng)
    puppet = Puppet(portrait.landmarks)
    look = draw_look(rng, portrait.photo)
    with renderer().context:  # another renderer of this process may have made its own the current one
        return renderer().render(portrait, puppet, ACTS[act](rng, puppet, frames), look, size, portrait.backdrop)


def render_portraits(args: argparse.Namespace) -> None:
    """Render the clips that are not there yet and write ``manifest.json``; photos that cannot be used are named and
    left out."""
    known = read_landmarks(args.landmarks)
    names = [name for name in known if args.only is None or any(text in name for text in args.only)]
    args.out.mkdir(parents=True, exist_ok=True)
    part, parts = (int(number) for number in args.part.split("/"))
    clips, held_out = [], set(names[len(names) - args.held_out :])
    for number, name in enumerate(names):
        entry = {
            "file": f"{Path(name).stem}_{args.seed:03d}.npz",
            "identity": Path(name).stem,
            "framing": "face",
            "split": "val" if name in held_out else "train",
        }
        target = args.out / entry["file"]
        if number % parts == part - 1 and not target.exists():
            try:
                photo = read_photo(next(p for p in (args.photos / name, *args.photos.glob(f"{name}.*")) if p.is_file()))
                clip = render_portrait(photo, *known[name], [args.seed, number], args.size, args.frames, args.act)
            except (ValueError, StopIteration) as error:
                log.warning("%s is left out: %s", name, error if str(error) else "the photo is missing")
                continue
            save(clip, target)
        clips.append(entry)
    listed = [entry for entry in clips if (args.out / entry["file"]).exists()]
    manifest = json.dumps({"size": args.size, "clips": listed}, indent=1)
    write_atomically(args.out / "manifest.json", lambda path: Path(path).write_text(manifest))
    print(f"{len(listed)} clips in {args.out}")


def save(clip: PortraitClip, path: Path) -> None:
    """Write a clip as npz."""
    write_atomically(path, lambda part: np.savez_compressed(part, **vars(clip)))


def sheet(args: argparse.Namespace) -> None:
    """Rows of frames, one photo each; the last pictures are flow-warped first frames for comparison."""
    known = read_landmarks(args.landmarks)
    names = list(known)[args.seed :: max(1, len(known) // args.rows)][: args.rows]
    rows = []
    for number, name in enumerate(names):
        photo = read_photo(next(p for p in (args.photos / name, *args.photos.glob(f"{name}.*")) if p.is_file()))
        clip = render_portrait(photo, *known[name], [args.seed, number], args.size, args.frames, args.act)
        rows.append(np.concatenate([*clip.frames, warped(clip, len(clip.frames) - 1)], 1))
    write_atomically(args.out, lambda path: Image.fromarray(np.concatenate(rows)).save(path))


def warped(clip: PortraitClip, t: int) -> np.ndarray:
    """The first frame moved by frame t's flow, black where it is not visible, [S, S, 3] uint8."""
    size = clip.frames.shape[1]
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float32)
    at = grid + clip.backward_flow[t].astype(np.float32) * size / 2
    moved = cv2.remap(clip.frames[0], at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved * clip.visible[t][..., None]


def add_commands(subparsers) -> None:
    """``render-portraits`` and ``portraits-sheet``."""
    render = subparsers.add_parser("render-portraits", help="move photos of people: clips with exact flow and controls")
    render.set_defaults(run=render_portraits)
    look = subparsers.add_parser("portraits-sheet", help="a picture of some moved photos, to look at")
    look.set_defaults(run=sheet)
    for command in (render, look):
        command.add_argument("--photos", type=Path, required=True, help="folder of photos")
        command.add_argument("--landmarks", type=Path, required=True, help="npz of names, landmarks and masks")
        command.add_argument("--out", type=Path if command is render else file_to_write(*PICTURE), required=True)
        command.add_argument("--size", type=int, default=128)
        command.add_argument("--frames", type=int, default=10)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument(
            "--act", choices=ACTS, default="all", help="what moves; eyes: glances, blinks and winks of a still head"
        )
    render.add_argument("--held-out", type=int, default=60, help="the last photos of the file are marked as held out")
    render.add_argument("--only", nargs="*", help="parts of names; all by default")
    render.add_argument("--part", default="1/1", help="render the k-th of n shares, as k/n")
    look.add_argument("--rows", type=int, default=12)

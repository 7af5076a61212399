"""``render-clips``: real clips whose landmarks are known, with the flow and the controls of the face, as training
clips.

The mesh of a portrait is drawn with the landmarks of every frame, so flow is known where skin and lips are. Eyeballs
and what is inside the mouth stay unknown; so do hair and surroundings, unless the tracker follows them. All of it is
our choice.
"""

import argparse
import json
import logging
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...face import measure
from ...files import write_atomically
from ..decoding import VIDEOS, decode
from ..landmarks import check_portrait, read_clip_landmarks, save_arrays
from ..outputs import PICTURE, file_to_write
from ..tracking import SPAN, follow
from .commands import warped
from .puppet import FACE, PHOTO, Puppet, regions
from .render import Mesh, PortraitClip, renderer

log = logging.getLogger(__name__)

SHARE = 0.42, 0.68  # of a picture's height that a face takes, as of portraits


def choose_frames(landmarks: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most so many frames that show a face, evenly spread, in order.

    :raises ValueError: fewer than two do.
    """
    known = np.flatnonzero(np.isfinite(landmarks).all((1, 2)))
    if len(known) < 2:
        raise ValueError(f"{len(known)} of its frames show a face, and at least 2 are needed")
    return known[np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).astype(int))]


def frame_face(landmarks: np.ndarray, width: int, height: int, share: float) -> tuple[float, float, float]:
    """Left, top and side of a square in the picture around faces [T, 478, 3] that take this share of it, or more in
    a small picture."""
    face = float(np.median(np.linalg.norm(landmarks[:, 10, :2] - landmarks[:, 152, :2], axis=-1)))
    low, high = landmarks[..., :2].min((0, 1)), landmarks[..., :2].max((0, 1))
    side = min(max(face / share, *(high - low)), width, height)
    left, top = np.clip((low + high - side) / 2, 0, [width - side, height - side])
    return float(left), float(top), float(side)


def render_clip(
    frames: list[np.ndarray], landmarks: np.ndarray, size: int, share: float, kept: np.ndarray | None = None
) -> PortraitClip:
    """Frames [H, W, 3] uint8 of one clip with their landmarks [T, 478, 3], as a clip that flows to its first frame.

    :param share: of the picture's height that the face takes, where the frames are large enough.
    :param kept: indices of the frames that the clip keeps, 0 first; those between serve the tracker, which follows
        what is around the face. By default all are kept and nothing is followed.
    :raises ValueError: the first face is too small or turned away too far.
    """
    check_portrait(landmarks[0])
    chosen = np.arange(len(frames)) if kept is None else kept
    height, width = frames[0].shape[:2]
    left, top, side = frame_face(landmarks[chosen], width, height, share)
    source = max(256, 2 * size)
    scale = source / side
    matrix = np.array([[scale, 0, (scale - 1) / 2 - scale * left], [0, scale, (scale - 1) / 2 - scale * top]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC

    def square(frame: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(frame, matrix, (source, source), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    points = ((landmarks[chosen] - [left, top, 0]) * scale).astype(np.float32)
    triangles = Puppet(points[0]).triangles
    triangles = np.ascontiguousarray(triangles[(triangles < FACE).all(1)])
    mesh = Mesh(points[0, :FACE, :2], np.full(FACE, PHOTO), np.zeros(FACE), triangles)
    with renderer().context:
        flow, visible = renderer().flow(mesh, points[:, :FACE], square(frames[0]), size)
    shown = np.stack([cv2.resize(square(frame), (size, size), interpolation=cv2.INTER_AREA) for frame in frames])
    if kept is not None:
        around = ~faces(points, size, size / source)
        followed, believed = (maps[kept] for maps in follow(shown, 0))
        flow, visible = np.where(around[..., None], followed, flow), np.where(around, believed, visible)
    return PortraitClip(
        shown[chosen], flow, visible, measure(points, source), None, None, regions(points, size, size / source)
    )


def faces(landmarks: np.ndarray, size: int, factor: float) -> np.ndarray:
    """Where faces are, with a margin: [T, size, size] bool, of landmarks [T, 478, 3] that count in 1 / factor
    pixels."""
    maps = np.zeros((len(landmarks), size, size), np.uint8)
    for picture, points in zip(maps, landmarks, strict=True):
        cv2.fillConvexPoly(picture, cv2.convexHull(np.rint(points[:, :2] * factor).astype(np.int32)), 1)
    margin = max(3, round(size / 40)) | 1
    return np.stack([cv2.dilate(picture, np.ones((margin, margin), np.uint8)) for picture in maps]) > 0


def read_frames(path: Path, times: np.ndarray, count: int) -> list[np.ndarray]:
    """Frames of a video at these times, [H, W, 3] uint8. :raises ValueError: it has not as many frames as landmarks."""
    wanted, number = set(times.tolist()), 0
    frames: list[np.ndarray] = []
    for number, picture in enumerate(decode(path)[0], 1):
        if number - 1 in wanted:
            frames.append(np.asarray(picture.convert("RGB")))
    if number != count:
        raise ValueError(
            f"it has {number} frames and landmarks of {count}. Find them again with python -m leo_core clip-landmarks"
        )
    return frames


def render_clips(args: argparse.Namespace) -> None:
    """Run ``render-clips``; clips that cannot be used are named and left out."""
    known = read_clip_landmarks(args.landmarks)
    renderer()  # where there is none, say so once
    files = [
        file
        for path in args.clips
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        if file.suffix.lower() in VIDEOS
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    entries: list[dict] = []
    rows: list[np.ndarray] = []
    for number, path in enumerate(files):
        rng = np.random.default_rng([args.seed, number])
        try:
            if path.name not in known:
                raise ValueError(f"{args.landmarks.name} has no landmarks of it")
            track = known[path.name]
            times = choose_frames(track[:SPAN] if args.follow else track, args.frames)
            kept, wanted = (times - times[0], np.arange(times[0], times[-1] + 1)) if args.follow else (None, times)
            clip = render_clip(
                read_frames(path, wanted, len(track)), track[wanted], args.size, rng.uniform(*SHARE), kept
            )
        except (OSError, ValueError) as error:
            log.warning("%s is left out: %s", path.name, error)
            continue
        entries.append(
            {
                "file": f"{path.stem}_{args.seed:03d}.npz",
                "identity": path.stem,
                "framing": "face",
                "exact": False,
                "split": "val" if any(text in path.stem for text in args.hold_out) else "train",
            }
        )
        save_arrays(
            args.out / entries[-1]["file"], {name: value for name, value in vars(clip).items() if value is not None}
        )
        if args.sheet:
            rows.append(comparison(clip))
    if not entries:
        raise ValueError("No clip could be used. Name videos whose landmarks are in the file.")
    write_atomically(
        args.out / "manifest.json",
        lambda path: Path(path).write_text(json.dumps({"size": args.size, "clips": entries}, indent=1)),
    )
    if args.sheet:
        write_atomically(args.sheet, lambda path: Image.fromarray(np.concatenate(rows)).save(path))
    print(f"{len(entries)} clips in {args.out}")


def comparison(clip: PortraitClip) -> np.ndarray:
    """First frame, the frame whose face moved most, and the first one moved by its flow, side by side."""
    moved = (np.linalg.norm(clip.backward_flow.astype(np.float32), axis=-1) * clip.visible).mean((1, 2))
    t = int(moved.argmax())
    return np.concatenate([clip.frames[0], clip.frames[t], warped(clip, t)], 1)


def add_commands(subparsers) -> None:
    """``render-clips``."""
    parser = subparsers.add_parser(
        "render-clips", help="real clips with landmarks: training clips with the flow and controls of the face"
    )
    parser.add_argument("clips", type=Path, nargs="+", help="videos, or folders of videos")
    parser.add_argument("--landmarks", type=Path, required=True, help="npz that clip-landmarks wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=10, help="at most so many of each clip, evenly spread")
    parser.add_argument(
        "--follow",
        action="store_true",
        help=f"also follow what is around the face, estimated, over the first {SPAN} frames (seconds a clip)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--hold-out",
        nargs="*",
        default=[],
        metavar="TEXT",
        help="clips whose names contain this are marked as held out",
    )
    parser.add_argument(
        "--sheet",
        type=file_to_write(*PICTURE),
        help="picture to write: first frame, the one that moved most, and the first moved by the flow",
    )
    parser.set_defaults(run=render_clips)

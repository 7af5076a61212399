"""``prior-motions``: training motions for a prior of face controls, measured from the landmarks of real clips and drawn
as performances (our choice)."""

import argparse
import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from .. import face
from ..animator.checkpoint import load_animator
from ..identity import AnimatorId
from ..motion import MotionSequence, save_motion
from ..video import read_video
from .decoding import VIDEOS
from .landmarks import files_in, read_clip_landmarks
from .portraits.performing import perform_person

FPS = Fraction(25)
# Seconds. A prior learns whatever trembles in its motions, and heads that hardly move are enlarged to the size of the
# others. This takes five sixths of the detector's jitter off heads, and 2 % of the movement off lips.
SMOOTHING = 0.3
LEAST = 1.5  # seconds; shorter clips are left out

log = logging.getLogger(__name__)


def measured(landmarks: np.ndarray, size: tuple[int, int], fps: Fraction) -> np.ndarray | None:
    """Controls [T, K] float32 of the person in a clip, relative to a crop around the head.

    :param landmarks: [T, 478, 3] in pixels, NaN where no face was found; such frames are interpolated.
    :param size: width and height of the frames in pixels.
    :return: None where fewer than four fifths of the frames show a face, or the clip is too short.
    """
    controls = face.measure(landmarks, size)
    if np.isnan(controls[:, 0]).mean() > 0.2 or len(controls) < LEAST * fps:
        return None
    return face.smoothed(face.steady_place(face.filled(controls, "interpolate")), SMOOTHING, fps)


def run(args: argparse.Namespace) -> None:
    """Run ``prior-motions``; clips that cannot be used are named and left out."""
    animator, info = load_animator(args.animator)
    if not animator.config.reader:
        raise ValueError(
            f"The codes of {info.id} are not face controls, so it cannot use these motions. Train its prior on "
            "clips with train-prior --animator."
        )
    args.out.mkdir(parents=True, exist_ok=True)
    tracks = read_clip_landmarks(args.landmarks) if args.landmarks else {}
    for path in files_in(args.clips, VIDEOS):
        if path.name not in tracks:
            log.warning("%s is left out: the landmark file has no landmarks for it", path.name)
            continue
        stream = read_video(str(path))
        height, width = stream.size
        controls = measured(tracks[path.name], (width, height), stream.fps)
        if controls is None:
            log.warning("%s is left out: too short, or too few of its frames show a face", path.name)
            continue
        _save(args.out / f"real_{path.stem}.safetensors", controls, stream.fps, info.id)
    for number in range(args.performances):
        rng = np.random.default_rng([args.seed, number])
        controls = perform_person(args.seconds, float(FPS), rng)
        _save(args.out / f"act_{number:03d}.safetensors", controls, FPS, info.id)
    print(f"{len(list(args.out.glob('*.safetensors')))} motions in {args.out}")


def _save(path: Path, controls: np.ndarray, fps: Fraction, animator: AnimatorId) -> None:
    save_motion(path, MotionSequence(face.CODE_UNIT * torch.from_numpy(controls).float(), fps, animator), path.stem)


def add_commands(subparsers) -> None:
    """``prior-motions``: motions to train a prior of face controls on."""
    parser = subparsers.add_parser(
        "prior-motions", help="write motions to train a face prior on: of clips with landmarks, and drawn ones"
    )
    parser.add_argument("animator", type=Path, help="an animator whose codes are face controls")
    parser.add_argument("out", type=Path, help="folder for the motion files")
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="videos, or folders of them")
    parser.add_argument("--landmarks", type=Path, help="their landmarks, from clip-landmarks")
    parser.add_argument("--performances", type=int, default=140, help="how many people to draw")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each performance")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)

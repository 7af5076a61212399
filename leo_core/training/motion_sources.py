"""Motion to train a prior on or to compare it with: saved motions, or clips that an animator encodes once."""

import hashlib
import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from ..animator.checkpoint import load_animator
from ..motion import MotionSequence, load_motion, save_motion
from .data import read_source
from .pictures import to_pictures

BATCH = 16

log = logging.getLogger(__name__)


def encode_source(
    source: str, animator_path: Path | None, cache: Path, fps: Fraction | None
) -> list[tuple[str, MotionSequence]]:
    """(identity, motion) of every clip of a source, each at its own rate, encoded once and kept in ``cache`` as
    motion files.

    :param source: [NAME=]FOLDER of videos, frame folders, renders or saved motions, or [NAME=]GRID.mp4@CELL.
    :param fps: frame rate of clips whose files do not say it.
    """
    label, _, location = source.rpartition("=")
    folder = Path(location.partition("@")[0])
    if folder.is_dir() and (saved := sorted(folder.rglob("*.safetensors"))):
        return [(f"{label}/{path.stem}" if label else path.stem, motion) for path, motion in load_motions(saved)]
    if animator_path is None:
        raise ValueError(f"{source} holds clips, which an animator has to read first. Name its file with --animator.")

    animator, info = load_animator(animator_path)
    newest = max(
        [folder.stat().st_mtime, *(path.stat().st_mtime for path in folder.rglob("*"))]
        if folder.is_dir()
        else [folder.stat().st_mtime]
    )
    key = hashlib.sha256(f"{source} {newest} {fps} {info.id.fingerprint}".encode()).hexdigest()[:16]
    kept = cache / key
    if not kept.is_dir():
        clips = read_source(source, animator.config.size)
        rates = [rate for clip in clips if (rate := clip.fps or fps) is not None]
        if len(rates) < len(clips):
            silent = next(clip.name for clip in clips if clip.fps is None)
            raise ValueError(f"Nothing in {source} gives the frame rate of {silent}. Set it with --fps.")
        unfinished = cache / f"{key}.unfinished"
        unfinished.mkdir(parents=True, exist_ok=True)
        for number, (clip, rate) in enumerate(zip(clips, rates, strict=True)):
            # in parts: of a long clip the frames as floats would take four times the memory that it has already
            parts = np.split(clip.frames, range(BATCH, len(clip.frames), BATCH))
            with torch.inference_mode():
                codes = torch.cat([animator.encode_motion(to_pictures(part)) for part in parts])
            save_motion(
                unfinished / f"{number:05d}.safetensors", MotionSequence(codes.clone(), rate, info.id), clip.identity
            )
        unfinished.rename(kept)
    loaded = [load_motion(path) for path in sorted(kept.iterdir())]
    return [(identity, motion) for motion, identity in loaded]


def load_motions(paths: Sequence[Path]) -> list[tuple[Path, MotionSequence]]:
    """Saved motions; a folder may hold other files beside them, which are named and left out."""
    loaded = []
    for path in paths:
        try:
            loaded.append((path, load_motion(path)[0]))
        except ValueError as error:
            log.warning("left out: %s", error)
    return loaded


def collect(args) -> tuple[list[MotionSequence], list[tuple[str, MotionSequence]]]:
    """Training motions and held-out (identity, motion) pairs of the command line."""
    motions, held_out = [], []
    for source in args.data:
        for identity, motion in encode_source(source, args.animator, args.run_folder / "motions", args.fps):
            if any(text in identity for text in args.hold_out):
                held_out.append((identity, motion))
            else:
                motions.append(motion)
    return motions, held_out

"""How well the face controls that a clip was rendered with are read off its pictures: ``evaluate-controls``.

The clips are those of ``render-portraits``, whose controls are measures of the very landmarks that were drawn, or
heads of ``render-humans``, whose controls say what their rig does. The reading is the measure of the landmarks that
MediaPipe finds. So what is missing is what the pictures do not show, or what the detector does not see. Needs
MediaPipe and no torch.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..face import NAMES, measure
from .evaluate_landmarks import SIDE, enlarged
from .humans.motion import CONTROLS
from .landmarks import Finder, MediaPipe, find_clip

# What a rendered head does, and the face controls whose mean says the same of landmarks.
MEASURED = {name: (name,) for name in NAMES} | {
    "open mouth": ("jaw open",),
    "close eyes": ("close left eye", "close right eye"),
    "raise brows": ("brows up",),
    "widen mouth": ("mouth wide",),
}


def agreement(
    found: list[np.ndarray], true: list[np.ndarray], names: Sequence[str] = NAMES
) -> dict[str, tuple[float, float]]:
    """Per control the correlation and gain (regression slope) of reading to truth, over all clips, each clip's means
    removed.

    :param found: controls or codes [T, K] of every clip; true: the same of what they should be.
    :param names: of the K controls.
    """
    read = np.concatenate([f - f.mean(0) for f in found])
    truth = np.concatenate([t - t.mean(0) for t in true])
    covariance, variance = (read * truth).mean(0), (truth**2).mean(0) + 1e-9
    correlation = covariance / np.sqrt(variance * ((read**2).mean(0) + 1e-9))
    return {name: (float(c), float(g)) for name, c, g in zip(names, correlation, covariance / variance, strict=True)}


def read_controls(folder: Path, finder: Finder) -> tuple[list[np.ndarray], list[np.ndarray], int, tuple[str, ...]]:
    """Controls of a folder's clips: of portraits those that are held out, of renders all, since no detector was
    trained on them.

    :return: those read and those rendered, [T, K] of every clip, of frames that show a face; how many do not; and the
        names of the controls.
    :raises ValueError: it holds no such clip, or no face is found.
    """
    clips = json.loads((folder / "manifest.json").read_text())["clips"]
    chosen = [
        clip for clip in clips if clip["framing"] == "head" or (clip["framing"], clip["split"]) == ("face", "val")
    ]
    names = CONTROLS[chosen[0]["framing"]].names if chosen else ()
    columns = [[NAMES.index(part) for part in MEASURED[name]] for name in names]
    found, true, lost = [], [], 0
    for entry in chosen:
        with np.load(folder / entry["file"]) as clip:
            frames, controls = clip["frames"], clip["controls"]
        read = measure(find_clip((enlarged(frame) for frame in frames), finder), SIDE)
        seen = np.isfinite(read).all(1)
        lost += int((~seen).sum())
        if seen.any():
            found.append(np.stack([read[seen][:, column].mean(1) for column in columns], 1))
            true.append(controls[seen])
    if not found:
        raise ValueError(
            f"{folder} has {len(chosen)} clips to read, and no face is found in them. Expected a folder of "
            "render-portraits, whose manifest marks some clips as val, or of render-humans --framing head."
        )
    return found, true, lost, names


def evaluate_controls(args: argparse.Namespace) -> None:
    """Run ``evaluate-controls``."""
    found, true, lost, names = read_controls(args.folder, MediaPipe())
    print("| control | correlation | gain |\n| --- | --- | --- |")
    for name, (correlation, gain) in agreement(found, true, names).items():
        print(f"| {name} | {correlation:.2f} | {gain:.2f} |")
    print(f"\n{sum(map(len, found))} frames of {len(found)} clips; no face in {lost} more")


def add_commands(subparsers) -> None:
    """``evaluate-controls``."""
    parser = subparsers.add_parser(
        "evaluate-controls", help="how well controls are read off renders that were made with them (needs MediaPipe)"
    )
    parser.add_argument(
        "folder",
        type=Path,
        help="folder of render-portraits, of which the held-out clips are read, or of render-humans --framing head",
    )
    parser.set_defaults(run=evaluate_controls)

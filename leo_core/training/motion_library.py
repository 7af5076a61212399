"""Ready-made motions of an animator, as files for LEO Load Motion: gestures along its named directions, and motion
of clips.

A gesture knows directions by name alone, so it can be made for every animator that has those names; an animator
without one of them goes without that gesture.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.interpolate import PchipInterpolator

from .. import face
from ..animator import Animator, Direction
from ..animator.checkpoint import AnimatorInfo, load_animator
from ..directions import deviations
from ..motion import MotionSequence, save_motion
from ..video import read_video
from .decoding import center_square
from .pictures import read_pictures, to_pictures
from .portraits.performing import perform

FPS = Fraction(25)

Keys = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Gesture:
    """A short movement out of rest and back to it, so that it repeats.

    :param description: what is to be seen.
    :param tracks: name of a direction -> (second, standard deviations) of its keyframes, from 0 on.
    """

    description: str
    tracks: dict[str, Keys]


GESTURES = {
    "nod yes": Gesture(
        "Nods twice.", {"nod": ((0, 0), (0.32, 1.1), (0.64, -0.3), (0.96, 1.0), (1.28, -0.2), (1.6, 0), (2.0, 0))}
    ),
    "shake no": Gesture(
        "Shakes the head twice.",
        {"turn": ((0, 0), (0.28, 1.6), (0.64, -1.6), (1.0, 1.4), (1.36, -1.0), (1.72, 0), (2.0, 0))},
    ),
    "look around": Gesture(
        "Looks to one side, then to the other, a little up and down on the way.",
        {
            "turn": ((0, 0), (0.8, 2.0), (1.6, 2.0), (2.6, -2.0), (3.4, -2.0), (4.2, 0), (4.8, 0)),
            "nod": ((0, 0), (0.8, -0.3), (1.6, -0.4), (2.1, 0.3), (2.6, -0.2), (3.4, -0.4), (4.2, 0), (4.8, 0)),
        },
    ),
    "tilt": Gesture(
        "Tilts the head to one side, then to the other.",
        {"tilt": ((0, 0), (0.6, 2.0), (1.2, 2.0), (2.0, -2.0), (2.6, -2.0), (3.2, 0), (3.6, 0))},
    ),
    "look down and up": Gesture(
        "Lowers the head, waits, and raises it.",
        {"nod": ((0, 0), (0.8, 1.2), (1.8, 1.2), (2.6, -1.2), (3.2, -1.2), (3.8, 0), (4.2, 0))},
    ),
    "blink": Gesture(
        "Blinks twice.",
        {"close eyes": ((0, 0), (0.6, 0), (0.72, 2.0), (0.92, 0), (1.8, 0), (1.92, 2.0), (2.12, 0), (3.0, 0))},
    ),
    "talk": Gesture(
        "Opens and closes the mouth as if talking, with small nods.",
        {
            "open mouth": (
                (0, 0),
                (0.16, 1.4),
                (0.32, 0.3),
                (0.48, 1.8),
                (0.72, 0.2),
                (0.88, 1.2),
                (1.04, 0.4),
                (1.28, 2.0),
                (1.52, 0.2),
                (1.68, 1.3),
                (1.92, 0),
                (2.24, 0),
                (2.4, 1.5),
                (2.6, 0.3),
                (2.76, 1.0),
                (3.0, 0),
                (3.2, 0),
            ),
            "nod": ((0, 0), (0.5, 0.3), (1.0, -0.1), (1.4, 0.4), (2.0, 0), (2.5, 0.3), (3.2, 0)),
        },
    ),
    "raise brows": Gesture(
        "Raises the brows and lets them down.", {"raise brows": ((0, 0), (0.3, 1.8), (1.0, 1.8), (1.5, 0), (2.0, 0))}
    ),
}


# Of animators whose directions are face controls: name -> style and seconds of a performance, and what is to be seen.
PERFORMANCES = {
    "talk": (6.0, "Talks: jaw and lips in the rhythm of speech, small nods, blinks."),
    "whisper": (5.0, "Comes nearer and whispers."),
    "listen": (6.0, "Listens: nods now and then, smiles a little, blinks."),
    "look around": (6.0, "Looks to one side, then to the other, eyes first."),
    "smile slowly": (5.0, "A smile comes, stays and goes."),
    "laugh": (5.0, "Laughs with an open mouth and narrowed eyes."),
    "nod": (2.8, "Nods three times."),
    "shake": (3.0, "Shakes the head three times."),
    "tilt": (4.0, "Tilts the head to one side, then to the other."),
    "surprise": (3.2, "Brows rise, eyes widen, the mouth opens."),
    "blink": (3.0, "Holds still and blinks."),
    "wink": (2.6, "Winks with the left eye and smiles a little."),
}


def draw_performance(style: str, seconds: float, rest: torch.Tensor) -> torch.Tensor:
    """The codes [T, D] of a performance out of a pose [D] and back to it, at FPS. The same every time."""
    controls = perform(style, seconds, float(FPS), np.random.default_rng(list(style.encode())))
    time = np.arange(len(controls)) / float(FPS)
    envelope = np.clip(np.minimum(time, time[-1] - time) / 0.3, 0, 1)[:, None]
    envelope = envelope * envelope * (3 - 2 * envelope)
    return rest + face.CODE_UNIT * torch.from_numpy(controls * envelope).float()


def draw_gesture(gesture: Gesture, directions: dict[int, Direction], rest: torch.Tensor) -> torch.Tensor | None:
    """The codes [T, D] of a gesture out of a pose [D], at FPS; None where the animator lacks one of its directions.

    Between keyframes a monotone cubic (PCHIP), which never overshoots them.
    """
    index = {direction.name: i for i, direction in directions.items()}
    if not gesture.tracks.keys() <= index.keys():
        return None
    end = max(keys[-1][0] for keys in gesture.tracks.values())
    time = torch.arange(round(end * FPS) + 1) / float(FPS)
    units = deviations(len(rest), directions)
    codes = rest.repeat(len(time), 1)
    for name, keys in gesture.tracks.items():
        amounts = PchipInterpolator(*zip(*keys, strict=True))(time.clamp(max=keys[-1][0]).numpy())
        codes[:, index[name]] += units[index[name]] * torch.from_numpy(amounts).float()
    return codes


@torch.inference_mode()
def write_library(
    animator: Animator,
    info: AnimatorInfo,
    folder: Path,
    rest: torch.Tensor,
    clips: Sequence[Path] = (),
    credit: str = "",
) -> list[Path]:
    """Write every gesture that the animator has the directions for, or performances where they are face controls,
    and the motion of clips, as motion files.

    :param rest: the pose [D] that gestures start from and return to.
    :param clips: each becomes a motion of its name, underscores as spaces.
    :param credit: a line about the clips' origin and license, kept in their files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    motions: dict[str, tuple[torch.Tensor | None, Fraction, str]]
    if animator.config.reader:
        motions = {
            name: (draw_performance(name, seconds, rest), FPS, text) for name, (seconds, text) in PERFORMANCES.items()
        }
    else:
        motions = {
            name: (draw_gesture(gesture, info.directions, rest), FPS, gesture.description)
            for name, gesture in GESTURES.items()
        }
    for clip in clips:
        stream = read_video(str(clip))
        frames = np.stack([center_square(Image.fromarray(frame), animator.config.size) for frame in stream])
        performed = animator.encode_motion(to_pictures(frames))
        motions[clip.stem.replace("_", " ")] = (performed, stream.fps, f"The motion of {clip.name}. {credit}".strip())
    written = []
    for name, (codes, fps, description) in motions.items():
        if codes is not None:
            written.append(folder / f"{name}.safetensors")
            save_motion(written[-1], MotionSequence(codes, fps, info.id), description)
    return written


@torch.inference_mode()
def run_library(args: argparse.Namespace) -> None:
    animator, info = load_animator(args.model)
    rest = animator.encode_motion(read_pictures(args.rest, animator.config.size)).mean(0)
    for path in write_library(animator, info, args.folder, rest, args.clips, args.credit):
        print(path)


def add_commands(subparsers) -> None:
    """``motion-library``: ready-made motions for an animator."""
    parser = subparsers.add_parser(
        "motion-library", help="write ready-made motions for an animator with named directions"
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path, help="where to write the motion files")
    parser.add_argument(
        "--rest",
        type=Path,
        nargs="+",
        required=True,
        help="pictures of people at rest, whose mean pose gestures start from",
    )
    parser.add_argument(
        "--clips", type=Path, nargs="*", default=[], help="videos whose motion becomes a file of its own"
    )
    parser.add_argument("--credit", default="", help="origin and license of the clips, kept in their files")
    parser.set_defaults(run=run_library)

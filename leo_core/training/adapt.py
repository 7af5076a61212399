"""Fine-tune a finished animator on one's own clips: ``python -m leo_core adapt`` (our choice).

Flow generator and decoder learn; encoder, motion head and dictionary stay, so the result has the fingerprint of the
animator it came from and takes its motion priors and saved motions. The last part of every clip is never trained on:
when it stops getting better there, training stops, and the best state is what is saved.
"""

import time
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from tqdm import tqdm

from ..animator.checkpoint import load_animator, raw_state, save_animator
from .data import Clip, read_clip, shrunk
from .evaluate import save_picture
from .notes import parse_notes
from .objective import Weights
from .outputs import MODEL, PICTURE, file_to_write
from .reconstruction import frame_sheet, held_out_score
from .tracking import DETAIL, track
from .trainer import Trainer

LEAST_FRAMES = 8
LEAST_PROGRESS = 1e-3  # of the L1 of unseen frames; less is noise


def split_by_time(clip: Clip, fraction: float) -> tuple[Clip, Clip]:
    """The frames to train on, and the first frame with the last ``fraction`` of the others for validation.

    :raises ValueError: too few frames.
    """
    count = len(clip.frames)
    if count < LEAST_FRAMES:
        raise ValueError(
            f"{clip.name} has {count} frames; adapting needs at least {LEAST_FRAMES}. Use a second of video or more."
        )
    validation = max(2, round(fraction * count))
    return (
        replace(clip, frames=clip.frames[:-validation]),
        replace(clip, frames=np.concatenate([clip.frames[:1], clip.frames[-validation:]])),
    )


def read_clips(paths: list[Path], size: int) -> list[Clip]:
    """Video files or folders of frames.

    :raises ValueError: one of them cannot be read; names it.
    """
    clips = []
    for path in paths:
        try:
            clips.append(read_clip(path, size))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be used: {error}. Name video files, or folders of frames.") from None
    return clips


def adapt(args) -> None:
    """Run ``adapt``.

    :raises ValueError: a clip is unusable, the target is the model itself, or nothing got better.
    """
    if args.target.resolve() == args.model.resolve():
        raise ValueError(f"The result would replace {args.model}. Give it a name of its own.")
    notes = parse_notes(args.note)
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    animator, info = load_animator(args.model)
    size = animator.config.size
    parts = [split_by_time(clip, args.validation_fraction) for clip in read_clips(args.clips, max(size, DETAIL))]
    trained, validation = track([first for first, _ in parts], size), [shrunk(last, size) for _, last in parts]
    trainer = Trainer(args.target.parent, animator.config, Weights(controls=0), args.lr, args.seed, keep_codes=True)
    trainer.init_from(args.model)

    before = best = held_out_score(animator, validation)
    best_state, since, started = None, 0, time.monotonic()
    print(f"Unseen frames before: L1 {before['l1']:.4f}, repeating the first frame {before['repeat']:.4f}", flush=True)
    with tqdm(total=args.steps, disable=None) as bar:
        while trainer.step < args.steps and since < args.patience and time.monotonic() - started < 60 * args.minutes:
            trainer.train_step(trained, args.batch, args.steps, args.augment)
            bar.update()
            if trainer.step % args.validate_every == 0:
                score = held_out_score(trainer.ema_animator()[0], validation)
                bar.set_postfix(unseen=f"{score['l1']:.4f}")
                since += 1
                if score["l1"] < (1 - LEAST_PROGRESS) * best["l1"]:
                    best, since = score, 0
                    best_state = {name: value.clone() for name, value in trainer.ema.items()}
    if best_state is None:
        raise ValueError(
            f"After {trainer.step} steps the unseen frames are no better rebuilt than before (L1 {before['l1']:.4f}); "
            "nothing was written. Try a smaller --lr, or a longer clip with more motion."
        )
    trainer.ema = best_state
    adapted, dictionary = trainer.ema_animator()
    notes = {**info.notes, **notes, "adapted": f"from {info.id.name} on {', '.join(path.name for path in args.clips)}"}
    save_animator(args.target, raw_state(adapted, dictionary), adapted.config, torch.float16, info.directions, notes)
    if args.sheet:
        save_picture(frame_sheet(adapted, validation), args.sheet)
    print(
        f"Unseen frames after {trainer.step} steps: L1 {best['l1']:.4f} ({best['l1'] / before['l1']:.2f} of before). "
        f"Wrote {args.target}."
    )


def add_commands(subparsers) -> None:
    """``adapt``."""
    parser = subparsers.add_parser(
        "adapt", help="fine-tune an animator on your own clips; its priors and motions stay valid"
    )
    parser.add_argument("model", type=Path, help="animator file to begin from")
    parser.add_argument("target", type=file_to_write(*MODEL), help="animator file to write (.safetensors)")
    parser.add_argument("clips", nargs="+", type=Path, help="video files, or folders of frames, of the person")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--minutes", type=float, default=10, help="time limit")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--augment", type=float, default=0.3)
    parser.add_argument(
        "--validation-fraction", type=float, default=0.2, help="share of every clip, at its end, never trained on"
    )
    parser.add_argument("--validate-every", type=int, default=25, help="steps between looks at the unseen frames")
    parser.add_argument("--patience", type=int, default=6, help="looks without progress after which training stops")
    parser.add_argument(
        "--sheet", type=file_to_write(*PICTURE), help="picture to write: unseen frames over rebuilt ones"
    )
    parser.add_argument("--note", nargs="*", default=[], metavar="KEY=TEXT", help="provenance kept in the file")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=adapt)

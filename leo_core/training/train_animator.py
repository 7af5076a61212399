"""Train an image animator and export it: ``python -m leo_core train-animator`` and ``export-animator``."""

import json
import logging
import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from tqdm import tqdm

from .. import face
from ..animator import AnimatorConfig, fast_bfloat16, lia
from ..animator.checkpoint import load_animator
from ..files import write_atomically
from .batches import DRIVINGS, controls_of
from .data import Clip, read_sources, shrunk, split_by_identity
from .losses import open_backbone
from .notes import parse_notes
from .objective import Weights
from .outputs import MODEL, file_to_write
from .reconstruction import frame_sheet, held_out_score
from .tracking import DETAIL, track
from .train_reader import read_reader
from .trainer import Trainer, read_checkpoint

log = logging.getLogger(__name__)

# Equal widths from 64 px on, so that a trained model can grow to twice its size without forgetting (`grown_state`).
SMALL_CHANNELS = {4: 128, 8: 128, 16: 128, 32: 64, 64: 24, 128: 24, 256: 24, 512: 24}


def parse_weights(text: str) -> Weights:
    """:raises ValueError: no JSON object of loss names and weights from 0 up."""
    names = asdict(Weights())
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, dict) or not all(
        name in names and type(value) in (int, float) and 0 <= value < math.inf for name, value in values.items()
    ):
        raise ValueError(
            f"--weights is a JSON object of losses and weights from 0 up, as '{{\"flow\": 1}}', got {text}. "
            f"The losses are {', '.join(names)}."
        )
    return Weights(**values)


def parse_factors(text: str) -> dict[str, float]:
    """:raises ValueError: no JSON object of names and factors above 0."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, dict) or not all(
        type(value) in (int, float) and 0 < value < math.inf for value in values.values()
    ):
        raise ValueError(
            f"--strengthen is a JSON object of controls and factors above 0, as '{{\"brows up\": 1.2}}', got {text}."
        )
    return values


def choose_precision(wanted: str, device: str) -> str:
    """``auto`` is bfloat16 where the GPU, or else the CPU, multiplies it natively, and float32 elsewhere; a choice
    of bfloat16 without that is warned of.

    :param device: ``auto`` or ``cpu``, as in ``--device``.
    :return: as `accelerate.Accelerator` names it: no, bf16 or fp16.
    """
    native = (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if device == "auto" and torch.cuda.is_available()
        else fast_bfloat16()
    )
    if wanted == "bf16" and not native:
        log.warning(
            "This processor emulates bfloat16, or this PyTorch (before 2.10) cannot tell whether it does. "
            "With emulation, a step takes many times as long as in float32; --precision auto uses bfloat16 only where "
            "it is native."
        )
    return ("bf16" if native else "no") if wanted == "auto" else wanted


def configuration(args, widths: dict[int, int]) -> AnimatorConfig:
    """The animator that ``train-animator`` trains.

    :param widths: channel table of the motion reader; empty without one.
    """
    table = {r: c for r, c in SMALL_CHANNELS.items() if r <= args.size}
    # One layer in the motion head: five linear ones in a row are the same function and learn far slower.
    config = lia(args.size, table, style_dim=128, directions=args.directions, head_depth=1, align_corners=True)
    if not widths:
        return config
    directions = len(face.NAMES)
    return replace(
        config,
        family="LEO",
        style_dim=128 + 2 * directions,
        directions=directions,
        rgb_blocks=1,
        paint_size=min(args.size // 2, 64),  # as in the 128 px animators that larger ones grow from
        composite=True,
        anchored=True,
        carry=True,
        reader=widths,
    )


def begin(args) -> Trainer:
    """A new run, or the run of the folder where it stopped.

    :raises ValueError: arguments contradict each other, or a file or the run is of another animator.
    """
    weights = parse_weights(args.weights)
    if weights.perceptual and not args.backbone:
        raise ValueError(
            "The perceptual loss compares the features of a network. Name its TorchScript file with --backbone."
        )
    reader, widths = read_reader(args.reader) if args.reader else (None, {})
    accelerator = Accelerator(cpu=args.device == "cpu", mixed_precision=choose_precision(args.precision, args.device))
    backbone = open_backbone(args.backbone, accelerator.device) if weights.perceptual else None
    trainer = Trainer(
        args.run_folder,
        configuration(args, widths),
        weights,
        args.lr,
        args.seed,
        args.keep_codes,
        accelerator,
        backbone,
        args.coarse,
        args.keep_flow,
    )
    if args.init_from and not (args.run_folder / "last.pt").is_file():
        trainer.init_from(args.init_from, args.reset_decoder)
    trainer.resume()
    if reader is not None:
        trainer.set_reader(reader)
    return trainer


def read_clips(args, weights: Weights) -> tuple[list[Clip], list[Clip]]:
    """Training and held-out clips.

    :raises ValueError: there is nothing to train on, or more controls than directions.
    """
    clips, held_out = split_by_identity(read_sources(args.data, args.size, max(args.size, DETAIL)), args.hold_out)
    if not clips:
        raise ValueError("Every clip is held out; nothing is left to train on.")
    controls = len(controls_of(clips).names)
    if weights.controls and args.directions < controls and any(clip.controls is not None for clip in clips):
        raise ValueError(
            f"--directions {args.directions} is too few for the {controls} controls of renders. Give at least "
            f"that many, or switch the controls off with --weights '{{\"controls\": 0}}'."
        )
    return clips, held_out


def train(args) -> None:
    """Run or resume ``train-animator``."""
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    trainer = begin(args)
    clips, held_out = read_clips(args, trainer.weights)
    validation = [shrunk(clip, args.size) for clip in held_out[:: max(1, len(held_out) // 6)][:6] or clips[:4]]
    with trainer.accelerator.main_process_first():
        clips = track(clips, args.size, args.tracks or args.run_folder / "tracks")
    if not trainer.accelerator.is_main_process:  # others only compute
        while trainer.step < args.steps:
            trainer.train_step(clips, args.batch, args.steps, args.augment)
        return
    print(f"{len(clips)} clips to train on, {len(held_out)} held out", flush=True)
    args.run_folder.mkdir(parents=True, exist_ok=True)
    settings = {"data": args.data, "hold_out": args.hold_out, "batch": args.batch, **asdict(trainer.weights)}
    write_atomically(
        args.run_folder / "settings.json", lambda path: Path(path).write_text(json.dumps(settings, indent=1))
    )
    run(args, trainer, clips, validation)


def run(args, trainer: Trainer, clips: list[Clip], validation: list[Clip]) -> None:
    """Steps up to ``args.steps``, with checkpoints, log and sheets on the way."""
    saved = time.monotonic()
    with Journal(args.run_folder, trainer.step, args.tensorboard) as journal:
        for _ in tqdm(range(trainer.step, args.steps), initial=trainer.step, total=args.steps, mininterval=10):
            parts = trainer.train_step(clips, args.batch, args.steps, args.augment)
            if trainer.step % args.log == 0:
                journal.write(trainer.step, parts)
            if trainer.step % args.validate_every == 0:
                animator, _ = trainer.ema_animator()
                sheet = frame_sheet(animator, validation)
                write_atomically(args.run_folder / "sheet.png", sheet.save)
                journal.write(trainer.step, {"validation": held_out_score(animator, validation)}, sheet)
            if time.monotonic() - saved > args.save_minutes * 60 or trainer.step == args.steps:
                trainer.save()
                saved = time.monotonic()


class Journal:
    """``log.jsonl`` of a run up to ``step``, from where it goes on, and event files for TensorBoard if wanted."""

    def __init__(self, run: Path, step: int, tensorboard: bool):
        log = run / "log.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.is_file() else []
        # a run that was killed has logged steps after its checkpoint, which are taken again, and maybe half a line
        lines = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        write_atomically(log, lambda temporary: Path(temporary).write_text("".join(lines), encoding="utf-8"))
        self.file = open(log, "a", encoding="utf-8")
        self.events = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.events = SummaryWriter(run)

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.file.close()
        if self.events:
            self.events.close()

    def write(self, step: int, figures: dict, sheet: Image.Image | None = None) -> None:
        """:param figures: numbers, or groups of them."""
        self.file.write(json.dumps({"step": step, **figures}) + "\n")
        self.file.flush()
        if self.events:
            for name, value in figures.items():
                for part, number in value.items() if isinstance(value, dict) else [("", value)]:
                    if number is not None:
                        self.events.add_scalar(f"{name}/{part}" if part else name, number, step)
            if sheet:
                self.events.add_image("sheet", np.asarray(sheet), step, dataformats="HWC")


def export(args) -> None:
    """Run ``export-animator``."""
    notes, factors = parse_notes(args.note), parse_factors(args.strengthen)
    saved = read_checkpoint(args.run_folder)
    trainer = Trainer(args.run_folder, saved["config"], Weights(), 0.0, 0)
    trainer.recall(saved)
    if args.reader:
        trainer.set_reader(read_reader(args.reader)[0])
    if args.flow_of:
        trainer.set_flow(args.flow_of)
    trainer.strengthen(factors)
    trainer.export(args.target, notes, load_animator(args.directions_of)[1].directions if args.directions_of else None)
    print(f"{args.target}: {args.target.stat().st_size / 1e6:.1f} MB after {trainer.step} steps")


def add_commands(subparsers) -> None:
    """``train-animator`` and ``export-animator``."""
    parser = subparsers.add_parser("train-animator", help="train an image animator on clips; resumes by itself")
    parser.add_argument("run_folder", type=Path, help="folder of the run: checkpoints, log, sheets")
    parser.add_argument("--data", nargs="+", required=True, help="sources: [NAME=]FOLDER or [NAME=]GRID.mp4@CELL")
    parser.add_argument("--hold-out", nargs="*", default=[], help="identities (parts of names) never trained on")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--directions", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--batch", type=int, default=4, help=f"clips per step; each gives {DRIVINGS} samples")
    parser.add_argument("--lr", type=float, default=1e-2, help="relative to the size of each tensor's weights")
    parser.add_argument(
        "--augment",
        type=float,
        default=1.0,
        help="0 shows clips as they are, 1 flips, zooms, recolors, and puts rendered people before other backdrops",
    )
    parser.add_argument("--weights", default="{}", help="JSON of loss weights that differ from the defaults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init-from", type=Path, help="animator file or run folder, of the same size or half of it")
    parser.add_argument(
        "--reader",
        type=Path,
        metavar="FILE",
        help="an animator of face controls that reads motion with this file of train-reader; --directions is theirs",
    )
    parser.add_argument(
        "--coarse",
        type=int,
        default=0,
        metavar="N",
        help="after every step N that teach flow alone, at half the size: more samples in the same time",
    )
    parser.add_argument(
        "--reset-decoder",
        action="store_true",
        help="with --init-from: keep its flow, let its painting begin again as a copy of the warped picture",
    )
    parser.add_argument(
        "--keep-codes",
        action="store_true",
        help="train flow generator and decoder alone, so that priors and saved motions stay valid",
    )
    parser.add_argument(
        "--keep-flow", action="store_true", help="train the decoder alone: what is painted, not how anything moves"
    )
    parser.add_argument(
        "--tracks",
        type=Path,
        metavar="FOLDER",
        help="where the flow of real clips is kept, for several runs on the same clips (default: RUN/tracks)",
    )
    parser.add_argument(
        "--backbone", type=Path, help="TorchScript of the perceptual loss: pictures in -1..1 to features"
    )
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto", help="auto: the GPU where there is one")
    parser.add_argument(
        "--precision",
        choices=("no", "auto", "bf16", "fp16"),
        default="no",
        help="of the networks' arithmetic; auto: bf16 where the processor has it",
    )
    parser.add_argument("--tensorboard", action="store_true", help="write event files for TensorBoard, too")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--log", type=int, default=50, help="steps between lines of log.jsonl")
    parser.add_argument("--validate-every", type=int, default=500, help="steps between held-out scores and sheets")
    parser.add_argument("--save-minutes", type=float, default=5)
    parser.set_defaults(run=train)

    parser = subparsers.add_parser("export-animator", help="write the inference file of a training run")
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("target", type=file_to_write(*MODEL))
    parser.add_argument("--note", nargs="*", default=[], metavar="KEY=TEXT", help="provenance kept in the file")
    parser.add_argument(
        "--flow-of",
        type=Path,
        metavar="FILE",
        help="animator that the run began from, whose flow generator and dictionary take the place of the run's",
    )
    parser.add_argument(
        "--strengthen",
        default="{}",
        metavar="JSON",
        help='make controls move this many times as far as they were trained to, as {"close left eye": 1.7}',
    )
    parser.add_argument("--reader", type=Path, metavar="FILE", help="motion reader that replaces the run's own")
    parser.add_argument(
        "--directions-of",
        type=Path,
        metavar="FILE",
        help="animator file whose directions have the same meaning, as after --keep-codes: take its names and ranges",
    )
    parser.set_defaults(run=export)

"""Train a motion reader on faces whose controls are known: ``python -m leo_core train-reader``."""

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from .. import face
from ..animator.checkpoint import load_animator
from ..animator.reader import MotionReader
from ..files import KIND_KEY, kind_of, require_kind, write_atomically
from .data import Clip, read_source, split_by_identity
from .evaluate_controls import agreement
from .objective import CONTROL_GAIN
from .reader import GROUP, WIDTHS, initialize, reading, reading_loss, recalibrate, sample

AVERAGE = 0.999
READER = "motion reader"  # the kind of a file of its own
NAME_ANOTHER = "Name a file that train-reader wrote, or an animator with a motion reader."


class ReaderTrainer:
    """One run in a folder: reader, moving average, optimizer, step. Resumes from ``last.pt``.

    :param size: side of the pictures it reads.
    """

    def __init__(self, run: Path, size: int, lr: float, seed: int):
        self.run, self.size, self.lr, self.seed, self.step = run, size, lr, seed, 0
        self.reader = MotionReader(size, WIDTHS, len(face.NAMES))
        self.reader.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub leaves it out
        initialize(self.reader, torch.Generator().manual_seed(seed))
        self.optimizer = torch.optim.AdamW(self.reader.parameters(), lr, betas=(0.9, 0.99), weight_decay=1e-3)
        self.ema = {name: value.clone() for name, value in self.reader.state_dict().items()}

    def init_from(self, path: Path) -> None:
        """Weights of a reader file. :raises ValueError: it is another file."""
        state, _ = read_reader(path)
        state = {
            **state,
            "code.weight": state["code.weight"] / CONTROL_GAIN,
            "code.bias": state["code.bias"] / CONTROL_GAIN,
        }
        self.reader.load_state_dict(state)
        self.ema = {name: value.clone() for name, value in state.items()}

    def resume(self) -> None:
        """Go on from ``last.pt``, if there is one."""
        path = self.run / "last.pt"
        if path.is_file():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            self.reader.load_state_dict(saved["reader"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.ema, self.step = saved["average"], saved["step"]

    def save(self) -> None:
        saved = {
            "reader": self.reader.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.ema,
            "step": self.step,
        }
        write_atomically(self.run / "last.pt", lambda temporary: torch.save(saved, temporary))

    def train_step(self, clips: list[Clip], batch: int, total: int, bf16: bool) -> float:
        """One step; clips, arguments, seed and step decide all of it. Returns the loss."""
        lr = (
            self.lr
            * min(1, (self.step + 1) / 200)
            * (0.03 + 0.485 * (1 + math.cos(math.pi * min(1, self.step / total))))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        pictures, controls = sample(clips, batch, self.size, np.random.default_rng([self.seed, self.step]))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found = self.reader.read(pictures)
        loss = reading_loss(found.float(), controls)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.reader.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(AVERAGE, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.reader.state_dict().items():
                self.ema[name].lerp_(value, 1 - decay)
        return loss.item()

    def ema_reader(self) -> MotionReader:
        reader = MotionReader(self.size, WIDTHS, len(face.NAMES)).eval().requires_grad_(False)
        reader.load_state_dict(self.ema)
        return reader

    def recalibrate(self, clips: list[Clip], precision: torch.dtype) -> dict[str, float]:
        """`recalibrate` the moving average by clips of people that were not trained on. :return: the factors."""
        known = [(clip.frames, clip.controls) for clip in clips if clip.controls is not None]
        found = [reading(self.ema_reader(), frames, precision) for frames, _ in known]
        self.ema, factors = recalibrate(self.ema, found, [controls for _, controls in known])
        return {name: round(float(f), 3) for name, f in zip(face.NAMES, factors, strict=True) if f != 1}

    def export(self, path: Path) -> None:
        """Write the moving average: what `read_reader` reads, its codes in the animator's units."""
        state = {name: value.contiguous() for name, value in self.ema.items()}
        state |= {name: state[name] * CONTROL_GAIN for name in ("code.weight", "code.bias")}
        metadata = {KIND_KEY: READER, "leo.widths": json.dumps(WIDTHS), "leo.step": str(self.step)}
        write_atomically(path, lambda temporary: save_file(state, temporary, metadata))


def read_reader(path: Path) -> tuple[dict[str, torch.Tensor], dict[int, int]]:
    """Weights and channel table of a file that train-reader wrote, or of the reader within an animator's file.

    :raises ValueError: it is another file.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        if kind_of(metadata) == "animator":
            animator, _ = load_animator(path)
            if animator.encoder.reader is None:
                raise ValueError(f"{path.name} is an animator without a motion reader. {NAME_ANOTHER}")
            return animator.encoder.reader.state_dict(), animator.config.reader
        require_kind(path, metadata, READER, NAME_ANOTHER)
        state = {name: file.get_tensor(name) for name in file.keys()}
    return state, {int(r): c for r, c in json.loads(metadata["leo.widths"]).items()}


def report(reader: MotionReader, clips: list[Clip], bf16: bool) -> dict[str, tuple[float, float]]:
    """Agreement with the truth on clips with known controls, each one's means removed."""
    precision = torch.bfloat16 if bf16 else torch.float32
    known = [(clip.frames, clip.controls) for clip in clips if clip.controls is not None]
    found = [reading(reader, frames, precision) for frames, _ in known]
    return agreement(found, [controls for _, controls in known])


def train(args) -> None:
    """Run or resume ``train-reader``."""
    if args.threads:
        torch.set_num_threads(args.threads)
    # Nothing here looks at flow, two thirds of what a clip takes in memory.
    clips = [
        replace(clip, flow=None, visible=None, regions=None)
        for source in dict.fromkeys(args.data)
        for clip in read_source(source, args.size)
        for _ in range(args.data.count(source))
        if clip.controls is not None and clip.framing == "face"
    ]
    clips, held_out = split_by_identity(clips, args.hold_out)
    if not clips:
        raise ValueError(
            "No clip with face controls is left to train on. Make some with render-portraits or render-clips."
        )
    _, strangers = split_by_identity(held_out, args.calibrate)
    if args.calibrate and not strangers:
        raise ValueError(
            f"Nobody held out has a name with {' or '.join(args.calibrate)} in it. --calibrate takes parts of the "
            f"names of people that --hold-out keeps from training."
        )
    args.run_folder.mkdir(parents=True, exist_ok=True)
    trainer = ReaderTrainer(args.run_folder, args.size, args.lr, args.seed)
    if args.init_from and not (args.run_folder / "last.pt").is_file():
        trainer.init_from(args.init_from)
    trainer.resume()
    print(f"{len(clips)} clips to train on, {len(held_out)} held out", flush=True)
    saved, losses = time.monotonic(), []
    while trainer.step < args.steps:
        losses.append(trainer.train_step(clips, args.batch, args.steps, args.precision == "bf16"))
        if trainer.step % args.validate == 0 or trainer.step == args.steps:
            figures = report(trainer.ema_reader(), held_out, args.precision == "bf16") if held_out else {}
            agreeing = {name: [round(c, 3), round(g, 3)] for name, (c, g) in figures.items()}
            line = {"step": trainer.step, "loss": float(np.mean(losses)), "correlation and gain": agreeing}
            losses = []
            print(json.dumps(line), flush=True)
        if time.monotonic() - saved > 300 or trainer.step == args.steps:
            trainer.save()
            trainer.export(args.run_folder / "reader.safetensors")
            saved = time.monotonic()
    if args.calibrate:
        factors = trainer.recalibrate(strangers, torch.bfloat16 if args.precision == "bf16" else torch.float32)
        print(json.dumps({"clips": len(strangers), "scaled": factors}), flush=True)
        trainer.export(args.run_folder / "reader.safetensors")


def whole_groups(text: str) -> int:
    """:raises argparse.ArgumentTypeError: not a multiple of `GROUP`, which one clip gives to a step."""
    if not text.isascii() or not text.isdecimal() or int(text) < GROUP or int(text) % GROUP:
        raise argparse.ArgumentTypeError(
            f"a step takes {GROUP} pictures of each clip: choose a multiple of {GROUP}, got {text}"
        )
    return int(text)


def add_commands(subparsers) -> None:
    """``train-reader``."""
    parser = subparsers.add_parser(
        "train-reader", help="train the network that reads motion from faces; resumes by itself"
    )
    parser.add_argument("run_folder", type=Path, help="folder of the run: last.pt, reader.safetensors")
    parser.add_argument(
        "--data", nargs="+", required=True, help="folders of render-portraits and render-clips; twice counts twice"
    )
    parser.add_argument("--hold-out", nargs="*", default=[], help="identities (parts of names) never trained on")
    parser.add_argument("--init-from", type=Path, metavar="FILE", help="reader file to begin with")
    parser.add_argument(
        "--calibrate",
        nargs="*",
        default=[],
        metavar="TEXT",
        help="at the end, scale up the controls that the reader understates on these held-out people",
    )
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--batch", type=whole_groups, default=48, help=f"pictures a step, a multiple of {GROUP}")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--precision", choices=("no", "bf16"), default="no", help="bf16 where the processor multiplies it natively"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--validate", type=int, default=500, help="steps between held-out figures")
    parser.set_defaults(run=train)

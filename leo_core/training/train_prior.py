"""Train a motion prior: ``python -m leo_core train-prior``."""

import os
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from matplotlib.figure import Figure
from tqdm import tqdm

from ..files import write_atomically
from ..lmdm.checkpoint import save_prior
from ..lmdm.prior import PriorConfig, Sampling
from ..lmdm.training import PriorTrainer, PriorTraining, fit_config
from .motion_sources import collect
from .notes import parse_notes


def train(args) -> None:
    """Run or resume ``train-prior``."""
    notes = parse_notes(args.note)
    choices = {"context": args.context, "channels": tuple(args.channels), "lmc": not args.no_lmc}
    PriorConfig(directions=1, length=args.length, **choices)  # refused now rather than when all clips are encoded
    if args.threads:
        torch.set_num_threads(args.threads)
    accelerator = None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        accelerator = Accelerator(cpu=args.device == "cpu")
    main = accelerator is None or accelerator.is_main_process
    args.run_folder.mkdir(parents=True, exist_ok=True)
    if accelerator:
        with accelerator.main_process_first():
            motions, held_out = collect(args)
    else:
        motions, held_out = collect(args)
    options = PriorTraining(**{name: getattr(args, name) for name in asdict(PriorTraining())})
    config = fit_config(motions, args.length, args.prior_fps, **choices)
    device = accelerator.device if accelerator else args.device
    trainer = PriorTrainer(motions, config, options, [motion for _, motion in held_out], device, accelerator)
    state = args.run_folder / "last.safetensors"
    if state.exists():
        trainer.load(state)
    if main:
        people = len({identity for identity, _ in held_out})
        data = trainer.data
        print(
            f"{len(data.motions)} motions, {data.frames} frames to train on; {len(held_out)} motions of {people} "
            f"identities held out"
        )

    if main and trainer.validation and not trainer.validation_losses:
        trainer.validate()  # before the first step: what the posterior mean leaves
    with tqdm(total=options.steps, initial=trainer.step, mininterval=5, disable=not main) as bar:
        while trainer.step < options.steps:
            bar.set_postfix(loss=f"{trainer.train_step():.4f}", refresh=False)
            bar.update()
            if main and (trainer.step % args.validate_every == 0 or trainer.step == options.steps):
                if trainer.validation:
                    trainer.validate()
                trainer.save(state)
                draw(trainer, args.run_folder)
    if main:
        prior = trainer.prior()
        prior = replace(prior, notes={**prior.notes, **notes})
        save_prior(args.run_folder / "prior.safetensors", prior, getattr(torch, args.dtype))
        print(
            f"{args.run_folder / 'prior.safetensors'}: loss "
            f"{sum(trainer.losses[-100:]) / len(trainer.losses[-100:]):.4f}"
        )
        if trainer.validation_losses:
            print(
                "held out: " + ", ".join(f"{loss:.4f} after {step} steps" for step, loss in trainer.validation_losses)
            )


def draw(trainer: PriorTrainer, folder: Path) -> None:
    """loss.png and samples.png: training windows above, samples of the prior below."""
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    width = max(1, trainer.step // 200)
    means = torch.tensor(trainer.losses[: trainer.step // width * width]).reshape(-1, width).mean(1)
    axes.plot(range(width, width * len(means) + 1, width), means, label="training")
    if trainer.validation_losses:
        axes.plot(*zip(*trainer.validation_losses, strict=True), label="held out (moving average)")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    write_atomically(folder / "loss.png", partial(figure.savefig, dpi=100))

    windows = trainer.data.spread(4)
    sampled = [
        trainer.prior().sample(windows.shape[1], Sampling(seed, 25), window[:1]) for seed, window in enumerate(windows)
    ]
    figure = Figure(figsize=(4 * len(windows), 6))
    grid = figure.subplots(2, len(windows), sharey=True, squeeze=False)
    for column, (window, sample) in enumerate(zip(windows, sampled, strict=True)):
        for axes, codes, title in (
            (grid[0, column], window, "training window"),
            (grid[1, column], sample, "sample from the same start"),
        ):
            axes.plot(trainer.scale.codes(codes))
            axes.set_title(title)
    write_atomically(folder / "samples.png", partial(figure.savefig, dpi=80))


def add_commands(subparsers) -> None:
    """``train-prior``."""
    defaults, config = (
        PriorTraining(),
        PriorConfig(directions=1),
    )  # of which only the defaults of the other fields are used
    parser = subparsers.add_parser(
        "train-prior", help="train a motion prior on clips or saved motions; resumes by itself"
    )
    parser.add_argument(
        "run_folder", type=Path, help="folder of the run: cached codes, checkpoint, plots, prior.safetensors"
    )
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        help="sources: [NAME=]FOLDER of videos or saved motions, or [NAME=]GRID.mp4@CELL",
    )
    parser.add_argument("--animator", type=Path, help="animator file that encodes clips (saved motions need none)")
    parser.add_argument("--hold-out", nargs="*", default=[], help="identities (parts of names) never trained on")
    parser.add_argument("--fps", type=Fraction, help="frame rate of clips, where their files do not say it")
    parser.add_argument("--prior-fps", type=Fraction, help="frame rate of the prior; by default that of most motions")
    parser.add_argument("--length", type=int, default=config.length, help="frames of a window")
    parser.add_argument("--context", type=int, default=config.context, help="known codes that windows share")
    parser.add_argument("--channels", type=int, nargs="+", default=config.channels, help="width of the U-Net per level")
    parser.add_argument(
        "--no-lmc",
        action="store_true",
        help="ablation: concatenate the start code instead of the Linear Motion Condition",
    )
    for name, value in asdict(defaults).items():
        choices = ["no", "bf16"] if name == "mixed_precision" else None
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, choices=choices)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--dtype", choices=("float16", "float32"), default="float16", help="of the weights in prior.safetensors"
    )
    parser.add_argument(
        "--validate-every", type=int, default=500, help="steps between checkpoints, validation losses and plots"
    )
    parser.add_argument("--note", nargs="*", default=[], metavar="KEY=TEXT", help="provenance kept in the file")
    parser.add_argument("--threads", type=int, default=0)
    parser.set_defaults(run=train)

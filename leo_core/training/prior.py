"""Training a motion prior: in the graph (node Train Motion Prior) and on the command line (``train-prior``).

The loop needs nothing beyond ComfyUI's own packages. Only the command line draws pictures (matplotlib) and, when it is
started by a launcher on several devices, imports Accelerate.
"""
import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ..checkpoints import write_atomically
from ..identity import AnimatorId
from ..lmdm.condition import CodeScale, denoiser_input, to_residual
from ..lmdm.linear import LinearMotion, Temperament
from ..lmdm.prior import MotionPrior, PriorConfig, Sampling, private_generator
from ..lmdm.schedule import cosine_alpha_bar
from ..lmdm.start import StartPoses
from ..motion import MotionSequence, change_rate, load_motion, require_compatible, save_motion

log = logging.getLogger(__name__)

SHORTEST_WINDOW = 16


@dataclass(frozen=True)
class PriorTraining:
    """How to train. All of it is our choice; LEO's own settings are not known.

    :param steps: optimiser steps.
    :param batch: windows per step.
    :param rate: peak learning rate of AdamW; warmed up over 100 steps, then lowered along a cosine to a twentieth.
    :param ema: decay of the moving average of the weights that becomes the prior; shorter at the beginning.
    :param start_components: Gaussians in the model of start poses, at most.
    :param pose_jitter: how far whole windows are displaced, in standard deviations of start poses: residuals stay, so
        the network learns to move people it has not seen.
    :param mixed_precision: "no" or "bf16", which needs no scaling of the loss as fp16 would.
    """

    steps: int = 3000
    batch: int = 64
    rate: float = 1e-3
    ema: float = 0.998
    seed: int = 0
    start_components: int = 8
    pose_jitter: float = 0.0
    mixed_precision: str = "no"


OnStep = Callable[[int, int, float], None]


class PriorTrainer:
    """Owns network, moving average and optimiser. The same motions, options and seed give the same prior, whether or not
    the run was interrupted: batch and noise of a step depend on (seed, step) alone.

    :param motions: of one animator; other frame rates than ``config.fps`` are resampled. Motions shorter than a window are left out.
    :param held_out: motions that are only watched, never trained on.
    :param accelerator: an ``accelerate.Accelerator`` for several devices, or None.
    :raises ValueError: motions of different animators or numbers of directions, or none as long as a window.
    """

    def __init__(
        self, motions: Sequence[MotionSequence], config: PriorConfig, options: PriorTraining,
        held_out: Sequence[MotionSequence] = (), device: torch.device | str = "cpu", accelerator=None,
    ):
        self.config, self.options, self.device, self.accelerator = config, options, device, accelerator
        self.animator = one_animator([*motions, *held_out])
        self.data = Windows(motions, config)
        self.watched = Windows(held_out, config) if any(usable(m, config) for m in held_out) else None
        self.scale = CodeScale.measure(self.data.spread(2048))
        first_codes = self.data.spread(4096, 1)[:, 0]
        self.start_poses = StartPoses.fit(first_codes, options.start_components, private_generator(options.seed, "start poses"))
        self.jitter = options.pose_jitter * self.scale.residual(first_codes.std(0, unbiased=False))
        self.linear = LinearMotion.fit([self.scale.codes(codes) for codes in self.data.clips], config.length)
        self.temperaments = {data: self.measure(data) for data in (self.data, self.watched) if data}
        self.alpha_bar = cosine_alpha_bar(config.noise_steps)

        unet = config.build().initialise(private_generator(options.seed, "weights")).to(device)
        self.average = config.build()
        self.average.load_state_dict(unet.state_dict())
        self.average.to(device).requires_grad_(False)
        optimiser = torch.optim.AdamW(unet.parameters(), lr=options.rate, weight_decay=0.01, betas=(0.9, 0.99))
        self.unet, self.optimiser = accelerator.prepare(unet, optimiser) if accelerator else (unet, optimiser)
        self.losses: list[float] = []
        self.watched_losses: list[tuple[int, float]] = []

    def measure(self, data: "Windows") -> Temperament:
        """Of every motion of the data."""
        each = [self.linear.measure(self.scale.codes(codes)) for codes in data.clips]
        return Temperament(torch.cat([one.home for one in each]), torch.cat([one.liveliness for one in each]))

    @property
    def step(self) -> int:
        return len(self.losses)

    def train(self, on_step: OnStep = lambda step, steps, loss: None) -> MotionPrior:
        """Go on to the last step.

        :param on_step: called with (steps done, of, loss of the step); may raise to stop.
        """
        while self.step < self.options.steps:
            loss = self.train_step()
            on_step(self.step, self.options.steps, loss)
        return self.prior()

    def train_step(self) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate * learning_rate_factor(self.step, self.options.steps)
        rank = self.accelerator.process_index if self.accelerator else 0
        loss = self.loss(self.unet, self.data, private_generator(self.options.seed, f"step {self.step} {rank}"))
        self.optimiser.zero_grad(set_to_none=True)
        if self.accelerator:
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.unet.parameters(), 1.0)
        else:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimiser.step()
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.plain_unet.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        self.losses.append(loss.item())
        return self.losses[-1]

    @property
    def plain_unet(self) -> torch.nn.Module:
        return self.accelerator.unwrap_model(self.unet) if self.accelerator else self.unet

    def loss(self, unet: torch.nn.Module, data: "Windows", generator: torch.Generator) -> torch.Tensor:
        """What the network is to learn: the error of the linear guess, in units of the noise. Mean square over the unknown codes.

        That is the velocity loss of diffusion models (Salimans and Ho 2022): a network that knows nothing at all would have 1.
        """
        config, count = self.config, self.options.batch
        length = config.length
        if torch.rand((), generator=generator) < 0.25:
            shortest = min(2 * config.context + 2, length)
            length = max(shortest, length - 8 * int(torch.randint(length // 8, (), generator=generator)))
        codes, makers = data.draw(count, length, generator)
        displaced = self.jitter * torch.randn(count, 1, config.directions, generator=generator)
        codes = self.scale.codes(codes) + displaced
        makers = self.temperaments[data].of(makers)
        temperament = self.linear.blur(Temperament(makers.home + displaced[:, 0], makers.liveliness), generator)
        is_known = draw_known(count, length, config.context, generator)
        _, residual = to_residual(codes)
        noise = torch.randn(residual.shape, generator=generator)
        t = torch.randint(1, config.noise_steps + 1, (count,), generator=generator)

        power = self.alpha_bar[t]
        signal, spread = (value.sqrt().float()[:, None, None] for value in (power, 1 - power))
        noisy = signal * residual + spread * noise
        guess = self.linear.clean(noisy, codes, is_known, power, temperament)
        seen = denoiser_input(noisy, guess, codes, is_known, config.lmc)
        wrong = (guess - residual) / spread
        seen, wrong, t, unknown = (value.to(self.device) for value in (seen, wrong, t, ~is_known[:, 1:]))
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.options.mixed_precision == "bf16"):
            learned = unet(seen, t)[..., 1:].transpose(1, 2).float()
        error = (learned - wrong) * unknown.unsqueeze(-1)
        return error.square().sum() / (unknown.sum() * config.directions)

    @torch.no_grad()
    def watch(self, rounds: int = 4) -> float:
        """Loss of the moving average on held-out motions, on the same noise every time; kept in ``watched_losses``."""
        losses = [self.loss(self.average, self.watched, private_generator(self.options.seed, f"watch {i}")).item() for i in range(rounds)]
        self.watched_losses.append((self.step, sum(losses) / rounds))
        return self.watched_losses[-1][1]

    def prior(self) -> MotionPrior:
        """The prior as it is now: a copy of the moving average, on the CPU."""
        unet = self.config.build()
        unet.load_state_dict(self.average.state_dict())
        notes = {"training": json.dumps({**asdict(self.options), "steps": self.step, "motions": len(self.data.motions), "frames": self.data.frames})}
        return MotionPrior(self.config, unet.eval().requires_grad_(False), self.scale, self.linear, self.start_poses, self.animator, notes)

    def save(self, path: str | os.PathLike) -> None:
        """Everything needed to go on, atomically."""
        tensors = {f"unet.{name}": value for name, value in self.plain_unet.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"moment.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        tensors = {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}
        metadata = {"leo.kind": "motion_prior_training", "leo.run": self.run_key(), "leo.watched": json.dumps(self.watched_losses)}
        write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))

    def load(self, path: str | os.PathLike) -> None:
        """Go on from a file of `save`.

        :raises ValueError: it is of a run with other motions or settings.
        """
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if metadata["leo.run"] != self.run_key():
            raise ValueError(
                f"{Path(path).name} belongs to a run with other motions or settings. Use the same ones to go on, or another run folder to begin anew."
            )
        for prefix, module in (("unet.", self.plain_unet), ("average.", self.average)):
            module.load_state_dict({name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)})
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("moment."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        self.losses = tensors["losses"].tolist()
        self.watched_losses = [tuple(entry) for entry in json.loads(metadata["leo.watched"])]

    def run_key(self) -> str:
        """Changes with anything that would make another prior."""
        settings = json.dumps([asdict(self.config), asdict(self.options), self.animator.fingerprint])
        return hashlib.sha256(settings.encode() + self.data.codes.numpy().tobytes()).hexdigest()


class Windows:
    """Windows of motions: every place where ``length`` frames of one motion follow each other.

    :ivar motions: those long enough, at the prior's frame rate.
    :ivar codes: [N, D], their codes one after the other.
    :ivar clips: the same as one [T, D] per motion.
    :ivar frames: N.
    """

    def __init__(self, motions: Sequence[MotionSequence], config: PriorConfig):
        fps = Fraction(config.fps)
        self.motions = [m for m in (change_rate(m, fps) for m in motions) if len(m) >= config.length]
        if not self.motions:
            longest = max((len(m) for m in motions), default=0)
            raise ValueError(
                f"No motion has the {config.length} frames of a window at {fps} fps; the longest of {len(motions)} has {longest}. "
                f"Use longer clips, or choose shorter windows."
            )
        self.length = config.length
        # cloned: codes made in a graph are inference tensors, which training must not touch
        self.codes = torch.cat([m.codes.clone() for m in self.motions])
        self.clips = self.codes.split([len(m) for m in self.motions])
        self.frames = len(self.codes)
        ends = torch.tensor([len(m) for m in self.motions]).cumsum(0).tolist()
        places = [torch.arange(end - len(m), end - self.length + 1) for m, end in zip(self.motions, ends, strict=True)]
        self.begins = torch.cat(places)
        self.makers = torch.cat([torch.full((len(begins),), index) for index, begins in enumerate(places)])

    def draw(self, count: int, length: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """[count, length, D] random windows, length at most that of a window; and which motion each is of, [count]."""
        chosen = torch.randint(len(self.begins), (count,), generator=generator)
        offset = torch.randint(self.length - length + 1, (count,), generator=generator)
        return self.codes[(self.begins[chosen] + offset).unsqueeze(1) + torch.arange(length)], self.makers[chosen]

    def spread(self, count: int, length: int | None = None) -> torch.Tensor:
        """[at most count, length, D] windows spaced evenly over everything there is."""
        chosen = self.begins[torch.linspace(0, len(self.begins) - 1, min(count, len(self.begins))).long()]
        return self.codes[chosen.unsqueeze(1) + torch.arange(length or self.length)]


def draw_known(count: int, length: int, context: int, generator: torch.Generator) -> torch.Tensor:
    """Which codes are known, [count, length] bool: the first one, the first few, or the first and last few (our choice of shares)."""
    kind = torch.rand(count, generator=generator)
    few = torch.randint(1, context + 1, (count,), generator=generator)
    ahead = torch.where(kind < 0.3, 1, torch.where(kind < 0.7, context, few))
    behind = torch.where(torch.rand(count, generator=generator) < 0.3, torch.randint(1, context + 1, (count,), generator=generator), 0)
    frame = torch.arange(length)
    return (frame < ahead.unsqueeze(1)) | (frame >= length - behind.unsqueeze(1))


def learning_rate_factor(step: int, steps: int) -> float:
    """Warm-up over at most 100 steps, then half a cosine from 1 to 0.05."""
    return min(1.0, (step + 1) / min(100, steps)) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def usable(motion: MotionSequence, config: PriorConfig) -> bool:
    return len(change_rate(motion, Fraction(config.fps))) >= config.length


def one_animator(motions: Sequence[MotionSequence]) -> AnimatorId:
    """The animator all motions belong to.

    :raises ValueError: none given, different animators, or other numbers of directions, which a damaged or forged file may hold.
    """
    if not motions:
        raise ValueError("There is no motion to train on. Connect or name at least one.")
    for motion in motions[1:]:
        require_compatible("first motion", motions[0], "other motion", motion)
    return motions[0].animator


def fit_config(motions: Sequence[MotionSequence], length: int = 64, fps: Fraction | None = None, **choices) -> PriorConfig:
    """A configuration for these motions.

    :param length: frames of a window; shortened to the longest motion if none is that long.
    :param fps: frame rate of the prior; by default that of most motions.
    :raises ValueError: motions of different animators or numbers of directions, or all shorter than the shortest window.
    """
    one_animator(motions)
    if fps is None:
        rates = [motion.fps for motion in motions]
        fps = max(sorted(set(rates)), key=rates.count)
    longest = max(len(change_rate(motion, fps)) for motion in motions)
    if longest < SHORTEST_WINDOW:
        raise ValueError(
            f"The longest of {len(motions)} motions has {longest} frames at {fps} fps; a prior needs at least one of {SHORTEST_WINDOW}. "
            f"Use longer clips."
        )
    return PriorConfig(directions=motions[0].directions, length=min(length, longest), fps=str(fps), **choices)


def encode_source(source: str, animator_path: Path | None, cache: Path, fps: Fraction | None, batch: int = 16) -> list[tuple[str, MotionSequence]]:
    """(identity, motion) of every clip of a source, encoded once and kept in ``cache`` as motion files.

    :param source: [NAME=]FOLDER of videos, frame folders, renders or saved motions, or [NAME=]GRID.mp4@CELL.
    :param fps: frame rate of clips whose files do not say it.
    """
    from ..checkpoints import load_animator
    from .data import read_source

    label, _, location = source.rpartition("=")
    folder = Path(location.partition("@")[0])
    if folder.is_dir() and (saved := sorted(folder.rglob("*.safetensors"))):
        return [(f"{label}/{path.stem}" if label else path.stem, motion) for path, motion in load_motions(saved)]
    if animator_path is None:
        raise ValueError(f"{source} holds clips, which an animator has to read first. Name its file with --animator.")

    animator, info = load_animator(animator_path)
    newest = max([folder.stat().st_mtime, *(path.stat().st_mtime for path in folder.rglob("*"))] if folder.is_dir() else [folder.stat().st_mtime])
    key = hashlib.sha256(f"{source} {newest} {fps} {info.id.fingerprint}".encode()).hexdigest()[:16]
    kept = cache / key
    if not kept.is_dir():
        rate = source_fps(folder, fps)
        unfinished = cache / f"{key}.unfinished"
        unfinished.mkdir(parents=True, exist_ok=True)
        for number, clip in enumerate(read_source(source, animator.config.size)):
            frames = torch.from_numpy(clip.frames).movedim(-1, 1)
            with torch.inference_mode():
                codes = [animator.motion_head(animator.encoder.codes(part.float() / 127.5 - 1)) for part in frames.split(batch)]
            save_motion(unfinished / f"{number:05d}.safetensors", MotionSequence(torch.cat(codes).clone(), rate, info.id), clip.identity)
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


def source_fps(path: Path, otherwise: Fraction | None) -> Fraction:
    """Frame rate of a video, of the renders in a folder or of the first video there; ``otherwise`` where nothing says it.

    :raises ValueError: nothing says it, and there is no other.
    """
    from ..video import read_video
    from .data import VIDEOS

    if (path / "manifest.json").is_file():
        return Fraction(json.loads((path / "manifest.json").read_text())["fps"]).limit_denominator(1001)
    videos = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEOS)
    if videos:
        return read_video(str(videos[0])).fps
    if otherwise is None:
        raise ValueError(f"Nothing in {path} tells its frame rate. Name it with --fps.")
    return otherwise


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


def train(args) -> None:
    """Run or resume ``train-prior``."""
    from tqdm import tqdm

    if args.threads:
        torch.set_num_threads(args.threads)
    accelerator = None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=args.device == "cpu")
    main = accelerator is None or accelerator.is_main_process
    args.run_folder.mkdir(parents=True, exist_ok=True)
    if accelerator:
        with accelerator.main_process_first():
            motions, held_out = collect(args)
    else:
        motions, held_out = collect(args)
    options = PriorTraining(**{name: getattr(args, name) for name in asdict(PriorTraining())})
    config = fit_config(motions, args.length, args.prior_fps, context=args.context, channels=tuple(args.channels), lmc=not args.no_lmc)
    device = accelerator.device if accelerator else args.device
    trainer = PriorTrainer(motions, config, options, [motion for _, motion in held_out], device, accelerator)
    state = args.run_folder / "last.safetensors"
    if state.exists():
        trainer.load(state)
    if main:
        people = len({identity for identity, _ in held_out})
        data = trainer.data
        print(f"{len(data.motions)} motions, {data.frames} frames to train on; {len(held_out)} motions of {people} identities held out")

    if main and trainer.watched and not trainer.watched_losses:
        trainer.watch()  # before the first step: what the linear guess leaves
    with tqdm(total=options.steps, initial=trainer.step, mininterval=5, disable=not main) as bar:
        while trainer.step < options.steps:
            bar.set_postfix(loss=f"{trainer.train_step():.4f}", refresh=False)
            bar.update()
            if main and (trainer.step % args.watch == 0 or trainer.step == options.steps):
                if trainer.watched:
                    trainer.watch()
                trainer.save(state)
                draw(trainer, args.run_folder)
    if main:
        from ..lmdm.prior import save_prior

        prior = trainer.prior()
        prior = replace(prior, notes={**prior.notes, **dict(note.split("=", 1) for note in args.note)})
        save_prior(args.run_folder / "prior.safetensors", prior, getattr(torch, args.dtype))
        print(f"{args.run_folder / 'prior.safetensors'}: loss {sum(trainer.losses[-100:]) / len(trainer.losses[-100:]):.4f}")
        if trainer.watched_losses:
            print("held out: " + ", ".join(f"{loss:.4f} after {step} steps" for step, loss in trainer.watched_losses))


def draw(trainer: PriorTrainer, folder: Path) -> None:
    """loss.png and samples.png: training windows above, samples of the prior below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4))
    width = max(1, trainer.step // 200)
    means = torch.tensor(trainer.losses[: trainer.step // width * width]).reshape(-1, width).mean(1)
    axes.plot(range(width, width * len(means) + 1, width), means, label="training")
    if trainer.watched_losses:
        axes.plot(*zip(*trainer.watched_losses, strict=True), label="held out (moving average)")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    figure.savefig(folder / "loss.png", dpi=100)
    pyplot.close(figure)

    windows = trainer.data.spread(4)
    sampled = [trainer.prior().sample(windows.shape[1], Sampling(seed, 25), window[:1]) for seed, window in enumerate(windows)]
    figure, grid = pyplot.subplots(2, len(windows), figsize=(4 * len(windows), 6), sharey=True, squeeze=False)
    for column, (window, sample) in enumerate(zip(windows, sampled, strict=True)):
        for axes, codes, title in ((grid[0, column], window, "training window"), (grid[1, column], sample, "sample from the same start")):
            axes.plot(trainer.scale.codes(codes))
            axes.set_title(title)
    figure.savefig(folder / "samples.png", dpi=80)
    pyplot.close(figure)


def add_commands(subparsers) -> None:
    """``train-prior``."""
    defaults, config = PriorTraining(), PriorConfig(directions=1)  # of which only the defaults of the other fields are used
    parser = subparsers.add_parser("train-prior", help="train a motion prior on clips or saved motions; resumes by itself")
    parser.add_argument("run_folder", type=Path, help="folder of the run: cached codes, checkpoint, plots, prior.safetensors")
    parser.add_argument("--data", nargs="+", required=True, help="sources: [NAME=]FOLDER of videos or saved motions, or [NAME=]GRID.mp4@CELL")
    parser.add_argument("--animator", type=Path, help="animator file that encodes clips (saved motions need none)")
    parser.add_argument("--hold-out", nargs="*", default=[], help="identities (parts of names) never trained on")
    parser.add_argument("--fps", type=Fraction, help="frame rate of clips, where their files do not say it")
    parser.add_argument("--prior-fps", type=Fraction, help="frame rate of the prior; by default that of most motions")
    parser.add_argument("--length", type=int, default=config.length, help="frames of a window")
    parser.add_argument("--context", type=int, default=config.context, help="known codes that windows share")
    parser.add_argument("--channels", type=int, nargs="+", default=config.channels, help="width of the U-Net per level")
    parser.add_argument("--no-lmc", action="store_true", help="ablation: concatenate the start code instead of the Linear Motion Condition")
    for name, value in asdict(defaults).items():
        choices = ["no", "bf16"] if name == "mixed_precision" else None
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, choices=choices)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="of the weights in prior.safetensors")
    parser.add_argument("--watch", type=int, default=500, help="steps between checkpoints, held-out losses and plots")
    parser.add_argument("--note", nargs="*", default=[], metavar="KEY=TEXT", help="provenance kept in the file")
    parser.add_argument("--threads", type=int, default=0)
    parser.set_defaults(run=train)

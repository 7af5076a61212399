"""Training a motion prior, with nothing beyond ComfyUI's own packages: the node and the command line share it."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from ..files import KIND_KEY, write_atomically
from ..identity import AnimatorId
from ..motion import MotionSequence, change_rate, require_compatible
from .condition import CodeScale, denoiser_input, to_residual
from .gaussian_process import GaussianProcess, MotionStyle
from .prior import MotionPrior, PriorConfig, private_generator
from .schedule import cosine_alpha_bar
from .start_poses import StartPoses

SHORTEST_WINDOW = 16


@dataclass(frozen=True)
class PriorTraining:
    """How to train. All of it is our choice; LEO's own settings are not known.

    :param steps: optimizer steps.
    :param batch: windows per step.
    :param lr: peak learning rate of AdamW: linear warm-up over 100 steps, then cosine decay to a twentieth.
    :param ema: decay of the moving average of the weights that becomes the prior; shorter at the beginning.
    :param start_components: Gaussians in the model of start poses, at most.
    :param pose_jitter: how far whole windows are displaced, in standard deviations of start poses: residuals stay, so
        the network learns to move people it has not seen.
    :param mixed_precision: "no" or "bf16", which needs no scaling of the loss as fp16 would.
    """

    steps: int = 3000
    batch: int = 64
    lr: float = 1e-3
    ema: float = 0.998
    seed: int = 0
    start_components: int = 8
    pose_jitter: float = 0.0
    mixed_precision: str = "no"


OnStep = Callable[[int, int, float], None]


class PriorTrainer:
    """Owns network, moving average and optimizer. The same motions, options and seed give the same prior, whether or
    not the run was interrupted: batch and noise of a step depend on (seed, step) alone.

    :param motions: of one animator; other frame rates than ``config.fps`` are resampled. Motions shorter than a
        window are left out.
    :param held_out: motions for validation, never trained on.
    :param accelerator: an ``accelerate.Accelerator`` for several devices, or None.
    :raises ValueError: motions of different animators or numbers of directions, or none as long as a window.
    """

    def __init__(
        self,
        motions: Sequence[MotionSequence],
        config: PriorConfig,
        options: PriorTraining,
        held_out: Sequence[MotionSequence] = (),
        device: torch.device | str = "cpu",
        accelerator=None,
    ):
        self.config, self.options, self.device, self.accelerator = config, options, device, accelerator
        self.animator = one_animator([*motions, *held_out])
        self.data = Windows(motions, config)
        self.validation = Windows(held_out, config) if any(usable(m, config) for m in held_out) else None
        self.scale = CodeScale.measure(self.data.spread(2048))
        first_codes = self.data.spread(4096, 1)[:, 0]
        self.start_poses = StartPoses.fit(
            first_codes, options.start_components, private_generator(options.seed, "start poses")
        )
        self.jitter = options.pose_jitter * self.scale.residual(first_codes.std(0, unbiased=False))
        self.process = GaussianProcess.fit([self.scale.codes(codes) for codes in self.data.clips], config.length)
        self.styles = {data: self.measure(data) for data in (self.data, self.validation) if data}
        self.alpha_bar = cosine_alpha_bar(config.noise_steps)

        unet = config.build().initialize(private_generator(options.seed, "weights")).to(device)
        self.ema = config.build()
        self.ema.load_state_dict(unet.state_dict())
        self.ema.to(device).requires_grad_(False)
        optimizer = torch.optim.AdamW(unet.parameters(), lr=options.lr, weight_decay=0.01, betas=(0.9, 0.99))
        self.unet: torch.nn.Module
        self.optimizer: torch.optim.Optimizer
        self.unet, self.optimizer = accelerator.prepare(unet, optimizer) if accelerator else (unet, optimizer)
        self.losses: list[float] = []
        self.validation_losses: list[tuple[int, float]] = []

    def measure(self, data: "Windows") -> MotionStyle:
        """Of every motion of the data."""
        each = [self.process.measure(self.scale.codes(codes)) for codes in data.clips]
        return MotionStyle(torch.cat([one.rest_pose for one in each]), torch.cat([one.amplitude for one in each]))

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
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * learning_rate_factor(self.step, self.options.steps)
        rank = self.accelerator.process_index if self.accelerator else 0
        loss = self.loss(self.unet, self.data, private_generator(self.options.seed, f"step {self.step} {rank}"))
        self.optimizer.zero_grad(set_to_none=True)
        if self.accelerator:
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(self.unet.parameters(), 1.0)
        else:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.ema.parameters(), self.plain_unet.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        self.losses.append(loss.item())
        return self.losses[-1]

    @property
    def plain_unet(self) -> torch.nn.Module:
        return self.accelerator.unwrap_model(self.unet) if self.accelerator else self.unet

    def loss(self, unet: torch.nn.Module, data: "Windows", generator: torch.Generator) -> torch.Tensor:
        """Mean square error, over the unknown codes, of what the network learns: the error of the posterior mean in
        units of the noise.

        That is the velocity loss of diffusion models (Salimans and Ho 2022): a network that knows nothing at all
        would have 1.
        """
        config, count = self.config, self.options.batch
        length = config.length
        if torch.rand((), generator=generator) < 0.25:
            shortest = min(2 * config.context + 2, length)
            length = max(shortest, length - 8 * int(torch.randint(length // 8, (), generator=generator)))
        codes, motions = data.draw(count, length, generator)
        displaced = self.jitter * torch.randn(count, 1, config.directions, generator=generator)
        codes = self.scale.codes(codes) + displaced
        makers = self.styles[data].of(motions)
        style = self.process.perturb(MotionStyle(makers.rest_pose + displaced[:, 0], makers.amplitude), generator)
        is_known = draw_known(count, length, config.context, generator)
        _, residual = to_residual(codes)
        noise = torch.randn(residual.shape, generator=generator)
        t = torch.randint(1, config.noise_steps + 1, (count,), generator=generator)

        power = self.alpha_bar[t]
        signal, spread = (value.sqrt().float()[:, None, None] for value in (power, 1 - power))
        noisy = signal * residual + spread * noise
        guess = self.process.posterior_mean(noisy, codes, is_known, power, style)
        seen = denoiser_input(noisy, guess, codes, is_known, config.lmc)
        wrong = (guess - residual) / spread
        seen, wrong, t, unknown = (value.to(self.device) for value in (seen, wrong, t, ~is_known[:, 1:]))
        with torch.autocast(
            torch.device(self.device).type, torch.bfloat16, enabled=self.options.mixed_precision == "bf16"
        ):
            learned = unet(seen, t)[..., 1:].transpose(1, 2).float()
        error = (learned - wrong) * unknown.unsqueeze(-1)
        return error.square().sum() / (unknown.sum() * config.directions)

    @torch.no_grad()
    def validate(self, rounds: int = 4) -> float:
        """Loss of the moving average on held-out motions, on the same noise every time; kept in
        ``validation_losses``.

        :raises ValueError: no held-out motion is as long as a window.
        """
        held_out = self.validation
        if held_out is None:
            raise ValueError(
                f"No held-out motion has the {self.config.length} frames of a window. Hold out longer ones, or do not "
                "validate."
            )
        generators = (private_generator(self.options.seed, f"watch {i}") for i in range(rounds))
        losses = [self.loss(self.ema, held_out, generator).item() for generator in generators]
        self.validation_losses.append((self.step, sum(losses) / rounds))
        return self.validation_losses[-1][1]

    def prior(self) -> MotionPrior:
        """The prior as it is now: a copy of the moving average, on the CPU."""
        unet = self.config.build()
        unet.load_state_dict(self.ema.state_dict())
        notes = {
            "training": json.dumps(
                {
                    **asdict(self.options),
                    "steps": self.step,
                    "motions": len(self.data.motions),
                    "frames": self.data.frames,
                }
            )
        }
        return MotionPrior(
            self.config,
            unet.eval().requires_grad_(False),
            self.scale,
            self.process,
            self.start_poses,
            self.animator,
            notes,
        )

    def save(self, path: str | os.PathLike) -> None:
        """Everything needed to go on, atomically."""
        tensors = {f"unet.{name}": value for name, value in self.plain_unet.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.ema.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"moment.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        tensors = {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}
        metadata = {
            KIND_KEY: "motion_prior_training",
            "leo.run": self.run_key(),
            "leo.validation": json.dumps(self.validation_losses),
        }
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
                f"{Path(path).name} belongs to a run with other motions or settings. Use the same ones to go on, or "
                f"another run folder to start over."
            )
        for prefix, module in (("unet.", self.plain_unet), ("average.", self.ema)):
            module.load_state_dict(
                {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            )
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("moment."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.losses = tensors["losses"].tolist()
        self.validation_losses = [tuple(entry) for entry in json.loads(metadata["leo.validation"])]

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
                f"No motion has the {config.length} frames of a window at {fps} fps; the longest of {len(motions)} has "
                f"{longest}. Use longer clips, or choose shorter windows."
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
    """Which codes are known, [count, length] bool: the first one, the first few, or the first and last few (our
    choice of shares)."""
    kind = torch.rand(count, generator=generator)
    few = torch.randint(1, context + 1, (count,), generator=generator)
    ahead = torch.where(kind < 0.3, 1, torch.where(kind < 0.7, context, few))
    behind = torch.where(
        torch.rand(count, generator=generator) < 0.3, torch.randint(1, context + 1, (count,), generator=generator), 0
    )
    frame = torch.arange(length)
    return (frame < ahead.unsqueeze(1)) | (frame >= length - behind.unsqueeze(1))


def learning_rate_factor(step: int, steps: int) -> float:
    """Warm-up over at most 100 steps, then half a cosine from 1 to 0.05."""
    return min(1.0, (step + 1) / min(100, steps)) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def usable(motion: MotionSequence, config: PriorConfig) -> bool:
    return len(change_rate(motion, Fraction(config.fps))) >= config.length


def one_animator(motions: Sequence[MotionSequence]) -> AnimatorId:
    """The animator all motions belong to.

    :raises ValueError: none given, different animators, or other numbers of directions, which a damaged or forged
        file may hold.
    """
    if not motions:
        raise ValueError(
            "No motions to train on. Connect at least one motion, or choose a source that contains motions."
        )
    for motion in motions[1:]:
        require_compatible("first motion", motions[0], "other motion", motion)
    return motions[0].animator


def fit_config(
    motions: Sequence[MotionSequence], length: int = 64, fps: Fraction | None = None, **choices
) -> PriorConfig:
    """A configuration for these motions.

    :param length: frames of a window; shortened to the longest motion if none is that long.
    :param fps: frame rate of the prior; by default that of most motions.
    :raises ValueError: motions of different animators or numbers of directions, or all shorter than the shortest
        window.
    """
    one_animator(motions)
    if fps is None:
        rates = [motion.fps for motion in motions]
        fps = max(sorted(set(rates)), key=rates.count)
    longest = max(len(change_rate(motion, fps)) for motion in motions)
    if longest < SHORTEST_WINDOW:
        raise ValueError(
            f"The longest of {len(motions)} motions has {longest} frames at {fps} fps; a prior needs at least one of "
            f"{SHORTEST_WINDOW}. Use longer clips."
        )
    return PriorConfig(directions=motions[0].directions, length=min(length, longest), fps=str(fps), **choices)


def loss_curve(losses: list[float], width: int = 512, height: int = 192) -> torch.Tensor:
    """[height, width, 3] picture of the loss so far; the first loss is the top."""
    level = F.adaptive_avg_pool1d(torch.tensor(losses)[None, None] / max(losses[0], 1e-9), width)[0, 0]
    row = ((1 - level.clamp(0, 1)) * (height - 1)).long()
    picture = torch.full((height, width, 3), 0.98)
    picture[torch.arange(height).unsqueeze(1) >= row] = torch.tensor([0.55, 0.7, 0.9])
    return picture

"""One training run of the animator: model, moving average, optimizer, checkpoints.

Equalized learning rates are steps of Adam per tensor instead of factors in the layers, so training runs the very
modules that inference runs.
"""

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .. import face
from ..animator import Animator, AnimatorConfig, Direction, orthonormal_basis
from ..animator.checkpoint import learning_rate_scale, load_animator, raw_state, read_dictionary_weight, save_animator
from ..files import write_atomically
from .batches import DRIVINGS, controls_of, sample_batch
from .data import Clip
from .humans.motion import CONTROLS
from .initialization import grown_state, restart_as_copy, stored_shape
from .losses import R1_EVERY, Discriminator, discriminator_loss
from .objective import CONTROL_GAIN, DIVERGED, TrainedAnimator, Weights


def parameter_groups(model: TrainedAnimator, lr: float) -> list[dict]:
    """Adam groups in which a tensor steps as far as it would with the equalized-learning-rate factor in its layer."""
    groups: dict[float, list] = {}
    for name, parameter in model.animator.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(learning_rate_scale(name, stored_shape(name, parameter)), []).append(parameter)
    if model.dictionary.requires_grad:
        groups.setdefault(1.0, []).append(model.dictionary)
    return [{"params": parameters, "lr": lr * scale, "scale": scale} for scale, parameters in groups.items()]


def read_checkpoint(run: Path) -> dict:
    """``last.pt`` of a run, its configuration parsed.

    :raises ValueError: the run has none.
    """
    path = run / "last.pt"
    if not path.is_file():
        raise ValueError(f"{run} holds no last.pt. Name the run folder of a train-animator that has saved.")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    saved["config"] = AnimatorConfig.from_dict(saved["config"])
    return saved


def read_initial(source: Path) -> tuple[AnimatorConfig, dict[str, torch.Tensor], tuple[str, ...]]:
    """Configuration, state of the `TrainedAnimator`, and the controls that directions were tied to: of an animator
    file, or of the moving average of a run folder.

    :raises ValueError: it is neither.
    """
    if not source.is_file():
        saved = read_checkpoint(source)
        return saved["config"], saved["average"], saved["controls"]
    animator, info = load_animator(source)
    state = {f"animator.{name}": value for name, value in animator.state_dict().items()}
    named = {direction.name for direction in info.directions.values()}
    best = max(CONTROLS.values(), key=lambda controls: len(named & set(controls.names)))
    tied = best.names if named & set(best.names) else ()
    return animator.config, {**state, "dictionary": read_dictionary_weight(source)}, tied


def require_same_config(source: Path, found: AnimatorConfig, wanted: AnimatorConfig, todo: str) -> None:
    """:raises ValueError: they differ; names every field that does."""
    has, needs = asdict(found), asdict(wanted)
    # An animator that anchors or carries may begin from one that does not.
    differing = [
        f"{name} {has[name]}, not {needs[name]}"
        for name in needs
        if has[name] != needs[name] and not (name in ("anchored", "carry") and needs[name])
    ]
    if differing:
        raise ValueError(f"The animator in {source} has {'; '.join(differing)}. {todo}")


class Trainer:
    """One training run in a folder: model, moving average, optimizer, step. Resumes from ``last.pt``.

    :param accelerator: device, precision and processes (`accelerate.Accelerator`); the CPU by default.
    :param backbone: network of the perceptual loss, needed where that is switched on.
    :param coarse: after every step, so many that learn flow and masks alone, up to half the size, on clips of exact
        flow.
    :ivar controls: names of the controls of renders that steps so far tied the first motion directions to.
    """

    def __init__(
        self,
        run: Path,
        config: AnimatorConfig,
        weights: Weights,
        lr: float,
        seed: int,
        keep_codes: bool = False,
        accelerator: Accelerator | None = None,
        backbone: torch.nn.Module | None = None,
        coarse: int = 0,
        keep_flow: bool = False,
    ):
        self.run, self.config, self.weights, self.lr, self.seed, self.backbone = (
            run,
            config,
            weights,
            lr,
            seed,
            backbone,
        )
        self.coarse = coarse
        self.accelerator = accelerator or Accelerator(cpu=True)
        chance = torch.Generator().manual_seed(seed)
        model = TrainedAnimator(config, chance)
        if keep_codes:
            model.keep_codes()
        if keep_flow:
            model.keep_flow()
        optimizer = torch.optim.Adam(parameter_groups(model, lr), betas=(0.9, 0.99))
        self.wrapped, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.model = self.accelerator.unwrap_model(self.wrapped)
        self.ema = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.discriminator = None
        if weights.adversarial:
            discriminator = Discriminator(config, chance)
            optimizer = torch.optim.Adam(discriminator.parameters(), 0.2 * lr, betas=(0.0, 0.99))
            self.discriminator, self.discriminator_optimizer = self.accelerator.prepare(discriminator, optimizer)
        self.step = 0
        self.controls: tuple[str, ...] = ()

    def init_from(self, source: Path, reset_decoder: bool = False) -> None:
        """Begin from another animator of the same size or half of it: its file, or the moving average of its run.

        :param reset_decoder: let its painting begin again as a copy of the warped picture (`restart_as_copy`).
        :raises ValueError: there is none, or it is another one.
        """
        found, state, controls = read_initial(source)
        channels, half = self.config.channels, self.config.size // 2
        wanted = self.config
        if found.size == half:
            if channels[self.config.size] != channels[half]:
                raise ValueError(
                    f"An animator of {self.config.size} px cannot begin from one of {half} px: its finest features "
                    f"have {channels[self.config.size]} channels, those of {half} px have {channels[half]}."
                )
            wanted = replace(self.config, size=half, channels={r: c for r, c in channels.items() if r <= half})
        require_same_config(
            source, found, wanted, "Begin from one of the same --size or half of it, with the same --directions."
        )
        self.model.load_state_dict(
            grown_state(state, self.model.state_dict()) if found.size == half else {**self.model.state_dict(), **state}
        )
        if reset_decoder:
            self.model.animator.dictionary.basis.copy_(orthonormal_basis(self.model.dictionary))
            restart_as_copy(self.model.animator)
        self.ema = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.controls = controls

    def set_reader(self, state: dict[str, torch.Tensor]) -> None:
        """Give model and moving average a motion reader's weights."""
        self.model.animator.encoder.reader.load_state_dict(state)
        prefix = "animator.encoder.reader."
        self.ema |= {
            prefix + name: value.clone() for name, value in self.model.animator.encoder.reader.state_dict().items()
        }

    def set_flow(self, source: Path) -> None:
        """Give the moving average the flow generator and dictionary of another animator of the same configuration, its
        file or its run. Fine for runs that began from that animator: their features stay alike (our choice).

        :raises ValueError: there is none, or it is another one.
        """
        found, state, _ = read_initial(source)
        require_same_config(source, found, self.config, "Name the animator that this run began from.")
        ours = ("dictionary", "animator.dictionary.", "animator.flow_generator.")
        self.ema |= {name: value.clone() for name, value in state.items() if name.startswith(ours)}

    def strengthen(self, factors: dict[str, float]) -> None:
        """Make the moving average's flow generator respond to single controls more strongly than it was trained to
        (our choice).

        Lids are drawn from a strip of skin two pixels high, and with the flow that training asks for, eyes look half
        closed: what a detector reads off the pictures tells how far to go. More training takes it back, so it is done
        when a run is exported.

        :param factors: name of a control -> how many times as strongly.
        :raises ValueError: no direction is tied to a control of that name.
        """
        unknown = set(factors) - set(self.controls)
        if unknown:
            raise ValueError(
                f"No direction of this animator is called {', '.join(sorted(unknown))}. It has "
                f"{', '.join(self.controls) or 'none with a name'}."
            )
        basis = orthonormal_basis(self.ema["dictionary"])
        for name, weight in self.ema.items():
            if name.startswith("animator.flow_generator.") and name.endswith("modulation.weight"):  # [C, style_dim]
                for control, factor in factors.items():
                    step = basis[:, self.controls.index(control)].to(weight)
                    self.ema[name] = self.ema[name] + (factor - 1) * torch.outer(weight @ step, step)

    def resume(self) -> None:
        """Go on from ``last.pt``, if there is one.

        :raises ValueError: it holds an animator of another configuration, or it trained other parts of it.
        """
        if (self.run / "last.pt").is_file():
            saved = read_checkpoint(self.run)
            require_same_config(
                self.run,
                saved["config"],
                self.config,
                "Go on with the same --size and --directions, or name another run folder.",
            )
            if len(saved["optimizer"]["param_groups"]) != len(self.optimizer.param_groups):
                raise ValueError(
                    f"{self.run} was begun with another choice of --keep-codes or --keep-flow. Go on the same way, or "
                    f"name another run folder and --init-from this one."
                )
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.recall(saved)
            if self.discriminator and "discriminator" in saved:
                self.accelerator.unwrap_model(self.discriminator).load_state_dict(saved["discriminator"])
                self.discriminator_optimizer.load_state_dict(saved["discriminator_optimizer"])

    def recall(self, saved: dict) -> None:
        """What a checkpoint says of the run besides the state of training: enough to export it."""
        self.ema = {name: value.to(self.accelerator.device) for name, value in saved["average"].items()}
        self.step, self.controls = saved["step"], saved["controls"]

    def save(self) -> None:
        saved = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.ema,
            "step": self.step,
            "config": self.config.to_dict(),
            "controls": self.controls,
        }
        if self.discriminator:
            saved["discriminator"] = self.accelerator.unwrap_model(self.discriminator).state_dict()
            saved["discriminator_optimizer"] = self.discriminator_optimizer.state_dict()
        write_atomically(self.run / "last.pt", lambda temporary: torch.save(saved, temporary))

    def train_step(self, clips: list[Clip], batch_size: int, total: int, augment: float = 1.0) -> dict[str, float]:
        """One step. Clips, arguments, seed and step decide all of it, so a run resumed with the same ones is the
        unbroken run. Another ``total`` changes the learning rates and how often true controls are given.

        :raises ValueError: the run diverged.
        """
        progress = self.step / total
        # The generator learns from true controls while the encoder learns to read them, and then from the encoder.
        codes_learn = self.model.dictionary.requires_grad
        teacher_forcing = max(0.0, 1 - progress / 0.6) if self.weights.controls and codes_learn else 0.0
        rank = self.accelerator.process_index
        chance = np.random.default_rng([self.seed, self.step, rank] if rank else [self.seed, self.step])
        coarse = bool(self.step % (self.coarse + 1))
        if coarse:
            clips = [clip for clip in clips if clip.flow is not None and clip.exact] or clips
        batch = sample_batch(
            clips, batch_size, chance, augment, teacher_forcing, 2 * DRIVINGS if coarse else DRIVINGS
        ).to(self.accelerator.device)
        # linear warm-up, then a cosine to a twentieth at the end of the run
        lr = self.lr * min(1, (self.step + 1) / 100) * (0.05 + 0.475 * (1 + math.cos(math.pi * min(1, progress))))
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        if self.discriminator:
            self.discriminator.requires_grad_(False)
        with self.accelerator.autocast():
            parts, generated, target = self.wrapped(
                batch, self.weights, self.backbone, self.discriminator, finest=self.config.size // 2 if coarse else None
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(sum(parts.values()))
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        # float16 gradients overflow now and then: their scaler leaves such a step out and goes on with a smaller scale
        if not torch.isfinite(norm) and self.accelerator.mixed_precision != "fp16":
            raise ValueError(DIVERGED)
        self.optimizer.step()
        if self.discriminator and not coarse:
            parts["discriminator"] = self.train_discriminator(self.discriminator, target, generated)
        self.step += 1
        if self.weights.controls and batch.controlled.any():
            self.controls = controls_of(clips).names
        decay = min(0.998, self.step / (self.step + 10))
        state = self.model.state_dict()
        with torch.no_grad():
            get_ema_multi_avg_fn(decay)([self.ema[name] for name in state], list(state.values()), None)
        return {name: value.item() for name, value in parts.items()}

    def train_discriminator(
        self, discriminator: torch.nn.Module, target: torch.Tensor, generated: torch.Tensor
    ) -> torch.Tensor:
        """Its step, in float32 (R1 needs second derivatives).

        :return: its loss.
        """
        discriminator.requires_grad_(True)
        loss = discriminator_loss(discriminator, target.float(), generated.float(), penalize=self.step % R1_EVERY == 0)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.discriminator_optimizer.step()
        return loss.detach()

    def ema_animator(self) -> tuple[Animator, torch.Tensor]:
        """The moving average as an animator for inference, and its dictionary weight."""
        animator = Animator(self.config).eval().requires_grad_(False)
        state = {name.removeprefix("animator."): value for name, value in self.ema.items() if name != "dictionary"}
        state["dictionary.basis"] = orthonormal_basis(self.ema["dictionary"])
        animator.load_state_dict(state)
        return animator, self.ema["dictionary"]

    def export(self, path: Path, notes: dict[str, str], directions: dict[int, Direction] | None = None) -> None:
        """Write the inference file (float16 safetensors) of the moving average.

        :param directions: names and ranges; those of the controls that directions were tied to by default.
        """
        animator, dictionary = self.ema_animator()
        if directions is None:
            if self.config.reader:
                ranges = [(c.name, c.low * CONTROL_GAIN, c.high * CONTROL_GAIN) for c in face.CONTROLS]
            else:
                ranges = [(name, -CONTROL_GAIN, CONTROL_GAIN) for name in self.controls]
            directions = {i: Direction(*row) for i, row in enumerate(ranges)}
        save_animator(
            path,
            raw_state(animator, dictionary),
            self.config,
            torch.float16,
            directions,
            {**notes, "steps": str(self.step)},
        )

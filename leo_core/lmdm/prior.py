"""The motion prior: denoiser, statistics and start poses of one animator, and motion of any length out of them.

A window is what the network sees at once. Its first code is given; of the others some may be known too (see
``condition``). Longer motion is a chain of windows: each starts from the last few codes of the one before (LEO
shares one code; several are our choice, because one carries no velocity). Known codes are copied, never computed, so
a start pose comes out bit for bit.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn

from ..files import quoted
from ..identity import AnimatorId
from ..motion import FPS, MOST_FRAMES
from .condition import CodeScale, denoiser_input, linear_motion_condition, to_residual
from .drift import DriftControl
from .gaussian_process import GaussianProcess, MotionStyle
from .samplers import SAMPLERS
from .schedule import cosine_alpha_bar, sampling_times
from .seams import ease_seams
from .start_poses import StartPoses
from .unet import UNet

MOST_STEPS = 10_000
Progress = Callable[[int, int, Callable[[], torch.Tensor]], None]


def no_progress(done: int, total: int, estimate: Callable[[], torch.Tensor]) -> None:
    pass


@dataclass(frozen=True)
class PriorConfig:
    """What a prior is made of.

    :param directions: D of the animator.
    :param length: frames of a full window, known ones included; more than two contexts.
    :param context: known codes that a window takes from the one before it.
    :param fps: frames per second of the motion it makes, exact, as text ("25", "30000/1001").
    :param channels: width of the U-Net per level, finest first.
    :param lmc: False is the ablation that concatenates the start code instead of the Linear Motion Condition.
    :param noise_steps: noising steps T it was trained with.
    """

    directions: int
    length: int = 64
    context: int = 4
    fps: str = "25"
    channels: tuple[int, ...] = (64, 128, 256)
    head_width: int = 32
    lmc: bool = True
    noise_steps: int = 1000

    def __post_init__(self):
        limits = {
            "directions": (1, 8192),
            "length": (2, 8192),
            "context": (1, 8192),
            "head_width": (1, 8192),
            "noise_steps": (1, 1_000_000),
        }
        for field, (low, high) in limits.items():
            value = getattr(self, field)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"A motion prior's {field} is a whole number in {low}..{high}, got {quoted(value)}.")
        if 2 * self.context >= self.length:  # a transition knows a context at both of its ends
            raise ValueError(
                f"A motion prior's context is shorter than half its window of {self.length} frames, got "
                f"{self.context}. Give at most {(self.length - 1) // 2}, or a longer window."
            )
        if not isinstance(self.fps, str) or not FPS.fullmatch(self.fps):
            raise ValueError(
                f"A motion prior's frame rate is a text like '25' or '30000/1001', got '{quoted(self.fps)}'."
            )
        if not 1 <= len(self.channels) <= 8 or not all(
            type(c) is int and 8 <= c <= 8192 and c % 8 == 0 for c in self.channels
        ):
            raise ValueError(
                f"A motion prior has 1 to 8 levels, each a multiple of 8 wide, 8192 at most; got "
                f"{quoted(self.channels)}."
            )
        if type(self.lmc) is not bool:
            raise ValueError(f"A motion prior's lmc is true or false, got {quoted(self.lmc)}.")

    def build(self, operations=nn, device: torch.device | str = "cpu") -> UNet:
        """The denoiser without weights of its own, float32."""
        seen = (2 if self.lmc else 3) * self.directions + 1
        unet = UNet(seen, self.directions, self.channels, self.head_width, operations, torch.float32, "meta")
        return unet.to_empty(device=device)


@dataclass(frozen=True)
class Sampling:
    """How to draw.

    :param seed: 0 .. 2**64 - 1. Noise comes from CPU generators of (seed, window), so a seed gives one motion on
        every device.
    :param steps: denoising steps per window, 1 .. MOST_STEPS.
    :param sampler: a key of `SAMPLERS`.
    :param eta: fresh noise of DDIM, 0 .. 1.
    :raises ValueError: a value outside its range.
    """

    seed: int = 0
    steps: int = 50
    sampler: str = "dpmpp_2m"
    eta: float = 0.0

    def __post_init__(self):
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"A seed is a whole number from 0 to 2**64 - 1, got {self.seed}.")
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"Sampling takes 1 to {MOST_STEPS} steps, got {self.steps}. 20 to 50 are enough.")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"There is no sampler '{quoted(self.sampler)}'. Choose one of: {', '.join(SAMPLERS)}.")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta, the fraction of fresh noise, is between 0 and 1, got {self.eta}.")


def private_generator(seed: int, name: int | str) -> torch.Generator:
    """A CPU generator of its own for every (seed, name), unrelated between them."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


@dataclass(frozen=True)
class MotionPrior:
    """A trained LMDM.

    :param unet: the denoiser, float32, on any device.
    :param scale: per-direction normalization, on the CPU.
    :param process: what is known of motion without a network, on the CPU.
    :param start_poses: where unconditional motion begins.
    :param animator: the animator whose codes it models.
    :param notes: free text for people: data, license.
    """

    config: PriorConfig
    unet: nn.Module
    scale: CodeScale
    process: GaussianProcess
    start_poses: StartPoses
    animator: AnimatorId
    notes: dict[str, str]

    @property
    def fps(self) -> Fraction:
        return Fraction(self.config.fps)

    def draw_start(self, seed: int) -> torch.Tensor:
        """[1, D] start pose for unconditional motion."""
        return self.start_poses.draw(1, private_generator(seed, "start"))

    def style(self, history: torch.Tensor, seed: int) -> MotionStyle:
        """Rest pose and amplitude of whoever made codes [H, D], as far as these show them; the rest is drawn at
        random."""
        return self.process.infer(self.scale.codes(history)[None], private_generator(seed, "temperament"))

    def sample_window(
        self,
        known: torch.Tensor,
        is_known: torch.Tensor,
        style: MotionStyle,
        sampling: Sampling,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        on_step: Callable[[int, Callable[[], torch.Tensor]], None] = lambda done, estimate: None,
        strength: float = 1.0,
    ) -> torch.Tensor:
        """Fill in the unknown codes of a batch of windows.

        :param known: [B, L, D] codes, float32 on the CPU. Below strength 1 the unknown ones are where sampling
            begins.
        :param is_known: [L] or [B, L] bool, the first frame marked.
        :param style: of B motions, see `GaussianProcess.infer`.
        :param on_step: called with the number of steps done and a function that gives the present estimate, [B, L,
            D] codes on the CPU.
        :param strength: noise level to begin at, 0 .. 1 of the schedule; 1 is pure noise and ignores what ``known``
            holds there.
        :return: [B, L, D]; known codes are returned bit for bit.
        """
        alpha_bar = cosine_alpha_bar(self.config.noise_steps)
        begin = round(strength * self.config.noise_steps)
        if begin == 0:
            return known.clone()
        is_known = is_known.reshape(-1, known.shape[1])
        first, given = to_residual(known)
        clean_input = self.scale.codes(known)

        def noise() -> torch.Tensor:
            return torch.randn(given.shape, generator=generator).to(device)

        def predict_clean(x: torch.Tensor, t: int) -> torch.Tensor:
            power = alpha_bar[t].expand(len(is_known))
            guess = self.process.posterior_mean(x.cpu(), clean_input, is_known, power, style)
            seen = denoiser_input(x.cpu(), guess, clean_input, is_known, self.config.lmc).to(device)
            wrong = self.unet(seen, torch.full((len(x),), t, device=device))[..., 1:].transpose(1, 2)
            return guess.to(device) - math.sqrt(1 - float(alpha_bar[t])) * wrong

        def to_codes(residual: torch.Tensor) -> torch.Tensor:
            codes = linear_motion_condition(residual.to("cpu", torch.float32) * self.scale.scale, first)
            return torch.where(is_known.unsqueeze(-1), known, codes)

        x = noise()
        if strength < 1:
            power = float(alpha_bar[begin])
            x = math.sqrt(power) * self.scale.residual(given).to(device) + math.sqrt(1 - power) * x
        result = SAMPLERS[sampling.sampler](
            predict_clean,
            x,
            sampling_times(sampling.steps, begin),
            alpha_bar,
            noise,
            lambda done, estimate: on_step(done, lambda: to_codes(estimate)),
            eta=sampling.eta,
        )
        return to_codes(result)

    def sample(
        self,
        frames: int,
        sampling: Sampling,
        start: torch.Tensor | None = None,
        device: torch.device | str = "cpu",
        progress: Progress = no_progress,
    ) -> torch.Tensor:
        """Motion of any length from a start pose (conditional), or from one drawn from the start poses
        (unconditional).

        :param frames: of the result, at least 1.
        :param start: [1, D] pose, or None. It is the first code of the result bit for bit.
        :param progress: called with (windows' steps done, in all, function giving the present window's codes [L,
            D]); may raise to stop.
        :return: [frames, D]. More frames of the same seed begin with these.
        """
        require_frames(frames)
        start = self.draw_start(sampling.seed) if start is None else start
        return torch.cat([start, self.extend(start, frames - 1, sampling, device, progress)])

    def extend(
        self,
        history: torch.Tensor,
        frames: int,
        sampling: Sampling,
        device: torch.device | str = "cpu",
        progress: Progress = no_progress,
    ) -> torch.Tensor:
        """Go on from the last codes of a motion: windows chained through the codes they share, with drift control.

        :param history: [H, D] codes so far, H >= 1; the last ``context`` of them carry position and velocity on.
        :param frames: how many to add, 0 or more.
        :return: [frames, D], what comes after history. Memory is this result and one window.
        """
        config = self.config
        result = torch.empty(frames, config.directions)
        windows = window_lengths(frames, min(len(history), config.context), config.length, config.context)
        steps = len(sampling_times(sampling.steps, config.noise_steps)) - 1
        style = self.style(history, sampling.seed)
        control = DriftControl(history, float(self.fps))
        shared, done = history[-config.context :], 0
        for index in range(len(windows)):
            known, is_known = self._window(shared, config.length - len(shared), shared[:0])
            codes = self.sample_window(
                known,
                is_known,
                style,
                sampling,
                private_generator(sampling.seed, index),
                device,
                _on_step(progress, index, steps, len(windows)),
            )[0]
            codes = control.correct(ease_seams(codes, is_known), len(shared))
            fresh = codes[len(shared) :][: frames - done]
            result[done : done + len(fresh)] = fresh
            done += len(fresh)
            shared = codes[-config.context :]
        return result

    def transition(
        self,
        before: torch.Tensor,
        frames: int,
        after: torch.Tensor,
        sampling: Sampling,
        device: torch.device | str = "cpu",
        progress: Progress = no_progress,
    ) -> torch.Tensor:
        """Codes that lead from one motion into another; with the end and the beginning of one motion, what closes
        its loop.

        :param before: [H, D] the motion to leave, H >= 1; its last ``context`` codes are seen.
        :param frames: how many lie between, at least 1. What does not fit one window is led in by free motion.
        :param after: [H, D] the motion to arrive at, H >= 1; its first ``context`` codes are seen.
        :return: [frames, D].
        """
        require_frames(frames)
        config = self.config
        ahead = after[: config.context]
        room = config.length - config.context - len(ahead)
        free = max(0, frames - room)
        steps = len(sampling_times(sampling.steps, config.noise_steps)) - 1
        led_in = window_lengths(free, min(len(before), config.context), config.length, config.context)
        total = len(led_in) + 1
        led = self.extend(
            before, free, sampling, device, lambda done, _, estimate: progress(done, total * steps, estimate)
        )
        shared = torch.cat([before, led])[-config.context :]
        # From one rest pose to the other over the window.
        begin, end = self.style(before, sampling.seed), self.style(after, sampling.seed)
        path = torch.linspace(0, 1, len(shared) + frames - free + len(ahead)).unsqueeze(1)
        style = MotionStyle(
            torch.lerp(begin.rest_pose, end.rest_pose, path)[None], (begin.amplitude + end.amplitude) / 2
        )
        known, is_known = self._window(shared, frames - free, ahead)
        codes = self.sample_window(
            known,
            is_known,
            style,
            sampling,
            private_generator(sampling.seed, "transition"),
            device,
            _on_step(progress, len(led_in), steps, total),
        )[0]
        codes = ease_seams(codes, is_known)
        return torch.cat([led, codes[len(shared) : len(shared) + frames - free]])

    def vary(
        self,
        motion: torch.Tensor,
        strength: float,
        sampling: Sampling,
        start: torch.Tensor | None = None,
        device: torch.device | str = "cpu",
        progress: Progress = no_progress,
    ) -> torch.Tensor:
        """A variation of a motion: noise it part of the way, denoise it again (SDEdit, Meng et al. 2022).

        :param motion: [T, D], at the prior's frame rate.
        :param strength: 0 returns the motion itself, 1 keeps nothing of it but the start.
        :param start: [1, D] pose to begin from instead of the motion's first: the motion's residuals are put on it.
        :return: [T, D].
        """
        config = self.config
        wanted = motion if start is None else linear_motion_condition(to_residual(motion)[1], start[0])
        result = wanted.clone()
        windows = window_lengths(len(motion) - 1, 1, config.length, config.context)
        begin = round(strength * config.noise_steps)
        if begin == 0:
            return result
        steps = len(sampling_times(sampling.steps, begin)) - 1
        style = self.process.measure(self.scale.codes(wanted))
        known = 1
        done = 1
        for index in range(len(windows)):
            first = done - known
            window = wanted[first : first + config.length].clone()
            # The part already sampled has left the given path; lead back to it over the window, so that the seam does
            # not jump.
            away = result[done - 1] - wanted[done - 1]
            back = torch.cos(torch.linspace(0, math.pi, len(window) - known + 1)[1:]).add(1).div(2)
            window[known:] += back.unsqueeze(1) * away
            window[:known] = result[first:done]
            is_known = torch.arange(len(window)) < known
            codes = self.sample_window(
                window[None],
                is_known,
                style,
                sampling,
                private_generator(sampling.seed, index),
                device,
                _on_step(progress, index, steps, len(windows)),
                strength,
            )[0]
            result[done : first + len(window)] = codes[known:]
            done = first + len(window)
            known = min(config.context, done)
        return result

    def _window(self, shared: torch.Tensor, frames: int, ahead: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Known codes [1, L, D] and their marks [L]: shared, then ``frames`` unknown ones, then those ahead."""
        known = torch.cat([shared, shared.new_zeros(frames, shared.shape[1]), ahead])
        is_known = torch.ones(len(known), dtype=torch.bool)
        is_known[len(shared) : len(shared) + frames] = False
        return known[None], is_known


def _on_step(
    progress: Progress, index: int, steps: int, windows: int
) -> Callable[[int, Callable[[], torch.Tensor]], None]:
    return lambda done, estimate: progress(index * steps + done, windows * steps, lambda: estimate()[0])


def require_frames(frames: int) -> None:
    if not 1 <= frames <= MOST_FRAMES:
        raise ValueError(
            f"A motion has 1 to {MOST_FRAMES} frames, but {frames} were asked for. Ask for 1 or more, or make a long "
            f"one in parts."
        )


def window_lengths(frames: int, known: int, length: int, context: int) -> list[int]:
    """New frames that each window of a chain adds; the first one has ``known`` codes to start from, the others
    ``context``."""
    added = []
    while frames > 0:
        added.append(min(frames, length - known))
        frames -= added[-1]
        known = context
    return added

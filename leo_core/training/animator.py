"""Train an image animator: ``python -m leo_core train-animator``.

From the paper (LIA): two frames of one video per sample, the second rebuilt from the first through motion codes. Our
choice, since compute is scarce: three views per clip are encoded once and rebuilt from each other; the flow at every
scale is supervised, by exact flow on renders and by that of a classical estimator (`tracking.py`) on real clips; the
source picture warped by each flow is compared as well; and the network starts near the identity. Equalised learning
rates are steps of Adam per tensor instead of factors in the layers, so training runs the very modules that inference
runs.
"""
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from PIL import Image
from tqdm import tqdm

from ..animator import Animator, AnimatorConfig, Direction, lia, orthonormal_basis
from ..animator.layers import activate, warp
from ..checkpoints import is_transposed, learning_rate_scale, load_animator, raw_state, read_dictionary_weight, save_animator, write_atomically
from .data import Clip, read_source, shrunk, split_by_identity
from .humans.motion import CONTROLS, REACH, Controls
from .losses import (
    R1_EVERY,
    Discriminator,
    discriminator_loss,
    generator_adversarial,
    gradient_l1,
    open_backbone,
    perceptual_l1,
    pyramid_l1,
    ssim_loss,
)
from .tracking import DETAIL, track

CONTROL_GAIN = 3.0                           # code units per unit of a control
FLOW_EMPHASIS = 10.0                         # a pixel's flow counts by 1 plus this for each half width of the picture it moves
VIEWS = 3                                    # frames encoded per clip and step
DIVERGED = "The run diverged. Start it again, with a lower --rate: it resumes from its last checkpoint."
PAIRS = ((0, 1), (0, 2), (1, 2), (2, 1))     # (source, driving) views rebuilt from each other
# Equal widths from 64 px on, so that a trained model can grow to twice its size without forgetting (`grown_state`).
SMALL_CHANNELS = {4: 128, 8: 128, 16: 128, 32: 64, 64: 24, 128: 24, 256: 24, 512: 24}


@dataclass(frozen=True)
class Weights:
    """Weights of the losses; 0 switches one off."""

    pixels: float = 1.0      # L1 over a pyramid of three sizes
    gradients: float = 0.5   # L1 of finite differences: edges
    warp: float = 0.5        # L1 of the source picture warped by each scale's flow
    flow: float = 2.0        # L1 to the target flow, in units of the picture's width
    mask: float = 0.02       # cross-entropy of masks to the visibility of renders
    controls: float = 0.5    # L1 of the first motion directions to the controls of renders
    ssim: float = 0.0        # 1 - SSIM
    perceptual: float = 0.0  # L1 of the features of a backbone that the user supplies
    adversarial: float = 0.0  # non-saturating, against a discriminator that is trained along


class TrainedAnimator(torch.nn.Module):
    """An animator whose dictionary weight W is learned; Q is its QR decomposition."""

    def __init__(self, config: AnimatorConfig, generator: torch.Generator):
        super().__init__()
        self.animator = Animator(config)
        self.animator.dictionary.basis.requires_grad_(False)
        self.dictionary = torch.nn.Parameter(torch.randn(config.style_dim, config.directions, generator=generator))
        for name, parameter in self.animator.named_parameters():
            parameter.data = initial_value(name, parameter, generator)
        start_as_copy(self.animator)

    def forward(self, batch: "Batch", weights: "Weights", *judges) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
        """`losses`, as the call that launchers for several devices wrap."""
        return losses(self, batch, weights, *judges)

    def keep_codes(self) -> None:
        """Freeze encoder, motion head and dictionary: the fingerprint stays, and with it priors and saved motions."""
        self.dictionary.requires_grad_(False)
        self.animator.encoder.requires_grad_(False)
        self.animator.motion_head.requires_grad_(False)

    def latents(self, appearance: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        basis = torch.linalg.qr(self.dictionary + 1e-8).Q
        return appearance + codes @ basis.T


def stored_shape(name: str, value: torch.Tensor) -> tuple[int, ...]:
    return tuple(value.transpose(0, 1).shape if is_transposed(name) else value.shape)


def initial_value(name: str, parameter: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The published initialisation (normal weights, style biases 1, other biases 0), with flow heads near zero and
    masks open so that the untrained network is near the identity (our choice)."""
    if name.endswith("modulation.bias") or name.endswith("norm.weight"):
        return torch.ones_like(parameter)
    if name.endswith("head.bias"):
        return torch.tensor([0.0, 0.0, 1.0])
    if name.endswith(".bias") or name.endswith("gamma"):
        return torch.zeros_like(parameter)
    value = torch.randn(parameter.shape, generator=generator) * learning_rate_scale(name, stored_shape(name, parameter))
    return value * 0.01 if name.endswith("head.conv.weight") else value


@torch.no_grad()
def start_as_copy(animator: Animator) -> None:
    """Let the finest scale hand the warped picture through and the coarser ones add little, so that the untrained network
    repeats its source and every step goes into motion (our choice). Six channels of the stem carry +-RGB."""
    stem, finest = animator.encoder.stem, animator.decoder.levels[-1].rgb
    for level in animator.decoder.levels:
        level.rgb.conv.weight *= 0.02
    stem.weight[:6] = torch.eye(3).repeat_interleave(2, 0)[:, :, None, None] * torch.tensor([1.0, -1.0]).repeat(3)[:, None, None, None]
    stem.weight += 0.0  # no -0.0, which averaging turns into 0.0: the fingerprint would tell them apart
    # activate(c) - activate(-c) = 1.2 sqrt(2) c, and the head's own activation is linear above 0: there 2 is added and taken away
    finest.conv.weight.zero_()
    finest.conv.weight[:, :6] = torch.eye(3).repeat_interleave(2, 1)[..., None, None] * torch.tensor([1.0, -1.0]).repeat(3)[None, :, None, None] / 2.4
    finest.conv.bias.fill_(math.sqrt(2))
    finest.bias.fill_(-2.0)


@torch.no_grad()
def restart_as_copy(animator: Animator) -> None:
    """The same for a trained animator, whatever its stem and masks have become: its flow is kept, its painting begins again
    (our choice). On softly painted pictures a short training then gets further than going on does."""
    chance = torch.Generator().manual_seed(0)
    colours = torch.rand(4096, 3, 1, 1, generator=chance) * 2 - 1
    features = activate(animator.encoder.stem(colours)).flatten(1)
    *weight, bias = torch.linalg.lstsq(F.pad(features, (0, 1), value=1.0), colours.flatten(1)).solution
    pictures = F.interpolate(torch.rand(8, 3, 4, 4, generator=chance) * 2 - 1, animator.config.size, mode="bilinear")
    code, features = animator.encoder(pictures)
    _, mask = animator.flow_generator(features, code + animator.dictionary(animator.motion_head(code)))
    for level in animator.decoder.levels[:-1]:
        for parameter in level.rgb.parameters():
            parameter *= 0.02
    finest = animator.decoder.levels[-1].rgb
    finest.conv.weight.copy_(torch.stack(weight, 1)[..., None, None] / mask[animator.config.size].mean() / math.sqrt(2))
    finest.conv.bias.copy_((bias + 2) / math.sqrt(2))
    finest.bias.fill_(-2.0)


def parameter_groups(model: TrainedAnimator, rate: float) -> list[dict]:
    """Adam groups in which a tensor steps as far as it would with the equalised-learning-rate factor in its layer."""
    groups: dict[float, list] = {}
    for name, parameter in model.animator.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(learning_rate_scale(name, stored_shape(name, parameter)), []).append(parameter)
    if model.dictionary.requires_grad:
        groups.setdefault(1.0, []).append(model.dictionary)
    return [{"params": parameters, "lr": rate * scale, "scale": scale} for scale, parameters in groups.items()]


@dataclass
class Batch:
    """Views of B clips and the flow targets of the pairs rebuilt from them.

    :param views: [B, VIEWS, 3, S, S] in -1..1.
    :param flow: [B, len(PAIRS), 2, S, S] normalised displacement; weight: [B, len(PAIRS), 1, S, S], 0 where unknown.
    :param visible: [B, len(PAIRS), 1, S, S] in 0..1, and exact: [B, len(PAIRS)] whether it is known.
    :param controls: [B, VIEWS, K], and controlled: [B] whether they are known.
    :param taught: [B], 1 where the generator is given the known controls in place of the encoder's reading of them.
    """

    views: torch.Tensor
    flow: torch.Tensor
    weight: torch.Tensor
    visible: torch.Tensor
    exact: torch.Tensor
    controls: torch.Tensor
    controlled: torch.Tensor
    taught: torch.Tensor

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(*(getattr(self, column.name).to(device) for column in fields(self)))


def sample_batch(clips: list[Clip], count: int, rng: np.random.Generator, augment: float, teaching: float) -> Batch:
    """Draw clips and views, put rendered people before other backdrops, flip, zoom and recolour them. All chance is rng's.

    :param augment: 0..1, how far the pictures are changed.
    :param teaching: probability that a render's true controls go to the generator.
    :raises ValueError: renders of heads and of bodies are mixed.
    """
    told = told_controls(clips)
    backdrops = [clip.backdrop for clip in clips if clip.backdrop is not None]
    rows = [sample_clip(clips[rng.integers(len(clips))], rng, augment, teaching, told, backdrops) for _ in range(count)]
    return Batch(*(torch.stack(column) for column in zip(*rows, strict=True)))


def told_controls(clips: list[Clip]) -> Controls:
    """What the renders among the clips tell of their motion; without any, what heads do.

    :raises ValueError: renders of heads and of bodies are mixed.
    """
    found = {CONTROLS[clip.framing] for clip in clips if clip.controls is not None}
    if len(found) > 1:
        raise ValueError("Renders of heads and of bodies tell different things of their motion. Train on one kind of them.")
    return found.pop() if found else CONTROLS["head"]


def sample_clip(clip: Clip, rng: np.random.Generator, augment: float, teaching: float, told: Controls, backdrops: Sequence[np.ndarray] = ()):
    size = clip.frames.shape[1]
    times = rng.integers(len(clip.frames), size=VIEWS)
    if clip.flow is not None:
        times[0] = clip.reference
    frames = clip.frames[times].astype(np.float32)
    if clip.coverage is not None and len(backdrops) and rng.random() < 0.5 * augment:
        frames = before_backdrop(clip, times, backdrops[rng.integers(len(backdrops))])
    flow = np.zeros((len(PAIRS), size, size, 2), np.float32)
    weight = np.zeros((len(PAIRS), size, size), np.float32)
    visible = np.ones((len(PAIRS), size, size), np.float32)
    exact = np.zeros(len(PAIRS), np.float32)
    for i, (source, driving) in enumerate(PAIRS):
        if source == 0 and clip.flow is not None:
            flow[i], weight[i], exact[i] = clip.flow[times[driving]], clip.visible[times[driving]], clip.exact
            if clip.exact:
                visible[i] = weight[i]

    controls = torch.zeros(VIEWS, len(told.names)) if clip.controls is None else torch.from_numpy(clip.controls[times])
    views = torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1
    maps = torch.cat([torch.from_numpy(flow).permute(0, 3, 1, 2), torch.from_numpy(weight)[:, None],
                      torch.from_numpy(visible)[:, None]], 1)
    if rng.random() < 0.5 * augment:
        views, maps = views.flip(-1), maps.flip(-1)
        maps[:, 0] = -maps[:, 0]
        controls = controls[:, told.mirror] * torch.tensor(told.sign)
    zoom = 1 - augment * rng.uniform(0, 0.2)
    shift = torch.tensor(rng.uniform(-1, 1, 2) * (1 - zoom), dtype=torch.float32)
    theta = torch.cat([torch.eye(2) * zoom, shift[:, None]], 1)
    grid = F.affine_grid(theta[None], (1, 1, size, size), align_corners=False)
    views = F.grid_sample(views, grid.expand(len(views), -1, -1, -1), "bilinear", "border", False)
    maps = F.grid_sample(maps, grid.expand(len(maps), -1, -1, -1), "bilinear", "border", False)
    maps[:, :2] /= zoom
    if told.rest:
        rest = torch.tensor(told.rest)
        controls = ((controls * REACH + rest - shift.repeat(len(rest) // 2)) / zoom - rest) / REACH
    centres = F.affine_grid(torch.eye(2, 3)[None], (1, 1, size, size), align_corners=False)
    inside = (centres + maps[:, :2].permute(0, 2, 3, 1)).abs().amax(-1, keepdim=True) <= 1
    maps[:, 3:4] *= inside.permute(0, 3, 1, 2)  # what the zoom cut off cannot be seen in the source
    gain = torch.tensor(1 + augment * (rng.uniform(-0.2, 0.2) + rng.uniform(-0.1, 0.1, 3)), dtype=torch.float32)
    views = ((views + 1) * gain[:, None, None] + augment * rng.uniform(-0.15, 0.15) - 1).clamp(-1, 1)
    controlled = torch.tensor(float(clip.controls is not None))
    return (views, maps[:, :2], maps[:, 2:3], maps[:, 3:4], torch.from_numpy(exact), controls, controlled,
            controlled * float(rng.random() < teaching))


def before_backdrop(clip: Clip, times: np.ndarray, backdrop: np.ndarray) -> np.ndarray:
    """The rendered person before another backdrop [S, S, 3]: frames [n, S, S, 3] float32 in 0..255."""
    uncovered = 1 - clip.coverage[times, ..., None] / np.float32(255)
    return clip.frames[times] + uncovered * (backdrop.astype(np.float32) - clip.backdrop)


def losses(model: TrainedAnimator, batch: Batch, weights: Weights, backbone: torch.nn.Module | None = None,
           discriminator: torch.nn.Module | None = None) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Every loss that is switched on, already weighted.

    :return: the losses, the pictures made and the true ones, both [B * len(PAIRS), 3, S, S] in -1..1.
    :raises ValueError: the pictures are not finite.
    """
    animator, count = model.animator, batch.views.shape[0]
    code, features = animator.encoder(batch.views.flatten(0, 1))
    alpha = animator.motion_head(code).float()
    sources = torch.tensor([[b * VIEWS + s for s, _ in PAIRS] for b in range(count)], device=code.device).flatten()
    drivings = torch.tensor([[b * VIEWS + d for _, d in PAIRS] for b in range(count)], device=code.device).flatten()
    views = batch.views.flatten(0, 1)
    source, driving = views[sources], views[drivings]
    features = {scale: maps[sources] for scale, maps in features.items()}
    first = min(batch.controls.shape[-1], animator.config.directions)
    taught = batch.taught.repeat_interleave(VIEWS)[:, None]
    true = CONTROL_GAIN * batch.controls.flatten(0, 1)[:, :first]
    given = torch.cat([torch.lerp(alpha[:, :first], true, taught), alpha[:, first:]], 1)
    displacement, mask = animator.flow_generator(features, model.latents(code[sources], given[drivings]))
    picture = animator.decoder(features, displacement, mask)
    if not picture.isfinite().all():  # its L1 would have gradients of 0
        raise ValueError(DIVERGED)

    result = {"pixels": weights.pixels * pyramid_l1(picture, driving)}
    if weights.gradients:
        result["gradients"] = weights.gradients * gradient_l1(picture, driving)
    if weights.ssim:
        result["ssim"] = weights.ssim * ssim_loss(picture, driving)
    if weights.perceptual:
        result["perceptual"] = weights.perceptual * perceptual_l1(backbone, picture, driving)
    if weights.adversarial:
        result["adversarial"] = weights.adversarial * generator_adversarial(discriminator(picture))
    if weights.controls:
        error = (alpha.unflatten(0, (count, VIEWS))[..., :first] / CONTROL_GAIN - batch.controls[..., :first]).abs()
        result["controls"] = weights.controls * (error * batch.controlled[:, None, None]).mean() * first
    target, weight = batch.flow.flatten(0, 1), batch.weight.flatten(0, 1)
    visible, exact = batch.visible.flatten(0, 1), batch.exact.flatten()[:, None, None, None]
    for scale in animator.config.scales:
        factor = batch.views.shape[-1] // scale
        certain = F.avg_pool2d(weight, factor)
        if weights.flow:
            # Targets count in pixel centres; with align_corners=True the same shift is wider by r / (r - 1).
            wanted = F.avg_pool2d(target * weight, factor) / (certain + 1e-3) * (scale / (scale - 1))
            # Most of a picture stands still, and to leave everything there is the nearest way to a small error.
            emphasis = 1 + FLOW_EMPHASIS * wanted.norm(dim=1, keepdim=True)
            error = ((displacement[scale] - wanted).abs() * certain * emphasis).mean()
            result["flow"] = result.get("flow", 0) + weights.flow * error
        if weights.warp and factor <= 2:
            small, goal = F.avg_pool2d(source, factor), F.avg_pool2d(driving, factor)
            moved = warp(small, displacement[scale], animator.config.align_corners)
            error = ((moved - goal).abs() * F.avg_pool2d(visible, factor)).mean()
            result["warp"] = result.get("warp", 0) + weights.warp * error
        if weights.mask:
            with torch.autocast(mask[scale].device.type, enabled=False):  # autocast refuses binary_cross_entropy
                likelihood = F.binary_cross_entropy(mask[scale].float().clamp(1e-4, 1 - 1e-4), F.avg_pool2d(visible, factor),
                                                    reduction="none")
            result["mask"] = result.get("mask", 0) + weights.mask * (likelihood * exact).mean()
    return result, picture, driving


@torch.no_grad()
def held_out_score(animator: Animator, clips: list[Clip], frames: int = 8) -> dict[str, float | None]:
    """How well frames are rebuilt from frame 0.

    :return: mean over clips of the L1 (0..1) of rebuilt frames and of repeating frame 0, and of the ratio of the two;
        only clips that move (repeating errs by over 0.001, our choice) have a ratio, None where no clip does.
    """
    ours, repeated = [], []
    for clip in clips:
        times = np.linspace(1, len(clip.frames) - 1, frames).astype(int)
        rebuilt, truth = rebuild(animator, clip.frames, times)
        ours.append((rebuilt - truth).abs().mean().item())
        repeated.append((to_pictures(clip.frames[:1]) / 2 + 0.5 - truth).abs().mean().item())
    ratios = [a / b for a, b in zip(ours, repeated, strict=True) if b > 1e-3]
    return {"l1": float(np.mean(ours)), "repeat": float(np.mean(repeated)),
            "ratio": float(np.mean(ratios)) if ratios else None}


def to_pictures(frames: np.ndarray) -> torch.Tensor:
    """[T, S, S, 3] uint8 -> [T, 3, S, S] float32 in -1..1."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def rebuild(animator: Animator, frames: np.ndarray, times: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames at ``times`` rebuilt from frame 0 with their own codes, and the true ones; both [n, 3, S, S] in 0..1."""
    code, features = animator.encoder(to_pictures(frames[:1]))
    truth = to_pictures(frames[times])
    alpha = animator.motion_head(animator.encoder.codes(truth))
    pictures = animator.render(features, code + animator.dictionary(alpha))
    return (pictures / 2 + 0.5).clamp(0, 1), truth / 2 + 0.5


@torch.no_grad()
def frame_sheet(animator: Animator, clips: list[Clip], columns: int = 8) -> Image.Image:
    """Per clip two rows: driving frames, and the same rebuilt from the first."""
    rows = []
    for clip in clips:
        times = np.linspace(0, len(clip.frames) - 1, columns).astype(int)
        rebuilt, truth = rebuild(animator, clip.frames, times)
        rows += [torch.cat(list(truth), -1), torch.cat(list(rebuilt), -1)]
    sheet = torch.cat(rows, -2).permute(1, 2, 0)
    return Image.fromarray((sheet * 255).round().byte().numpy())


def grown_state(small: dict[str, torch.Tensor], large: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Start a model of twice the size from a trained one (progressive growing, our choice).

    The old stem reads the larger picture, a new first encoder block passes its halved output on unchanged, the coarser
    scales keep their weights and the new finest scale starts like an untrained one.

    :param small: state of the trained `TrainedAnimator`; large: initial state of the one to fill.
    """
    state = dict(large)
    for name, value in small.items():
        head, separator, index = name.partition("encoder.blocks.")
        if separator:
            block, _, rest = index.partition(".")
            name = f"{head}{separator}{int(block) + 1}.{rest}"
        state[name] = value
    first = "animator.encoder.blocks.0"
    skip = state[f"{first}.skip.weight"]
    # the block divides its sum by sqrt(2)
    state[f"{first}.skip.weight"] = torch.eye(skip.shape[0])[:, :, None, None] * math.sqrt(2)
    state[f"{first}.conv2.weight"] = torch.zeros_like(state[f"{first}.conv2.weight"])
    return state


def read_checkpoint(run: Path) -> dict:
    """``last.pt`` of a run, its configuration parsed.

    :raises ValueError: the run has none.
    """
    path = run / "last.pt"
    if not path.is_file():
        raise ValueError(f"{run} holds no last.pt. Name the run folder of a train-animator that has saved.")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    saved["config"] = AnimatorConfig.from_dict(saved["config"])
    if "controls" not in saved:  # older checkpoints tell it by the loss weights of their run
        settings = run / "settings.json"
        saved["controls"] = settings.is_file() and json.loads(settings.read_text()).get("controls", 0) > 0
    if isinstance(saved["controls"], bool):  # older checkpoints know the controls of heads alone
        saved["controls"] = CONTROLS["head"].names if saved["controls"] else ()
    return saved


def read_beginning(source: Path) -> tuple[AnimatorConfig, dict[str, torch.Tensor], tuple[str, ...]]:
    """Configuration, state of the `TrainedAnimator`, and the controls that directions were tied to: of an animator file, or of
    the moving average of a run folder.

    :raises ValueError: it is neither.
    """
    if not source.is_file():
        saved = read_checkpoint(source)
        return saved["config"], saved["average"], saved["controls"]
    animator, info = load_animator(source)
    state = {f"animator.{name}": value for name, value in animator.state_dict().items()}
    named = {direction.name for direction in info.directions.values()}
    tied = next((controls.names for controls in CONTROLS.values() if named & set(controls.names)), ())
    return animator.config, {**state, "dictionary": read_dictionary_weight(source)}, tied


def require_same_config(source: Path, found: AnimatorConfig, wanted: AnimatorConfig, todo: str) -> None:
    """:raises ValueError: they differ; names every field that does."""
    found, wanted = asdict(found), asdict(wanted)
    differing = [f"{name} {found[name]}, not {wanted[name]}" for name in wanted if found[name] != wanted[name]]
    if differing:
        raise ValueError(f"The animator in {source} has {'; '.join(differing)}. {todo}")


class Trainer:
    """One training run in a folder: model, moving average, optimiser, step. Resumes from ``last.pt``.

    :param accelerator: device, precision and processes (`accelerate.Accelerator`); the CPU by default.
    :param backbone: network of the perceptual loss, needed where that is switched on.
    :ivar controls: names of the controls of renders that steps so far tied the first motion directions to.
    """

    def __init__(self, run: Path, config: AnimatorConfig, weights: Weights, rate: float, seed: int, keep_codes: bool = False,
                 accelerator: Accelerator | None = None, backbone: torch.nn.Module | None = None):
        self.run, self.config, self.weights, self.rate, self.seed, self.backbone = run, config, weights, rate, seed, backbone
        self.accelerator = accelerator or Accelerator(cpu=True)
        chance = torch.Generator().manual_seed(seed)
        model = TrainedAnimator(config, chance)
        if keep_codes:
            model.keep_codes()
        optimizer = torch.optim.Adam(parameter_groups(model, rate), betas=(0.9, 0.99))
        self.wrapped, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.model = self.accelerator.unwrap_model(self.wrapped)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.discriminator = None
        if weights.adversarial:
            discriminator = Discriminator(config, chance)
            optimizer = torch.optim.Adam(discriminator.parameters(), 0.2 * rate, betas=(0.0, 0.99))
            self.discriminator, self.discriminator_optimizer = self.accelerator.prepare(discriminator, optimizer)
        self.step = 0
        self.controls: tuple[str, ...] = ()

    def begin_from(self, source: Path, repaint: bool = False) -> None:
        """Begin from another animator of the same size or half of it: its file, or the moving average of its run.

        :param repaint: let its painting begin again as a copy of the warped picture (`restart_as_copy`).
        :raises ValueError: there is none, or it is another one.
        """
        found, state, controls = read_beginning(source)
        channels, half = self.config.channels, self.config.size // 2
        wanted = self.config
        if found.size == half:
            if channels[self.config.size] != channels[half]:
                raise ValueError(f"An animator of {self.config.size} px cannot begin from one of {half} px: its finest features "
                                 f"have {channels[self.config.size]} channels, those of {half} px have {channels[half]}.")
            wanted = replace(self.config, size=half, channels={r: c for r, c in channels.items() if r <= half})
        require_same_config(source, found, wanted, "Begin from one of the same --size or half of it, with the same --directions.")
        self.model.load_state_dict(grown_state(state, self.model.state_dict()) if found.size == half else state)
        if repaint:
            self.model.animator.dictionary.basis.copy_(orthonormal_basis(self.model.dictionary))
            restart_as_copy(self.model.animator)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.controls = controls

    def resume(self) -> None:
        """Go on from ``last.pt``, if there is one.

        :raises ValueError: it holds an animator of another configuration, or it trained other parts of it.
        """
        if (self.run / "last.pt").is_file():
            saved = read_checkpoint(self.run)
            require_same_config(self.run, saved["config"], self.config, "Go on with the same --size and --directions, or "
                                "name another run folder.")
            if len(saved["optimizer"]["param_groups"]) != len(self.optimizer.param_groups):
                raise ValueError(f"{self.run} was begun {'with' if self.model.dictionary.requires_grad else 'without'} --keep-codes. Go on "
                                 f"the same way, or name another run folder and --begin-from this one.")
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.recall(saved)
            if self.discriminator and "discriminator" in saved:
                self.accelerator.unwrap_model(self.discriminator).load_state_dict(saved["discriminator"])
                self.discriminator_optimizer.load_state_dict(saved["discriminator_optimizer"])

    def recall(self, saved: dict) -> None:
        """What a checkpoint says of the run besides the state of training: enough to export it."""
        self.average = {name: value.to(self.accelerator.device) for name, value in saved["average"].items()}
        self.step, self.controls = saved["step"], saved["controls"]

    def save(self) -> None:
        saved = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                 "average": self.average, "step": self.step, "config": self.config.to_dict(), "controls": self.controls}
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
        teaching = max(0.0, 1 - progress / 0.6) if self.weights.controls and codes_learn else 0.0
        rank = self.accelerator.process_index
        chance = np.random.default_rng([self.seed, self.step, rank] if rank else [self.seed, self.step])
        batch = sample_batch(clips, batch_size, chance, augment, teaching).to(self.accelerator.device)
        # linear warm-up, then a cosine to a twentieth at the end of the run
        rate = self.rate * min(1, (self.step + 1) / 100) * (0.05 + 0.475 * (1 + math.cos(math.pi * min(1, progress))))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        if self.discriminator:
            self.discriminator.requires_grad_(False)
        with self.accelerator.autocast():
            parts, made, true = self.wrapped(batch, self.weights, self.backbone, self.discriminator)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(sum(parts.values()))
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        # float16 gradients overflow now and then: their scaler leaves such a step out and goes on with a smaller scale
        if not torch.isfinite(norm) and self.accelerator.mixed_precision != "fp16":
            raise ValueError(DIVERGED)
        self.optimizer.step()
        if self.discriminator:
            parts["discriminator"] = self.train_discriminator(true, made)
        self.step += 1
        if self.weights.controls and batch.controlled.any():
            self.controls = told_controls(clips).names
        decay = min(0.998, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        return {name: value.item() for name, value in parts.items()}

    def train_discriminator(self, true: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """Its step, in float32 (R1 needs second derivatives).

        :return: its loss.
        """
        self.discriminator.requires_grad_(True)
        loss = discriminator_loss(self.discriminator, true.float(), made.float(), penalise=self.step % R1_EVERY == 0)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.discriminator_optimizer.step()
        return loss.detach()

    def averaged(self) -> tuple[Animator, torch.Tensor]:
        """The moving average as an animator for inference, and its dictionary weight."""
        animator = Animator(self.config).eval().requires_grad_(False)
        state = {name.removeprefix("animator."): value for name, value in self.average.items() if name != "dictionary"}
        state["dictionary.basis"] = orthonormal_basis(self.average["dictionary"])
        animator.load_state_dict(state)
        return animator, self.average["dictionary"]

    def export(self, path: Path, notes: dict[str, str], directions: dict[int, Direction] | None = None) -> None:
        """Write the inference file (float16 safetensors) of the moving average.

        :param directions: names and ranges; those of the controls that directions were tied to by default.
        """
        animator, dictionary = self.averaged()
        if directions is None:
            directions = {i: Direction(name, -CONTROL_GAIN, CONTROL_GAIN) for i, name in enumerate(self.controls)}
        save_animator(path, raw_state(animator, dictionary), self.config, torch.float16, directions,
                      {**notes, "steps": str(self.step)})


def parse_weights(text: str) -> Weights:
    """:raises ValueError: no JSON object of loss names and weights from 0 up."""
    names = asdict(Weights())
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, dict) or not all(
            name in names and type(value) in (int, float) and 0 <= value < math.inf for name, value in values.items()):
        raise ValueError(f"--weights is a JSON object of losses and weights from 0 up, as '{{\"flow\": 1}}', got {text}. "
                         f"The losses are {', '.join(names)}.")
    return Weights(**values)


def parse_notes(notes: list[str]) -> dict[str, str]:
    """:raises ValueError: one is not KEY=TEXT."""
    for note in notes:
        if not note.partition("=")[0] or "=" not in note:
            raise ValueError(f"--note {note!r} is not KEY=TEXT, as licence=CC0.")
    return dict(note.split("=", 1) for note in notes)


def train(args) -> None:
    """Run or resume ``train-animator``."""
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    weights = parse_weights(args.weights)
    table = {r: c for r, c in SMALL_CHANNELS.items() if r <= args.size}
    # One layer in the motion head: five linear ones in a row are the same function and learn far slower.
    config = lia(args.size, table, style_dim=128, directions=args.directions, head_depth=1, align_corners=True)
    if weights.perceptual and not args.backbone:
        raise ValueError("The perceptual loss compares the features of a network. Name its TorchScript file with --backbone.")
    accelerator = Accelerator(cpu=args.device == "cpu", mixed_precision=args.precision)
    backbone = open_backbone(args.backbone, accelerator.device) if weights.perceptual else None
    trainer = Trainer(args.run_folder, config, weights, args.rate, args.seed, args.keep_codes, accelerator, backbone)
    if args.begin_from and not (args.run_folder / "last.pt").is_file():
        trainer.begin_from(args.begin_from, args.repaint)
    trainer.resume()

    detail = max(args.size, DETAIL)
    clips = [clip for source in args.data for clip in read_source(source, args.size, detail)]
    clips, held_out = split_by_identity(clips, args.hold_out)
    if not clips:
        raise ValueError("Every clip is held out; nothing is left to train on.")
    told = len(told_controls(clips).names)
    if weights.controls and args.directions < told and any(clip.controls is not None for clip in clips):
        raise ValueError(f"--directions {args.directions} is too few for the {told} controls of renders. Give at least "
                         f"that many, or switch the controls off with --weights '{{\"controls\": 0}}'.")
    watched = [shrunk(clip, args.size) for clip in held_out[:: max(1, len(held_out) // 6)][:6] or clips[:4]]
    with accelerator.main_process_first():
        clips = track(clips, args.size, args.tracks or args.run_folder / "tracks")
    if not accelerator.is_main_process:  # others only compute
        while trainer.step < args.steps:
            trainer.train_step(clips, args.batch, args.steps, args.augment)
        return
    print(f"{len(clips)} clips to train on, {len(held_out)} held out", flush=True)
    args.run_folder.mkdir(parents=True, exist_ok=True)
    settings = {"data": args.data, "hold_out": args.hold_out, "batch": args.batch, **asdict(weights)}
    (args.run_folder / "settings.json").write_text(json.dumps(settings, indent=1))

    saved = time.monotonic()
    with Journal(args.run_folder, trainer.step, args.tensorboard) as journal:
        for _ in tqdm(range(trainer.step, args.steps), initial=trainer.step, total=args.steps, mininterval=10):
            parts = trainer.train_step(clips, args.batch, args.steps, args.augment)
            if trainer.step % args.log == 0:
                journal.write(trainer.step, parts)
            if trainer.step % args.watch == 0:
                animator, _ = trainer.averaged()
                sheet = frame_sheet(animator, watched)
                sheet.save(args.run_folder / "sheet.png")
                journal.write(trainer.step, {"watched": held_out_score(animator, watched)}, sheet)
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
    notes = parse_notes(args.note)
    saved = read_checkpoint(args.run_folder)
    trainer = Trainer(args.run_folder, saved["config"], Weights(), 0.0, 0)
    trainer.recall(saved)
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
    parser.add_argument("--batch", type=int, default=4, help=f"clips per step; each gives {len(PAIRS)} samples")
    parser.add_argument("--rate", type=float, default=1e-2, help="relative to the size of each tensor's weights")
    parser.add_argument("--augment", type=float, default=1.0,
                        help="0 shows clips as they are, 1 flips, zooms, recolours, and puts rendered people before other backdrops")
    parser.add_argument("--weights", default="{}", help="JSON of loss weights that differ from the defaults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--begin-from", type=Path, help="animator file or run folder, of the same size or half of it")
    parser.add_argument("--repaint", action="store_true",
                        help="with --begin-from: keep its flow, let its painting begin again as a copy of the warped picture")
    parser.add_argument("--keep-codes", action="store_true",
                        help="train flow generator and decoder alone, so that priors and saved motions stay valid")
    parser.add_argument("--tracks", type=Path, metavar="FOLDER",
                        help="where the flow of real clips is kept, for several runs on the same clips (default: RUN/tracks)")
    parser.add_argument("--backbone", type=Path, help="TorchScript of the perceptual loss: pictures in -1..1 to features")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto", help="auto: the GPU where there is one")
    parser.add_argument("--precision", choices=("no", "bf16", "fp16"), default="no", help="of the networks' arithmetic")
    parser.add_argument("--tensorboard", action="store_true", help="write event files for TensorBoard, too")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--log", type=int, default=50, help="steps between lines of log.jsonl")
    parser.add_argument("--watch", type=int, default=500, help="steps between held-out scores and sheets")
    parser.add_argument("--save-minutes", type=float, default=5)
    parser.set_defaults(run=train)

    parser = subparsers.add_parser("export-animator", help="write the inference file of a training run")
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--note", nargs="*", default=[], metavar="KEY=TEXT", help="provenance kept in the file")
    parser.add_argument("--directions-of", type=Path, metavar="FILE",
                        help="animator file whose directions have the same meaning, as after --keep-codes: take its names and ranges")
    parser.set_defaults(run=export)

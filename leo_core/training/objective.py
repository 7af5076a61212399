"""The model that training optimizes, and its losses.

From the paper (LIA): one frame rebuilt from another through motion codes. Our choice, since compute is scarce:
several frames are rebuilt from one; the flow at every scale is supervised, by exact flow on renders and by that of a
classical estimator (`tracking.py`) on real clips; mouth and eyes, two hundredths of a picture, count more; and the
source picture warped by each flow is compared as well.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F

from .. import face
from ..animator import Animator, AnimatorConfig
from ..animator.layers import warp
from .batches import Batch
from .initialization import initial_value, start_as_copy, start_reading
from .losses import generator_adversarial, gradient_l1, perceptual_l1, pyramid_l1, ssim_loss

CONTROL_GAIN = face.CODE_UNIT  # code units per unit of a control
REGION_FLOW, REGION_MASK, REGION_WARP = 40.0, 8.0, 2.0  # mouth and eyes count by 1 plus this
FLOW_EMPHASIS = 10.0  # a pixel's flow counts by 1 plus this for each half width of the picture it moves
# Where part of a face moves relative to its surroundings, a squared error is added, divided by the square of how far
# things move there: a blink of four pixels should not drown beside a mouth that opens by twenty. Pixels that move
# themselves count most. A generator that knows only roughly where an iris is moves the lids along, and they have more
# pixels: under L1, or with equal weights, holding still would cost less. The term fades as the whole picture moves,
# because every part of a turning head moves relative to its surroundings.
LOCAL_EMPHASIS, LOCAL_STILL = 8.0, 0.01
# Pairs that move less than MOVING half widths on average count more, up to (STILL + MOVING) / STILL times.
STILL, MOVING = 0.03, 0.1
DIVERGED = "The run diverged. Start it again, with a lower --lr: it resumes from its last checkpoint."


@dataclass(frozen=True)
class Weights:
    """Weights of the losses; 0 switches one off."""

    pixels: float = 1.0  # L1 over a pyramid of three sizes
    gradients: float = 0.5  # L1 of finite differences: edges
    warp: float = 0.5  # L1 of the source picture warped by each scale's flow
    flow: float = 2.0  # L1 to the target flow, in units of the picture's width; more where a pair moves little
    mask: float = 0.02  # cross-entropy of masks to the visibility of renders
    controls: float = 0.5  # L1 of the first motion directions to the controls of renders
    region: float = 0.3  # L1 of mouth and eyes
    uncovered: float = 3.0  # L1 of what the source does not show, where that is known; the mean is over all pixels
    ssim: float = 0.0  # 1 - SSIM
    perceptual: float = 0.0  # L1 of the features of a backbone that the user supplies
    adversarial: float = 0.0  # non-saturating, against a discriminator that is trained along


class TrainedAnimator(torch.nn.Module):
    """An animator whose dictionary weight W is learned; Q is its QR decomposition."""

    def __init__(self, config: AnimatorConfig, generator: torch.Generator):
        super().__init__()
        self.animator = Animator(config)
        self.animator.dictionary.basis.requires_grad_(False)
        if config.reader:  # it is trained by itself (`train_reader.py`)
            self.animator.encoder.reader.requires_grad_(False)
            self.animator.motion_head.requires_grad_(False)
        self.dictionary = torch.nn.Parameter(torch.randn(config.style_dim, config.directions, generator=generator))
        for name, parameter in self.animator.named_parameters():
            parameter.data = initial_value(name, parameter, generator)
        start_as_copy(self.animator)
        if config.reader:
            start_reading(self.animator, self.dictionary)

    def forward(self, batch: "Batch", weights: "Weights", *critics, **options):
        """`losses`, as the call that launchers for several devices wrap."""
        return losses(self, batch, weights, *critics, **options)

    def keep_codes(self) -> None:
        """Freeze encoder, motion head and dictionary: the fingerprint stays, and with it priors and saved motions."""
        self.dictionary.requires_grad_(False)
        self.animator.encoder.requires_grad_(False)
        self.animator.motion_head.requires_grad_(False)

    def keep_flow(self) -> None:
        """Freeze the flow generator as well: the decoder alone is left to learn."""
        self.keep_codes()
        self.animator.flow_generator.requires_grad_(False)

    def read(self, batch: Batch) -> tuple[torch.Tensor, dict[int, torch.Tensor], torch.Tensor]:
        """Source codes z [B, style_dim], source features, and motion codes of all views [B, 1 + N, D]; known
        controls take the place of what the encoder reads as the batch says."""
        encoder, count = self.animator.encoder, batch.views.shape[1]
        if encoder.reader is None:
            code, features = encoder(batch.views.flatten(0, 1))
            alpha = self.animator.motion_head(code).float().unflatten(0, (-1, count))
            return code[::count], {scale: maps[::count] for scale, maps in features.items()}, alpha
        code, features = encoder.appearance(batch.views[:, 0])
        alpha = CONTROL_GAIN * batch.controls
        if not batch.controlled.all():
            read = encoder.reader(batch.views.flatten(0, 1)).float().unflatten(0, (-1, count))
            alpha = torch.lerp(read, alpha, batch.controlled[:, None, None])
        return torch.cat([code.float(), alpha[:, 0]], 1), features, alpha

    def latents(self, appearance: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        basis = torch.linalg.qr(self.dictionary + 1e-8).Q
        return appearance + codes @ basis.T


def losses(
    model: TrainedAnimator,
    batch: Batch,
    weights: Weights,
    backbone: torch.nn.Module | None = None,
    discriminator: torch.nn.Module | None = None,
    finest: int | None = None,
) -> tuple[dict[str, torch.Tensor], torch.Tensor | None, torch.Tensor]:
    """Every loss that is switched on, already weighted.

    :param finest: with it flow and masks alone are computed, up to this scale: half the price of a sample.
    :return: the losses, the pictures made (None with ``finest``) and the true ones, both [B * N, 3, S, S] in -1..1.
    :raises ValueError: the pictures are not finite.
    """
    animator, size, count = model.animator, model.animator.config.size, batch.views.shape[1] - 1
    code, features, alpha = model.read(batch)
    source, driving = batch.views[:, 0].repeat_interleave(count, 0), batch.views[:, 1:].flatten(0, 1)
    features = {scale: maps for scale, maps in features.items() if scale <= (finest or size)}
    anchor = animator.flow_generator.anchor(features, model.latents(code, alpha[:, 0]), finest)
    if anchor is not None:
        anchor = {scale: maps.repeat_interleave(count, 0) for scale, maps in anchor.items()}
    features = {scale: maps.repeat_interleave(count, 0) for scale, maps in features.items()}
    first = min(batch.controls.shape[-1], animator.config.directions)
    given = torch.lerp(
        alpha[..., :first], CONTROL_GAIN * batch.controls[..., :first], batch.teacher_forced[:, None, None]
    )
    given = torch.cat([given, alpha[..., first:]], -1)[:, 1:].flatten(0, 1)
    latents = model.latents(code.repeat_interleave(count, 0), given)
    displacement, mask = animator.flow_generator(features, latents, anchor, finest)
    picture = None if finest else animator.decoder(features, displacement, mask)
    result = {}
    if picture is not None:
        uncovered = (1 - batch.visible.flatten(0, 1)) * batch.exact.flatten()[:, None, None, None]
        result = picture_losses(
            picture, driving, batch.regions.flatten(0, 1), uncovered, weights, backbone, discriminator
        )
    if weights.controls and animator.encoder.reader is None:
        error = (alpha[..., :first] / CONTROL_GAIN - batch.controls[..., :first]).abs()
        result["controls"] = weights.controls * (error * batch.controlled[:, None, None]).mean() * first
    return (
        result | flow_losses(displacement, mask, source, driving, batch, weights, animator.config.align_corners),
        picture,
        driving,
    )


def picture_losses(
    picture: torch.Tensor,
    driving: torch.Tensor,
    regions: torch.Tensor,
    uncovered: torch.Tensor,
    weights: Weights,
    backbone: torch.nn.Module | None,
    discriminator: torch.nn.Module | None,
) -> dict[str, torch.Tensor]:
    """Losses of painted pictures beside the true ones, both [N, 3, S, S].

    :param regions: [N, 1, S, S] in 0..1, mouth and eyes; uncovered: [N, 1, S, S] in 0..1, what the source does not
        show.
    """
    if not picture.isfinite().all():  # its L1 would have gradients of 0
        raise ValueError(DIVERGED)
    result = {"pixels": weights.pixels * pyramid_l1(picture, driving)}
    error = (picture - driving).abs().mean(1, keepdim=True)
    if weights.region and regions.any():
        result["region"] = weights.region * (error * regions).sum() / (regions.sum() + 1)
    if weights.uncovered and uncovered.any():
        result["uncovered"] = weights.uncovered * (error * uncovered).mean()
    if weights.gradients:
        result["gradients"] = weights.gradients * gradient_l1(picture, driving)
    if weights.ssim:
        result["ssim"] = weights.ssim * ssim_loss(picture, driving)
    if weights.perceptual:
        result["perceptual"] = weights.perceptual * perceptual_l1(cast(torch.nn.Module, backbone), picture, driving)
    if weights.adversarial:
        result["adversarial"] = weights.adversarial * generator_adversarial(
            cast(torch.nn.Module, discriminator)(picture)
        )
    return result


def surroundings(flow: torch.Tensor) -> torch.Tensor:
    """Flow [N, 2, r, r] averaged over about an eighth of its side."""
    side = flow.shape[-1]
    return F.interpolate(F.avg_pool2d(flow, side // 8), side, mode="bilinear") if side > 8 else flow


def flow_losses(
    displacement: dict[int, torch.Tensor],
    mask: dict[int, torch.Tensor],
    source: torch.Tensor,
    driving: torch.Tensor,
    batch: Batch,
    weights: Weights,
    align_corners: bool,
) -> dict[str, torch.Tensor]:
    """Losses of flow and masks at every scale there is; source and driving: [B * N, 3, S, S]."""
    result: dict[str, torch.Tensor] = {}
    target, weight = batch.flow.flatten(0, 1), batch.weight.flatten(0, 1)
    visible, exact = batch.visible.flatten(0, 1), batch.exact.flatten()[:, None, None, None]
    # Where mouth and eyes are known, a pair shows a face.
    faces = (batch.regions.flatten(0, 1).amax((1, 2, 3), keepdim=True) > 0).float()
    for scale in displacement:
        factor = source.shape[-1] // scale
        certain, regions = F.avg_pool2d(weight, factor), F.avg_pool2d(batch.regions.flatten(0, 1), factor)
        if weights.flow:
            # Targets count in pixel centers; with align_corners=True the same shift is wider by r / (r - 1).
            wanted = F.avg_pool2d(target * weight, factor) / (certain + 1e-3) * (scale / (scale - 1))
            # Most of a picture stands still, and to leave everything there is the nearest way to a small error.
            emphasis = (1 + FLOW_EMPHASIS * wanted.norm(dim=1, keepdim=True)) * (1 + REGION_FLOW * regions)
            # L1 pulls as hard at a large error as at a small one: without this, heads that turn drown faces that act.
            moved = (wanted.norm(dim=1) * certain[:, 0]).mean((1, 2))
            relative = ((STILL + MOVING) / (STILL + moved)).clamp(min=1)
            alone = (wanted - surroundings(wanted)).norm(dim=1, keepdim=True)
            nearby = surroundings(alone)
            acting = alone / (nearby + LOCAL_STILL) / (nearby.square() + LOCAL_STILL**2)
            held = LOCAL_STILL / (LOCAL_STILL + moved)
            local = LOCAL_EMPHASIS * acting * faces * held[:, None, None, None]
            wrong = displacement[scale] - wanted
            error = ((wrong.abs() * emphasis + wrong.square() * local) * certain).mean((1, 2, 3))
            result["flow"] = result.get("flow", 0) + weights.flow * (error * relative).mean()
        if weights.warp and factor <= 2:
            small, goal = F.avg_pool2d(source, factor), F.avg_pool2d(driving, factor)
            moved = warp(small, displacement[scale], align_corners)
            error = ((moved - goal).abs() * F.avg_pool2d(visible, factor) * (1 + REGION_WARP * regions)).mean()
            result["warp"] = result.get("warp", 0) + weights.warp * error
        if weights.mask:
            with torch.autocast(mask[scale].device.type, enabled=False):  # autocast refuses binary_cross_entropy
                likelihood = F.binary_cross_entropy(
                    mask[scale].float().clamp(1e-4, 1 - 1e-4), F.avg_pool2d(visible, factor), reduction="none"
                )
            result["mask"] = (
                result.get("mask", 0) + weights.mask * (likelihood * exact * (1 + REGION_MASK * regions)).mean()
            )
    return result

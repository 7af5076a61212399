"""The model that training optimizes, and its losses.

From the paper (LIA): one frame rebuilt from another through motion codes. Our choice, since compute is scarce: three views
per clip are encoded once and rebuilt from each other; the flow at every scale is supervised, by exact flow on renders and
by that of a classical estimator (`tracking.py`) on real clips; and the source picture warped by each flow is compared as well.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..animator import Animator, AnimatorConfig
from ..animator.layers import warp
from .batches import PAIRS, VIEWS, Batch
from .initialization import initial_value, start_as_copy
from .losses import generator_adversarial, gradient_l1, perceptual_l1, pyramid_l1, ssim_loss

CONTROL_GAIN = 3.0                           # code units per unit of a control
FLOW_EMPHASIS = 10.0                         # a pixel's flow counts by 1 plus this for each half width of the picture it moves
DIVERGED = "The run diverged. Start it again, with a lower --rate: it resumes from its last checkpoint."


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

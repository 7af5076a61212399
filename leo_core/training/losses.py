"""Losses of the animator on pictures [N, 3, S, S] in -1..1."""

from pathlib import Path

import torch
import torch.nn.functional as F
from kornia.metrics import ssim

from ..animator import AnimatorConfig
from ..animator.layers import DownBlock, activate

SSIM_WINDOW = 7
R1_EVERY = 16
R1_WEIGHT = 10.0


def pyramid_l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """L1 at full, half and quarter size."""
    full, half, quarter = ((F.avg_pool2d(a, k) - F.avg_pool2d(b, k)).abs().mean() for k in (1, 2, 4))
    return (full + half + quarter) / 3


def gradient_l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """L1 of finite differences: edges."""
    across, down = ((torch.diff(a, dim=d) - torch.diff(b, dim=d)).abs().mean() for d in (-1, -2))
    return across + down


def ssim_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 - SSIM (Wang et al. 2004)."""
    return 1 - ssim(a.float() / 2 + 0.5, b.float() / 2 + 0.5, SSIM_WINDOW).mean()


def open_backbone(path: Path, device: torch.device | str) -> torch.jit.ScriptModule:
    """A TorchScript file of the user's: pictures to a tensor of features, or a list of them. TorchScript is a
    program: name only files you trust.

    :raises ValueError: it is none.
    """
    try:
        return torch.jit.load(path, map_location=device).eval()
    except RuntimeError as error:
        raise ValueError(
            f"{path} is not a TorchScript file ({str(error).splitlines()[0][:120]}). Save the network with "
            f"torch.jit.script or torch.jit.trace."
        ) from None


def perceptual_l1(backbone: torch.nn.Module, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """L1 between the features of a backbone, all its outputs alike (Johnson et al. 2016)."""
    with torch.no_grad():
        wanted = backbone(b)
    found = backbone(a)
    pairs = zip(found, wanted, strict=True) if isinstance(found, (list, tuple)) else [(found, wanted)]
    return sum((x - y).abs().mean() for x, y in pairs)


class Discriminator(torch.nn.Module):
    """Picture -> one number, high for real ones: the encoder's residual blocks down to 4 x 4 (StyleGAN2's; paper)."""

    def __init__(self, config: AnimatorConfig, generator: torch.Generator):
        super().__init__()
        widths = [config.channels[r] for r in sorted(config.channels, reverse=True)]
        self.stem = torch.nn.Conv2d(3, widths[0], 1)
        self.blocks = torch.nn.ModuleList(
            DownBlock(a, b, False, torch.nn) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.last = torch.nn.Linear(widths[-1] * 16, 1)
        for parameter in self.parameters():
            parameter.data = (
                torch.zeros_like(parameter)
                if parameter.ndim == 1
                else (torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
            )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        h = activate(self.stem(pictures))
        for block in self.blocks:
            h = block(h)
        return self.last(h.flatten(1)).squeeze(1)


def generator_adversarial(score: torch.Tensor) -> torch.Tensor:
    """Non-saturating loss of the animator, from the discriminator's numbers for its pictures (Goodfellow et al.
    2014)."""
    return F.softplus(-score).mean()


def discriminator_loss(
    discriminator: torch.nn.Module, target: torch.Tensor, generated: torch.Tensor, penalize: bool
) -> torch.Tensor:
    """Logistic loss of the discriminator; with ``penalize``, plus R1 on real pictures, weighted for being computed
    at every ``R1_EVERY``-th step (Mescheder et al. 2018; lazily as in StyleGAN2)."""
    target = target.detach().requires_grad_(penalize)
    score = discriminator(target)
    loss = F.softplus(-score).mean() + F.softplus(discriminator(generated.detach())).mean()
    if penalize:
        (slope,) = torch.autograd.grad(score.sum(), target, create_graph=True)
        loss = loss + 0.5 * R1_WEIGHT * R1_EVERY * slope.square().sum((1, 2, 3)).mean()
    return loss

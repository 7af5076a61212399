"""The Linear Motion Condition (LEO): what the denoiser sees, and what is noised.

A motion [alpha_1 .. alpha_L] is split into its first code and the residual m_i = alpha_i - alpha_1, i = 2 .. L.
Noise is put on the residual only, the loss is taken on the residual only, and the denoiser sees the noisy *absolute*
codes behind a clean first one. One scale per direction, from the residuals, serves codes and residuals alike (our
choice): it keeps the condition linear, LMC(m / s, (alpha_1 - mu) / s) = (LMC(m, alpha_1) - mu) / s.

Beyond the first code more may be known (our choice): the last few codes of the segment before, so that a seam
carries velocity, and the first few of the segment after, which makes the same network a transition model. Known
codes enter clean, and one more input channel says which they are.
"""

from dataclasses import dataclass

import torch


def to_residual(codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[..., L, D] codes -> first code [..., D] and residual [..., L - 1, D]."""
    return codes[..., 0, :], codes[..., 1:, :] - codes[..., :1, :]


def linear_motion_condition(residual: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """LMC(m, alpha_1) = [alpha_1, alpha_1 + m_2, .. , alpha_1 + m_L]: residual [..., L - 1, D], first [..., D] ->
    [..., L, D]."""
    first = first.unsqueeze(-2)
    return torch.cat([first, first + residual], dim=-2)


@dataclass(frozen=True)
class CodeScale:
    """Per-direction normalization of an animator's codes.

    :param mean: [D] mean code of the training motions.
    :param scale: [D] positive, root mean square of the residuals of training windows.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def codes(self, codes: torch.Tensor) -> torch.Tensor:
        return (codes - self.mean) / self.scale

    def residual(self, residual: torch.Tensor) -> torch.Tensor:
        return residual / self.scale

    def to(self, device: torch.device | str) -> "CodeScale":
        return CodeScale(self.mean.to(device), self.scale.to(device))

    @staticmethod
    def measure(windows: torch.Tensor) -> "CodeScale":
        """From training windows [N, L, D]. A direction that hardly moves gets a hundredth of the mean scale, so that
        nothing divides by zero."""
        _, residual = to_residual(windows.double())
        scale = residual.square().mean((0, 1)).sqrt()
        return CodeScale(
            windows.double().mean((0, 1)).float(), scale.clamp(min=max(0.01 * scale.mean().item(), 1e-6)).float()
        )


def denoiser_input(
    noisy: torch.Tensor, guess: torch.Tensor, known: torch.Tensor, is_known: torch.Tensor, lmc: bool = True
) -> torch.Tensor:
    """What the network sees, all in normalized units.

    :param noisy: [B, L - 1, D] noisy residual.
    :param guess: [B, L - 1, D] estimate of the clean residual, see `gaussian_process`.
    :param known: [B, L, D] clean codes; only those marked are read.
    :param is_known: [B, L] or [1, L] bool; the first is always marked.
    :param lmc: False gives the ablation: residuals beside the first code repeated on D channels of its own.
    :return: [B, 2 D + 1, L], or [B, 3 D + 1, L] without LMC.
    """
    mask = is_known.unsqueeze(-1)
    first = known[:, 0]
    seen, guessed = (torch.where(mask, known, linear_motion_condition(residual, first)) for residual in (noisy, guess))
    if lmc:
        channels = [seen, guessed]
    else:
        start = first.unsqueeze(1).expand_as(seen)
        channels = [seen - start, guessed - start, start]
    return torch.cat([*channels, mask.to(seen).expand_as(seen[..., :1])], dim=-1).transpose(1, 2)

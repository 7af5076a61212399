"""The linear part of the denoiser: motion as a Gaussian process, denoised in closed form (our choice, not LEO's).

Codes move smoothly and hang together over time, and most of what a denoiser has to know is just that. So the best linear
guess is computed exactly from the covariance of the training windows, known codes included, and the U-Net learns only what
that guess gets wrong. Little data and little training then suffice, and joints and transitions are smooth from the start.

The computation is float64 on the CPU, so that it is the same on every device; it is small beside the network.
"""
from dataclasses import dataclass

import torch
from einops import einsum, rearrange

# Variance that known codes are taken to have, in normalised units: it keeps the system well conditioned.
KNOWN_VARIANCE = 1e-6


@dataclass(frozen=True)
class LinearMotion:
    """A zero-mean Gaussian process over windows of normalised codes, independent along D principal axes.

    :param basis: [D, D] orthonormal, axes in columns: the directions' joint movement.
    :param covariance: [D, L, L] of each axis over the frames of a window; its upper left part serves shorter windows.
    """

    basis: torch.Tensor
    covariance: torch.Tensor

    @staticmethod
    def fit(windows: torch.Tensor, offset_variance: torch.Tensor) -> "LinearMotion":
        """From normalised training windows [N, L, D].

        :param offset_variance: [D], how much further than the training people others may be displaced as a whole.
        """
        windows = windows.double()
        residual = rearrange(windows - windows[:, :1], "n l d -> (n l) d")
        basis = torch.linalg.eigh(residual.T @ residual).eigenvectors.flip(1)
        axes = windows @ basis
        covariance = einsum(axes, axes, "n i d, n j d -> d i j") / len(windows)
        offsets = einsum(basis, offset_variance.double(), basis, "c d, c, c d -> d")
        return LinearMotion(basis.float().contiguous(), (covariance + offsets[:, None, None]).float().contiguous())

    def clean(self, noisy: torch.Tensor, known: torch.Tensor, is_known: torch.Tensor, alpha_bar: torch.Tensor) -> torch.Tensor:
        """Expectation of the clean residual, given the noisy one and the known codes. All in normalised units, on the CPU.

        :param noisy: [B, L - 1, D].
        :param known: [B, L, D]; only marked codes are read.
        :param is_known: [B, L] bool, the first marked; [1, L] with one alpha_bar where all motions share them, which is faster.
        :param alpha_bar: [B] or [1] float64, of each noise level.
        :return: [B, L - 1, D] float32.
        """
        length = known.shape[1]
        first = known[:, :1].double()
        signal = torch.where(is_known, 1.0, alpha_bar.sqrt().unsqueeze(1))
        spread = torch.where(is_known, KNOWN_VARIANCE, (1 - alpha_bar).unsqueeze(1))
        # An unknown code is seen as noisy = signal (code - first) + noise.
        seen = torch.cat([torch.zeros_like(first), noisy.double()], dim=1) + signal.unsqueeze(2) * first
        seen = torch.where(is_known.unsqueeze(2), known.double(), seen)
        axes = rearrange(seen @ self.basis.double(), "(s c) l d -> s d l c", s=len(signal))
        prior = self.covariance[:, :length, :length].double() * signal[:, None, None, :]
        joint = signal[:, None, :, None] * prior + torch.diag_embed(spread).unsqueeze(1)
        guess = prior @ torch.cholesky_solve(axes, torch.linalg.cholesky(joint))
        codes = rearrange(guess, "s d l c -> (s c) l d") @ self.basis.double().T
        return (codes[:, 1:] - first).float()

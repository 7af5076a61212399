"""Motion as a Gaussian process, denoised in closed form (our choice, not LEO's).

Motion codes are smooth and correlated over time, and a person who moves keeps returning to a rest pose: most of what
a denoiser has to learn is just that. So the posterior mean under a Gaussian process is computed exactly from the
covariance of the training motions, conditioned on the known codes, and the U-Net learns only its error. Little data
and little training then suffice, seams and transitions are smooth from the start, and long motion has a pose to
return to.

Computed in float64 on the CPU, so that the result is the same on every device; the cost is small beside the
network's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange

# Variance assumed for known codes, in normalized units: it keeps the linear system well conditioned.
KNOWN_VARIANCE = 1e-6
# The same as a fraction of the variance of an axis: the covariance, stored in float32, may miss being positive definite
# by about a third of that.
ROUNDING = 1e-6
# Posteriors kept, one per pattern of known frames; one of 64 frames and 20 axes takes 0.7 MB.
MOST_KEPT = 160
# How far the rest pose of a window may be from the assumed one, in standard deviations of the motion around it.
REST_UNCERTAINTY = 0.5
STILLEST = 0.05


@dataclass(frozen=True)
class MotionStyle:
    """Rest pose and amplitude of B motions, in normalized units.

    :param rest_pose: [B, D], or [B, L, D] where it changes over a window.
    :param amplitude: [B] size of the movement around it; 1 is the mean of the training motions.
    """

    rest_pose: torch.Tensor
    amplitude: torch.Tensor

    def of(self, chosen: torch.Tensor) -> "MotionStyle":
        """The styles of the chosen motions."""
        return MotionStyle(self.rest_pose[chosen], self.amplitude[chosen])


@dataclass(frozen=True)
class GaussianProcess:
    """A Gaussian process over windows of normalized codes around a rest pose, independent along D axes.

    :param basis: [D, D] orthonormal, the axes in columns.
    :param covariance: [D, L, L] of each axis over the frames of a window, at amplitude 1; shorter windows use its
        upper left part.
    :param amplitudes: [M] of the training motions.
    """

    basis: torch.Tensor
    covariance: torch.Tensor
    amplitudes: torch.Tensor

    @staticmethod
    def fit(motions: Sequence[torch.Tensor], length: int) -> "GaussianProcess":
        """Fit to normalized motions [T, D], each at least ``length`` frames long."""
        away = [(codes - codes.mean(0)).double() for codes in motions]
        variance = torch.cat(away).square().mean(0) + 1e-12
        amplitudes = torch.stack([amplitude_of(codes, variance) for codes in away])
        windows = torch.cat(
            [(codes / amplitude).unfold(0, length, 1) for codes, amplitude in zip(away, amplitudes, strict=True)]
        )
        windows = windows[torch.linspace(0, len(windows) - 1, min(len(windows), 4096)).long()]
        # Every axis has one covariance over time. Principal axes of the codes may mix slow heads with quick lips, and
        # heads then tremble; those of the second differences may split what moves together. The likelier are taken.
        candidates = [principal_axes(part) for part in (windows, windows.diff(n=2, dim=2))]
        covariances = [covariance_along(windows, basis) for basis in candidates]
        basis, covariance = min(zip(candidates, covariances, strict=True), key=lambda pair: unlikelihood(pair[1]))
        spread = covariance.diagonal(dim1=1, dim2=2).mean(1)
        covariance += REST_UNCERTAINTY**2 * spread[:, None, None]
        return GaussianProcess(basis.float().contiguous(), covariance.float().contiguous(), amplitudes.float())

    @property
    def spread(self) -> torch.Tensor:
        """[D] standard deviation along each axis around the rest pose, at amplitude 1."""
        return (self.covariance.diagonal(dim1=1, dim2=2).mean(1) / (1 + REST_UNCERTAINTY**2)).sqrt().clamp(min=1e-6)

    def measure(self, codes: torch.Tensor) -> MotionStyle:
        """The style of one motion [T, D]; B = 1."""
        rest_pose = codes.mean(0)
        return MotionStyle(rest_pose[None], amplitude_of((codes - rest_pose) @ self.basis, self.spread.square())[None])

    def infer(self, codes: torch.Tensor, generator: torch.Generator) -> MotionStyle:
        """Styles that agree with B stretches of known motion [B, T, D]; what those leave open is drawn at random. A
        pose is T = 1.

        Rest poses are as far from the known poses as training assumes (`perturb`); closer ones make motion narrower
        than that of people.
        """
        count, frames, directions = codes.shape
        known = (frames - 1) / (frames - 1 + self.covariance.shape[1])
        chosen = torch.randint(len(self.amplitudes), (count,), generator=generator)
        mean = codes.mean(1)
        measured = torch.stack([self.measure(one).amplitude[0] for one in codes])
        amplitude = (known * measured.square() + (1 - known) * self.amplitudes[chosen].square()).sqrt()
        rest_pose = mean - (1 - known) ** 0.5 * self.deviation(amplitude, generator)
        return self.perturb(MotionStyle(rest_pose, amplitude), generator)

    def deviation(self, amplitude: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """[B, D] random displacements from the rest pose, as large as motion of the given amplitude [B] makes them."""
        noise = torch.randn(len(amplitude), len(self.basis), generator=generator)
        return amplitude.unsqueeze(1) * (noise * self.spread) @ self.basis.T

    def perturb(self, style: MotionStyle, generator: torch.Generator) -> MotionStyle:
        """The same style with the uncertainty of the rest pose that the covariance assumes."""
        away = REST_UNCERTAINTY * self.deviation(style.amplitude, generator)
        return MotionStyle(style.rest_pose + away, style.amplitude)

    def posterior_mean(
        self,
        noisy: torch.Tensor,
        known: torch.Tensor,
        is_known: torch.Tensor,
        alpha_bar: torch.Tensor,
        style: MotionStyle,
    ) -> torch.Tensor:
        """Posterior mean of the clean residual, given the noisy one and the known codes. All in normalized units, on
        the CPU.

        :param noisy: [B, L - 1, D].
        :param known: [B, L, D]; only marked codes are read.
        :param is_known: [B, L] or [1, L] bool, the first marked.
        :param alpha_bar: [B] or [1] float64, of each noise level.
        :param style: of B motions.
        :return: [B, L - 1, D] float32.
        """
        count, length, directions = known.shape
        power = alpha_bar.expand(count)[:, None, None]
        signal = power.sqrt()
        rest_pose = style.rest_pose.double().reshape(count, -1, directions).expand(count, length, directions)
        first = known[:, :1].double()
        basis = self.basis.double()
        away = ((known - rest_pose) @ basis).movedim(1, 2)
        # An unknown code is observed as  signal (code - first) + noise, which becomes  signal (code - rest_pose) +
        # noise.
        seen = ((noisy + signal * (first - rest_pose[:, 1:])) @ basis).movedim(1, 2)
        clean = torch.empty(count, directions, length, dtype=torch.float64)
        for mask, rows in grouped_by_mask(is_known.expand(count, length)):
            posterior = self.posterior(mask)
            mean = torch.einsum("kim,bkm->bki", posterior.gain, away[rows][..., mask])
            unexplained = torch.einsum(
                "kij,bki->bkj", posterior.vectors[:, 1:], seen[rows] - signal[rows] * mean[..., 1:]
            )
            variance = style.amplitude.double().square()[rows, None, None] * posterior.variances
            gain = signal[rows] * variance / (power[rows] * variance + 1 - power[rows])
            clean[rows] = mean + torch.einsum("kij,bkj->bki", posterior.vectors, gain * unexplained)
        codes = rest_pose + clean.movedim(1, 2) @ basis.T
        return (codes[:, 1:] - first).float()

    def posterior(self, mask: torch.Tensor) -> "Posterior":
        """The posterior of a window whose marked frames [L] are known. Cached: the windows of a chain share a few
        masks."""
        key = tuple(mask.tolist())
        if key not in self._posteriors:
            if len(self._posteriors) >= MOST_KEPT:
                self._posteriors.clear()
            self._posteriors[key] = Posterior.of(self.covariance[:, : len(mask), : len(mask)].double(), mask)
        return self._posteriors[key]

    @cached_property
    def _posteriors(self) -> dict[tuple[bool, ...], "Posterior"]:
        return {}


@dataclass(frozen=True)
class Posterior:
    """Motion along K axes, conditioned on the known frames, at amplitude 1; all float64.

    :param gain: [K, L, m] mean of every frame as a function of the m known values.
    :param vectors: [K, L, L] orthonormal, in columns: eigenvectors of the posterior covariance.
    :param variances: [K, L] its eigenvalues, 0 where nothing is left open.
    """

    gain: torch.Tensor
    vectors: torch.Tensor
    variances: torch.Tensor

    @staticmethod
    def of(covariance: torch.Tensor, mask: torch.Tensor) -> "Posterior":
        """Condition the covariance [K, L, L] of all frames on the marked ones."""
        across = covariance[:, :, mask]
        among = across[:, mask]
        rounding = KNOWN_VARIANCE + ROUNDING * covariance.diagonal(dim1=1, dim2=2).mean(1)
        among = among + rounding[:, None, None] * torch.eye(among.shape[1], dtype=torch.float64)
        gain = torch.linalg.solve(among, across.mT).mT
        left = (covariance - gain @ across.mT) * ~(mask | mask.unsqueeze(1))
        variances, vectors = torch.linalg.eigh((left + left.mT) / 2)
        return Posterior(gain, vectors, variances.clamp(min=0))


def principal_axes(windows: torch.Tensor) -> torch.Tensor:
    """Principal axes of windows [N, D, L]: [D, D] orthonormal, in columns, the largest variance first."""
    everything = rearrange(windows, "n d l -> (n l) d")
    return torch.linalg.eigh(everything.T @ everything).eigenvectors.flip(1)


def covariance_along(windows: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """[D, L, L] over the frames of windows [N, D, L], of each axis of the basis [D, D]."""
    length = windows.shape[2]
    covariance = torch.zeros(len(basis), length, length, dtype=windows.dtype)
    for part in windows.split(256):
        axes = torch.einsum("ndl,dk->nkl", part, basis)
        covariance += torch.einsum("nki,nkj->kij", axes, axes) / len(windows)
    return covariance


def unlikelihood(covariance: torch.Tensor) -> float:
    """Twice the mean negative log-likelihood, up to a constant, of the very windows whose covariance [D, L, L] this is.
    Variances below a thousandth of the mean count as that."""
    variances = torch.linalg.eigvalsh(covariance).clamp(min=0)
    return float((variances + 1e-3 * variances.mean() + 1e-12).log().mean())


def grouped_by_mask(is_known: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The distinct rows of masks [B, L], each with the indices of the rows equal to it."""
    masks, which = is_known.unique(dim=0, return_inverse=True)
    for index, mask in enumerate(masks):
        yield mask, (which == index).nonzero().squeeze(1)


def amplitude_of(away: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Root mean square of deviations [T, D], each direction in units of its usual one; not below STILLEST."""
    return (away.square().mean(0) / variance).mean().sqrt().clamp(min=STILLEST)

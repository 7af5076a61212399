"""The linear part of the denoiser: motion as a Gaussian process, denoised in closed form (our choice, not LEO's).

Codes move smoothly and hang together over time, and somebody who moves returns to where they rest. Most of what a denoiser
has to know is just that. So the best linear guess is computed exactly from the covariance of the training motions, known
codes included, and the U-Net learns only what that guess gets wrong. Little data and little training then suffice, joints
and transitions are smooth from the start, and long motion has something to return to.

The computation is float64 on the CPU, so that it is the same on every device; it is small beside the network.
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange

# Variance that known codes are taken to have, in normalised units: it keeps the system well conditioned.
KNOWN_VARIANCE = 1e-6
# The same as a share of an axis's own variance: the covariance, kept in float32, may fall short of definite by about a
# third of that.
ROUNDING = 1e-6
# Windows with different known frames, of which what is left open is remembered; one of 64 frames and 20 axes takes 0.7 MB.
MOST_KEPT = 160
# How far the resting pose of a window may be from the one assumed, in standard deviations of the motion around it.
HOME_UNCERTAINTY = 0.5
STILLEST = 0.05


@dataclass(frozen=True)
class Temperament:
    """Where somebody rests and how much they move, for B motions, in normalised units.

    :param home: [B, D] resting pose, or [B, L, D] one that changes in the course of a window.
    :param liveliness: [B] size of the movement around it; 1 is the training motions' average.
    """

    home: torch.Tensor
    liveliness: torch.Tensor

    def of(self, chosen: torch.Tensor) -> "Temperament":
        """Those of the chosen motions."""
        return Temperament(self.home[chosen], self.liveliness[chosen])


@dataclass(frozen=True)
class LinearMotion:
    """A Gaussian process over windows of normalised codes around a resting pose, independent along D principal axes.

    :param basis: [D, D] orthonormal, axes in columns: directions that move together.
    :param covariance: [D, L, L] of each axis over the frames of a window, at liveliness 1; its upper left part serves shorter windows.
    :param livelinesses: [M] of the training motions.
    """

    basis: torch.Tensor
    covariance: torch.Tensor
    livelinesses: torch.Tensor

    @staticmethod
    def fit(motions: Sequence[torch.Tensor], length: int) -> "LinearMotion":
        """From normalised motions [T, D], each at least ``length`` frames long."""
        away = [(codes - codes.mean(0)).double() for codes in motions]
        variance = torch.cat(away).square().mean(0) + 1e-12
        livelinesses = torch.stack([size(codes, variance) for codes in away])
        windows = torch.cat([(codes / lively).unfold(0, length, 1) for codes, lively in zip(away, livelinesses, strict=True)])
        windows = windows[torch.linspace(0, len(windows) - 1, min(len(windows), 4096)).long()]
        everything = rearrange(windows, "n d l -> (n l) d")
        basis = torch.linalg.eigh(everything.T @ everything).eigenvectors.flip(1)
        covariance = torch.zeros(len(variance), length, length, dtype=torch.float64)
        for part in windows.split(256):
            axes = torch.einsum("ndl,dk->nkl", part, basis)
            covariance += torch.einsum("nki,nkj->kij", axes, axes) / len(windows)
        spread = covariance.diagonal(dim1=1, dim2=2).mean(1)
        covariance += HOME_UNCERTAINTY**2 * spread[:, None, None]
        return LinearMotion(basis.float().contiguous(), covariance.float().contiguous(), livelinesses.float())

    @property
    def spread(self) -> torch.Tensor:
        """[D] standard deviation along each axis around the resting pose, at liveliness 1."""
        return (self.covariance.diagonal(dim1=1, dim2=2).mean(1) / (1 + HOME_UNCERTAINTY**2)).sqrt().clamp(min=1e-6)

    def measure(self, codes: torch.Tensor) -> Temperament:
        """Of one motion [T, D] as it is; B = 1."""
        home = codes.mean(0)
        return Temperament(home[None], size((codes - home) @ self.basis, self.spread.square())[None])

    def infer(self, codes: torch.Tensor, generator: torch.Generator) -> Temperament:
        """Of somebody of whom B stretches of motion [B, T, D] are known; what they do not tell is drawn. A pose is T = 1.

        The homes are as far from the poses as those that training assumes (`blur`): nearer ones make motion narrower than people's.
        """
        count, frames, directions = codes.shape
        known = (frames - 1) / (frames - 1 + self.covariance.shape[1])
        chosen = torch.randint(len(self.livelinesses), (count,), generator=generator)
        mean = codes.mean(1)
        measured = torch.stack([self.measure(one).liveliness[0] for one in codes])
        lively = (known * measured.square() + (1 - known) * self.livelinesses[chosen].square()).sqrt()
        return self.blur(Temperament(mean - (1 - known) ** 0.5 * self.deviation(lively, generator), lively), generator)

    def deviation(self, liveliness: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """[B, D] poses as far from home as motion of that liveliness [B] takes them."""
        noise = torch.randn(len(liveliness), len(self.basis), generator=generator)
        return liveliness.unsqueeze(1) * (noise * self.spread) @ self.basis.T

    def blur(self, temperament: Temperament, generator: torch.Generator) -> Temperament:
        """The same with homes as uncertain as the covariance takes them to be."""
        away = HOME_UNCERTAINTY * self.deviation(temperament.liveliness, generator)
        return Temperament(temperament.home + away, temperament.liveliness)

    def clean(
        self, noisy: torch.Tensor, known: torch.Tensor, is_known: torch.Tensor, alpha_bar: torch.Tensor, temperament: Temperament
    ) -> torch.Tensor:
        """Expectation of the clean residual, given the noisy one and the known codes. All in normalised units, on the CPU.

        :param noisy: [B, L - 1, D].
        :param known: [B, L, D]; only marked codes are read.
        :param is_known: [B, L] or [1, L] bool, the first marked.
        :param alpha_bar: [B] or [1] float64, of each noise level.
        :param temperament: of B motions.
        :return: [B, L - 1, D] float32.
        """
        count, length, directions = known.shape
        power = alpha_bar.expand(count)[:, None, None]
        signal = power.sqrt()
        home = temperament.home.double().reshape(count, -1, directions).expand(count, length, directions)
        first = known[:, :1].double()
        basis = self.basis.double()
        away = ((known - home) @ basis).movedim(1, 2)
        # Seen of an unknown code is  signal (code - first) + noise, which becomes  signal (code - home) + noise.
        seen = ((noisy + signal * (first - home[:, 1:])) @ basis).movedim(1, 2)
        guess = torch.empty(count, directions, length, dtype=torch.float64)
        for mask, rows in alike(is_known.expand(count, length)):
            left = self.given(mask)
            mean = torch.einsum("kim,bkm->bki", left.gain, away[rows][..., mask])
            unexplained = torch.einsum("kij,bki->bkj", left.vectors[:, 1:], seen[rows] - signal[rows] * mean[..., 1:])
            variance = temperament.liveliness.double().square()[rows, None, None] * left.variances
            share = signal[rows] * variance / (power[rows] * variance + 1 - power[rows])
            guess[rows] = mean + torch.einsum("kij,bkj->bki", left.vectors, share * unexplained)
        codes = home + guess.movedim(1, 2) @ basis.T
        return (codes[:, 1:] - first).float()

    def given(self, mask: torch.Tensor) -> "Given":
        """What is left open when the marked frames [L] of a window are known. Kept, since windows of one chain are alike."""
        key = tuple(mask.tolist())
        if key not in self._given:
            if len(self._given) >= MOST_KEPT:
                self._given.clear()
            self._given[key] = Given.of(self.covariance[:, : len(mask), : len(mask)].double(), mask)
        return self._given[key]

    @cached_property
    def _given(self) -> dict[tuple[bool, ...], "Given"]:
        return {}


@dataclass(frozen=True)
class Given:
    """Motion along K axes some of whose frames are known, at liveliness 1; all float64.

    :param gain: [K, L, m] expectation of every frame for each of the m known values.
    :param vectors: [K, L, L] orthonormal, in columns: how the unknown frames may still differ from it.
    :param variances: [K, L] of each, 0 where there is nothing left.
    """

    gain: torch.Tensor
    vectors: torch.Tensor
    variances: torch.Tensor

    @staticmethod
    def of(covariance: torch.Tensor, mask: torch.Tensor) -> "Given":
        """From the covariance [K, L, L] of all frames."""
        across = covariance[:, :, mask]
        among = across[:, mask]
        rounding = KNOWN_VARIANCE + ROUNDING * covariance.diagonal(dim1=1, dim2=2).mean(1)
        among = among + rounding[:, None, None] * torch.eye(among.shape[1], dtype=torch.float64)
        gain = torch.linalg.solve(among, across.mT).mT
        left = (covariance - gain @ across.mT) * ~(mask | mask.unsqueeze(1))
        variances, vectors = torch.linalg.eigh((left + left.mT) / 2)
        return Given(gain, vectors, variances.clamp(min=0))


def alike(is_known: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The different rows of [B, L] marks, each with the indices of those that are equal to it."""
    masks, which = is_known.unique(dim=0, return_inverse=True)
    for index, mask in enumerate(masks):
        yield mask, (which == index).nonzero().squeeze(1)


def size(away: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Root mean square of codes [T, D] in units of the usual ones, all directions alike; not below STILLEST."""
    return (away.square().mean(0) / variance).mean().sqrt().clamp(min=STILLEST)

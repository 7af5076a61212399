"""How much noise at which step: the cosine schedule, in float64 on the CPU, and the steps a sampler visits."""

import math

import torch


def cosine_alpha_bar(steps: int = 1000, offset: float = 0.008) -> torch.Tensor:
    """Share of the signal's power that is left after t steps of noising (Nichol and Dhariwal 2021; LEO's own is not
    known).

    A noised value is ``sqrt(alpha_bar[t]) * clean + sqrt(1 - alpha_bar[t]) * noise``.

    :param steps: T, the number of noising steps the network is trained with.
    :return: [T + 1] float64, falling from exactly 1 at t = 0; no single step removes more than 0.999 of the power.
    """
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    power = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    kept = (power[1:] / power[:-1]).clamp(min=0.001)
    return torch.cat([torch.ones(1, dtype=torch.float64), kept.cumprod(0)])


def sampling_times(count: int, start: int) -> list[int]:
    """The noise levels a sampler visits, from ``start`` down to 0: half a cosine, crowded at both ends (our choice).

    Where the noise is greatest the extent of the movement is decided, where it is least its fine timing. Against even
    spacing this brought the spread and the second differences of samples nearest to those of the data in few steps.

    :param count: number of denoising steps, at least 1. Fewer are taken where whole levels run out.
    :param start: noise level to begin at, 1 .. T.
    :return: strictly falling integers, the first ``start``, the last 0.
    """
    spaced = [round(start * (1 + math.cos(math.pi * step / count)) / 2) for step in range(count)]
    return sorted({max(level, 1) for level in spaced} | {0}, reverse=True)

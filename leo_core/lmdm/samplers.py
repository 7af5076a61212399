"""Samplers as pure functions: from noise to the clean residual, given a network that guesses the clean one.

All share one signature. ``predict_clean(x, t)`` returns the network's estimate of the clean value at noise level t;
``noise()`` returns fresh standard Gaussian noise of the shape of x; ``on_step(done, estimate)`` is called after each
step and may raise to stop. Coefficients are float64 numbers; x keeps its dtype and device.
"""

import math
from collections.abc import Callable

import torch

PredictClean = Callable[[torch.Tensor, int], torch.Tensor]
Noise = Callable[[], torch.Tensor]
OnStep = Callable[[int, torch.Tensor], None]


def sample_ddpm(
    predict_clean: PredictClean,
    x: torch.Tensor,
    times: list[int],
    alpha_bar: torch.Tensor,
    noise: Noise,
    on_step: OnStep,
    eta: float = 1.0,
) -> torch.Tensor:
    """Ancestral sampling: each step draws from the Gaussian posterior q(x_s | x_t, clean) (Ho et al. 2020). eta has
    no effect.

    :param x: value at noise level ``times[0]``.
    :param times: falling noise levels that end at 0, see ``sampling_times``.
    :param alpha_bar: [T + 1] float64 schedule.
    """
    for done, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True), start=1):
        clean = predict_clean(x, t)
        at_t, at_s = float(alpha_bar[t]), float(alpha_bar[s])
        kept = at_t / at_s
        x = (math.sqrt(at_s) * (1 - kept) * clean + math.sqrt(kept) * (1 - at_s) * x) / (1 - at_t)
        if s > 0:
            x = x + math.sqrt((1 - at_s) / (1 - at_t) * (1 - kept)) * noise()
        on_step(done, clean)
    return x


def sample_ddim(
    predict_clean: PredictClean,
    x: torch.Tensor,
    times: list[int],
    alpha_bar: torch.Tensor,
    noise: Noise,
    on_step: OnStep,
    eta: float = 0.0,
) -> torch.Tensor:
    """Denoising diffusion implicit sampling (Song et al. 2021). See ``sample_ddpm`` for the other parameters.

    :param eta: share of the ancestral noise, 0 (deterministic) .. 1 (the same distribution as ``sample_ddpm``).
    """
    for done, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True), start=1):
        clean = predict_clean(x, t)
        at_t, at_s = float(alpha_bar[t]), float(alpha_bar[s])
        guessed_noise = (x - math.sqrt(at_t) * clean) / math.sqrt(1 - at_t)
        fresh = eta * math.sqrt((1 - at_s) / (1 - at_t) * (1 - at_t / at_s))
        x = math.sqrt(at_s) * clean + math.sqrt(max(1 - at_s - fresh**2, 0.0)) * guessed_noise
        if fresh > 0:
            x = x + fresh * noise()
        on_step(done, clean)
    return x


def sample_dpmpp_2m(
    predict_clean: PredictClean,
    x: torch.Tensor,
    times: list[int],
    alpha_bar: torch.Tensor,
    noise: Noise,
    on_step: OnStep,
    eta: float = 0.0,
) -> torch.Tensor:
    """DPM-Solver++(2M): second-order multistep in the log signal-to-noise ratio (Lu et al. 2022). Deterministic: eta
    and noise have no effect."""
    clean_before, width_before = None, 0.0
    for done, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True), start=1):
        clean = predict_clean(x, t)
        if s == 0:
            x = clean
        else:
            width = _log_snr(alpha_bar, s) - _log_snr(alpha_bar, t)
            slope = 0.0 if clean_before is None else 0.5 * width / width_before
            extrapolated = clean if clean_before is None else (1 + slope) * clean - slope * clean_before
            at_t, at_s = float(alpha_bar[t]), float(alpha_bar[s])
            x = math.sqrt((1 - at_s) / (1 - at_t)) * x - math.sqrt(at_s) * math.expm1(-width) * extrapolated
            clean_before, width_before = clean, width
        on_step(done, clean)
    return x


def _log_snr(alpha_bar: torch.Tensor, t: int) -> float:
    """log(signal / noise) in amplitudes, lambda in the DPM-Solver papers."""
    return 0.5 * math.log(float(alpha_bar[t]) / (1 - float(alpha_bar[t])))


# The one list of samplers: nodes and commands offer these, in this order.
SAMPLERS = {"dpmpp_2m": sample_dpmpp_2m, "ddim": sample_ddim, "ddpm": sample_ddpm}

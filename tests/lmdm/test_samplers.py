"""Schedule and samplers, against a data distribution whose best guess is known in closed form."""

import math

import pytest
import torch

from leo_core.lmdm.samplers import SAMPLERS, sample_ddim, sample_ddpm
from leo_core.lmdm.schedule import cosine_alpha_bar, sampling_times

MEAN, SPREAD = 1.5, 0.5


def gaussian_guess(alpha_bar):
    """The exact expectation of clean values of a Gaussian, given the noisy ones."""

    def predict(x, t):
        power = float(alpha_bar[t])
        gain = math.sqrt(power) * SPREAD**2 / (power * SPREAD**2 + 1 - power)
        return MEAN + gain * (x - math.sqrt(power) * MEAN)

    return predict


def draw(sampler, steps, seed=0, count=20000, eta=0.0, on_step=lambda done, estimate: None):
    alpha_bar = cosine_alpha_bar()
    generator = torch.Generator().manual_seed(seed)
    noise = lambda: torch.randn(count, generator=generator)  # noqa: E731
    return sampler(gaussian_guess(alpha_bar), noise(), sampling_times(steps, 1000), alpha_bar, noise, on_step, eta=eta)


def test_the_schedule_is_exact_at_both_ends():
    alpha_bar = cosine_alpha_bar(1000)
    assert alpha_bar.dtype == torch.float64 and alpha_bar.device.type == "cpu"
    assert alpha_bar[0] == 1 and 0 < alpha_bar[-1] < 1e-6
    assert (alpha_bar.diff() < 0).all()


@pytest.mark.parametrize("count, start", [(1, 1000), (20, 1000), (50, 300), (1000, 1000), (30, 7), (5, 1)])
def test_sampling_visits_whole_falling_levels(count, start):
    times = sampling_times(count, start)
    assert times[0] == start and times[-1] == 0 and len(times) <= count + 1
    assert all(a > b for a, b in zip(times[:-1], times[1:], strict=True))


@pytest.mark.parametrize("name, eta", [*((name, 0.0) for name in SAMPLERS), ("ddim", 1.0)])
def test_samples_follow_the_distribution(name, eta):
    samples = draw(SAMPLERS[name], 200, eta=eta)
    assert samples.mean() == pytest.approx(MEAN, abs=0.02)
    assert samples.std() == pytest.approx(SPREAD, rel=0.04)


def test_the_second_order_solver_needs_fewer_steps():
    exact = draw(SAMPLERS["ddim"], 1000)
    error = {name: (draw(SAMPLERS[name], 15) - exact).abs().mean() for name in ("ddim", "dpmpp_2m")}
    assert error["dpmpp_2m"] < 0.5 * error["ddim"]


def test_ddim_with_full_eta_is_ancestral_sampling():
    assert torch.allclose(draw(sample_ddim, 20, eta=1.0), draw(sample_ddpm, 20), atol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_is_told_and_may_stop_it(name):
    told = []
    draw(SAMPLERS[name], 10, count=4, on_step=lambda done, estimate: told.append((done, tuple(estimate.shape))))
    assert told == [(step, (4,)) for step in range(1, 11)]

    def stop(done, estimate):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(SAMPLERS[name], 10, count=4, on_step=stop)

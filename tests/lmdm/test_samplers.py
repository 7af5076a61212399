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


def test_the_schedule_is_a_squared_cosine_and_the_last_step_keeps_a_thousandth():
    alpha_bar = cosine_alpha_bar(1000)
    for t in (1, 250, 500, 999):
        angle = [(time + 0.008) / 1.008 * math.pi / 2 for time in (t / 1000, 0)]
        assert alpha_bar[t].item() == pytest.approx((math.cos(angle[0]) / math.cos(angle[1])) ** 2, rel=1e-9)
    assert (alpha_bar[1000] / alpha_bar[999]).item() == pytest.approx(0.001)
    assert len(cosine_alpha_bar()) == 1001 and torch.equal(cosine_alpha_bar(), alpha_bar)


def test_levels_are_crowded_at_both_ends():
    assert sampling_times(4, 1000) == [1000, 854, 500, 146, 0]
    assert sampling_times(1, 300) == [300, 0]
    assert sampling_times(100, 7) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert sampling_times(3, 2) == [2, 1, 0]


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m"])
def test_a_network_that_is_certain_gets_what_it_says_by_a_straight_path(name):
    """With one estimate all along, the noise of each level is that of the first."""
    alpha_bar, clean, x = cosine_alpha_bar(), *torch.tensor([[0.7, -2.0], [0.3, 1.1]], dtype=torch.float64)
    seen = {}

    def predict(value, t):
        seen[t] = value
        return clean

    times = sampling_times(6, 900)
    result = SAMPLERS[name](predict, x, times, alpha_bar, lambda: x, lambda done, estimate: None, eta=0.0)
    noise = (x - alpha_bar[900].sqrt() * clean) / (1 - alpha_bar[900]).sqrt()
    assert torch.allclose(result, clean) and list(seen) == times[:-1]
    for t in times[1:-1]:
        assert torch.allclose(seen[t], alpha_bar[t].sqrt() * clean + (1 - alpha_bar[t]).sqrt() * noise)


def test_eta_is_the_share_of_fresh_noise():
    assert torch.equal(draw(SAMPLERS["ddim"], 10, eta=0.0), draw(sample_ddim, 10))
    some = [draw(sample_ddim, 200, eta=eta) for eta in (0.0, 0.5)]
    assert not torch.allclose(*some) and some[1].std() == pytest.approx(SPREAD, rel=0.04)
    assert torch.equal(draw(sample_ddpm, 10, eta=0.0), draw(sample_ddpm, 10, eta=1.0))

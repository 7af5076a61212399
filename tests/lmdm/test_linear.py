"""The linear guess of the clean motion, against the textbook formula and against made-up motion."""
import pytest
import torch

from leo_core.lmdm.linear import LinearMotion


def smooth_windows(count=400, length=16, directions=3, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(length) / length
    waves = torch.stack([torch.cos(3.14 * k * time) / (1 + k * k) for k in range(5)])
    mixed = torch.randn(count, directions, 5, generator=generator) @ waves
    return mixed.transpose(1, 2) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.2, 0.0, 0.5]])[:directions, :directions]


@pytest.fixture(scope="module")
def linear():
    return LinearMotion.fit(smooth_windows(), torch.full((3,), 0.2))


def marks(length, *known):
    return torch.isin(torch.arange(length), torch.tensor(known))[None]


def noised(windows, power, seed=1):
    residual = windows[:, 1:] - windows[:, :1]
    noise = torch.randn(residual.shape, generator=torch.Generator().manual_seed(seed))
    return residual, power**0.5 * residual + (1 - power) ** 0.5 * noise


def test_it_is_the_conditional_expectation(linear):
    """Against plain conditioning of the joint Gaussian of one axis, written out."""
    one = LinearMotion(torch.eye(1), linear.covariance[:1])
    known, power, seen_at = smooth_windows(1)[:, :, :1], 0.6, [0, 1, 9]
    _, noisy = noised(known, power)
    guess = one.clean(noisy, known, marks(16, *seen_at), torch.tensor([power], dtype=torch.float64))[0, :, 0]

    covariance = linear.covariance[0].double()
    hidden = [i for i in range(16) if i not in seen_at]
    observed = torch.cat([known[0, seen_at, 0].double(), noisy[0, [i - 1 for i in hidden], 0].double() / power**0.5 + known[0, 0, 0].double()])
    order = [*seen_at, *hidden]
    variance = torch.diag(torch.tensor([1e-6] * len(seen_at) + [(1 - power) / power] * len(hidden), dtype=torch.float64))
    expected = covariance[:, order] @ torch.linalg.solve(covariance[order][:, order] + variance, observed)
    assert torch.allclose(guess.double(), expected[1:] - known[0, 0, 0], atol=1e-4)


@pytest.mark.parametrize("power", [0.999, 0.5, 1e-9])
def test_it_guesses_better_than_nothing_and_better_with_more_known(linear, power):
    windows = smooth_windows(seed=5)
    residual, noisy = noised(windows, power)
    error = []
    for known in ((0,), (0, 1, 2), (0, 1, 2, 14, 15)):
        guess = linear.clean(noisy, windows, marks(16, *known), torch.tensor([power], dtype=torch.float64))
        error.append((guess - residual).square().mean().item())
    assert error[0] < residual.square().mean() and error[0] > error[1] > error[2]
    assert power > 0.99 or error[2] < 0.5 * error[0]


def test_a_shared_mask_gives_what_masks_of_their_own_give(linear):
    windows = smooth_windows(6, seed=5)
    _, noisy = noised(windows, 0.3)
    power = torch.tensor([0.3], dtype=torch.float64)
    assert torch.allclose(
        linear.clean(noisy, windows, marks(16, 0, 1), power), linear.clean(noisy, windows, marks(16, 0, 1).expand(6, -1), power.expand(6)), atol=1e-5
    )


def test_shorter_windows_and_people_far_away(linear):
    windows = smooth_windows(4, seed=5)[:, :7] + 30
    residual, noisy = noised(windows, 0.9)
    guess = linear.clean(noisy, windows, marks(7, 0), torch.tensor([0.9], dtype=torch.float64))
    assert guess.shape == (4, 6, 3)
    assert (guess - residual).abs().max() < 5


def test_windows_without_movement_do_not_break_it():
    still = torch.ones(50, 8, 2)
    linear = LinearMotion.fit(still, torch.zeros(2))
    guess = linear.clean(torch.randn(1, 7, 2, generator=torch.Generator().manual_seed(0)), still[:1], marks(8, 0), torch.tensor([0.5], dtype=torch.float64))
    assert torch.isfinite(guess).all() and guess.abs().max() < 0.1

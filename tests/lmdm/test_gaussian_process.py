"""The posterior mean of clean motion, against the textbook formula and against made-up motion."""

import pytest
import torch
import torch.nn.functional as F

from leo_core.lmdm.gaussian_process import MOST_KEPT, GaussianProcess, MotionStyle, grouped_by_mask
from leo_core.lmdm.samplers import sample_dpmpp_2m
from leo_core.lmdm.schedule import cosine_alpha_bar, sampling_times


def smooth_windows(count=400, length=32, directions=3, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(length) / 16
    waves = torch.stack([torch.cos(3.14 * k * time) / (1 + k * k) for k in range(5)])
    mixed = torch.randn(count, directions, 5, generator=generator) @ waves
    return (
        mixed.transpose(1, 2)
        @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.2, 0.0, 0.5]])[:directions, :directions]
    )


@pytest.fixture(scope="module")
def process():
    return GaussianProcess.fit(list(smooth_windows(80, 32)), 16)


def at(rest_pose: torch.Tensor, amplitude: float = 1.0) -> MotionStyle:
    return MotionStyle(rest_pose, torch.full((len(rest_pose),), amplitude))


def marks(length, *known):
    return torch.isin(torch.arange(length), torch.tensor(known))[None]


def level(power):
    return torch.tensor([power], dtype=torch.float64)


def noised(windows, power, seed=1):
    residual = windows[:, 1:] - windows[:, :1]
    noise = torch.randn(residual.shape, generator=torch.Generator().manual_seed(seed))
    return residual, power**0.5 * residual + (1 - power) ** 0.5 * noise


def test_it_is_the_conditional_expectation(process):
    """Against plain conditioning of the joint Gaussian of one axis, written out."""
    one = GaussianProcess(torch.eye(1), process.covariance[:1], process.amplitudes)
    known, power, seen_at, home, lively = smooth_windows(1)[:, :16, :1], 0.6, [0, 1, 9], 0.3, 1.4
    _, noisy = noised(known, power)
    guess = one.posterior_mean(noisy, known, marks(16, *seen_at), level(power), at(torch.full((1, 1), home), lively))[
        0, :, 0
    ]

    covariance = lively**2 * process.covariance[0].double()
    hidden = [i for i in range(16) if i not in seen_at]
    first = known[0, 0, 0].double()
    observed = (
        torch.cat([known[0, seen_at, 0].double(), noisy[0, [i - 1 for i in hidden], 0].double() / power**0.5 + first])
        - home
    )
    order = [*seen_at, *hidden]
    variance = torch.diag(
        torch.tensor([1e-6] * len(seen_at) + [(1 - power) / power] * len(hidden), dtype=torch.float64)
    )
    expected = home + covariance[:, order] @ torch.linalg.solve(covariance[order][:, order] + variance, observed)
    assert torch.allclose(guess.double(), expected[1:] - first, atol=1e-4)


@pytest.mark.parametrize("power", [0.999, 0.5, 1e-9])
def test_it_guesses_better_than_nothing_and_better_with_more_known(process, power):
    whole = smooth_windows(seed=5)
    windows = whole[:, :16]
    residual, noisy = noised(windows, power)
    error = []
    for known in ((0,), (0, 1, 2), (0, 1, 2, 14, 15)):
        guess = process.posterior_mean(noisy, windows, marks(16, *known), level(power), at(whole.mean(1)))
        error.append((guess - residual).square().mean().item())
    assert error[0] < residual.square().mean() and error[0] > error[1] > error[2]
    assert power > 0.99 or error[2] < 0.5 * error[0]


def test_people_far_away_are_guessed_like_those_near(process):
    """What counts is where somebody is in relation to where they rest."""
    windows = smooth_windows(4, seed=5)[:, :7]
    _, noisy = noised(windows, 0.9)
    near, far = (
        process.posterior_mean(noisy, windows + away, marks(7, 0), level(0.9), at(torch.zeros(4, 3) + away))
        for away in (0, 30)
    )
    assert near.shape == (4, 6, 3) and torch.allclose(near, far, atol=1e-3)


def test_style_is_measured_where_there_is_motion_and_drawn_where_there_is_none(process):
    lively = 3 + 2 * smooth_windows(1, 400, seed=9)[0]
    measured = process.measure(lively)
    assert torch.allclose(measured.rest_pose[0], lively.mean(0))
    assert process.measure(3 + (lively - 3) / 2).amplitude.item() == pytest.approx(
        measured.amplitude.item() / 2, rel=1e-4
    )

    inferred = process.infer(lively[None], torch.Generator().manual_seed(0))
    assert (inferred.rest_pose - measured.rest_pose).norm() < 0.3 * 3 * process.spread.norm() * measured.amplitude
    pose = lively[:1].expand(500, 1, -1)
    drawn = process.infer(pose, torch.Generator().manual_seed(0))
    assert ((drawn.rest_pose - lively[0]).mean(0).abs() < 0.2 * drawn.rest_pose.std(0)).all()
    assert drawn.amplitude.min() >= 0.9 * process.amplitudes.min() and drawn.amplitude.std() > 0


def test_motion_drawn_from_nothing_is_as_wide_as_the_motion_it_was_learned_from():
    """On motion that is alike at all times: noise made smooth, around rest poses that differ."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.exp(-(((torch.arange(25) - 12) / 5.0) ** 2))[None, None]
    clips = F.conv1d(torch.randn(600 * 2, 1, 184, generator=generator), smooth).reshape(600, 2, 160).transpose(1, 2)
    clips = clips / clips.std() + torch.randn(600, 1, 2, generator=generator)
    process = GaussianProcess.fit(list(clips), 16)
    windows = clips[:, 40:56]
    style = process.infer(windows[:, :1], generator)
    noise = torch.randn(windows[:, 1:].shape, generator=generator)
    times, alpha_bar = sampling_times(50, 1000), cosine_alpha_bar()
    drawn = sample_dpmpp_2m(
        lambda x, t: process.posterior_mean(x, windows, marks(16, 0), alpha_bar[t : t + 1], style),
        noise,
        times,
        alpha_bar,
        lambda: noise,
        lambda done, estimate: None,
    )
    real = windows[:, 1:] - windows[:, :1]
    assert (drawn.std((0, 1)) / real.std((0, 1)) - 1).abs().max() < 0.06


def test_motions_without_movement_do_not_break_it():
    still = torch.ones(3, 12, 2)
    process = GaussianProcess.fit(list(still), 8)
    noisy = torch.randn(1, 7, 2, generator=torch.Generator().manual_seed(0))
    guess = process.posterior_mean(noisy, still[:1, :8], marks(8, 0), level(0.5), process.measure(still[0]))
    assert torch.isfinite(guess).all() and guess.abs().max() < 0.1


def test_lively_motion_of_few_frequencies_is_joined():
    """Two sines in every code give a covariance of low rank, which float32 cannot hold quite definite."""
    time = torch.arange(100).unsqueeze(1) / 25
    phases = torch.rand(2, 40, generator=torch.Generator().manual_seed(0))
    codes = sum(torch.sin(6.283 * (f * time + phase)) for f, phase in zip((0.4, 0.7), phases, strict=True))
    process = GaussianProcess.fit([codes], 16)
    known = codes[None, :16]
    guess = process.posterior_mean(
        known[:, 1:], known, marks(16, 0, 15), level(0.9999), at(codes.mean(0, keepdim=True), 1000.0)
    )
    assert guess.isfinite().all()


def test_the_fit_is_the_covariance_of_windows_around_rest_poses():
    """Of three motions, written out window by window."""
    motions = [torch.randn(20 + n, 2, generator=torch.Generator().manual_seed(n)) * (1 + n) + 5 * n for n in range(3)]
    process = GaussianProcess.fit(motions, 6)
    away = [(motion - motion.mean(0)).double() for motion in motions]
    variance = torch.cat(away).square().mean(0)
    sizes = torch.stack([(codes.square().mean(0) / variance).mean().sqrt() for codes in away])
    assert torch.allclose(process.amplitudes.double(), sizes, atol=1e-5)
    windows = [
        codes[begin : begin + 6] / size
        for codes, size in zip(away, sizes, strict=True)
        for begin in range(len(codes) - 5)
    ]
    basis = process.basis.double()
    assert torch.allclose(basis.T @ basis, torch.eye(2, dtype=torch.float64), atol=1e-6)
    axes = torch.stack(windows) @ basis
    covariance = torch.einsum("nik,njk->kij", axes, axes) / len(windows)
    spread = covariance.diagonal(dim1=1, dim2=2).mean(1)
    # principal axes of the codes, or of their second differences
    kinds = [part.reshape(-1, 2) for part in (axes, axes.diff(n=2, dim=1))]
    assert any(abs((k[:, 0] * k[:, 1]).mean()) < 1e-6 and k[:, 0].var() > k[:, 1].var() for k in kinds)
    assert torch.allclose(process.covariance.double(), covariance + 0.25 * spread[:, None, None], atol=1e-5)
    assert torch.allclose(process.spread.double(), spread.sqrt(), atol=1e-5)


def test_a_slow_head_does_not_tremble_because_lips_are_quick():
    """A head that sways in two seconds, and lips that move within four frames and a little more when it turns left:
    motion drawn from the process sways as smoothly as it was shown."""
    generator, time = torch.Generator().manual_seed(0), torch.arange(400) / 25

    def act() -> torch.Tensor:
        phase = 6.28 * torch.rand(2, generator=generator)
        head = torch.sin(3.14 * time + phase[0]) + torch.sin(2 * time + phase[1])
        lips = F.interpolate(torch.randn(1, 1, 101, generator=generator), 400, mode="linear")[0, 0] + 0.7 * head
        return torch.stack([head, lips], 1)

    motions = [act() for _ in range(40)]
    process = GaussianProcess.fit(motions, 32)
    values, vectors = torch.linalg.eigh(process.covariance.double())
    roots = vectors * values.clamp(min=0).sqrt()[:, None]
    axes = torch.einsum("kij,nkj->nik", roots, torch.randn(200, 2, 32, dtype=torch.float64, generator=generator))
    drawn = axes @ process.basis.double().T

    def trembling(heads: torch.Tensor) -> float:
        return float(heads.diff(n=2, dim=1).abs().mean() / heads.std())

    assert trembling(drawn[..., 0]) < 3 * trembling(torch.stack(motions)[..., 0])


def test_what_moves_together_stays_together():
    """Two directions that always move as one, in slow sweeps and quick flicks of unlike shares: along the axes of the
    codes they remain one."""
    generator = torch.Generator().manual_seed(0)
    slow = smooth_windows(40, 200, 1, seed=1)
    flicks = 0.02 * torch.randn(40, 200, 2, generator=generator)
    motions = list(slow * torch.tensor([1.0, 1.0]) + flicks * torch.tensor([1.0, 0.3]))
    basis = GaussianProcess.fit(motions, 32).basis.abs()
    assert torch.allclose(basis, torch.full((2, 2), 0.5**0.5), atol=0.05)


def test_rest_poses_are_drawn_as_far_away_as_the_motion_is_large(process):
    amplitude = torch.full((20_000,), 1.5)
    drawn = process.deviation(amplitude, torch.Generator().manual_seed(0))
    along = drawn @ process.basis
    assert torch.allclose(along.std(0), 1.5 * process.spread, rtol=0.05)
    assert along.T.corrcoef().fill_diagonal_(0).abs().max() < 0.05
    style = MotionStyle(torch.ones(20_000, 3), amplitude)
    perturbed = process.perturb(style, torch.Generator().manual_seed(0))
    assert torch.equal(perturbed.amplitude, amplitude)
    assert torch.allclose((perturbed.rest_pose - 1), 0.5 * drawn, atol=1e-5)


def test_what_is_inferred_rests_on_what_was_seen_as_far_as_it_goes(process):
    """A stretch as long as a window says half of it, a pose nothing."""
    generator = torch.Generator().manual_seed(1)
    pose = process.infer(torch.zeros(20_000, 1, 3), generator)
    assert torch.isin(pose.amplitude, process.amplitudes.clamp(min=0.0)).float().mean() > 0.99
    along = pose.rest_pose @ process.basis
    wide = pose.amplitude.square().mean().sqrt() * process.spread * 1.25**0.5
    assert torch.allclose(along.std(0), wide, rtol=0.05) and (along.mean(0).abs() < 0.05 * wide).all()
    seen = 3 + smooth_windows(1, 17, seed=9).expand(20_000, -1, -1)
    stretch = process.infer(seen, generator)
    measured = process.measure(seen[0]).amplitude
    usual = 0.5 * measured.square() + 0.5 * process.amplitudes.square()
    assert torch.allclose(stretch.amplitude.square().mean(), usual.mean(), rtol=0.03)
    along = (stretch.rest_pose - seen[:1].mean(1)) @ process.basis
    assert torch.allclose(along.std(0), usual.mean().sqrt() * process.spread * 0.75**0.5, rtol=0.05)


def test_motion_of_any_size_has_a_least_amplitude(process):
    assert process.measure(torch.ones(30, 3)).amplitude.item() == pytest.approx(0.05)


def test_styles_are_chosen_together():
    style = MotionStyle(torch.arange(6.0).reshape(3, 2), torch.arange(3.0)).of(torch.tensor([2, 0]))
    assert style.rest_pose.tolist() == [[4, 5], [0, 1]] and style.amplitude.tolist() == [2, 0]


def test_motions_of_one_mask_are_found():
    masks = torch.tensor([[True, False], [True, True], [True, False]])
    groups = {tuple(mask.tolist()): rows.tolist() for mask, rows in grouped_by_mask(masks)}
    assert groups == {(True, False): [0, 2], (True, True): [1]}


def test_few_posteriors_are_kept(process):
    one = GaussianProcess(process.basis, process.covariance, process.amplitudes)
    first = one.posterior(marks(16, 0)[0])
    assert one.posterior(marks(16, 0)[0]) is first
    for number in range(MOST_KEPT):
        bits = torch.tensor([True] + [bool(number >> bit & 1) for bit in range(8)])
        one.posterior(bits)
    assert one.posterior(marks(16, 0)[0]) is not first
    assert (first.variances >= 0).all() and (first.gain[:, 0] - 1).abs().max() < 0.01

"""Drift control on motion that would wander off without it."""

import pytest
import torch

from leo_core.lmdm.drift import DriftControl, fade_in

FPS, LENGTH, KNOWN = 15, 40, 4


def chain(seconds: int, control: bool, slide: float, growth: float = 1.0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Windows that begin with the last codes of the one before, return to rest slowly, and rest a little elsewhere
    each time."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.zeros(1, 3)
    drift, windows = DriftControl(codes, FPS), []
    while len(codes) < seconds * FPS:
        shared = codes[-KNOWN:]
        noise = growth ** len(windows) * torch.randn(LENGTH, 3, generator=generator)
        window, rest = [*shared], slide * len(windows)
        while len(window) < LENGTH:
            window.append(window[-1] + 0.1 * (rest - window[-1]) + 0.3 * noise[len(window)])
        window = torch.stack(window)
        window = drift.correct(window, len(shared)) if control else window
        windows.append(window)
        codes = torch.cat([codes, window[len(shared) :]])
    return codes, windows


def minute(codes, index):
    part = codes.reshape(-1, codes.shape[1])[index * 60 * FPS :][: 60 * FPS]
    return part.mean(0), part.std(0)


@pytest.mark.parametrize("slide, growth", [(0.0015, 1.0), (0.0, 1.001), (-0.001, 0.9995), (0.0, 1.0)])
def test_the_last_minute_is_like_the_first(slide, growth):
    codes, _ = chain(20 * 60, True, slide, growth)
    (mean, spread), (last_mean, last_spread) = minute(codes, 0), minute(codes, 19)
    assert ((last_mean - mean).abs() / spread).max() < 0.25
    assert ((last_spread - spread).abs() / spread).max() < 0.25
    if slide or growth != 1:
        free, _ = chain(20 * 60, False, slide, growth)
        away = max(((minute(free, 19)[part] - minute(free, 0)[part]).abs() / spread).max() for part in (0, 1))
        assert away > 0.5, "this motion does not drift by itself, so it shows nothing"


def test_shared_codes_never_move_and_the_first_minute_is_left_alone():
    codes, windows = chain(300, True, 0.02)
    free, _ = chain(300, False, 0.02)
    assert torch.equal(codes[: 60 * FPS], free[: 60 * FPS]) and not torch.equal(codes, free)
    for before, after in zip(windows[:-1], windows[1:], strict=True):
        assert torch.equal(before[-KNOWN:], after[:KNOWN])


def test_it_has_no_corner():
    ramp = fade_in(36)
    padded = torch.cat([torch.zeros(2), ramp, torch.ones(2)])
    assert ramp[-9:].eq(1).all() and padded.diff().min() >= 0
    assert padded.diff(n=2).abs().max() < 0.012


def swinging(seconds: int, height: float = 1.0, rest: float = 0.0) -> torch.Tensor:
    """Whole sine waves of a second each, [T, 1]."""
    return rest + height * torch.sin(2 * torch.pi * torch.arange(seconds * FPS) / FPS).unsqueeze(1)


def after_a_minute(window: torch.Tensor) -> torch.Tensor:
    """What becomes of the unknown part of a window behind a long even motion."""
    drift = DriftControl(swinging(60, 1.0), FPS)
    for _ in range(20):  # the trailing averages settle
        drift.correct(swinging(10), 0)
    return drift.correct(window, 0)


def test_motion_like_that_of_the_first_minute_is_left_alone():
    assert torch.allclose(after_a_minute(swinging(10)), swinging(10), atol=0.01)


def test_a_window_is_moved_and_scaled_no_further_than_allowed():
    spread = 0.5**0.5
    settled = slice(-2 * FPS, None)  # where the correction has faded in
    far = after_a_minute(swinging(10, 1.0, 20.0))[settled]
    assert far.mean().item() == pytest.approx(20 / 2 - 1.5 * spread, abs=0.02), "half as far, and shifted"
    loud = after_a_minute(swinging(10, 8.0))
    assert loud[settled].std().item() == pytest.approx(4 * swinging(10)[settled].std().item(), rel=0.05)
    quiet = after_a_minute(swinging(10, 0.1))
    assert quiet[settled].std().item() == pytest.approx(0.2 * swinging(10)[settled].std().item(), rel=0.1)


def test_a_little_too_far_is_brought_back_to_the_edge_of_the_tolerance():
    """Long windows, so that the trailing averages are those of the window."""
    window = swinging(120, 1.0, 0.3)
    away = after_a_minute(window)[-40 * FPS :].mean().item() / 0.5**0.5
    assert 0 < away <= 0.06


def test_history_before_the_first_window_belongs_to_the_first_minute():
    drift = DriftControl(swinging(59), FPS)
    loud = swinging(2, 3.0)
    assert torch.equal(drift.correct(loud, 0), loud), "the minute is not over"
    assert not torch.equal(drift.correct(loud, 0), loud)
    drift = DriftControl(torch.cat([swinging(30, 50.0), swinging(60)]), FPS)
    corrected = drift.correct(swinging(10, 50.0), 0)
    assert corrected[-FPS:].abs().max() < 40, "of a longer history the last minute counts"

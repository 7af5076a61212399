"""Seams between known and generated motion, on trembling codes."""

import pytest
import torch

from leo_core.lmdm.seams import EXTENT, STIFFNESS, ease_seams

LENGTH = 48


def marks(ahead: int, behind: int) -> torch.Tensor:
    frame = torch.arange(LENGTH)
    return (frame < ahead) | (frame >= LENGTH - behind)


def corners(codes: torch.Tensor, is_known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean |second difference| across seams and everywhere else."""
    second = codes.diff(n=2, dim=0).abs().mean(1)
    kinds = is_known.unfold(0, 3, 1)
    across = kinds.any(1) & ~kinds.all(1)
    return second[across].mean(), second[~across].mean()


@pytest.mark.parametrize("ahead, behind", [(4, 0), (4, 4), (1, 1), (30, 10)])
def test_the_corner_at_a_joint_shrinks_and_the_rest_hardly_changes(ahead, behind):
    codes, is_known = torch.randn(LENGTH, 300, generator=torch.Generator().manual_seed(0)), marks(ahead, behind)
    eased = ease_seams(codes, is_known)
    assert torch.equal(eased[is_known], codes[is_known])
    (before, rest_before), (after, rest_after) = corners(codes, is_known), corners(eased, is_known)
    assert after < 0.6 * before and rest_after < 1.01 * rest_before


def test_only_frames_near_known_ones_move():
    codes, is_known = torch.randn(LENGTH, 3, generator=torch.Generator().manual_seed(0)), marks(4, 0)
    eased = ease_seams(codes, is_known)
    assert torch.equal(eased[4 + EXTENT :], codes[4 + EXTENT :]) and not torch.equal(eased[4], codes[4])


@pytest.mark.parametrize("length, known", [(3, 1), (6, 4), (5, 5)])
def test_short_windows(length, known):
    codes = torch.randn(length, 3, generator=torch.Generator().manual_seed(0))
    eased = ease_seams(codes, torch.arange(length) < known)
    assert eased.shape == codes.shape and eased.isfinite().all()
    assert torch.equal(eased[:known], codes[:known])


def test_motion_without_a_corner_stays_as_it_is():
    codes = torch.arange(LENGTH).unsqueeze(1) * torch.tensor([0.1, -0.3]) + 5
    assert torch.allclose(ease_seams(codes, marks(4, 4)), codes, atol=1e-5)


@pytest.mark.parametrize("ahead, behind", [(4, 0), (1, 3), (20, 20)])
def test_no_other_correction_is_better(ahead, behind):
    """By the measure that the function states, written out."""
    generator = torch.Generator().manual_seed(0)
    codes, is_known = torch.randn(LENGTH, 2, generator=generator).double(), marks(ahead, behind)
    near = torch.stack([is_known[max(0, t - EXTENT) : t + EXTENT + 1].any() for t in range(LENGTH)])
    kinds = is_known.unfold(0, 3, 1)
    across = kinds.any(1) & ~kinds.all(1)

    def cost(correction):
        left = (codes + correction).diff(n=2, dim=0)[across]
        bending = torch.cat([correction, torch.zeros(2, 2)]).diff(n=2, dim=0)
        others = torch.cat([~across, torch.ones(2, dtype=torch.bool)])
        return left.square().sum() + STIFFNESS * bending[others].square().sum()

    found = ease_seams(codes.float(), is_known).double() - codes
    for _ in range(30):
        step = 0.01 * torch.randn(LENGTH, 2, generator=generator).double() * (near & ~is_known).unsqueeze(1)
        assert cost(found) < cost(found + step)

"""The mixture that start poses are drawn from."""

import pytest
import torch

from leo_core.lmdm.start_poses import StartPoses


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def two_groups() -> torch.Tensor:
    """300 poses around (-5, 0) that vary together, 100 around (5, 2) that vary alone."""
    noise = torch.randn(400, 2, generator=generator(1))
    together = noise[:300] @ torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    return torch.cat([together + torch.tensor([-5.0, 0.0]), 0.3 * noise[300:] + torch.tensor([5.0, 2.0])])


def test_groups_of_poses_are_found():
    poses = two_groups()
    fitted = StartPoses.fit(poses, 2, generator())
    order = fitted.means[:, 0].argsort()
    assert torch.allclose(fitted.weights[order], torch.tensor([0.75, 0.25]), atol=1e-3)
    extra = torch.diag(0.05 * poses.var(0, unbiased=False))  # the little that covariances are drawn to the overall ones
    for index, group in zip(order, (poses[:300], poses[300:]), strict=True):
        assert torch.allclose(fitted.means[index], group.mean(0), atol=1e-3)
        factor = fitted.factors[index]
        assert torch.equal(factor, factor.tril())
        assert torch.allclose(factor @ factor.T, group.T.cov(correction=0) + extra, atol=1e-2)


@pytest.mark.parametrize("poses, components", [(1, 1), (10, 1), (99, 1), (100, 2), (149, 2), (1000, 4)])
def test_a_component_has_fifty_poses_at_least(poses, components):
    fitted = StartPoses.fit(torch.randn(poses, 3, generator=generator()), 4, generator(), rounds=2)
    assert fitted.weights.shape == (components,) and fitted.weights.sum().item() == pytest.approx(1)
    assert fitted.means.shape == (components, 3) and fitted.factors.shape == (components, 3, 3)


def test_a_pose_that_never_changes_is_drawn_again():
    fitted = StartPoses.fit(torch.ones(60, 3), 4, generator())
    assert torch.allclose(fitted.draw(20, generator()), torch.ones(20, 3), atol=1e-4)


def test_draws_follow_the_mixture():
    poses = two_groups()
    drawn = StartPoses.fit(poses, 2, generator()).draw(20_000, generator(3))
    left = drawn[:, 0] < 0
    assert left.float().mean().item() == pytest.approx(0.75, abs=0.01)
    for group, original in ((drawn[left], poses[:300]), (drawn[~left], poses[300:])):
        assert torch.allclose(group.mean(0), original.mean(0), atol=0.05)
        extra = torch.diag(0.05 * poses.var(0, unbiased=False))
        assert torch.allclose(group.T.cov(), original.T.cov(correction=0) + extra, atol=0.08)

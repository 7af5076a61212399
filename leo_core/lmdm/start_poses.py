"""Start poses: a small Gaussian mixture over single codes, from which unconditional motion begins (our choice)."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class StartPoses:
    """A mixture of M full Gaussians over codes.

    :param weights: [M] shares that sum to 1.
    :param means: [M, D].
    :param factors: [M, D, D] lower Cholesky factors of the covariances.
    """

    weights: torch.Tensor
    means: torch.Tensor
    factors: torch.Tensor

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """[count, D] poses."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], 1, generator=generator)
        return self.means[chosen] + (self.factors[chosen] @ noise).squeeze(-1)

    @staticmethod
    def fit(poses: torch.Tensor, components: int, generator: torch.Generator, rounds: int = 30) -> "StartPoses":
        """Expectation maximization on poses [N, D], in float64. Covariances are drawn a little toward the overall
        variances.

        :param components: at most; one per 50 poses is kept, at least one.
        """
        poses = poses.double()
        components = max(1, min(components, len(poses) // 50))
        overall = poses.var(0, unbiased=False)
        floor = torch.diag(0.05 * overall + 1e-8 * overall.mean() + 1e-12)
        means = poses[torch.randperm(len(poses), generator=generator)[:components]]
        covariances = (torch.diag(overall) + floor).repeat(components, 1, 1)
        weights = torch.full((components,), 1 / components, dtype=torch.float64)
        for _ in range(rounds):
            likelihood = (
                torch.distributions.MultivariateNormal(means, covariances).log_prob(poses.unsqueeze(1)) + weights.log()
            )
            shares = likelihood.softmax(1)
            counts = shares.sum(0).clamp(min=1e-6)
            weights = counts / counts.sum()
            means = (shares.T @ poses) / counts.unsqueeze(1)
            away = poses.unsqueeze(1) - means
            covariances = torch.einsum("nk,nkd,nke->kde", shares, away, away) / counts[:, None, None] + floor
        return StartPoses(weights.float(), means.float(), torch.linalg.cholesky(covariances).float().contiguous())

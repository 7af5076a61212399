"""Drift control: an hour of motion stays around the pose and the amplitude of its first minute (our choice).

Chained windows are a random walk: nothing ties the thousandth to the first. The first minute is left alone and
becomes the reference. From then on two trailing averages per direction are kept, of the code and of its squared
distance from the reference; when a new window would carry one of them out of its tolerance, the window is shifted or
scaled just enough. The correction fades in from zero over the frames that follow the known codes, so a shared code
never moves and a seam has no corner.
"""

import torch


class DriftControl:
    """State of one chain of windows; all codes are [.., D] on the CPU.

    :param history: [H, D] codes that came before; they belong to the first minute.
    :param fps: frames per second.
    """

    REFERENCE_SECONDS = 60.0
    MEMORY_SECONDS = 20.0
    MEAN_TOLERANCE = 0.05  # standard deviations of the reference
    SPREAD_TOLERANCE = 0.1  # share of the reference's standard deviation
    LARGEST_SHIFT = 1.5  # of one window, in standard deviations
    LARGEST_GAIN = 2.0  # of one window

    def __init__(self, history: torch.Tensor, fps: float):
        self._memory = self.MEMORY_SECONDS * fps
        self._wanted = round(self.REFERENCE_SECONDS * fps)
        self._count = 0
        self._sum = torch.zeros(history.shape[1], dtype=torch.float64)
        self._squares = torch.zeros(history.shape[1], dtype=torch.float64)
        self._learn(history[-self._wanted :])

    def _learn(self, codes: torch.Tensor) -> None:
        self._count += len(codes)
        self._sum += codes.double().sum(0)
        self._squares += codes.double().square().sum(0)
        if self._count >= self._wanted:
            self._rest = self._sum / self._count
            self._spread = (self._squares / self._count - self._rest**2).clamp(min=1e-12).sqrt()
            self._mean = torch.zeros_like(self._rest)
            self._power = torch.ones_like(self._rest)

    def correct(self, codes: torch.Tensor, known: int) -> torch.Tensor:
        """A window [L, D] whose first ``known`` codes are shared -> the window to use; those codes come back bit for
        bit."""
        if self._count < self._wanted:
            self._learn(codes[known:])
            return codes
        away = (codes[known:].double() - self._rest) / self._spread
        frames = len(away)
        ramp = fade_in(frames).unsqueeze(1)
        keep = 1 - 1 / self._memory
        weights = (keep ** torch.arange(frames - 1, -1, -1, dtype=torch.float64)).unsqueeze(1) / self._memory
        mean, power = self._mean * keep**frames, self._power * keep**frames

        gain = self._gain(away, ramp, weights, power)
        away = away * (1 + ramp * (gain - 1))
        ahead = mean + (weights * away).sum(0)
        excess = ahead - ahead.clamp(-self.MEAN_TOLERANCE, self.MEAN_TOLERANCE)
        shift = (-excess / (weights * ramp).sum(0)).clamp(-self.LARGEST_SHIFT, self.LARGEST_SHIFT)
        away = away + ramp * shift

        self._mean = mean + (weights * away).sum(0)
        self._power = power + (weights * away.square()).sum(0)
        return torch.cat([codes[:known], (self._rest + away * self._spread).float()])

    def _gain(self, away: torch.Tensor, ramp: torch.Tensor, weights: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
        """[D] factor on the window that brings the trailing power back to the edge of its tolerance: the root of a
        quadratic."""
        energy = weights * away.square()
        constant, linear, square = (
            energy.sum(0),
            (energy * ramp).sum(0),
            (energy * ramp.square()).sum(0).clamp(min=1e-12),
        )
        lowest, highest = (1 - self.SPREAD_TOLERANCE) ** 2, (1 + self.SPREAD_TOLERANCE) ** 2
        target = (power + constant).clamp(lowest, highest) - power
        root = (linear.square() - square * (constant - target)).clamp(min=0).sqrt()
        return (1 + (root - linear) / square).clamp(1 / self.LARGEST_GAIN, self.LARGEST_GAIN)


def fade_in(frames: int) -> torch.Tensor:
    """[frames] from just above 0 to 1 with no corner at either end, the last quarter at 1; float64."""
    x = (torch.arange(1, frames + 1, dtype=torch.float64) / (0.75 * frames)).clamp(max=1)
    return x**3 * (10 - 15 * x + 6 * x**2)

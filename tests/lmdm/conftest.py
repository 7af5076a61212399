"""A small prior, trained for seconds on smooth random motion of made-up people."""

from fractions import Fraction

import pytest
import torch

from leo_core.identity import AnimatorId
from leo_core.lmdm.prior import MotionPrior, PriorConfig
from leo_core.lmdm.training import PriorTrainer, PriorTraining
from leo_core.motion import MotionSequence

ANIMATOR = AnimatorId("walker", "a" * 64)
DIRECTIONS = 5


def swaying(person: int, frames: int = 120, fps: int = 25) -> MotionSequence:
    """A person's own mean pose and three slow oscillations with random phase."""
    generator = torch.Generator().manual_seed(person)
    time = torch.arange(frames).unsqueeze(1) / fps
    codes = torch.randn(DIRECTIONS, generator=generator).expand(frames, -1)
    for frequency in (0.4, 0.7, 1.1):
        phase = torch.rand(DIRECTIONS, generator=generator) * 6.283
        codes = codes + 0.4 * torch.sin(6.283 * frequency * time + phase)
    return MotionSequence(codes.contiguous(), Fraction(fps), ANIMATOR)


@pytest.fixture(scope="session")
def people() -> list[MotionSequence]:
    return [swaying(person) for person in range(12)]


@pytest.fixture(scope="session")
def trainer(people) -> PriorTrainer:
    config = PriorConfig(DIRECTIONS, length=24, context=3, channels=(16, 32), head_width=16)
    trainer = PriorTrainer(people, config, PriorTraining(steps=40, batch=16, lr=4e-3, ema=0.9))
    trainer.train()
    return trainer


@pytest.fixture(scope="session")
def prior(trainer) -> MotionPrior:
    return trainer.prior()

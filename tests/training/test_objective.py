"""What training counts an error of flow for."""

import torch

from leo_core.training.batches import Batch
from leo_core.training.objective import Weights, flow_losses

SIZE = 64
LIDS, MOUTH = (20, 23, 20, 44), (40, 50, 22, 42)  # top, bottom, left, right


def loss_of(flow: torch.Tensor, guess: torch.Tensor) -> float:
    """The loss of flow alone, of a guess [1, 2, SIZE, SIZE] beside the true one [1, 1, 2, SIZE, SIZE]."""
    regions, known = torch.zeros(1, 1, 1, SIZE, SIZE), torch.ones(1, 1, 1, SIZE, SIZE)
    for top, bottom, left, right in (LIDS, MOUTH):
        regions[..., top:bottom, left:right] = 1
    none = torch.zeros(1)
    batch = Batch(none, flow, known, known, torch.ones(1, 1), regions, none, none, none)
    picture, mask = torch.zeros(1, 3, SIZE, SIZE), {SIZE: torch.full((1, 1, SIZE, SIZE), 0.9)}
    # Targets count in pixel centers.
    shift = {SIZE: guess * (SIZE / (SIZE - 1))}
    return flow_losses(shift, mask, picture, picture, batch, Weights(warp=0, mask=0), True)["flow"].item()


def moved(parts: dict[tuple, float], axis: int = 1) -> torch.Tensor:
    """Flow in which parts move, place -> how far in half widths, and nothing else."""
    flow = torch.zeros(1, 1, 2, SIZE, SIZE)
    for (top, bottom, left, right), far in parts.items():
        flow[0, 0, axis, top:bottom, left:right] = far
    return flow


def cost(parts: dict[tuple, float], missed: tuple, turn: float = 0.0) -> float:
    """How much the loss grows when a generator leaves one part where it was.

    :param parts: place -> how far it moves down, in half widths; turn: how far everything goes to the right.
    """
    flow = moved(parts)
    flow[:, :, 0] = turn
    lazy = flow[0].clone()
    top, bottom, left, right = missed
    lazy[0, 1, top:bottom, left:right] = 0
    return loss_of(flow, lazy) - loss_of(flow, flow[0])


def test_a_blink_counts_beside_a_mouth_that_opens():
    """Lids cover a third of the mouth's pixels and move a fifth as far: one fourteenth of the plain error."""
    parts = {LIDS: 0.03, MOUTH: 0.15}
    assert cost(parts, LIDS) > cost(parts, MOUTH) / 12


def test_a_blink_counts_less_while_the_head_turns():
    parts = {LIDS: 0.03}
    assert cost(parts, LIDS, turn=0.3) < cost(parts, LIDS) / 4


def test_a_glance_with_soft_edges_is_better_than_none():
    """What a generator knows of an iris at first is about where it is: its flow is a spot that fades over the lids. L1
    would have it hold still."""
    iris = (21, 23, 28, 32)
    true = moved({iris: 0.03}, axis=0)
    spot = torch.nn.functional.avg_pool2d(true[0], 5, stride=1, padding=2)
    spot = 0.02 * spot / spot.max()
    assert (spot.abs() > 0.003).sum() >= 4 * (true.abs() > 0).sum()
    assert loss_of(true, spot) < 0.9 * loss_of(true, torch.zeros_like(spot))

"""What training counts an error of flow for."""

import torch

from leo_core.training.batches import Batch
from leo_core.training.objective import Weights, flow_losses

SIZE = 64
LIDS, MOUTH = (20, 23, 20, 44), (40, 50, 22, 42)  # top, bottom, left, right


def cost(parts: dict[tuple, float], missed: tuple, turn: float = 0.0) -> float:
    """How much the loss grows when a generator leaves one part where it was.

    :param parts: place -> how far it moves down, in half widths; turn: how far everything goes to the right.
    """
    flow = torch.zeros(1, 1, 2, SIZE, SIZE)
    flow[:, :, 0] = turn
    for (top, bottom, left, right), far in parts.items():
        flow[0, 0, 1, top:bottom, left:right] = far
    regions, known = torch.zeros(1, 1, 1, SIZE, SIZE), torch.ones(1, 1, 1, SIZE, SIZE)
    for top, bottom, left, right in (LIDS, MOUTH):
        regions[..., top:bottom, left:right] = 1
    none = torch.zeros(1)
    batch = Batch(none, flow, known, known, torch.ones(1, 1), regions, none, none, none)
    picture = torch.zeros(1, 3, SIZE, SIZE)

    def loss(displacement: torch.Tensor) -> float:
        mask = {SIZE: torch.full((1, 1, SIZE, SIZE), 0.9)}
        weights = Weights(warp=0, mask=0)
        return flow_losses({SIZE: displacement}, mask, picture, picture, batch, weights, True)["flow"].item()

    perfect = flow[0] * (SIZE / (SIZE - 1))  # targets count in pixel centers
    lazy = perfect.clone()
    top, bottom, left, right = missed
    lazy[0, 1, top:bottom, left:right] = 0
    return loss(lazy) - loss(perfect)


def test_a_blink_counts_beside_a_mouth_that_opens():
    """Lids cover a third of the mouth's pixels and move a fifth as far: one fourteenth of the plain error."""
    parts = {LIDS: 0.03, MOUTH: 0.15}
    assert cost(parts, LIDS) > cost(parts, MOUTH) / 12


def test_a_blink_counts_less_while_the_head_turns():
    parts = {LIDS: 0.03}
    assert cost(parts, LIDS, turn=0.3) < cost(parts, LIDS) / 4

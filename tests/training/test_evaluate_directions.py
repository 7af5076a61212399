"""What each direction moves, as measured by landmarks."""

import numpy as np
import pytest

from leo_core.animator import Direction
from leo_core.face import CODE_UNIT, CONTROLS, NAMES
from leo_core.training.evaluate_directions import PART, responses, table


def test_a_direction_that_moves_its_own_control_alone_is_told_from_one_that_does_not():
    """Half of what it was told with nothing beside it; and one that moves another control twice as far as its own."""
    directions = [Direction(c.name, c.low * CODE_UNIT, c.high * CODE_UNIT) for c in CONTROLS]
    moved = np.zeros((len(NAMES), len(NAMES)))
    turn, jaw, smile = (NAMES.index(name) for name in ("turn", "jaw open", "smile"))
    moved[turn, turn], moved[turn, smile] = 0.5 * PART * 2, 0.1
    moved[jaw, jaw], moved[jaw, smile] = 0.2, -0.4
    rows = {row.direction: row for row in responses(moved, directions)}
    assert (rows["turn"].gain, rows["turn"].other) == (pytest.approx(0.5), "smile")
    assert rows["turn"].selectivity == pytest.approx(5)
    assert (rows["jaw open"].gain, rows["jaw open"].other) == (pytest.approx(0.4), "smile")
    assert rows["jaw open"].selectivity == pytest.approx(0.5)
    assert "| jaw open | 0.40 | smile | 0.5 |" in table(list(rows.values()))

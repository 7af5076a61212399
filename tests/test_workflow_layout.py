"""Where the nodes of authored workflows stand, without a page."""

import pytest
from workflow_layout import EDGE, LABEL, TITLE, WINDOW, pack

NOTE = 0
CHAIN = [(i, i + 1) for i in range(1, 15)]
GROUPS = [[2, 3, 4, 5, 6, 7], [8, 9], [11, 12]]


@pytest.fixture
def packed():
    """A note and a chain of fifteen nodes, as [left, top, right, bottom] with their titles."""
    sizes = [(400.0, 250.0)] + [(290.0, 60.0 + 110 * (i % 4)) for i in range(1, 16)]
    positions, sizes = pack(sizes, CHAIN, GROUPS, [NOTE])
    return [(x, y - TITLE, x + w, y + h) for (x, y), (w, h) in zip(positions, sizes, strict=True)]


def meet(a: tuple, b: tuple) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def frame(boxes: list) -> tuple:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left) - EDGE, min(top) - EDGE - LABEL, max(right) + EDGE, max(bottom) + EDGE


def test_neither_nodes_nor_groups_overlap(packed):
    frames = [frame([packed[i] for i in group]) for group in GROUPS]
    loose = [packed[i] for i in range(len(packed)) if not any(i in group for group in GROUPS)]
    for boxes in (packed, frames + loose):
        assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if meet(a, b)]


def test_data_flows_right_or_down_and_the_note_is_beside_the_result(packed):
    for a, b in CHAIN:
        assert (packed[a][0], packed[a][1]) < (packed[b][0], packed[b][1])
    note, result = packed[NOTE], packed[-1]
    assert 0 <= result[0] - note[2] <= 50 or (note[0] == result[0] and 0 <= result[1] - note[3] <= 50)


def test_a_window_shows_all_of_it_at_a_readable_size(packed):
    _, _, right, bottom = frame(packed)
    assert 0.75 * min(WINDOW[0] / right, WINDOW[1] / bottom) >= 0.58


def test_groups_that_read_from_each_other_are_refused():
    with pytest.raises(ValueError, match="groups read from each other"):
        pack([(290.0, 100.0)] * 4, [(0, 1), (1, 2), (2, 3)], [[0, 2], [1, 3]], [])

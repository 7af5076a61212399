"""Where the nodes of an authored workflow stand: packed for a window that opens the whole graph, or by hand.

`pack` fills columns from the top down, as a newspaper does, so that data flows to the right or, within a column, down.
The notes head the column left of the results, or that of the results, so that what a graph does is read beside what it
gives. The height of the columns is the one with which the whole graph opens largest in WINDOW, where the frontend
leaves a quarter of the window free around a graph.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

WINDOW = (1600, 1000)
FILLED = 0.75
READABLE = 0.6  # zoom from which on the place of the notes counts for more
TITLE = 30  # of a node, above its position
EDGE, LABEL = 10, 34  # of a group around its nodes
BETWEEN, ACROSS = 12, 12  # free space below a node or group, and right of one
HEIGHTS = range(500, 1400, 20)

Size = tuple[float, float]
Sizes = list[Size]


@dataclass
class Block:
    """Nodes that stand together: the members of a group, or one node."""

    members: list[int]
    grouped: bool

    def height(self, sizes: Sizes) -> float:
        nodes = sum(TITLE + sizes[i][1] for i in self.members) + BETWEEN * (len(self.members) - 1)
        return nodes + (2 * EDGE + LABEL if self.grouped else 0)


@dataclass
class Column:
    """Nodes from the top down, with the top of each below its title, and how far they reach."""

    nodes: list[tuple[int, float]] = field(default_factory=list)
    bottom: float = 0.0

    def start(self) -> float:
        return self.bottom + BETWEEN if self.nodes else 0.0

    def add(self, block: Block, sizes: Sizes) -> None:
        top = self.start() + (EDGE + LABEL if block.grouped else 0)
        for i in block.members:
            self.nodes.append((i, top + TITLE))
            top += TITLE + sizes[i][1] + BETWEEN
        self.bottom = top - BETWEEN + (EDGE if block.grouped else 0)


def blocks_in_order(count: int, links: list[tuple[int, int]], groups: list[list[int]]) -> list[Block]:
    """Groups and single nodes, each after all that it reads from, otherwise in the order of the description.

    :raises ValueError: two groups read from each other, so that neither can stand left of the other.
    """
    blocks = [Block(sorted(group), True) for group in groups]
    grouped = {i for group in groups for i in group}
    blocks += [Block([i], False) for i in range(count) if i not in grouped]
    home = {i: block for block in blocks for i in block.members}
    waiting = sorted(blocks, key=lambda block: block.members[0])
    ordered: list[Block] = []
    while waiting:
        free = [
            block
            for block in waiting
            if all(home[a] is block or home[a] in ordered for a, b in links if home[b] is block)
        ]
        if not free:
            raise ValueError(f"groups read from each other: {[block.members for block in waiting]}")
        ordered.append(free[0])
        waiting.remove(free[0])
    return ordered


def fill(blocks: list[Block], sizes: Sizes, limit: float) -> list[Column]:
    """Columns at most ``limit`` high. A group that is higher has columns of its own."""
    columns: list[Column] = []
    closed = True
    for block in blocks:
        if block.height(sizes) <= limit or len(block.members) == 1:
            if closed or columns[-1].start() + block.height(sizes) > limit:
                columns.append(Column())
            columns[-1].add(block, sizes)
            closed = False
            continue
        part: list[int] = []
        for i in block.members:
            if part and Block([*part, i], True).height(sizes) > limit:
                columns.append(Column())
                columns[-1].add(Block(part, True), sizes)
                part = []
            part.append(i)
        columns.append(Column())
        columns[-1].add(Block(part, True), sizes)
        closed = True
    return columns


def width(column: Column, sizes: Sizes) -> float:
    return max(sizes[i][0] for i, _ in column.nodes)


def zoom(columns: list[Column], sizes: Sizes) -> float:
    """At which the frontend shows all of the columns."""
    across = sum(width(column, sizes) + 2 * EDGE + ACROSS for column in columns) - ACROSS
    down = max(column.bottom for column in columns)
    return FILLED * min(WINDOW[0] / across, WINDOW[1] / down)


def arrangements(
    notes: list[Block], body: list[Block], results: list[Block], sizes: Sizes
) -> Iterator[tuple[list[Column], bool]]:
    """Ways to fill columns, and whether the notes stand left of the results; otherwise they stand above them."""
    for limit in HEIGHTS:
        yield fill(body, sizes, limit) + fill(notes + results, sizes, limit), False
        for split in range(len(body)):
            beside = fill(notes + body[split:], sizes, limit)
            if len(beside) == 1:
                yield fill(body[:split], sizes, limit) + beside + fill(results, sizes, limit), True


def pack(
    sizes: Sizes, links: list[tuple[int, int]], groups: list[list[int]], notes: list[int]
) -> tuple[list[Size], Sizes]:
    """Position and size of every node.

    :param sizes: width and height of every node, without its title.
    :param links: (from, to) of every link, as places in ``sizes``.
    :param groups: their members; each will have a rectangle to itself.
    :param notes: nodes that only have text, whose place is beside the results.
    :return: a node is as wide as the widest of its column.
    """
    ordered = [block for block in blocks_in_order(len(sizes), links, groups) if block.members[0] not in notes]
    read = {a for a, _ in links}
    results = [block for block in ordered if not block.grouped and block.members[0] not in read]
    body = [block for block in ordered if block not in results]
    columns = max(
        arrangements([Block([i], False) for i in notes], body, results, sizes),
        key=lambda made: (min(round(zoom(made[0], sizes), 2), READABLE), made[1], zoom(made[0], sizes)),
    )[0]
    positions: dict[int, Size] = {}
    across = 0.0
    for column in columns:
        for i, top in column.nodes:
            positions[i] = (across, top)
            sizes[i] = (width(column, sizes), sizes[i][1])
        across += width(column, sizes) + 2 * EDGE + ACROSS
    return [positions[i] for i in range(len(sizes))], sizes


def by_hand(sizes: Sizes, places: list[tuple[int, int]]) -> list[Size]:
    """Positions of nodes in the (column, row) that each asks for, from the top down where several ask for one."""
    columns = sorted({column for column, _ in places})
    widths = [max(size[0] for size, place in zip(sizes, places, strict=True) if place[0] == c) for c in columns]
    left = dict.fromkeys(columns, 0.0)
    for (before, after), across in zip(pairwise(columns), widths, strict=False):
        left[after] = left[before] + across + 2 * EDGE + ACROSS
    positions: dict[int, Size] = {}
    top = 0.0
    for row in sorted({row for _, row in places}):
        filled = dict.fromkeys(columns, top)
        for i, (column, wanted) in enumerate(places):
            if wanted == row:
                positions[i] = (left[column], filled[column] + TITLE)
                filled[column] += TITLE + sizes[i][1] + 2 * EDGE + LABEL + ACROSS
        top = max(filled.values())
    return [positions[i] for i in range(len(sizes))]

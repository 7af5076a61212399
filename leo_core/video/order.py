"""The order in which frames are taken: some ahead of time, and beyond their end."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Literal, TypeVar

Item = TypeVar("Item")
Continuation = Literal["hold", "loop", "ping-pong"]

# Frames that wait between a thread that decodes or encodes and the one that works with them (our choice).
AHEAD = 4


class _End(Enum):
    """Stands behind the last item."""

    END = 0


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, made by a thread of its own a few before they are asked for."""
    iterator = iter(items)

    def following() -> Item | Literal[_End.END]:
        return next(iterator, _End.END)

    with ThreadPoolExecutor(1) as worker:
        waiting = deque(worker.submit(following) for _ in range(AHEAD))
        while (item := waiting.popleft().result()) is not _End.END:
            waiting.append(worker.submit(following))
            yield item


def continued_index(frame: int, count: int, policy: Continuation) -> int:
    """Which of ``count`` frames stands at place ``frame`` of a longer sequence: the last is held, or they start over
    (loop), or they run back and forth (ping-pong, the two ends shown once each)."""
    if policy == "hold" or count == 1:
        return min(frame, count - 1)
    if policy == "loop":
        return frame % count
    place = frame % (2 * count - 2)
    return min(place, 2 * count - 2 - place)

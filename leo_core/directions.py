"""The motion directions of an animator in text and in amounts: by number or by name, in standard deviations or code
units."""

import re

import torch

from .animator import Direction
from .files import quoted

REACH = 2.0  # deviations to either side: a useful range, and what is rendered to find out
ROW = re.compile(r"(?P<direction>.+?)\s*[:=]\s*(?P<amount>[-+]?(\d+\.?\d*|\.\d+))")


def read_amounts(text: str, count: int, known: dict[int, Direction], unlisted: float = 0.0) -> torch.Tensor:
    """Rows of ``direction: amount``, one per line or between commas or semicolons, as a vector [count].

    A direction is a number from 0 or a known name in any case. A direction that is listed twice counts with the sum.

    :param known: the animator's directions that have names.
    :param unlisted: the amount of directions without a row.
    :raises ValueError: a row that cannot be read, or a direction that does not exist.
    """
    amounts: dict[int, float] = {}
    for row in _items(text):
        match = ROW.fullmatch(row)
        if match is None:
            raise ValueError(
                f"'{quoted(row)}' is not a direction and an amount. Write it like '7: 1.5' or 'smile: 0.5'."
            )
        index = _find(match["direction"], count, known)
        amounts[index] = amounts.get(index, 0.0) + float(match["amount"])
    vector = torch.full((count,), unlisted)
    for index, amount in amounts.items():
        vector[index] = amount
    return vector


def read_choice(text: str, count: int, known: dict[int, Direction]) -> torch.Tensor:
    """Directions between commas, semicolons or line ends, as numbers, ranges (``3-7``) or names, as a bool vector
    [count].

    :raises ValueError: a direction that does not exist.
    """
    chosen = torch.zeros(count, dtype=torch.bool)
    for item in _items(text):
        span = re.fullmatch(r"(\d+)\s*-\s*(\d+)", item)
        first, last = (_find(end, count, known) for end in (span.groups() if span else (item, item)))
        chosen[min(first, last) : max(first, last) + 1] = True
    return chosen


def deviations(count: int, known: dict[int, Direction]) -> torch.Tensor:
    """One standard deviation of every direction in code units, [count].

    A known direction's useful range counts as two deviations to either side, which is how we write it for our own
    models (our choice, also for LIA-X's published ranges); one without a range (low is high) counts in code units.
    """
    units = torch.ones(count)
    for index, direction in known.items():
        units[index] = deviation_of(direction)
    return units


def describe(count: int, known: dict[int, Direction]) -> list[dict]:
    """Every direction as plain values for a user interface: index, name ("" where unknown), and its range in
    deviations."""
    rows = []
    for i in range(count):
        direction = known.get(i, Direction("", 0.0, 0.0))
        unit = deviation_of(direction)
        low, high = (direction.low / unit, direction.high / unit) if _has_range(direction) else (-REACH, REACH)
        rows.append({"index": i, "name": direction.name, "low": low, "high": high})
    return rows


def _has_range(direction: Direction) -> bool:
    return direction.low < direction.high


def deviation_of(direction: Direction) -> float:
    return (direction.high - direction.low) / (2 * REACH) if _has_range(direction) else 1.0


def _items(text: str) -> list[str]:
    return [item.strip() for item in re.split(r"[,;\n]", text) if item.strip()]


def _find(name: str, count: int, known: dict[int, Direction]) -> int:
    """Index of a direction given by number or by name."""
    if name.isdecimal() and int(name) < count:
        return int(name)
    matches = [i for i, direction in known.items() if direction.name.casefold() == name.casefold()]
    if len(matches) != 1:
        names = ", ".join(f"{direction.name} ({i})" for i, direction in sorted(known.items()) if direction.name)
        raise ValueError(
            f"There is no direction '{quoted(name)}'. Use a number from 0 to {count - 1}"
            + (f" or one of these names: {names}." if names else "; connect the animator to use names, if it has any.")
        )
    return matches[0]

"""Which of the people that a detector found in each picture is the one that is wanted."""

from collections.abc import Sequence
from typing import Literal

Pick = Literal["largest", "index", "nearest"]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def boxes_of_person(
    boxes: dict | list, frames: int, source: tuple[int, int], pick: Pick, index: int, point: tuple[float, float]
) -> list[Box | None]:
    """The chosen person's box in each picture; None where nobody was found. See `crop.crop_subject`.

    :raises ValueError: no such index, or a count that matches neither 1 nor the pictures.
    """
    people = people_per_picture(boxes, frames, source)
    chosen = follow(people, source, pick, index, point)
    return [None if who is None else found[who] for who, found in zip(chosen, people, strict=True)]


def people_per_picture(boxes: dict | list, frames: int, source: tuple[int, int]) -> list[list[Box]]:
    """Any form of BOUNDING_BOX -> the boxes in each picture; boxes that show nothing of it are dropped."""
    if isinstance(boxes, dict):
        boxes = [[boxes]]
    elif not boxes:
        boxes = [[]]
    elif isinstance(boxes[0], dict):
        boxes = [boxes]
    if len(boxes) not in (1, frames):
        raise ValueError(
            f"Found bounding boxes for {len(boxes)} pictures, but there are {frames} pictures. "
            "Detect on the same pictures that are cropped, or connect one box for all."
        )
    people = [[_corners_of(box) for box in found or []] for found in boxes]
    seen = [
        [b for b in found if min(b[2], source[1]) > max(b[0], 0) and min(b[3], source[0]) > max(b[1], 0)]
        for found in people
    ]
    return seen * (frames if len(seen) == 1 else 1)


def _corners_of(box: dict) -> Box:
    try:
        left, top, width, height = (float(box[key]) for key in ("x", "y", "width", "height"))
    except (KeyError, TypeError):
        raise ValueError(
            f"Expected bounding boxes with x, y, width and height, got {box!r}. Connect a BOUNDING_BOX output."
        ) from None
    return left, top, left + width, top + height


def follow(
    people: Sequence[Sequence[Box]], source: tuple[int, int], pick: Pick, index: int, point: tuple[float, float]
) -> list[int | None]:
    """Which of the boxes in each picture is the chosen person's; None where nobody was found. See `crop.crop_subject`.

    :raises ValueError: the first picture with people has none of that index.
    """
    path: list[int | None] = []
    last: Box | None = None
    for place, found in enumerate(people):
        if not found:
            path.append(None)
            continue
        numbers = range(len(found))
        if last is not None:
            target = _center(last)
            who = min(numbers, key=lambda i: _distance(found[i], target))
        elif pick == "index":
            if index >= len(found):
                raise ValueError(
                    f"Found {len(found)} people in picture {place}, so there is no index {index}. Choose 0 to "
                    f"{len(found) - 1}."
                )
            who = index
        elif pick == "nearest":
            target = point[0] * source[1], point[1] * source[0]
            who = min(numbers, key=lambda i: _distance(found[i], target))
        else:
            who = max(numbers, key=lambda i: (found[i][2] - found[i][0]) * (found[i][3] - found[i][1]))
        last = found[who]
        path.append(who)
    return path


def _center(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _distance(box: Box, point: tuple[float, float]) -> float:
    x, y = _center(box)
    return (x - point[0]) ** 2 + (y - point[1]) ** 2

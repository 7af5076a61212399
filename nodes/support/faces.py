"""Faces found by the pack's own finder, where nothing on the graph says where people are."""

from collections.abc import Iterable

import comfy.model_management as mm
import torch

from ...leo_core.find import CONFIDENT, LIKELY, Face, find_faces, load_finder, supported
from .chunks import Progress
from .files import PACK_MODELS
from .images import opaque

FINDER = PACK_MODELS / "leo-face-finder.safetensors"
# Face heights that face animators are trained on, as fractions of the picture's, with some room.
SMALLEST, LARGEST = 0.3, 0.95


def find_people(frames: Iterable[torch.Tensor], count: int) -> list[list[Face]]:
    """The faces in every frame [H, W, 1, 3 or 4], in 0..1, that are visible, the largest first; on the CPU, tens of
    milliseconds a frame.

    A single picture is searched for small faces as well; in a clip a face is not lost in a blink.
    """
    sure = CONFIDENT if count == 1 else LIKELY
    finder, found = load_finder(FINDER), []
    progress = Progress(count)
    with torch.inference_mode():
        for frame in frames:
            mm.throw_exception_if_processing_interrupted()
            found.append(find_faces(finder, opaque(frame).cpu(), thorough=count == 1, confident=sure))
            progress.update(len(found))
    return supported(found)


def framing_advice(image: torch.Tensor) -> str | None:
    """What to do about a picture [1, H, W, 3 or 4] whose largest face is far from the size that face animators are
    trained on; None where it is near, or where no face is found."""
    (people,) = find_people(image, 1)
    if not people:
        return None
    _, top, _, bottom = people[0].box
    filled = (bottom - top) / image.shape[1]
    if SMALLEST <= filled <= LARGEST:
        return None
    return (
        f"the face fills {filled:.0%} of the picture's height; this animator expects {SMALLEST:.0%} to {LARGEST:.0%}. "
        "Put LEO Crop Subject before LEO Encoder"
    )

"""Faces found by the pack's own finder, where nothing on the graph says where people are."""

from collections.abc import Iterable

import comfy.model_management as mm
import torch

from ...leo_core.find import CONFIDENT, LIKELY, Face, find_faces, load_finder, supported
from .chunks import Progress
from .files import PACK_MODELS

FINDER = PACK_MODELS / "leo-face-finder.safetensors"


def find_people(frames: Iterable[torch.Tensor], count: int) -> list[list[Face]]:
    """The faces in every frame [H, W, 1, 3 or 4], uint8 or in 0..1, the largest first; on the CPU, tens of
    milliseconds a frame.

    A single picture is searched for small faces as well; in a clip a face is not lost in a blink.
    """
    sure = CONFIDENT if count == 1 else LIKELY
    finder, found = load_finder(FINDER), []
    progress = Progress(count)
    with torch.inference_mode():
        for frame in frames:
            mm.throw_exception_if_processing_interrupted()
            found.append(find_faces(finder, frame.cpu(), thorough=count == 1, confident=sure))
            progress.update(len(found))
    return supported(found)

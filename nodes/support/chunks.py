"""How nodes run networks: in chunks that shrink when memory runs out, with progress, previews and interrupts."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import comfy.model_management as mm
import comfy.utils
import torch
from PIL import Image

from ...leo_core.motion import plot

Result = TypeVar("Result")

PREVIEW_SECONDS = 0.2
PREVIEW_SIZE = 512
# More frames per chunk than this win nothing, and a chunk is what an interrupt has to wait for.
LARGEST_CHUNK = {"cpu": 4}
LARGEST_CHUNK_ELSEWHERE = 32


class Progress:
    """A node's progress bar, with a live picture about five times a second."""

    def __init__(self, total: int):
        self.bar = comfy.utils.ProgressBar(total)
        self.total = total
        self.shown = 0.0

    def update(self, done: int, picture: Callable[[], torch.Tensor] | None = None) -> None:
        """:param picture: makes the preview, [H, W, 3] in 0..1; called only when one is due."""
        preview = None
        if picture is not None and time.monotonic() - self.shown > PREVIEW_SECONDS:
            pixels = (picture().float().clamp(0, 1) * 255).to("cpu", torch.uint8).numpy()
            preview = ("JPEG", Image.fromarray(pixels), PREVIEW_SIZE)
            self.shown = time.monotonic()
        self.bar.update_absolute(done, self.total, preview)


def load_for_chunks(patchers: list, device: torch.device, bytes_per_item: int) -> int:
    """Bring networks to the device, other models making room for a full chunk; returns how many items then fit."""
    largest = LARGEST_CHUNK.get(device.type, LARGEST_CHUNK_ELSEWHERE)
    mm.load_models_gpu(patchers, memory_required=largest * bytes_per_item)
    fits = int(mm.get_free_memory(device) // (2 * bytes_per_item))
    return max(1, min(fits, largest))


def in_chunks(total: int, chunk: int, compute: Callable[[int, int], Result]) -> Iterator[tuple[int, int, Result]]:
    """Yield (start, stop, compute(start, stop)) over 0..total; halve the chunk when memory runs out, and go on.

    Checks for an interrupt before every chunk.
    """
    start = 0
    while start < total:
        mm.throw_exception_if_processing_interrupted()
        stop = min(start + chunk, total)
        result = None
        try:
            result = compute(start, stop)
        except Exception as error:
            mm.raise_non_oom(error)
            if stop - start == 1:
                raise
        if result is None:
            # outside the except block, whose exception keeps the failed chunk's tensors alive
            chunk = (stop - start) // 2
            mm.soft_empty_cache()
            continue
        yield start, stop, result
        start = stop


class WindowProgress:
    """Progress of sampling: checks for an interrupt at every step and shows the emerging codes.

    :param handle: MotionPriorHandle of the prior that samples.
    :param calls: how many calls of the prior share the bar; `next_call` goes on to the next.
    """

    def __init__(self, handle, calls: int = 1):
        self._handle, self._calls, self._call = handle, calls, 0
        self._bar = Progress(1)

    def __call__(self, done: int, total: int, estimate) -> None:
        mm.throw_exception_if_processing_interrupted()
        self._bar.total = self._calls * total
        self._bar.update(
            self._call * total + done, lambda: plot(self._handle.motion(estimate()), width=512, strip=16)[0]
        )

    def next_call(self) -> None:
        self._call += 1

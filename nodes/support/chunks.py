"""How nodes run networks: in chunks that shrink when memory runs out, with progress, previews and interrupts."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import comfy.model_management as mm
import comfy.utils
import torch
from comfy_api.latest import io
from PIL import Image

from ...leo_core.motion import plot
from .status import show_stage

Result = TypeVar("Result")
Item = TypeVar("Item")

PREVIEW_SECONDS = 0.2
PREVIEW_SIZE = 512
STAGE_SECONDS = 0.5
# Larger chunks gain nothing, and an interrupt has to wait for a whole chunk. On a CPU, small networks benefit from more
# frames per chunk than large ones, whose frames take LARGE bytes or more.
LARGEST_CHUNK, LARGEST_CHUNK_OF_SMALL, LARGE = 4, 8, 32 << 20
LARGEST_CHUNK_ELSEWHERE = 32


class Steps:
    """Measures how much time a node spends on each step of rendering a frame."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time spent in the ``with`` block to the named step."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - began

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, adding the time it takes to produce them to the named step."""
        following = iter(items)
        while True:
            with self.step(name):
                item = next(following, None)
            if item is None:
                return
            yield item

    def slowest(self) -> str:
        """The step that has taken the most time so far; empty before the first."""
        return max(self._seconds, key=lambda name: self._seconds[name], default="")


class Progress:
    """A node's progress bar, with a live picture about five times a second.

    :param stage: what is done, as "rendering"; the node then says so in words, with the seconds that are left.
    :param node: the running node, whose schema asks for io.Hidden.unique_id; needed for ``stage``.
    :param steps: timings of the steps of a frame; the text then names the slowest.
    """

    def __init__(
        self, total: int, stage: str | None = None, node: type[io.ComfyNode] | None = None, steps: Steps | None = None
    ):
        self.bar = comfy.utils.ProgressBar(total)
        self.total = total
        self.shown = 0.0
        self._stage, self._node, self._steps = stage, node, steps
        self._began = self._said = time.monotonic()

    def update(self, done: int, picture: Callable[[], torch.Tensor] | None = None, total: int | None = None) -> None:
        """:param picture: makes the preview, [H, W, 3] in 0..1; called only when one is due.
        :param total: of which ``done`` is a part, where it is not what it was.
        """
        self.total = total or self.total
        preview = None
        if picture is not None and time.monotonic() - self.shown > PREVIEW_SECONDS:
            pixels = (picture().float().clamp(0, 1) * 255).to("cpu", torch.uint8).numpy()
            preview = ("JPEG", Image.fromarray(pixels), PREVIEW_SIZE)
            self.shown = time.monotonic()
        self.bar.update_absolute(done, self.total, preview)
        if self._stage is not None and done:
            self._say(done)

    def _say(self, done: int) -> None:
        now = time.monotonic()
        if done < self.total and now - self._said > STAGE_SECONDS:
            text = stage_text(self._stage, done, self.total, now - self._began)
            show_stage(self._node, text if self._steps is None else f"{text}, slowest: {self._steps.slowest()}")
            self._said = now
        elif done == self.total and self._said > self._began:
            show_stage(self._node, f"{self._stage}: done in {now - self._began:.0f} s")


def stage_text(stage: str, done: int, total: int, seconds: float) -> str:
    """As "rendering 40 of 125, 12 s left", from the ``seconds`` that ``done`` of ``total`` took."""
    left = math.ceil(seconds / done * (total - done))
    return f"{stage} {done} of {total}, " + (f"{left} s left" if left < 100 else f"{round(left / 60)} min left")


def load_for_chunks(patchers: list, device: torch.device, bytes_per_item: int) -> int:
    """Bring networks to the device, other models making room for a full chunk; returns how many items then fit."""
    largest = LARGEST_CHUNK_ELSEWHERE
    if device.type == "cpu":
        largest = LARGEST_CHUNK if bytes_per_item >= LARGE else LARGEST_CHUNK_OF_SMALL
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
    :param node: the running node, which says how far it is; its schema asks for io.Hidden.unique_id.
    :param calls: how many calls of the prior share the bar; `next_call` goes on to the next.
    """

    def __init__(self, handle, node: type[io.ComfyNode], calls: int = 1):
        self._handle, self._calls, self._call = handle, calls, 0
        self._bar = Progress(1, "sampling motion", node)

    def __call__(self, done: int, total: int, estimate) -> None:
        mm.throw_exception_if_processing_interrupted()
        self._bar.update(
            self._call * total + done,
            lambda: plot(self._handle.motion(estimate()), width=512, strip=16)[0],
            self._calls * total,
        )

    def next_call(self) -> None:
        self._call += 1

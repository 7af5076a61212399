"""Short loops for pages and chats: animated GIF and WebP, also forward and backward."""

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from types import TracebackType
from typing import cast

import av
import numpy as np

LONGEST_SIDE = 720  # pixels (our choice): larger GIFs grow to hundreds of megabytes
FASTEST = {"gif": 50, "webp": 90}  # frames per second; browsers play anything faster at 10
_WEBP = {"quality": "80", "compression_level": "3"}  # of 100 and of 6 (our choice)
# An ordered dither stands still where the picture does, so that only what moves is stored.
_DITHER = "dither=bayer:bayer_scale=3:diff_mode=rectangle"


class FrameStore:
    """Frames of a clip on disk, read in any order: uint8 [H, W, 3], made smaller where a side is longer than
    `LONGEST_SIDE`. Use it in a ``with``: the file has no name and is gone at the end.

    :param folder: on whose disk the frames are kept.
    :param size: (height, width) of the frames to come.
    :ivar size: (height, width) of the stored frames.
    """

    def __init__(self, folder: str, size: tuple[int, int]):
        scale = min(1.0, LONGEST_SIDE / max(size))
        self.size = tuple(max(1, round(side * scale)) for side in size)
        self._file = tempfile.TemporaryFile(dir=folder)
        self._count = 0

    def __enter__(self) -> "FrameStore":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def write(self, frame: np.ndarray) -> None:
        if frame.shape[:2] != self.size:
            height, width = self.size
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            frame = picture.reformat(width=width, height=height, interpolation="AREA").to_ndarray(format="rgb24")
        self._file.seek(0, os.SEEK_END)
        self._file.write(np.ascontiguousarray(frame).data)
        self._count += 1

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self._count:
            raise IndexError(f"Frame {index} of {self._count}.")
        length = self.size[0] * self.size[1] * 3
        self._file.seek(index * length)
        return np.frombuffer(self._file.read(length), np.uint8).reshape(*self.size, 3)


def loop_order(count: int, ping_pong: bool, step: int = 1) -> list[int]:
    """Places of the frames of a loop in a clip of ``count``: every ``step``-th, and then back, the two ends shown once
    each."""
    forward = list(range(0, count, step))
    return forward + forward[-2:0:-1] if ping_pong else forward


def loop_step(fps: Fraction, kind: str) -> int:
    """A loop takes every n-th frame, so as not to exceed the `FASTEST` of its kind: n."""
    return max(1, -(-fps // FASTEST[kind]))


def write_loop(
    path: str,
    frames: Sequence[np.ndarray] | FrameStore,
    fps: Fraction,
    ping_pong: bool = False,
    on_frame: Callable[[int, int], None] | None = None,
) -> int:
    """Write frames, uint8 [H, W, 3], as a picture that repeats without end; returns how many it has. The file appears
    under its name only when all is written.

    :param path: ends in .gif (256 colors, chosen for the whole clip) or .webp.
    :param fps: frames per second. A GIF counts hundredths of a second: rates other than 100/n are kept on average.
    :param on_frame: called with (done, total) for every frame; what it raises ends the writing.
    :raises ValueError: no frames, or another ending.
    """
    if not len(frames):
        raise ValueError("A loop needs at least one frame, and there is none.")
    kind = os.path.splitext(path)[1].removeprefix(".")
    if kind not in FASTEST:
        raise ValueError(f"A loop is written as .gif or .webp, not as '.{kind}'.")
    step = loop_step(fps, kind)
    order, rate = loop_order(len(frames), ping_pong, step), fps / step
    pictures = _pictures(frames, order, rate, on_frame)
    part = f"{path}.{uuid.uuid4().hex[:8]}.part"
    try:
        with av.open(part, "w", format=kind, options={"loop": "0"}) as container:
            if kind == "gif":
                _encode_gif(container, pictures, _palette(frames, sorted(set(order)), rate), rate)
            else:
                _encode(container, "libwebp_anim", "yuv420p", pictures, rate, _WEBP)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)
    return len(order)


def _pictures(
    frames: Sequence[np.ndarray] | FrameStore,
    order: list[int],
    fps: Fraction,
    on_frame: Callable[[int, int], None] | None = None,
) -> Iterator[av.VideoFrame]:
    for place, index in enumerate(order):
        if on_frame is not None:
            on_frame(place, len(order))
        picture = av.VideoFrame.from_ndarray(frames[index], format="rgb24")
        picture.pts, picture.time_base = place, 1 / fps
        yield picture
    if on_frame is not None:
        on_frame(len(order), len(order))


def _encode(
    container: av.container.OutputContainer,
    codec: str,
    pixels: str,
    pictures: Iterator[av.VideoFrame],
    fps: Fraction,
    options: dict[str, str],
) -> None:
    stream = None
    for picture in pictures:
        if stream is None:
            stream = cast(av.VideoStream, container.add_stream(codec, rate=fps, options=options))
            stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, pixels
        container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def _source(graph: av.filter.Graph, picture: av.VideoFrame, fps: Fraction) -> av.filter.context.FilterContext:
    # PyAV's stub asks for a VideoFormat, and PyAV for its name
    form = cast(av.VideoFormat, picture.format.name)
    return graph.add_buffer(width=picture.width, height=picture.height, format=form, time_base=1 / fps)


def _palette(frames: Sequence[np.ndarray] | FrameStore, order: list[int], fps: Fraction) -> av.VideoFrame:
    """The 256 colors that suit all of these frames."""
    graph = av.filter.Graph()
    source = None
    for picture in _pictures(frames, order, fps):
        if source is None:
            source, sink = _source(graph, picture, fps), graph.add("buffersink")
            choice = graph.add("palettegen", "reserve_transparent=1")
            source.link_to(choice)
            choice.link_to(sink)
            graph.configure()
        source.push(picture)
    source.push(None)
    return cast(av.VideoFrame, sink.pull())


def _encode_gif(
    container: av.container.OutputContainer, pictures: Iterator[av.VideoFrame], palette: av.VideoFrame, fps: Fraction
) -> None:
    graph = av.filter.Graph()

    def colored() -> Iterator[av.VideoFrame]:
        source = None
        for picture in pictures:
            if source is None:
                source, colors = _source(graph, picture, fps), _source(graph, palette, fps)
                use, sink = graph.add("paletteuse", _DITHER), graph.add("buffersink")
                source.link_to(use, 0, 0)
                colors.link_to(use, 0, 1)
                use.link_to(sink)
                graph.configure()
                colors.push(palette)
                colors.push(None)
            source.push(picture)
            yield from _ready(sink)
        source.push(None)
        yield from _ready(sink)

    _encode(container, "gif", "pal8", colored(), fps, {})


def _ready(sink: av.filter.context.FilterContext) -> Iterator[av.VideoFrame]:
    """The frames that a filter has ready."""
    while True:
        try:
            yield cast(av.VideoFrame, sink.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return

"""What a decoded frame looks like on a screen: upright, with square pixels, opaque, progressive, in SDR."""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, TypedDict

import av
import numpy as np

# Pixel shapes beyond this are damage: no camera or disc has them (our choice).
_LONGEST_PIXEL = 16

# Decoders that give color profiles a name, which PyAV 18 frees twice when it wraps the side data of a frame.
_NAMED_PROFILES = {"png", "apng"}

# Transfer characteristics of ITU-T H.273.
_PQ, _HLG = 16, 18
_HDR = {_PQ: "PQ", _HLG: "HLG"}
# Luminance of SDR white in HDR, in cd/m2, and the gamma of an SDR display (ITU-R BT.2408 and BT.1886).
_WHITE = 203.0
_DISPLAY_GAMMA = 2.4
_HLG_PEAK = 1000.0
# Linear light up to here is shown as it is; above, highlights are pressed together below white (our choice).
_KNEE = np.float32(0.8)
_BT2020_TO_BT709 = np.array(
    ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)), np.float32
)
_BT2020_LUMA = np.array((0.2627, 0.678, 0.0593), np.float32)


class Turn(NamedTuple):
    """What to do with a stored picture so that it stands upright: exchange its axes first, then flip."""

    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        if self.mirrored:
            picture = picture[:, ::-1]
        if self.upside_down:
            picture = picture[::-1]
        return np.ascontiguousarray(picture)


_QUARTERS = (Turn(), Turn(True, False, True), Turn(False, True, True), Turn(True, True, False))  # counterclockwise
# By EXIF orientation, which counts from 1.
_EXIF = (
    Turn(),
    Turn(False, True, False),
    Turn(False, True, True),
    Turn(False, False, True),
    Turn(True, False, False),
    Turn(True, True, False),
    Turn(True, True, True),
    Turn(True, False, True),
)


def turn_of(frame: av.VideoFrame, codec: str) -> Turn:
    """The nearest turn by quarters and flips to the frame's display matrix, which takes (x, y) to (a x + c y, b x +
    d y).

    Asked once for a clip: PyAV ties a frame and its side data into a cycle, which holds the frame until the garbage
    collector comes.
    """
    if codec in _NAMED_PROFILES:
        frame = _without_profile(frame)
    try:
        side_data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 does not know the EXIF data of a JPEG, and then gives nothing; its rotation it knows
        return _QUARTERS[round(frame.rotation / 90) % 4]
    if not isinstance(side_data, av.buffer.Buffer):  # there is none
        return Turn()
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(True, c < 0, b < 0)
    return Turn(False, a < 0, d < 0)


def _without_profile(frame: av.VideoFrame) -> av.VideoFrame:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("sidedata", "mode=delete:type=ICC_PROFILE"), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.vpull()


class _Scale(TypedDict, total=False):
    """What `VideoFrame.reformat` is to scale to; nothing where the size stays."""

    width: int
    height: int
    interpolation: str


class Look(NamedTuple):
    """How the frames of a clip are to be shown.

    :param pixel: width over height of a stored pixel.
    :param transfer: characteristic of ITU-T H.273; PQ and HLG are tone-mapped.
    """

    turn: Turn
    pixel: Fraction
    transfer: int

    @classmethod
    def of(cls, stream: av.VideoStream, frame: av.VideoFrame, orientation: int | None = None) -> "Look":
        """:param frame: the first one that was decoded.
        :param orientation: EXIF orientation of a photo; None for anything else.
        """
        pixel = Fraction(stream.sample_aspect_ratio or 1)
        if not 1 <= max(pixel, 1 / pixel) <= _LONGEST_PIXEL:
            pixel = Fraction(1)
        turn = turn_of(frame, stream.codec_context.name) if orientation is None else _EXIF[orientation - 1]
        return cls(turn, pixel, stream.codec_context.color_trc)

    def size_of(self, frame: av.VideoFrame) -> tuple[int, int]:
        """(height, width) of a frame when it stands upright and its pixels are square."""
        size = frame.height, max(1, round(frame.width * self.pixel))
        return size[::-1] if self.turn.transposed else size

    @property
    def hdr(self) -> str:
        """Name of the HDR transfer, or ""."""
        return _HDR.get(self.transfer, "")

    def to_rgb(self, frame: av.VideoFrame, size: tuple[int, int]) -> tuple[np.ndarray, bool]:
        """A decoded frame as a screen shows it, uint8 [H, W, 3], and whether black shows through it.

        :param size: (height, width) of the result; `size_of` keeps the frame's own resolution.
        """
        height, width = size[::-1] if self.turn.transposed else size
        scale: _Scale = (
            {}
            if (frame.height, frame.width) == (height, width)
            else {"width": width, "height": height, "interpolation": "BICUBIC"}
        )
        transparent = False
        if self.hdr:
            picture = to_sdr(frame.reformat(format="rgb48le", **scale).to_ndarray(), self.transfer)
        elif frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components):
            picture, alpha = np.split(frame.reformat(format="rgba", **scale).to_ndarray(), [3], axis=-1)
            transparent = bool((alpha < 255).any())
            if transparent:
                picture = (picture * (alpha / np.float32(255))).round().astype(np.uint8)
        else:
            picture = frame.reformat(format="rgb24", **scale).to_ndarray()
        return self.turn(picture), transparent


def to_sdr(signal: np.ndarray, transfer: int) -> np.ndarray:
    """HDR of ITU-R BT.2100 -> SDR of BT.709, uint8.

    SDR white is where BT.2408 puts it, colors outside BT.709 are clipped, and highlights keep their hue: the
    brightest channel is pressed together and the others follow.

    :param signal: uint16 [H, W, 3], R'G'B' with BT.2020 primaries, full range.
    """
    light = _to_light(transfer)[signal]
    if transfer == _HLG:  # the system gamma works on luminance
        light *= np.maximum(light @ _BT2020_LUMA, 1e-6)[..., None] ** np.float32(0.2) * np.float32(_HLG_PEAK / _WHITE)
    light = np.maximum(light @ _BT2020_TO_BT709.T, 0)
    brightest = light.max(-1)
    above = np.maximum(brightest - _KNEE, 0) / (1 - _KNEE)
    shown = np.minimum(brightest, _KNEE) + (1 - _KNEE) * above / (1 + above)
    light *= (shown / np.maximum(brightest, 1e-6))[..., None]
    # by its root, of which 16 bits are enough for the dark end of a power function
    return _to_display()[(np.sqrt(light).clip(0, 1) * 65535).astype(np.uint16)]


@lru_cache
def _to_light(transfer: int) -> np.ndarray:
    """float32 [65536]: light of each 16-bit signal. PQ: of the display, 1 is SDR white (SMPTE ST 2084). HLG: of the
    scene, 0..1 (BT.2100)."""
    signal = np.linspace(0, 1, 65536)
    if transfer == _PQ:
        root = signal ** (32 / 2523)
        light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)
        return (light * 10_000 / _WHITE).astype(np.float32)
    return np.where(
        signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    ).astype(np.float32)


@lru_cache
def _to_display() -> np.ndarray:
    """uint8 [65536]: signal of an SDR display for the root of light in 0..1."""
    return np.rint(np.linspace(0, 1, 65536) ** (2 / _DISPLAY_GAMMA) * 255).astype(np.uint8)


def deinterlaced(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The same frames, as many and in the same order, with the second field of those marked interlaced interpolated
    from its neighbors in space and time (FFmpeg's bwdif)."""
    graph = made_for = None
    for frame in frames:
        kind = frame.width, frame.height, frame.format.name
        if graph is None and frame.interlaced_frame or graph is not None and kind != made_for:
            yield from _rest(graph)
            graph, made_for = _deinterlacer(frame), kind
        if graph is None:
            yield frame
            continue
        graph.push(frame)
        yield from _ready(graph)
    yield from _rest(graph)


def _deinterlacer(frame: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(
        source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    ).configure()
    return graph


def _ready(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _rest(graph: av.filter.Graph | None) -> Iterator[av.VideoFrame]:
    if graph is not None:
        graph.push(None)
        yield from _ready(graph)

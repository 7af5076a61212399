"""Clips as cameras and old tools write them: containers, codecs and everything that makes them odd, one picture code
per frame.

Each frame shows four colors in its corners, which tell how it is turned, mirrored and colored, and a row of black
and white blocks that is its number in binary. So what a reader should show is known without another reader.
"""

import struct
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 64, 96
BITS = 6
CORNERS = np.array([[(200, 40, 40), (40, 160, 40)], [(50, 50, 190), (190, 180, 60)]], np.uint8)
# tkhd matrices (a, b, c, d) and what they do to a picture.
TURNS = {
    "upright": ((1, 0, 0, 1), lambda p: p),
    "turned 90": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "turned 180": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "turned 270": ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down mirrored": ((1, 0, 0, -1), lambda p: p[::-1]),
    "transposed": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    "transversed": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
}
MATRICES = {"bt601": 5, "bt709": 1, "bt2020": 9}


@dataclass(frozen=True)
class Clip:
    """What to write. The defaults are an ordinary clip.

    :param stamps: presentation time of each frame, in frames; even where it is None.
    :param drop: frames whose packets are left out of the file.
    :param joined: how many recordings stand one after the other in the file.
    :param before: frames before time 0, which the edit list of an MP4 hides.
    :param sound_for: how many frames long the sound is; as long as the frames where it is None.
    """

    suffix: str = ".mp4"
    codec: str = "libx264"
    pixels: str = "yuv420p"
    format: str | None = None
    frames: int = 20
    fps: Fraction = Fraction(25)
    gop: int = 12
    b_frames: int = 2
    start: float = 0.0
    turn: str = "upright"
    pixel_shape: Fraction = Fraction(1)
    full_range: bool = False
    matrix: str = "bt601"
    transfer: str = ""
    interlaced: bool = False
    cover: bool = False
    second_stream: bool = False
    size: tuple[int, int] = (HEIGHT, WIDTH)
    sound: bool = False
    sound_for: int | None = None
    stamps: tuple[int, ...] | None = None
    drop: tuple[int, ...] = ()
    joined: int = 1
    before: int = 0
    options: dict = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Everything that is not ordinary."""
        plain = Clip()
        said = [self.format or self.suffix[1:], self.codec.removeprefix("lib")]
        for key, value in vars(self).items():
            if key not in ("suffix", "codec", "format", "options") and value != getattr(plain, key):
                said.append(key.replace("_", " ") + ("" if value is True else f" {value}"))
        return ", ".join(said).replace("/", "|")

    @property
    def shown(self) -> list[int]:
        """Numbers of the frames on an even timeline, those that are missing filled with the one before."""
        order = [number for number in range(self.frames) if number not in self.drop] * self.joined
        if self.stamps is None:
            if not self.drop:
                return order[self.before :]
            return [max(n for n in order if n <= number) for number in range(order[-1] + 1)]
        times = [*self.stamps, self.stamps[-1] + 1]
        return [
            number
            for number, (here, after) in enumerate(zip(times, times[1:], strict=False))
            for _ in range(after - here)
        ]


def picture(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """uint8 [H, W, 3]: colors in the corners, the number in binary in the middle, lowest bit on the left."""
    height, width = size
    shown = CORNERS.repeat(height // 2 + 1, 0).repeat(width // 2 + 1, 1)[:height, :width].copy()
    block = width // BITS
    for bit in range(BITS):
        shown[height // 2 - 8 : height // 2 + 8, bit * block : (bit + 1) * block] = 235 if number >> bit & 1 else 20
    return shown


def number_of(frame: np.ndarray) -> int:
    """The number that an upright frame of any size shows."""
    height, width = frame.shape[:2]
    row = frame[height // 2 - height // 16 : height // 2 + height // 16].mean((0, 2))
    return sum(int(row[round((bit + 0.5) * width / BITS)] > 128) << bit for bit in range(BITS))


def upright(clip: Clip) -> tuple[int, int]:
    """(height, width) that a screen shows."""
    size = clip.size[0], round(clip.size[1] * clip.pixel_shape)
    return size[::-1] if clip.turn in ("turned 90", "turned 270", "transposed", "transversed") else size


def stored(number: int, clip: Clip) -> av.VideoFrame:
    """One frame as the encoder gets it: colors as the clip says it has them."""
    frame = av.VideoFrame.from_ndarray(picture(number, clip.size), format="rgb24")
    if clip.transfer:
        frame = av.VideoFrame.from_ndarray(hdr(picture(number, clip.size), clip.transfer), format="rgb48le")
    return frame.reformat(
        format=clip.pixels,
        dst_colorspace=MATRICES[clip.matrix] if "yuv" in clip.pixels else None,
        dst_color_range=2 if clip.full_range else 1,
    )


def hdr(rgb: np.ndarray, transfer: str) -> np.ndarray:
    """SDR pictures in an HDR signal, white at 203 cd/m2: uint16, as ITU-R BT.2408 maps them."""
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    light = (rgb / 255) ** 2.4 @ to_2020.T * 203
    if transfer == "pq":
        power = (light / 10_000) ** (2610 / 16384)
        signal = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    else:
        scene = light / 1000
        scene = scene * np.maximum(scene @ (0.2627, 0.678, 0.0593), 1e-9)[..., None] ** (1 / 1.2 - 1)
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)
    return (signal.clip(0, 1) * 65535).round().astype(np.uint16)


def write(clip: Clip, folder: Path) -> str:
    """Write a clip into a folder; returns its path."""
    path = folder / f"clip{clip.suffix}"
    if clip.suffix == ".webp":
        write_webp(clip, path)
        return str(path)
    if clip.joined > 1:
        parts = [Path(write(replace(clip, joined=1), folder)).read_bytes() for _ in range(clip.joined)]
        path.write_bytes(b"".join(parts))
        return str(path)
    with av.open(str(path), "w", format=clip.format, options=clip.options.get("container", {})) as out:
        streams = (
            [replace(clip, gop=5), clip]
            if clip.second_stream and clip.suffix != ".mp4"
            else [clip, replace(clip, gop=5)]
        )
        streams = [
            _stream(out, each) for each in streams[: 1 + clip.second_stream]
        ]  # of an MP4, the first is marked as default
        stream, other = (
            (streams if clip.suffix == ".mp4" else streams[::-1]) if clip.second_stream else (*streams, None)
        )
        stream.height, stream.width = clip.size
        if other is not None:
            other.height, other.width = HEIGHT // 2, WIDTH // 2
        sound = out.add_stream(clip.options.get("sound", "aac"), rate=48000, layout="mono") if clip.sound else None
        sound_for = clip.frames if clip.sound_for is None else clip.sound_for
        cover = _cover(out) if clip.cover else None
        for number in range(clip.frames):
            frame = stored(number, clip)
            at = number if clip.stamps is None else clip.stamps[number]
            frame.pts, frame.time_base = at - clip.before + round(clip.start * clip.fps), 1 / clip.fps
            if other is not None:
                small = frame.reformat(width=WIDTH // 2, height=HEIGHT // 2)
                out.mux(other.encode(small))
            _mux(out, stream.encode(frame), clip)
            if sound is not None and number < sound_for:
                out.mux(sound.encode(silence(number, clip)))
        for number in range(clip.frames, sound_for):
            out.mux(sound.encode(silence(number, clip)))
        _mux(out, stream.encode(None), clip)
        if other is not None:
            out.mux(other.encode(None))
        if sound is not None:
            out.mux(sound.encode(None))
        if cover is not None:
            out.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")))
            out.mux(cover.encode(None))
    if clip.turn != "upright":
        turn(path, TURNS[clip.turn][0])
    return str(path)


def silence(number: int, clip: Clip) -> av.AudioFrame:
    """As long as a frame of 25 a second, beside one."""
    block = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.float32), format="fltp", layout="mono")
    block.sample_rate, block.time_base = 48000, Fraction(1, 48000)
    block.pts = number * 1920 + round(clip.start * 48000)
    return block


def write_webp(clip: Clip, path: Path) -> None:
    """FFmpeg writes animated WebP and does not read it; Pillow does both."""
    stamps = clip.stamps or range(clip.frames)
    times = [round(1000 * stamp / clip.fps) for stamp in (*stamps, stamps[-1] + 1)]
    lasts = [after - here for here, after in zip(times, times[1:], strict=False)]
    first, *rest = (Image.fromarray(picture(number, clip.size)) for number in range(clip.frames))
    first.save(path, save_all=True, append_images=rest, duration=lasts, lossless=True)


def _stream(out: av.container.OutputContainer, clip: Clip) -> av.VideoStream:
    options = {"g": str(clip.gop), "bf": str(clip.b_frames), **_quality(clip)}
    if clip.codec == "libx264" and clip.interlaced:
        options["x264-params"] = "tff=1"
    elif clip.interlaced:
        options["flags"] = "+ildct+ilme"
    stream = out.add_stream(clip.codec, rate=clip.fps, options=options)
    stream.pix_fmt = clip.pixels
    context = stream.codec_context
    context.time_base = 1 / clip.fps
    if "yuv" in clip.pixels and clip.matrix != "bt601":
        context.colorspace = MATRICES[clip.matrix]
    if clip.full_range:
        context.color_range = 2
    if clip.transfer:
        context.color_trc, context.color_primaries = {"pq": 16, "hlg": 18}[clip.transfer], 9
    if clip.pixel_shape != 1:
        context.sample_aspect_ratio = clip.pixel_shape
    return stream


def _quality(clip: Clip) -> dict[str, str]:
    known = {
        "libx264": {"crf": "4", "preset": "veryfast"},
        "libx265": {"crf": "6", "x265-params": "log-level=none", "preset": "ultrafast"},
        "libvpx": {"crf": "4", "b": "4M", "auto-alt-ref": "1", "lag-in-frames": "10"},
        "libvpx-vp9": {"crf": "10", "b": "0", "cpu-used": "5", "lag-in-frames": "10"},
        "libsvtav1": {"crf": "10", "preset": "10"},
        "libaom-av1": {"crf": "10", "cpu-used": "8"},
    }
    return known.get(
        clip.codec,
        {}
        if clip.codec
        in ("ffv1", "png", "gif", "apng", "prores_ks", "qtrle", "huffyuv", "rawvideo", "utvideo", "cfhd", "tiff")
        else {"b": "6M", "qmin": "1"},
    )


def _cover(out: av.container.OutputContainer) -> av.VideoStream:
    cover = out.add_stream("mjpeg", rate=1)
    cover.height = cover.width = 32
    cover.pix_fmt = "yuvj420p"
    cover.disposition = av.stream.Disposition.attached_pic
    return cover


def _mux(out: av.container.OutputContainer, packets: list[av.Packet], clip: Clip) -> None:
    for packet in packets:
        number = round(packet.pts * packet.time_base * clip.fps) if packet.pts is not None else None
        if number not in clip.drop:
            out.mux(packet)


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Put a display matrix into the first track of an MP4 or MOV."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (value * 2**16 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    path.write_bytes(data)

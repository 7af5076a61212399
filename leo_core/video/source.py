"""Opening and decoding files: where a reader stands in one, and what comes out from there."""

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import overload

import av

VideoSource = str | io.BytesIO

_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# Decoding begins this long before the wanted time, or at the beginning of the file (in seconds, our choice).
_EARLIER = (1, 10)

# Files that hold a video themselves. Left out are playlists and descriptions (HLS, DASH, concat, SDP), which make
# FFmpeg open other files and addresses.
_FORMATS = ",".join(
    (
        "mov",
        "mp4",
        "m4a",
        "3gp",
        "3g2",
        "mj2",
        "matroska",
        "webm",
        "avi",
        "flv",
        "mpegts",
        "mpeg",
        "mpegvideo",
        "m4v",
        "h264",
        "hevc",
        "ivf",
        "obu",
        "asf",
        "ogg",
        "rm",
        "mxf",
        "nut",
        "dv",
        "wtv",
        "gif",
        "apng",
        "png_pipe",
        "jpeg_pipe",
        "jpegxl_pipe",
        "jpegxl_anim",
        "webp_pipe",
        "webp_anim",
        "webp",
        "bmp_pipe",
        "tiff_pipe",
        "image2",
        "mjpeg",
        "yuv4mpegpipe",
        "swf",
        "vob",
        "dnxhd",
        "vc1",
        "av1",
    )
)


def open_container(source: VideoSource) -> av.container.InputContainer:
    """Open a file, or a view of a buffer of its own: each reader has its own place in it."""
    name = "the video" if isinstance(source, io.BytesIO) else os.path.basename(source)
    try:
        return av.open(
            io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else source,
            "r",
            options={"format_whitelist": _FORMATS},
        )
    except av.error.FFmpegError as error:
        raise ValueError(
            f"{name} holds no video that can be read ({error.strerror}). Choose a video file, or convert it to MP4."
        ) from None


def video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The stream that players show: the one marked as default, else the largest; never a cover picture."""
    films = [
        stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not films:
        raise ValueError(
            f"Found no video stream in '{os.path.basename(container.name)}'. Choose a file that holds a video."
        )
    stream = max(films, key=lambda s: (bool(s.disposition & av.stream.Disposition.default), s.width * s.height))
    stream.thread_type = "AUTO"
    return stream


def tick_of(stream: av.stream.Stream) -> Fraction:
    """Seconds of one unit of the stream's timestamps; FFmpeg's own unit where the stream names none."""
    return stream.time_base or Fraction(1, av.time_base)


def _decoder(stream: av.stream.Stream):
    """The decoder of a stream. FFmpeg's own decoders of VP8 and VP9 ignore transparency; libvpx's do not."""
    name = stream.codec_context.name
    if stream.metadata.get("alpha_mode") == "1" and name in _WITH_ALPHA:
        return av.CodecContext.create(_WITH_ALPHA[name], "r")
    return stream.codec_context


@overload
def decode(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[tuple[av.Packet, list[av.VideoFrame], bool]]: ...
@overload
def decode(
    container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[tuple[av.Packet, list[av.AudioFrame], bool]]: ...
@overload
def decode(
    container: av.container.InputContainer, stream: av.stream.Stream
) -> Iterator[tuple[av.Packet, list, bool]]: ...
def decode(container: av.container.InputContainer, stream: av.stream.Stream) -> Iterator[tuple[av.Packet, list, bool]]:
    """Each packet, the frames that come out of the decoder with it, and whether it failed to decode.

    :raises ValueError: the container itself is damaged.
    """
    packets, decoder = container.demux(stream), _decoder(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            raise ValueError(
                f"{os.path.basename(container.name)} is damaged and cannot be read to its end ({error.strerror}). "
                "Convert it to MP4, which keeps what can be read of it, or choose another file."
            ) from None
        if packet is None:
            return
        try:
            yield packet, decoder.decode(packet), False
        except av.error.InvalidDataError:
            yield packet, [], True


def place_before(source: VideoSource, index: int, wanted: float) -> int | None:
    """Where to seek, in ticks of a stream, so that decoding gives a frame at or before the wanted time in seconds;
    None: do not seek.

    Seeking lands behind the place that was asked for in formats without an index (MPEG-TS, MPEG-PS).
    """
    with open_container(source) as container:
        stream = container.streams[index]
        tick = tick_of(stream)
        for earlier in _EARLIER:
            if wanted - earlier <= float((stream.start_time or 0) * tick):
                return None
            place = int((wanted - earlier) / tick)
            try:
                container.seek(place, stream=stream)
            except av.error.FFmpegError:
                return None
            first = next((frame for _, frames, _ in decode(container, stream) for frame in frames), None)
            if first is not None and not first.is_corrupt and first.pts is not None and first.time <= wanted:
                return place
    return None

"""What Pillow reads because FFmpeg does not: the EXIF orientation of photos, and animated WebP."""

import io
from fractions import Fraction
from typing import IO

import av
import numpy as np
from PIL import Image

from .source import VideoSource

_ORIENTATION = 0x0112  # of EXIF
_PHOTOS = ("image2", "png_pipe", "jpeg_pipe", "webp_pipe", "tiff_pipe")
_ANIMATED = 2  # a flag of VP8X, the first chunk of a WebP with more than pixels
# Browsers show frames with a duration below the first of these for the second, in milliseconds.
_SHORTEST, _INSTEAD = 11, 100


def _opened(source: VideoSource) -> IO[bytes]:
    return io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else open(source, "rb")


def orientation(source: VideoSource, format: str) -> int | None:
    """The EXIF orientation of a photo, 1 .. 8; 1, upright, if it has none.

    :param format: FFmpeg's name of the container format.
    :return: None for files that are no photos.
    """
    if format not in _PHOTOS:
        return None
    try:
        with _opened(source) as file, Image.open(file) as picture:
            found = picture.getexif().get(_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 1
    return found if found in range(1, 9) else 1


def unfolded(source: VideoSource) -> VideoSource:
    """An animated WebP, which FFmpeg does not decode, as a lossless video in memory; all else as it is.

    :raises ValueError: the animation is damaged.
    """
    try:
        file = _opened(source)
    except OSError:  # opening it as a video says why
        return source
    with file:
        head = file.read(21)
        if head[:4] + head[8:16] != b"RIFFWEBPVP8X" or not head[20] & _ANIMATED:
            return source
        file.seek(0)
        try:
            return _as_video(file)
        except (OSError, EOFError, Image.DecompressionBombError) as error:
            raise ValueError(f"The animated WebP is damaged ({error}). Save it again, or convert it to MP4.") from None


def _as_video(file: IO[bytes]) -> io.BytesIO:
    held = io.BytesIO()
    with Image.open(file) as picture, av.open(held, "w", format="matroska") as container:
        stream = container.add_stream("ffv1")
        stream.width, stream.height, stream.pix_fmt = *picture.size, "bgra"
        stream.codec_context.time_base = Fraction(1, 1000)
        begins = 0
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            pixels = np.asarray(picture.convert("RGBA"))
            lasts = int(picture.info.get("duration", 0))
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="bgra")
            frame.pts, frame.time_base = begins, Fraction(1, 1000)
            lasts = lasts if lasts >= _SHORTEST else _INSTEAD
            for packet in stream.encode(frame):
                packet.duration = lasts
                container.mux(packet)
            begins += lasts
        container.mux(stream.encode(None))
    return held

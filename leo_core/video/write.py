"""Writing clips frame by frame: H.264 and AAC in MP4."""

import math
import os
import uuid
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from .order import AHEAD
from .sound import LAYOUTS, Sound

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_BIT_RATE = 192_000


class VideoWriter:
    """H.264 (yuv420p) in MP4, encoded and written by a thread of its own while the next frames are made. Use it in a
    ``with``: the file appears under its name only when everything was written; an exception or an interrupt leaves
    nothing behind. What goes wrong in writing a frame is raised by a later `write`, or at the end.

    :param path: the file to make; an existing one is replaced at the end.
    :param size: (height, width) of the frames; an odd side gets one more pixel (its edge repeated), see ``padded``.
    :param fps: exact frames per second, 1/1000 .. 10,000.
    :param crf: quality, 0 (lossless) .. 51; 18 is visually lossless.
    :param sound: put under the frames from the first one on and cut at the last; encoded as AAC.
    :ivar padded: (rows, columns) added to make the sides even.
    :ivar frame_count: frames written so far.
    :raises ValueError: a frame rate out of range, for which MP4 has no numbers; another crf.
    """

    def __init__(self, path: str, size: tuple[int, int], fps: Fraction, crf: int = 18, sound: Sound | None = None):
        if not Fraction(1, 1000) <= fps <= 10_000:
            raise ValueError(
                f"A video has 0.001 to 10000 frames per second, but the motion has {float(fps):.6g}. Change its frame "
                f"rate with LEO Retime Motion."
            )
        if not 0 <= crf <= 51:
            raise ValueError(
                f"The quality of a video, crf, is 0 (lossless) to 51, got {crf}. 18 looks like the original."
            )
        self._path = path
        self._part = f"{path}.{uuid.uuid4().hex[:8]}.part"
        self._fps = fps.limit_denominator(100_000)
        self._sound = sound
        self._heard = 0
        self.size = size
        self.padded = (size[0] % 2, size[1] % 2)
        self.frame_count = 0
        self._crf = crf
        self._encoder = ThreadPoolExecutor(1)
        self._waiting: deque[Future] = deque()
        self._container: av.container.OutputContainer | None = None
        self._audio: av.AudioStream | None = None

    def __enter__(self) -> "VideoWriter":
        try:
            self._open()
        except BaseException:
            self._discard()
            raise
        return self

    def _open(self) -> None:
        open(self._part, "xb").close()  # FFmpeg makes it with the first packet
        self._container = av.open(self._part, "w", format="mp4", options={"movflags": "use_metadata_tags+faststart"})
        self._video = self._container.add_stream("libx264", rate=self._fps, options={"crf": str(self._crf)})
        self._video.height, self._video.width = self.size[0] + self.padded[0], self.size[1] + self.padded[1]
        self._video.pix_fmt = "yuv420p"
        # What the conversion from RGB writes, said in the file: players otherwise guess BT.709 for large pictures.
        self._video.codec_context.colorspace = Colorspace.ITU601
        self._video.codec_context.color_range = ColorRange.MPEG
        if self._sound is not None:
            # The nearest rate AAC has; the encoder resamples to it.
            rate = min(_AAC_RATES, key=lambda known: abs(known - self._sound.sample_rate))
            self._audio = self._container.add_stream("aac", rate=rate, layout=LAYOUTS[self._sound.channels])
            self._audio.bit_rate = _AAC_BIT_RATE
            self._resampler = av.AudioResampler(format="fltp", layout=LAYOUTS[self._sound.channels], rate=rate)

    def write(self, frame: np.ndarray) -> None:
        """Add one frame: uint8 [H, W, 3] RGB of the size the writer was made for."""
        if frame.shape != (*self.size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"Expected a uint8 frame of shape {(*self.size, 3)}, got {frame.dtype} {frame.shape}.")
        if any(self.padded):
            frame = np.pad(frame, ((0, self.padded[0]), (0, self.padded[1]), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = self.frame_count, 1 / self._fps
        if not os.path.exists(self._part):  # an open file can be written to to its end after that, for nothing
            raise FileNotFoundError(
                f"{self._part} was deleted while it was being written. Check whether another ComfyUI uses the same "
                f"temp folder, which it empties when it starts, and give each its own with --temp-directory."
            )
        while len(self._waiting) >= AHEAD:
            self._waiting.popleft().result()
        self.frame_count += 1
        self._waiting.append(self._encoder.submit(self._encode, picture, self.frame_count))

    def _encode(self, picture: av.VideoFrame, frame_count: int) -> None:
        self._container.mux(self._video.encode(picture))
        if self._audio is not None:
            self._write_sound(frame_count)

    def _write_sound(self, frame_count: int) -> None:
        """Keep the sound as far as the frames, so that neither waits in memory for the other."""
        due = math.ceil(frame_count / self._fps * self._sound.sample_rate)
        samples = self._sound.take(due - self._heard)
        if not samples.shape[1]:
            return
        block = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), format="fltp", layout=LAYOUTS[self._sound.channels]
        )
        block.sample_rate = self._sound.sample_rate
        block.pts, block.time_base = self._heard, Fraction(1, self._sound.sample_rate)
        self._heard += samples.shape[1]
        for resampled in self._resampler.resample(block):
            self._container.mux(self._audio.encode(resampled))

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                if not self.frame_count:
                    raise ValueError("A video needs at least one frame, and none was written.")
                while self._waiting:
                    self._waiting.popleft().result()
                self._container.mux(self._video.encode(None))
                if self._audio is not None:
                    for resampled in self._resampler.resample(None):
                        self._container.mux(self._audio.encode(resampled))
                    self._container.mux(self._audio.encode(None))
                self._container.close()
                os.replace(self._part, self._path)
        finally:
            self._discard()

    def _discard(self) -> None:
        """Let go of everything; of the file too, unless it has its name already."""
        try:
            self._encoder.shutdown(cancel_futures=True)  # an interrupt may come while it waits for a frame
            if self._container is not None:
                self._container.close()
        except av.error.FFmpegError:  # the end of a file that was given up already, on a full disk
            pass
        finally:
            if os.path.exists(self._part):
                os.remove(self._part)

"""Video as a stream: frames in and out one by one, so that memory does not grow with the length of a clip.

Reading puts every clip on a constant timeline (slot k is shown at ``k / fps``), because a motion is a sequence of
evenly spaced codes: variable frame rates are resampled, lost and broken frames are filled in, and what was done is
told. The number of frames is known before the first one is decoded and never changes.
"""
import io
import math
import os
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeVar

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace

Item = TypeVar("Item")
BrokenFrames = Literal["hold", "interpolate", "pass through"]
VideoSource = str | io.BytesIO
Continuation = Literal["hold", "loop", "ping-pong"]

# A timestamp further than this from its slot (in slots) is not on a constant timeline (our choice).
_JITTER = 0.25
_FASTEST_GRID = Fraction(120)

# Frames that wait between a thread that decodes or encodes and the one that works with them (our choice).
_AHEAD = 4

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_BIT_RATE = 192_000
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
# Decoded sound that strays further than this from its timestamps (in seconds) is moved back to them (our choice).
_SOUND_SLACK = 0.01
# A decoder's first frame after a seek overlaps with one it did not see: FFmpeg before 9 gives it damaged, FFmpeg 9 leaves it out. Decoding
# begins this much earlier (in seconds): Opus asks for 0.08 (RFC 7845, 4.6), a frame of HE-AAC at 16 kHz lasts 0.13, and one frame of slack.
_SOUND_PREROLL = 0.3


# Files that hold a video themselves. Left out are playlists and descriptions (HLS, DASH, concat, SDP), which make FFmpeg open other
# files and addresses.
_FORMATS = ",".join((
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "flv", "mpegts", "mpeg", "mpegvideo", "m4v", "h264", "hevc", "ivf", "obu",
    "asf", "ogg", "rm", "mxf", "nut", "dv", "wtv", "gif", "apng", "png_pipe", "jpeg_pipe", "jpegxl_pipe", "jpegxl_anim", "webp_pipe", "webp_anim",
    "webp", "bmp_pipe", "tiff_pipe", "image2", "mjpeg", "yuv4mpegpipe", "swf", "vob", "dnxhd", "vc1", "av1"))


@dataclass
class ReadReport:
    """What reading had to do to keep the timeline; counts up as the frames are iterated.

    :param broken: slots whose frame was in the file but could not be decoded, or came out damaged.
    :param filled: slots that had no frame of their own in the file (variable rate, lost frames); they hold the last.
    :param dropped: frames that fell between two slots and are not shown.
    :param resized: frames of another size than the first, scaled to it.
    """

    broken: int = 0
    filled: int = 0
    dropped: int = 0
    resized: int = 0

    def count_gap(self, slots: range, in_file: set[int]) -> None:
        """Count slots that no decoded frame fell into."""
        broken = sum(slot in in_file for slot in slots)
        self.broken += broken
        self.filled += len(slots) - broken

    def __str__(self) -> str:
        said = [
            f"{count} {what}"
            for count, what in (
                (self.broken, "broken frames replaced"),
                (self.filled, "missing frames filled"),
                (self.dropped, "surplus frames dropped"),
                (self.resized, "frames scaled to the size of the first"),
            )
            if count
        ]
        return ", ".join(said) or "every frame as it is in the file"


class VideoStream:
    """Frames of a clip on a constant timeline. Iterating yields uint8 [H, W, 3] RGB arrays and can be repeated.

    :ivar fps: exact frames per second of the timeline.
    :ivar size: (height, width) of every frame, after rotation.
    :ivar frame_count: number of frames an iteration yields, exactly.
    :ivar start: stream time in seconds of the first frame, where sound has to begin.
    :ivar variable: whether the file's own frames are not evenly spaced.
    :ivar report: what the last iteration did, see ReadReport.
    """

    def __init__(self, source: VideoSource, timeline: "_Timeline", size: tuple[int, int], broken: BrokenFrames):
        self._source = source
        self._timeline = timeline
        self._broken = broken
        self.fps = timeline.fps
        self.size = size
        self.frame_count = timeline.frame_count
        self.start = timeline.start
        self.variable = timeline.variable
        self.report = ReadReport()

    def __len__(self) -> int:
        return self.frame_count

    def __iter__(self) -> Iterator[np.ndarray]:
        self.report = report = ReadReport()
        in_file = set(self._timeline.slots)
        shown, next_slot = None, 0
        for slot, frame in self._decoded_slots(report):
            gap = slot - next_slot
            report.count_gap(range(next_slot, slot), in_file)
            for step in range(1, gap + 1):
                if shown is None:
                    yield frame
                elif self._broken == "interpolate":
                    yield _mix(shown, frame, step / (gap + 1))
                else:
                    yield shown
            yield frame
            shown, next_slot = frame, slot + 1
        if shown is None:
            raise _nothing_decodes(self.frame_count)
        report.count_gap(range(next_slot, self.frame_count), in_file)
        for _ in range(self.frame_count - next_slot):
            yield shown

    def _decoded_slots(self, report: ReadReport) -> Iterator[tuple[int, np.ndarray]]:
        """(slot, picture) of the frames that decode, slots strictly increasing; of several in one slot the last."""
        waiting: tuple[int, np.ndarray] | None = None
        for frame, slot in self._timeline.decode(self._source):
            if frame.is_corrupt and self._broken != "pass through":
                continue
            picture = _upright(frame)
            if picture.shape[:2] != self.size:
                picture = _upright(frame, self.size)
                report.resized += 1
            if waiting is not None and slot > waiting[0]:
                yield waiting
            elif waiting is not None:
                report.dropped += 1
            waiting = (slot, picture)
        if waiting is not None:
            yield waiting


@dataclass(frozen=True)
class _Timeline:
    """Where the frames of a file fall on an even timeline.

    :param slots: slot of each frame, by presentation order, not decreasing.
    :param stamps: timestamp -> slot in the stream's time base, or None where the file has no timestamps and frames
        are counted instead.
    :param first_stamp: timestamp of the first frame; without timestamps, how many frames to count off before it.
    :param last_stamp: timestamp of the last frame.
    """

    fps: Fraction
    frame_count: int
    start: float
    variable: bool
    slots: list[int]
    stamps: dict[int, int] | None
    first_stamp: int
    last_stamp: int

    def decode(self, source: VideoSource) -> Iterator[tuple[av.VideoFrame, int]]:
        """Decoded frames of the timeline with their slots. Packets that do not decode are passed over."""
        with _open(source) as container:
            stream = _video_stream(container)
            stream.thread_type = "AUTO"
            if self.stamps is not None and self.start > 0:
                container.seek(self.first_stamp, stream=stream)
            count = 0
            for packet in _packets(container, stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    continue
                for frame in frames:
                    if self.stamps is None:
                        if 0 <= count - self.first_stamp < len(self.slots):
                            yield frame, self.slots[count - self.first_stamp]
                        count += 1
                    elif frame.pts in self.stamps:
                        yield frame, self.stamps[frame.pts]
                    if frame.pts is not None and self.stamps is not None and frame.pts >= self.last_stamp:
                        return


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, made by a thread of its own a few before they are asked for."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as worker:
        waiting = deque(worker.submit(next, iterator, end) for _ in range(_AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(worker.submit(next, iterator, end))
            yield item


def read_video(
    source: VideoSource, start: float = 0.0, duration: float | None = None, broken: BrokenFrames = "hold"
) -> VideoStream:
    """Open a clip for reading frame by frame. Scans the packets (no decoding), and decodes one frame for the size.

    :param source: path or BytesIO of any container FFmpeg reads.
    :param start: first stream time to show, in seconds.
    :param duration: seconds to show from there; None or 0 reads to the end.
    :param broken: what stands for a frame that does not decode or is missing: ``hold`` the last good one,
        ``interpolate`` between its neighbours, or ``pass through`` whatever the decoder salvaged (held if nothing).
    :raises ValueError: no video in the file, or no frame in the trim.
    """
    timeline = _scan(source, start, duration)
    for frame, _ in timeline.decode(source):
        return VideoStream(source, timeline, _upright(frame).shape[:2], broken)
    raise _nothing_decodes(timeline.frame_count)


def _nothing_decodes(frame_count: int) -> ValueError:
    return ValueError(
        f"None of the {frame_count} frames of the clip could be decoded. "
        "The file is damaged or its codec is not supported: convert it to H.264 and load it again."
    )


def _open(source: VideoSource) -> av.container.InputContainer:
    if isinstance(source, io.BytesIO):
        source.seek(0)
    name = "the video" if isinstance(source, io.BytesIO) else os.path.basename(source)
    try:
        return av.open(source, options={"format_whitelist": _FORMATS})
    except av.error.FFmpegError as error:
        raise ValueError(f"{name} is no video that can be read ({error.strerror}). Choose a video file, or convert it to MP4.") from None


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    if not container.streams.video:
        raise ValueError(f"Found no video stream in '{os.path.basename(container.name)}'. Choose a file that holds a video.")
    return container.streams.video[0]


def _packets(container: av.container.InputContainer, stream: av.stream.Stream) -> Iterator[av.Packet]:
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError as error:
        raise ValueError(f"{os.path.basename(container.name)} is damaged and cannot be read to its end ({error.strerror}). Convert it to MP4, which "
                         "keeps what can be read of it, or choose another.") from None


def _scan(source: VideoSource, start: float, duration: float | None) -> _Timeline:
    stamps, lengths = [], []
    with _open(source) as container:
        stream = _video_stream(container)
        tick = stream.time_base
        rates = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
        for packet in _packets(container, stream):
            if packet.size and not packet.is_discard:
                stamps.append(packet.pts)
                lengths.append(packet.duration or 0)
    if not stamps:
        raise ValueError("The video stream holds no frames. Choose another file.")

    if None in stamps or len(set(stamps)) < len(stamps):
        # Raw streams and old AVI files: no usable timestamps, so the frames are counted.
        fps = rates[0] if rates else Fraction(25)
        first = int(np.ceil(start * fps))
        last = len(stamps) if not duration else min(len(stamps), first + round(duration * fps))
        if first >= last:
            raise _empty_trim(start, duration, len(stamps) / fps)
        return _Timeline(fps, last - first, float(first / fps), False, list(range(last - first)), None, first, last - 1)

    order = np.argsort(stamps)
    stamps, lengths = np.asarray(stamps)[order], np.asarray(lengths)[order]
    end_of_clip = int(stamps[-1] + lengths[-1])
    begin = start / tick
    until = end_of_clip if not duration else min(end_of_clip, (start + duration) / tick)
    inside = (stamps >= int(begin)) & (stamps < until) if duration else stamps >= int(begin)
    stamps, lengths = stamps[inside], lengths[inside]
    if not len(stamps):
        raise _empty_trim(start, duration, float(end_of_clip * tick))

    since = stamps - stamps[0]
    span = int(since[-1])
    if span == 0:
        fps = rates[0] if rates else Fraction(25)
        return _timeline(stamps, np.zeros(1, int), fps, 1, tick, False)
    measured = Fraction(len(stamps) - 1, 1) / (span * tick)
    for fps in rates + [measured]:
        if fps > _FASTEST_GRID:
            continue
        where = since * float(fps * tick)
        slots = np.rint(where).astype(int)
        if np.abs(where - slots).max() <= _JITTER and (np.diff(slots) > 0).all():
            variable = bool((np.diff(slots) > 1).any())
            break
    else:
        fps = measured.limit_denominator(1001)
        slots = np.rint(since * float(fps * tick)).astype(int)
        variable = True
    frame_count = int(slots[-1]) + 1
    if variable:
        last_length = min(int(lengths[-1]), int(until) - int(stamps[-1]))
        frame_count = max(frame_count, round((span + last_length) * tick * fps))
    return _timeline(stamps, slots, fps, frame_count, tick, variable)


def _timeline(stamps, slots, fps: Fraction, frame_count: int, tick: Fraction, variable: bool) -> _Timeline:
    return _Timeline(
        fps=fps,
        frame_count=frame_count,
        start=float(stamps[0] * tick),
        variable=variable,
        slots=slots.tolist(),
        stamps=dict(zip(stamps.tolist(), slots.tolist(), strict=True)),
        first_stamp=int(stamps[0]),
        last_stamp=int(stamps[-1]),
    )


def _empty_trim(start: float, duration: float | None, length: float) -> ValueError:
    asked = f"from {start:.3f} s" + (f" for {duration:.3f} s" if duration else " to the end")
    return ValueError(f"The clip is {float(length):.3f} s long and holds no frame {asked}. Trim it inside its length.")


def _upright(frame: av.VideoFrame, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decoded frame -> uint8 [H, W, 3] RGB, turned the way the camera was held, scaled to (H, W) if a size is given."""
    quarter_turns = round(frame.rotation / 90) % 4
    if size is not None:
        height, width = size if quarter_turns % 2 == 0 else size[::-1]
        frame = frame.reformat(width=width, height=height)
    picture = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(picture, quarter_turns)) if quarter_turns else picture


def _mix(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    return np.rint(first * (1 - share) + second * share).astype(np.uint8)


def continued_index(frame: int, count: int, policy: Continuation) -> int:
    """Which of ``count`` frames stands at place ``frame`` of a longer sequence: the last is held, or they start over
    (loop), or they run back and forth (ping-pong, the two ends shown once each)."""
    if policy == "hold" or count == 1:
        return min(frame, count - 1)
    if policy == "loop":
        return frame % count
    place = frame % (2 * count - 2)
    return min(place, 2 * count - 2 - place)


class Sound:
    """Sound to put under a video, read in blocks of float32 [channels, samples] at a constant rate.

    :ivar sample_rate: samples per second.
    :ivar channels: 1, 2 or 6 (mono, stereo, 5.1).
    """

    def __init__(self, sample_rate: int, channels: int, blocks: Iterator[np.ndarray]):
        self.sample_rate = sample_rate
        self.channels = channels
        self._blocks = blocks
        self._rest = np.zeros((channels, 0), np.float32)

    def take(self, samples: int) -> np.ndarray:
        """The next samples, fewer where the sound has ended: float32 [channels, <= samples]."""
        parts, have = [self._rest], self._rest.shape[1]
        while have < samples:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            have += block.shape[1]
        joined = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        self._rest = joined[:, samples:]
        return joined[:, :samples]


def sound_of_tensor(waveform: torch.Tensor, sample_rate: int) -> Sound:
    """ComfyUI's AUDIO as Sound: the first of a batch [B, channels, samples] in -1..1; odd channel counts become mono."""
    samples = waveform[0]
    if samples.shape[0] not in _LAYOUTS:
        samples = samples.float().mean(0, keepdim=True)
    blocks = (block.float().cpu().numpy() for block in samples.split(int(sample_rate), dim=1))
    return Sound(int(sample_rate), samples.shape[0], blocks)


def sound_of_file(source: VideoSource, start: float = 0.0) -> Sound | None:
    """The sound of a clip from stream time ``start`` on, decoded as it is taken; None where the clip is silent.

    Sound that begins later than ``start`` is preceded by silence, and gaps in it are silent, so that it stays in step.
    """
    with _open(source) as container:
        stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
        if stream is None or not stream.rate or not stream.channels:
            return None
        rate, channels, index = stream.rate, stream.channels, stream.index
    channels = channels if channels in _LAYOUTS else 2
    return Sound(rate, channels, _decoded_sound(source, index, rate, channels, start))


def _decoded_sound(source: VideoSource, index: int, rate: int, channels: int, start: float) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="fltp", layout=_LAYOUTS[channels], rate=rate)
    taken = 0
    with _open(source) as container:
        stream = container.streams[index]
        if start > _SOUND_PREROLL:
            container.seek(int((start - _SOUND_PREROLL) / stream.time_base), stream=stream)
        for packet in _packets(container, stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                begins = frame.time
                block = np.concatenate([f.to_ndarray() for f in resampler.resample(frame)] or [np.zeros((channels, 0), np.float32)], 1)
                if begins is not None:
                    stray = round((begins - start) * rate) - taken
                    if stray > _SOUND_SLACK * rate or (taken == 0 and stray > 0):
                        taken += stray
                        yield np.zeros((channels, stray), np.float32)
                    elif stray < -_SOUND_SLACK * rate or (taken == 0 and stray < 0):
                        block = block[:, -stray:]
                taken += block.shape[1]
                yield block


class VideoWriter:
    """H.264 (yuv420p) in MP4, encoded and written by a thread of its own while the next frames are made. Use it in a
    ``with``: the file appears under its name only when everything was written; an exception or an interrupt leaves nothing
    behind. What goes wrong in writing a frame is raised by a later `write`, or at the end.

    :param path: the file to make; an existing one is replaced at the end.
    :param size: (height, width) of the frames; an odd side gets one more pixel (its edge repeated), see ``padded``.
    :param fps: exact frames per second, 1/1000 .. 10,000.
    :param crf: quality, 0 (lossless) .. 51; 18 is visually lossless.
    :param sound: put under the frames from the first one on and cut at the last; encoded as AAC.
    :ivar padded: (rows, columns) added to make the sides even.
    :ivar frame_count: frames written so far.
    :raises ValueError: a frame rate out of range, for which MP4 has no numbers.
    """

    def __init__(self, path: str, size: tuple[int, int], fps: Fraction, crf: int = 18, sound: Sound | None = None):
        if not Fraction(1, 1000) <= fps <= 10_000:
            raise ValueError(f"A video has 0.001 to 10000 frames per second, and the motion {float(fps):.6g}. Change its frame rate with "
                             "LEO Retime Motion.")
        self._path = path
        self._part = f"{path}.{uuid.uuid4().hex[:8]}.part"
        self._fps = fps.limit_denominator(100_000)
        self._sound = sound
        self._heard = 0
        self.size = size
        self.padded = (size[0] % 2, size[1] % 2)
        self.frame_count = 0
        self._encoder = ThreadPoolExecutor(1)
        self._waiting: deque[Future] = deque()
        self._container = av.open(self._part, "w", format="mp4", options={"movflags": "use_metadata_tags+faststart"})
        self._video = self._container.add_stream("libx264", rate=self._fps, options={"crf": str(crf)})
        self._video.height, self._video.width = size[0] + self.padded[0], size[1] + self.padded[1]
        self._video.pix_fmt = "yuv420p"
        # What the conversion from RGB writes, said in the file: players otherwise guess BT.709 for large pictures.
        self._video.codec_context.colorspace = Colorspace.ITU601
        self._video.codec_context.color_range = ColorRange.MPEG
        self._audio = None
        if sound is not None:
            # The nearest rate AAC has; the encoder resamples to it.
            rate = min(_AAC_RATES, key=lambda known: abs(known - sound.sample_rate))
            self._audio = self._container.add_stream("aac", rate=rate, layout=_LAYOUTS[sound.channels])
            self._audio.bit_rate = _AAC_BIT_RATE
            self._resampler = av.AudioResampler(format="fltp", layout=_LAYOUTS[sound.channels], rate=rate)

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add one frame: uint8 [H, W, 3] RGB of the size the writer was made for."""
        if frame.shape != (*self.size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"Expected a uint8 frame of shape {(*self.size, 3)}, got {frame.dtype} {frame.shape}.")
        if any(self.padded):
            frame = np.pad(frame, ((0, self.padded[0]), (0, self.padded[1]), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = self.frame_count, 1 / self._fps
        while len(self._waiting) >= _AHEAD:
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
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=_LAYOUTS[self._sound.channels])
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
            self._encoder.shutdown(cancel_futures=True)
            self._container.close()
            if os.path.exists(self._part):
                os.remove(self._part)

"""Reading clips frame by frame, each shown as on a screen, on an even timeline.

The timeline is constant (slot k is shown at ``k / fps``), because a motion is a sequence of evenly spaced codes:
variable frame rates are resampled, lost and broken frames are filled in, and what was done is reported. The number
of frames is known before the first one is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import av
import numpy as np

from .picture import Look, deinterlaced
from .source import VideoSource, decode, open_container, video_stream
from .stills import orientation, unfolded
from .timeline import Timeline, find_timeline, nothing_decodes

BrokenFrames = Literal["hold", "interpolate", "pass through"]


@dataclass
class ReadReport:
    """What reading had to do; counts up as the frames are iterated.

    :param broken: slots whose frame was in the file but could not be decoded, or came out damaged.
    :param filled: slots that had no frame of their own in the file (variable rate, lost frames); they hold the last.
    :param dropped: frames that fell between two slots and are not shown.
    :param resized: frames of another size than the first, scaled to it.
    :param interlaced: frames of two fields, made progressive.
    :param transparent: frames with transparent pixels, put on black.
    :param hdr: name of the HDR transfer that was tone-mapped, or "".
    """

    broken: int = 0
    filled: int = 0
    dropped: int = 0
    resized: int = 0
    interlaced: int = 0
    transparent: int = 0
    hdr: str = ""

    def count_gap(self, slots: range, in_file: frozenset[int]) -> None:
        """Count slots that no decoded frame fell into."""
        broken = sum(slot in in_file for slot in slots)
        self.broken += broken
        self.filled += len(slots) - broken

    def __str__(self) -> str:
        notes = [
            f"{count} {what}"
            for count, what in (
                (self.broken, "broken frames replaced"),
                (self.filled, "missing frames filled"),
                (self.dropped, "surplus frames dropped"),
                (self.resized, "frames scaled to the size of the first"),
                (self.interlaced, "frames deinterlaced"),
                (self.transparent, "transparent frames shown on black"),
            )
            if count
        ]
        if self.hdr:
            notes.append(f"HDR ({self.hdr}) converted to SDR")
        return ", ".join(notes) or "every frame as in the file"


class VideoStream:
    """Frames of a clip on a constant timeline. Iterating yields uint8 [H, W, 3] RGB arrays and can be repeated, also
    at once.

    :ivar fps: exact frames per second of the timeline.
    :ivar size: (height, width) of every frame, upright and with square pixels.
    :ivar frame_count: number of frames an iteration yields, exactly.
    :ivar start: stream time in seconds of the first frame, where sound has to begin.
    :ivar variable: whether the file's own frames are not evenly spaced.
    :ivar report: what the last iteration did, see ReadReport.
    """

    def __init__(self, source: VideoSource, timeline: Timeline, broken: BrokenFrames):
        self._source = source
        self._timeline = timeline
        self._broken = broken
        self.fps = timeline.fps
        self.size = timeline.size
        self.frame_count = timeline.frame_count
        self.start = timeline.start
        self.variable = timeline.variable
        self.report = ReadReport()

    def __len__(self) -> int:
        return self.frame_count

    def __iter__(self) -> Iterator[np.ndarray]:
        self.report = report = ReadReport()
        in_file = self._timeline.in_file
        shown, next_slot = None, 0
        for slot, frame in self._pictures(report):
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
            raise nothing_decodes(self.frame_count)
        report.count_gap(range(next_slot, self.frame_count), in_file)
        for _ in range(self.frame_count - next_slot):
            yield shown

    def _pictures(self, report: ReadReport) -> Iterator[tuple[int, np.ndarray]]:
        """(slot, picture) of the frames that decode, slots strictly increasing; of several in one slot the last."""
        waiting: tuple[int, av.VideoFrame] | None = None
        with open_container(self._source) as container:
            stream = video_stream(container)
            look, report.hdr = self._timeline.look, self._timeline.look.hdr

            def picture(frame: av.VideoFrame) -> np.ndarray:
                report.resized += look.size_of(frame) != self.size
                shown, transparent = look.to_rgb(frame, self.size)
                report.transparent += transparent
                return shown

            for slot, frame in zip(
                self._timeline.slots, deinterlaced(self._shown(container, stream, report)), strict=False
            ):
                if frame.is_corrupt and self._broken != "pass through":
                    continue
                if waiting is not None and slot > waiting[0]:
                    yield waiting[0], picture(waiting[1])
                elif waiting is not None:
                    report.dropped += 1
                waiting = slot, frame
            if waiting is not None:
                yield waiting[0], picture(waiting[1])

    def _shown(
        self, container: av.container.InputContainer, stream: av.VideoStream, report: ReadReport
    ) -> Iterator[av.VideoFrame]:
        """The frames of the timeline, one for each of its slots."""
        line = self._timeline
        if line.seek is not None:
            container.seek(line.seek, stream=stream)
        decoded = (frame for _, frames, _ in decode(container, stream) for frame in frames)
        for frame in islice(decoded, line.skip, line.skip + len(line.slots)):
            report.interlaced += frame.interlaced_frame
            yield frame


def read_video(
    source: VideoSource, start: float = 0.0, duration: float | None = None, broken: BrokenFrames = "hold"
) -> VideoStream:
    """Open a clip for reading frame by frame. Decodes what is wanted of it once, to know how many frames it shows
    and when.

    :param source: path or BytesIO of any container FFmpeg reads. A BytesIO may be read by others at the same time.
    :param start: first stream time to show, in seconds; 0 shows all that the decoder does.
    :param duration: seconds to show from there; None or 0 reads to the end.
    :param broken: what stands for a frame that does not decode or is missing: ``hold`` the last good one,
        ``interpolate`` between its neighbors, or ``pass through`` whatever the decoder salvaged (held if nothing).
    :raises ValueError: no video in the file, or no frame in the trim.
    """
    source = unfolded(source)
    return VideoStream(source, find_timeline(source, start, duration), broken)


def read_first(source: VideoSource) -> tuple[np.ndarray, bool]:
    """The first frame of a clip, or a picture, as a screen shows it: uint8 [H, W, 3], and whether transparent
    parts were filled with black. Only the beginning is decoded.

    :raises ValueError: no video in the file, or nothing of it decodes.
    """
    source = unfolded(source)
    with open_container(source) as container:
        stream = video_stream(container)
        decoded = (frame for _, frames, _ in decode(container, stream) for frame in frames if not frame.is_corrupt)
        first = list(islice(decoded, 2))  # the second for the fields between
        if not first:
            raise nothing_decodes(1)
        look = Look.of(stream, first[0], orientation(source, container.format.name))
        return look.to_rgb(next(deinterlaced(iter(first))), look.size_of(first[0]))


def _mix(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    return np.rint(first * (1 - share) + second * share).astype(np.uint8)

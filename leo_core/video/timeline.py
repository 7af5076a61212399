"""When the frames of a clip are shown.

Packet tables lie: they promise frames that are never shown, in an order that is not the one on screen, at times that
seeking does not land on. So a clip is first decoded without looking at its pictures, which tells how many frames
there are and when each one is shown; reading then finds them by counting.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np

from ..rates import ROUNDING, exact_rate
from .picture import Look
from .source import VideoSource, decode, open_container, place_before, tick_of, video_stream
from .stills import orientation

# A timestamp further than this from its slot (in slots) is not on a constant timeline (our choice).
_JITTER = 0.25
_FASTEST_GRID = Fraction(120)
# Where more of the frames than this have no timestamp after that of the one before, the timestamps mean nothing (our
# choice).
_MOST_WITHOUT_TIME = 0.1
# How far past the wanted end timestamps are followed, because those of old files are not in order (in seconds, our
# choice).
_OVERRUN = 1
# A leap in the timestamps of a stream made for broadcast that is longer than this joins two recordings (in seconds, as
# in FFmpeg).
_LONGEST_GAP = 10


@dataclass(frozen=True)
class Timeline:
    """Where the frames that a decoder shows fall on an even timeline.

    :param slots: slot of each frame from the first wanted one on, not decreasing.
    :param in_file: slots that a frame of the file belongs to, decodable or not.
    :param seek: where in the file decoding begins, in ticks of the stream; None for its beginning.
    :param skip: frames that the decoder gives before the first wanted one.
    """

    fps: Fraction
    frame_count: int
    start: float
    variable: bool
    look: Look
    size: tuple[int, int]
    slots: list[int]
    in_file: frozenset[int]
    seek: int | None
    skip: int


@dataclass
class _Scan:
    """What one pass over a clip found, in ticks of the stream.

    :param stamps: presentation times of the frames in the order the decoder shows them, None where there is none.
    :param packets: (presentation time, decoding time, duration) of the packets; of a broadcast from its first key
        frame on.
    """

    tick: Fraction
    rates: list[Fraction]
    longest_gap: float | Fraction
    stamps: list[int | None] = field(default_factory=list)
    packets: list[tuple[int | None, int | None, int]] = field(default_factory=list)
    failures: int = 0
    look: Look | None = None
    size: tuple[int, int] | None = None


def _scan(source: VideoSource, seek: int | None, until: float) -> _Scan:
    """Decode a clip from a place on up to a time in seconds."""
    with open_container(source) as container:
        stream = video_stream(container)
        flags, timed = container.format.flags, True
        rates = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
        if flags & av.format.Flags.no_timestamps.value:  # FFmpeg then makes them up; the codec may know the rate
            rates, timed = rates[1:2] or rates, False
        broadcast = bool(flags & av.format.Flags.ts_discont.value)
        tick = tick_of(stream)
        scan = _Scan(tick, rates, _LONGEST_GAP / tick if broadcast else np.inf)
        intact = False
        if seek is not None:
            container.seek(seek, stream=stream)
        for packet, frames, failed in decode(container, stream):
            scan.failures += failed
            if packet.size and not packet.is_discard and (scan.packets or packet.is_keyframe or not broadcast):
                scan.packets.append((packet.pts, packet.dts, packet.duration or 0))
            for frame in frames:
                scan.stamps.append(frame.pts if timed else None)
                if scan.look is None:
                    scan.look = Look.of(stream, frame, orientation(source, container.format.name))
                if scan.size is None or not (intact or frame.is_corrupt):
                    scan.size, intact = scan.look.size_of(frame), not frame.is_corrupt
                if frame.pts is not None and frame.time > until + _OVERRUN:
                    return scan
    return scan


def _shown_times(scan: _Scan) -> tuple[np.ndarray, int]:
    """When each frame is shown, in ticks and strictly increasing, and for how many of them the file does not say.

    Frames without a time, or with one that is not after the last (joined recordings), follow the last by a frame's
    duration.
    """
    step = max(1, round(1 / (scan.rates[0] * scan.tick))) if scan.rates else 1
    times: list[int] = []
    shift = guessed = 0
    for stamp in scan.stamps:
        if times and (stamp is None or not 0 < stamp + shift - times[-1] <= scan.longest_gap):
            guessed += 1
            shift = shift if stamp is None else times[-1] + step - stamp
            times.append(times[-1] + step)
        else:
            times.append((stamp or 0) + shift)
    return np.array(times, int), guessed


def find_timeline(source: VideoSource, start: float, duration: float | None) -> Timeline:
    with open_container(source) as container:
        index = video_stream(container).index
    until = start + duration if duration else np.inf
    seek = place_before(source, index, start) if start > 0 else None
    scan = _scan(source, seek, until)
    times, guessed = _shown_times(scan)
    if guessed and seek is not None:  # what seeking landed on does not know its own time
        seek, scan = None, _scan(source, None, until)
        times, guessed = _shown_times(scan)
    if not scan.packets and not scan.stamps:
        raise ValueError("The video stream holds no frames. Choose another file.")
    if scan.look is None or scan.size is None:
        raise nothing_decodes(len(scan.packets))
    if guessed > _MOST_WITHOUT_TIME * len(times):
        return _counted(_scan(source, None, np.inf), start, duration)

    begin = int(start / scan.tick) if start > 0 else -np.inf
    end = int(until / scan.tick) if duration else np.inf
    inside = (times >= begin) & (times < end)
    if not inside.any():
        ends = (int(times[-1]) + _length(scan, int(times[-1]))) * scan.tick
        raise _empty_trim(start, duration, int(times[0]) * scan.tick if seek is None else Fraction(0), ends)
    times = times[inside]
    lost = _lost_times(scan, begin, end) if scan.failures and not guessed else np.empty(0, int)
    first, last = int(min([times[0], *lost])), int(max([times[-1], *lost]))
    fps, slots = _grid(scan, times - first, bool(len(lost)), _length(scan, int(times[0])))
    in_file = frozenset([*slots.tolist(), *np.rint((lost - first) * float(fps * scan.tick)).astype(int).tolist()])
    frame_count = max(in_file) + 1
    variable = len(in_file) < frame_count
    if variable:
        shown = min(last + _length(scan, last), end) - first
        frame_count = max(frame_count, round(shown * scan.tick * fps))
    return Timeline(
        fps,
        frame_count,
        float(first * scan.tick),
        variable,
        scan.look,
        scan.size,
        slots.tolist(),
        in_file,
        seek,
        int(inside.argmax()),
    )


def _lost_times(scan: _Scan, begin: float, end: float) -> np.ndarray:
    """Times in begin .. end of packets that no frame came of."""
    promised = {pts for pts, _, _ in scan.packets if pts is not None and begin <= pts < end}
    return np.array(sorted(promised - set(scan.stamps)), int)


def _length(scan: _Scan, stamp: int) -> int:
    """How long the frame of a timestamp is shown, in ticks, where the file says so."""
    return next((length for pts, _, length in scan.packets if pts == stamp), 0)


def _grid(scan: _Scan, times: np.ndarray, gaps: bool, length: int) -> tuple[Fraction, np.ndarray]:
    """Frames per second of an even timeline, and the slots of frames on it.

    :param times: since the first frame, in ticks, strictly increasing.
    :param gaps: whether frames are lost between these.
    :param length: of the first frame in ticks, 0 if unknown.
    """
    if len(times) == 1:
        # what is guessed from a single frame may be a tick long
        rate = next((rate for rate in scan.rates if rate <= _FASTEST_GRID), Fraction(25))
        fps = exact_rate(1 / (length * scan.tick) if length else rate)
        return fps, np.rint(times * float(fps * scan.tick)).astype(int)
    span = int(times[-1] - times[0])
    # where frames are not all of one length in ticks, their times were rounded to those, by half a tick at each end
    rounding = Fraction(1, span) if np.ptp(np.diff(times)) else ROUNDING
    measured = (len(times) - 1) / (span * scan.tick)
    shortest = int(np.diff(times).min())  # frames that are held for some of it each, as in animated pictures
    held = [] if (np.diff(times) % shortest).any() else [1 / (shortest * scan.tick)]
    for fps in [exact_rate(rate, rounding) for rate in (*scan.rates, measured, *held)]:
        where = times * float(fps * scan.tick)
        slots = np.rint(where).astype(int)
        steps = np.diff(slots)
        if fps <= _FASTEST_GRID and np.abs(where - slots).max() <= _JITTER and (steps > 0).all():
            fields = 1 if gaps else int(np.gcd.reduce(steps))  # to a frame: some files count those
            if not gaps and _written_evenly(scan):
                return fps / fields, np.arange(len(times))
            return fps / fields, slots // fields
    return exact_rate(measured), np.rint(times * float(exact_rate(measured) * scan.tick)).astype(int)


def _written_evenly(scan: _Scan) -> bool:
    """Whether every packet became a frame, and all are decoded at a constant rate: gaps on screen are then left by a
    cut that took the frames between, not by the camera."""
    stamps = [stamp for stamp in scan.stamps if stamp is not None]
    if len(stamps) != len(scan.stamps):
        return False
    last = max(stamps)  # of the part that was looked at
    packets = [dts for pts, dts, _ in scan.packets if pts is None or pts <= last]
    decoded = [dts for dts in packets if dts is not None]
    if len(packets) != len(stamps) or len(decoded) != len(packets) or len(decoded) < 2:
        return False
    even = np.linspace(decoded[0], decoded[-1], len(decoded))
    return bool(np.abs(decoded - even).max() <= 1)


def _counted(scan: _Scan, start: float, duration: float | None) -> Timeline:
    """The timeline of a file without usable timestamps (raw streams, AVI with B-frames): its frames are counted."""
    if scan.look is None or scan.size is None:
        raise nothing_decodes(len(scan.packets))
    fps, shown = exact_rate([*scan.rates, Fraction(25)][0]), len(scan.stamps)
    first = math.ceil(Fraction(start).limit_denominator(1_000_000) * fps)
    last = min(shown, first + round(duration * fps)) if duration else shown
    if first >= last:
        raise _empty_trim(start, duration, Fraction(0), shown / fps)
    slots = range(last - first)
    return Timeline(
        fps, last - first, float(first / fps), False, scan.look, scan.size, list(slots), frozenset(slots), None, first
    )


def _empty_trim(start: float, duration: float | None, begins: Fraction, ends: Fraction) -> ValueError:
    asked = f"from {start:.3f} s" + (f" for {duration:.3f} s" if duration else " to the end")
    return ValueError(
        f"The clip runs from {float(begins):.3f} s to {float(ends):.3f} s and has no frame {asked}. Trim it "
        "within these times."
    )


def nothing_decodes(frame_count: int) -> ValueError:
    return ValueError(
        f"None of the {frame_count} frames of the clip could be decoded. "
        "The file is damaged or its codec is not supported: convert it to H.264 and load it again."
    )

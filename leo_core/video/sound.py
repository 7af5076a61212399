"""Sound of a clip, of a file or of a tensor, taken as far as the frames need it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import av
import numpy as np

from .source import VideoSource, decode, open_container, place_before

if TYPE_CHECKING:  # clips are decoded where there is no torch, too
    import torch

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
# Decoded sound that strays further than this from its timestamps (in seconds) is moved back to them (our choice).
_SLACK = 0.01
# Sound whose timestamps run back by more than this (in seconds) is another recording, joined to the one before (our
# choice).
_JOINT = 0.2
# A decoder's first frame after a seek overlaps with one it did not see: FFmpeg before 9 gives it damaged, FFmpeg 9
# leaves it out. Decoding begins this much earlier (in seconds): Opus asks for 0.08 (RFC 7845, 4.6), a frame of HE-AAC
# at 16 kHz lasts 0.13, and one frame of slack.
_PREROLL = 0.3


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


def sound_of_tensor(waveform: "torch.Tensor", sample_rate: int) -> Sound:
    """ComfyUI's AUDIO as Sound: the first of a batch [B, channels, samples] in -1..1; odd channel counts become
    mono."""
    samples = waveform[0]
    if samples.shape[0] not in LAYOUTS:
        samples = samples.float().mean(0, keepdim=True)
    blocks = (block.float().cpu().numpy() for block in samples.split(int(sample_rate), dim=1))
    return Sound(int(sample_rate), samples.shape[0], blocks)


def sound_of_file(source: VideoSource, start: float = 0.0) -> Sound | None:
    """The sound of a clip from stream time ``start`` on, decoded as it is taken; None where the clip is silent.

    Sound that begins later than ``start`` is preceded by silence, and gaps in it are silent, so that it stays in step.
    """
    with open_container(source) as container:
        stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
        if stream is None or not stream.rate or not stream.channels:
            return None
        rate, channels, index = stream.rate, stream.channels, stream.index
    channels = channels if channels in LAYOUTS else 2
    return Sound(rate, channels, _decoded_sound(source, index, rate, channels, start))


def _decoded_sound(source: VideoSource, index: int, rate: int, channels: int, start: float) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="fltp", layout=LAYOUTS[channels], rate=rate)
    taken = joined = 0
    place = place_before(source, index, start - _PREROLL)
    with open_container(source) as container:
        stream = next(s for s in container.streams.audio if s.index == index)
        if place is not None:
            container.seek(place, stream=stream)
        for _, frames, _ in decode(container, stream):
            for frame in frames:
                begins = frame.time
                block = np.concatenate(
                    [f.to_ndarray() for f in resampler.resample(frame)] or [np.zeros((channels, 0), np.float32)], 1
                )
                if begins is not None:
                    stray = round((begins - start) * rate) + joined - taken
                    if taken and stray < -_JOINT * rate:
                        joined, stray = joined - stray, 0
                    if stray > _SLACK * rate or (taken == 0 and stray > 0):
                        taken += stray
                        yield np.zeros((channels, stray), np.float32)
                    elif stray < -_SLACK * rate or (taken == 0 and stray < 0):
                        block = block[:, -stray:]
                taken += block.shape[1]
                yield block

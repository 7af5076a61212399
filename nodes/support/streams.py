"""Between ComfyUI's VIDEO and leo_core's streams. No nodes here; several use it."""
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from comfy_api.latest import Input, InputImpl

from ...leo_core.video import BrokenFrames, VideoStream, read_video
from .images import check_image


@dataclass(frozen=True)
class TensorStream:
    """Frames of a VIDEO that is already in memory, read like a VideoStream: uint8 [H, W, 3], nothing re-encoded."""

    images: torch.Tensor
    fps: Fraction
    start: float = 0.0
    variable: bool = False
    report: str = "every frame as it is"

    @property
    def size(self) -> tuple[int, int]:
        return self.images.shape[1], self.images.shape[2]

    @property
    def frame_count(self) -> int:
        return self.images.shape[0]

    def __len__(self) -> int:
        return self.frame_count

    def __iter__(self) -> Iterator[np.ndarray]:
        for image in self.images:
            yield (image[..., :3].float() * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def open_video(video: Input.Video, broken: BrokenFrames = "hold") -> VideoStream | TensorStream:
    """A VIDEO as a stream of frames that honors its trim, never holding more of the clip than it already does.

    :raises ValueError: a video in memory whose frames are no pictures that an animator can read.
    """
    if isinstance(video, InputImpl.VideoFromComponents):
        components = video.get_components()
        check_image(components.images)
        return TensorStream(components.images, Fraction(components.frame_rate))
    return read_video(video.get_stream_source(), *video.get_active_trim_window(), broken=broken)

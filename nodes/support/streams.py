"""Between ComfyUI's VIDEO and leo_core's streams. No nodes here; several use it."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from comfy_api.latest import Input, InputImpl

from ...leo_core.rates import exact_rate
from ...leo_core.video import BrokenFrames, VideoStream, read_video
from .images import check_image, is_transparent, opaque, to_bytes


@dataclass(frozen=True)
class TensorStream:
    """Frames of a VIDEO that is already in memory, read like a VideoStream: uint8 [H, W, 3], nothing re-encoded.

    :param audio: ComfyUI's AUDIO that belongs to the frames, or None.
    :param alpha: how opaque the pixels are, [N, H, W, 1] in 0..1, where that is not a channel of the images.
    """

    images: torch.Tensor
    fps: Fraction
    audio: dict | None = None
    variable: bool = False
    alpha: torch.Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.images.shape[1], self.images.shape[2]

    @property
    def frame_count(self) -> int:
        return self.images.shape[0]

    @property
    def report(self) -> str:
        hidden = is_transparent(self.images) or self.alpha is not None and bool((self.alpha < 1).any())
        return "transparent frames shown on black" if hidden else "every frame as it is"

    def __len__(self) -> int:
        return self.frame_count

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, image in enumerate(self.images):
            shown = opaque(image)
            if self.alpha is not None:
                shown = shown * self.alpha[number].reshape(*shown.shape[:2], 1)
            yield to_bytes(shown).numpy()


def open_video(video: Input.Video, broken: BrokenFrames = "hold") -> VideoStream | TensorStream:
    """A VIDEO as a stream of frames that honors its trim and its edits, never holding more of the clip than it
    already does, unless there are edits: ComfyUI's Crop Video and Resize Video give them as frames in memory alone.

    :raises ValueError: a video in memory whose frames are no pictures that an animator can read.
    """
    edited = getattr(video, "has_pending_frame_edits", None)  # of ComfyUI after 0.30
    if isinstance(video, InputImpl.VideoFromComponents) or edited is not None and edited():
        components = video.get_components()
        check_image(components.images)
        alpha = getattr(components, "alpha", None)  # of ComfyUI from 0.30 on
        return TensorStream(components.images, exact_rate(components.frame_rate), components.audio, alpha=alpha)
    return read_video(video.get_stream_source(), *video.get_active_trim_window(), broken=broken)

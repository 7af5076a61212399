"""Render a motion straight into a video file: the length of the clip costs disk, not memory."""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

import comfy.model_management as mm
import torch
from comfy_api.latest import Input, InputImpl, io, ui

from ..leo_core.animator import Appearance
from ..leo_core.crop import Crop, Paste, crop_subject, scaled
from ..leo_core.motion import MotionSequence
from ..leo_core.video import (
    FrameStore,
    Sound,
    VideoWriter,
    ahead,
    continued_index,
    sound_of_file,
    sound_of_tensor,
    write_loop,
)
from .support import files
from .support.chunks import PREVIEW_SIZE, Progress, Steps
from .support.fullres import FullResolutionFrames
from .support.handles import AnimatorHandle
from .support.images import check_image, is_transparent, opaque, to_bytes, to_image
from .support.rendered import losses, new_clip
from .support.rendering import render_chunks
from .support.sockets import LeoAnimator, LeoAppearance, LeoCrop, LeoMotion
from .support.status import show_status
from .support.streams import TensorStream, VideoStream, open_video
from .support.widgets import paste_inputs


class Backdrop:
    """The pictures behind the rendered subject, in the order of the frames: a photo, a batch, or a clip read as it
    goes.

    :param frames: a batch [N, H, W, C] in 0..1, or a stream of uint8 frames.
    :param fps: of the rendered frames; a clip of another rate is shown in its own time.
    """

    def __init__(self, frames: torch.Tensor | VideoStream | TensorStream, fps: Fraction):
        self.frames = frames
        self._is_batch = isinstance(frames, torch.Tensor)
        self._rate = Fraction(1) if self._is_batch else frames.fps / fps
        self.size = tuple(frames.shape[1:3]) if self._is_batch else frames.size
        self.own_count = len(frames)
        self.count = max(1, round(self.own_count / self._rate))

    def first(self) -> torch.Tensor:
        """The first picture, [H, W, C] in 0..1."""
        return self.frames[0] if self._is_batch else torch.from_numpy(next(iter(self.frames))).float() / 255

    def along(self, count: int) -> Iterator[tuple[int, torch.Tensor]]:
        """(number of its frame, uint8 [H, W, 3]) beside each of ``count`` frames: after the last frame it is held."""
        wanted = [min(math.floor(frame * self._rate), self.own_count - 1) for frame in range(count)]
        shown, stream = -1, ahead(islice(self.frames, wanted[-1] + 1))
        picture = None
        for frame in range(count):
            while shown < wanted[frame]:
                following = next(stream)
                picture = to_bytes(opaque(following)) if self._is_batch else torch.from_numpy(following)
                shown += 1
            # A photo is still while the box of its crop may follow the clip it came from.
            yield (frame if self.own_count == 1 else shown), picture


def thumbnail(frame: torch.Tensor) -> torch.Tensor:
    """A preview of a frame that may be large, [h, w, 3] in 0..1."""
    step = max(1, max(frame.shape) // PREVIEW_SIZE)
    return frame[::step, ::step].float() / 255


def find_sound(
    audio: Input.Audio | None, video: Input.Video | None, stream: VideoStream | TensorStream | None
) -> Sound | None:
    """The AUDIO if there is one, else the video's own from its first frame on, else none."""
    if audio is None and isinstance(stream, TensorStream):
        audio = stream.audio
    if audio is not None:
        return sound_of_tensor(audio["waveform"], audio["sample_rate"])
    return sound_of_file(video.get_stream_source(), stream.start) if isinstance(stream, VideoStream) else None


def continued(motion: MotionSequence, length: str, other: int | None) -> MotionSequence:
    """The motion as long as the policy asks, next to a clip or sound of ``other`` frames."""
    if other is None or length == "motion":
        return motion
    if length == "cut":
        return replace(motion, codes=motion.codes[:other])
    count = max(other, len(motion))
    return replace(motion, codes=motion.codes[[continued_index(frame, len(motion), length) for frame in range(count)]])


LOOPS = {
    "none": None,
    "GIF": ("gif", False),
    "GIF ping-pong": ("gif", True),
    "WebP": ("webp", False),
    "WebP ping-pong": ("webp", True),
}


class RenderedFace(NamedTuple):
    """One frame of the animator: its picture [H, W, 3], and a batch of one of its displacement and its mask."""

    picture: torch.Tensor
    displacement: torch.Tensor
    mask: torch.Tensor


def rendered_faces(animator: AnimatorHandle, appearance: Appearance, motion: MotionSequence) -> Iterator[RenderedFace]:
    """Frame by frame; checks for an interrupt before each."""
    for chunk in render_chunks(animator, appearance, motion):
        for index, picture in enumerate(to_image(chunk.pictures)):
            mm.throw_exception_if_processing_interrupted()
            yield RenderedFace(picture, chunk.displacement[index : index + 1], chunk.mask[index : index + 1])


def save_loop(node: type[io.ComfyNode], store: FrameStore, loop: str, prefix: str, fps: Fraction) -> ui.SavedImages:
    """Save the frames as LEO Render Video's input ``loop`` says, numbered in ComfyUI's output folder; what the node
    shows."""
    ending, ping_pong = LOOPS[loop]
    folder, name, number, subfolder = files.place_in_output(
        files.with_tokens(prefix, node.hidden and node.hidden.prompt)
    )
    file = f"{name}_{number:05}_.{ending}"
    progress = Progress(1, "encoding", node)

    def check(done: int, total: int) -> None:
        mm.throw_exception_if_processing_interrupted()
        progress.update(done, total=total)

    write_loop(os.path.join(folder, file), store, fps, ping_pong, check)
    return ui.SavedImages([ui.SavedResult(file, subfolder, io.FolderType.output)], is_animated=True)


class LEORenderVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEORenderVideo",
            display_name="LEO Render Video",
            category="LEO/core",
            description="Renders a motion of any length to a video file, chunk by chunk and with sound, in place and "
            "at the photo's size.",
            search_aliases=[
                "long video",
                "stream video",
                "animate photo",
                "save memory",
                "video with audio",
                "reenact",
            ],
            inputs=[
                LeoAnimator.Input("animator", tooltip="Animator that made the appearance and the motion."),
                LeoAppearance.Input("appearance", tooltip="The person to move, from LEO Encoder."),
                LeoMotion.Input(
                    "motion", tooltip="The poses to render, one per frame; its frame rate becomes the video's."
                ),
                LeoCrop.Input(
                    "crop", optional=True, tooltip="Where the person was cropped from, to put the frames back there."
                ),
                io.Image.Input(
                    "picture",
                    optional=True,
                    tooltip="The photo the frames go back into (or LEO Encoder's picture when nothing was cropped); a "
                    "batch is used frame by frame.",
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="Supplies the sound when no audio is connected, and the frames to paste into when a crop "
                    "but no picture is connected.",
                ),
                io.Audio.Input("audio", optional=True, tooltip="Sound for the video, starting at its first frame."),
                io.Boolean.Input(
                    "full_resolution",
                    default=False,
                    optional=True,
                    tooltip="Move the photo's own pixels, sharp at any size; the animator paints only what is "
                    "uncovered.",
                ),
                io.Int.Input(
                    "crf",
                    default=18,
                    optional=True,
                    min=0,
                    max=51,
                    tooltip="Quality of the H.264 file: 18 looks like the original, higher is a smaller file, 0 is "
                    "lossless.",
                ),
                *paste_inputs(),
                io.Combo.Input(
                    "length",
                    options=["motion", "hold", "loop", "ping-pong", "cut"],
                    default="motion",
                    optional=True,
                    tooltip="How long the video lasts: as long as the motion; held, repeated or played back and forth "
                    "until clip or sound end; or cut to the shortest.",
                ),
                io.Combo.Input(
                    "broken_frames",
                    options=["hold", "interpolate", "pass through"],
                    default="hold",
                    optional=True,
                    advanced=True,
                    tooltip="What to do with video frames that cannot be decoded: hold the last good one, blend the "
                    "neighbors, or show what can be salvaged.",
                ),
                io.Combo.Input(
                    "loop",
                    options=list(LOOPS),
                    default="none",
                    optional=True,
                    tooltip="Also save a looping animation, at most 720 pixels a side and without sound; ping-pong "
                    "plays it forward and then backward.",
                ),
                io.String.Input(
                    "loop_prefix",
                    default="leo/loop",
                    optional=True,
                    advanced=True,
                    tooltip="Name of the looping animation in ComfyUI's output folder; a number is added.",
                ),
            ],
            outputs=[io.Video.Output("video", tooltip="The finished clip on disk, for Save Video.")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> int:
        return losses(cls.hidden and cls.hidden.unique_id)

    @classmethod
    def execute(
        cls,
        animator: AnimatorHandle,
        appearance: Appearance,
        motion: MotionSequence,
        full_resolution: bool = False,
        crf: int = 18,
        feather: float = 0.1,
        region: str = "box",
        length: str = "motion",
        broken_frames: str = "hold",
        loop: str = "none",
        loop_prefix: str = "leo/loop",
        crop: Crop | None = None,
        picture: torch.Tensor | None = None,
        video=None,
        audio=None,
    ) -> io.NodeOutput:
        if LOOPS[loop] is not None:  # an invalid prefix is refused before rendering begins
            files.place_in_output(files.with_tokens(loop_prefix, cls.hidden and cls.hidden.prompt))
        stream = None if video is None else open_video(video, broken_frames)
        backdrop = cls.backdrop(crop, picture, stream, motion.fps)
        if full_resolution and backdrop is None:
            raise ValueError(
                "Full resolution moves the pixels of the original, and no picture is connected. Connect the photo that "
                "went into LEO Crop Subject or LEO Encoder to 'picture'."
            )
        motion = continued(motion, length, cls.other_length(backdrop, stream, audio, motion.fps))
        paste = full = None
        if backdrop is None:
            size = crop.size if crop is not None else (animator.config.size, animator.config.size)
        else:
            size = backdrop.size
            crop = crop or crop_subject(1, size, aspect=0)
            paste = Paste(crop, feather, region)
            if full_resolution:
                full = FullResolutionFrames(animator, appearance, crop.cut(backdrop.first()))

        steps = Steps()

        def finished(faces: Iterator[RenderedFace]) -> Iterator[torch.Tensor]:
            """The frames to write, uint8 [H, W, 3]."""
            behind = backdrop and backdrop.along(len(motion))
            for face in steps.each("networks", faces):
                picture = face.picture
                if full is not None:
                    with steps.step("full resolution"):
                        picture = full(*face)
                if paste is None:
                    yield to_bytes(scaled(picture, size))
                else:
                    place, base = next(behind)
                    yield paste(base, picture, place)

        path = new_clip(cls.hidden and cls.hidden.unique_id)
        progress = Progress(len(motion), "rendering", cls, steps)
        with ExitStack() as open_files:
            writer = open_files.enter_context(
                VideoWriter(path, size, motion.fps, crf, find_sound(audio, video, stream))
            )
            store = None
            if LOOPS[loop] is not None:
                store = open_files.enter_context(FrameStore(os.path.dirname(path), size))
            for frame in finished(rendered_faces(animator, appearance, motion)):
                with steps.step("encoding"):
                    writer.write(frame.numpy())
                if store is not None:
                    store.write(frame.numpy())
                progress.update(writer.frame_count, lambda shown=frame: thumbnail(shown))
            saved = None
            if store is not None:
                saved = save_loop(cls, store, loop, loop_prefix, motion.fps)
        cls.report(writer, motion, backdrop, stream)
        return io.NodeOutput(InputImpl.VideoFromFile(path), ui=saved)

    @staticmethod
    def backdrop(crop: Crop | None, picture: torch.Tensor | None, stream, fps: Fraction) -> Backdrop | None:
        if picture is not None:
            check_image(picture)
            return Backdrop(picture, fps)
        return Backdrop(stream, fps) if crop is not None and stream is not None else None

    @staticmethod
    def other_length(backdrop: Backdrop | None, stream, audio, fps: Fraction) -> int | None:
        """Frames of what goes along with the motion: the moving pictures behind it, else the sound; None without
        either."""
        if backdrop is not None and backdrop.own_count > 1:
            return backdrop.count
        if audio is not None:
            return max(1, math.ceil(Fraction(audio["waveform"].shape[-1], int(audio["sample_rate"])) * fps))
        return None if stream is None else max(1, round(stream.frame_count / stream.fps * fps))

    @classmethod
    def report(cls, writer: VideoWriter, motion: MotionSequence, backdrop: Backdrop | None, stream) -> None:
        message = [f"{writer.frame_count} frames at {float(motion.fps):.5g} fps, {writer.size[1]}x{writer.size[0]}"]
        if any(writer.padded):
            height, width = (side + more for side, more in zip(writer.size, writer.padded, strict=True))
            message.append(f"padded by a pixel to {width}x{height}, because H.264 needs even sides")
        if backdrop is not None and 1 < backdrop.count < writer.frame_count:
            message.append(f"the last of {backdrop.own_count} background frames is held")
        if backdrop is not None and isinstance(backdrop.frames, torch.Tensor) and is_transparent(backdrop.frames):
            message.append("transparent parts of the picture are shown on black")
        if stream is not None and stream is getattr(backdrop, "frames", None):
            message.append(f"video: {stream.report}")
        show_status(cls, "; ".join(message))


NODES: list[type[io.ComfyNode]] = [LEORenderVideo]

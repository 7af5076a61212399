"""An animator at work, chunk by chunk: encode pictures, render motion."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import comfy.model_management as mm
import torch

from ...leo_core.animator import Appearance, encode_motion
from ...leo_core.flow import FlowField
from ...leo_core.identity import require_same_animator
from ...leo_core.motion import MotionSequence, require_directions
from .chunks import Progress, in_chunks
from .handles import AnimatorHandle
from .images import as_image, to_animator, to_image

# A pose comes from a still, which has no frame rate; this one is used where a pose is joined with nothing else.
POSE_FPS = Fraction(25)


def own_pose(appearance: Appearance) -> MotionSequence:
    """The pose in which a picture shows its subject, a motion of one frame."""
    return MotionSequence(appearance.pose, POSE_FPS, appearance.animator)


def encode_appearance(handle: AnimatorHandle, image: torch.Tensor) -> Appearance:
    """One picture [1, H, W, C] read by encoder and motion head."""
    handle.load(handle.encoder, handle.motion_head)
    code, features = handle.encoder.model(handle.to_device(to_animator(image, handle.config.size)))
    pose = handle.motion_head.model(code)
    keep = mm.intermediate_device()
    return Appearance(
        code.to(keep),
        {scale: maps.to(keep) for scale, maps in features.items()},
        pose.to("cpu", torch.float32),
        handle.id,
    )


def encode_clip(handle: AnimatorHandle, frames: Iterator[torch.Tensor], progress: Progress) -> torch.Tensor:
    """Motion codes [T, D] of a stream of pictures [H, W, C], uint8 or in 0..1, never holding more than a chunk of
    them."""
    chunk = handle.load(handle.encoder, handle.motion_head)
    codes: list[torch.Tensor] = []
    while block := [to_animator(as_image(frame)[None], handle.config.size) for frame in islice(frames, chunk)]:
        pictures = torch.cat(block)

        def run(start: int, stop: int, pictures=pictures) -> torch.Tensor:
            codes = encode_motion(
                handle.encoder.model, handle.motion_head.model, handle.to_device(pictures[start:stop])
            )
            return codes.to("cpu", torch.float32)

        for start, stop, part in in_chunks(len(pictures), chunk, run):
            codes.append(part)
            if stop < len(pictures):
                chunk = stop - start  # memory ran out: the next block starts as small
        progress.update(sum(map(len, codes)), lambda shown=pictures[-1:]: to_image(shown)[0])
    return torch.cat(codes)


@dataclass(frozen=True)
class Chunk:
    """Rendered frames start..stop: pictures [n, 3, S, S] about -1..1, finest displacement and mask, on the device."""

    start: int
    stop: int
    pictures: torch.Tensor
    displacement: torch.Tensor
    mask: torch.Tensor


def latents(handle: AnimatorHandle, appearance: Appearance, motion: MotionSequence) -> torch.Tensor:
    """z + Q a for every frame, [T, style_dim] on the CPU in float32.

    :raises ValueError: a motion of another number of directions, which a damaged or forged file may hold.
    """
    require_directions("motion", motion, "animator", handle.config.directions)
    return appearance.code.to("cpu", torch.float32) + handle.dictionary(motion.codes)


def check_wiring(handle: AnimatorHandle, **values: Appearance | MotionSequence | FlowField) -> None:
    """Refuse, by name, values that another animator made."""
    for what, value in values.items():
        require_same_animator(what, value.animator, "LEO_ANIMATOR", handle.id)


def render_chunks(handle: AnimatorHandle, appearance: Appearance, motion: MotionSequence) -> Iterator[Chunk]:
    """Flow generator and decoder back to back, chunk by chunk, nothing but the current chunk in memory."""
    check_wiring(handle, appearance=appearance, motion=motion)
    chunk = handle.load(handle.flow_generator, handle.decoder)
    features = {scale: handle.to_device(maps) for scale, maps in appearance.features.items()}
    for_flow, every = handle.for_flow(features), latents(handle, appearance, motion)
    anchor = handle.anchor(for_flow, appearance)

    def run(start: int, stop: int) -> Chunk:
        displacement, mask = handle.generate_flow(for_flow, every[start:stop], anchor)
        pictures = handle.decoder.model(features, displacement, mask)
        finest = handle.config.size
        return Chunk(start, stop, pictures, displacement[finest], mask[finest])

    for _, _, result in in_chunks(len(motion), chunk, run):
        yield result

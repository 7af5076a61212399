"""LEO's four stages as nodes: encoder, motion encoder, flow generator, inpainting decoder; and the loader."""
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import comfy.model_management as mm
import comfy.model_patcher
import comfy.ops
import torch
from comfy_api.latest import io

from ..leo_core.animator import AnimatorConfig, Appearance, Direction, fast_bfloat16
from ..leo_core.animator.checkpoint import load_animator
from ..leo_core.crop import Crop
from ..leo_core.flow import FlowField
from ..leo_core.identity import AnimatorId, require_same_animator
from ..leo_core.motion import MotionSequence, exact_rate, fill_missing
from ..leo_core.video import BrokenFrames, ahead
from . import files
from .fullres import FullResolutionFrames
from .media import open_video
from .pictures import as_image, check_image, check_single, resize, to_animator, to_image
from .runtime import Progress, in_chunks, load_for_chunks
from .tell import tell
from .types import LeoAnimator, LeoAppearance, LeoCrop, LeoFlow, LeoMotion

# A pose comes from a still, which has no frame rate; this one is used where a pose is joined with nothing else.
POSE_FPS = Fraction(25)


class AnimatorHandle:
    """What a LEO_ANIMATOR socket carries: the networks, each under ComfyUI's model manager.

    :param path: of the model file; raises ValueError when it is no animator.
    """

    def __init__(self, path: str):
        self.device = mm.get_torch_device()
        offload = mm.unet_offload_device()
        self.dtype = self.flow_dtype = torch.float16 if mm.should_use_fp16(self.device) else torch.float32
        if self.device.type == "cpu" and fast_bfloat16() and not mm.FORCE_FP32:
            self.flow_dtype = torch.bfloat16
        animator, info = load_animator(path, comfy.ops.manual_cast, self.dtype, offload, self.flow_dtype)
        self.id: AnimatorId = info.id
        self.directions: dict[int, Direction] = info.directions
        self.config: AnimatorConfig = animator.config
        self.dictionary = animator.dictionary
        self.encoder, self.motion_head, self.flow_generator, self.decoder = (
            self._managed(network, offload) for network in
            (animator.encoder, animator.motion_head, animator.flow_generator, animator.decoder))

    def _managed(self, network: torch.nn.Module, offload: torch.device):
        mm.archive_model_dtypes(network)
        return comfy.model_patcher.CoreModelPatcher(network, load_device=self.device, offload_device=offload)

    def load(self, *patchers) -> int:
        """Bring networks to the device with room for a chunk; returns how many frames to run at once."""
        return load_for_chunks(list(patchers), self.device, self.config.memory_per_frame(self.dtype.itemsize))

    def to_device(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(self.device, self.dtype)

    def for_flow(self, features: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """Features as the flow generator takes them, which may be less precise than the others."""
        return {scale: maps.to(self.device, self.flow_dtype) for scale, maps in features.items()}

    def generate_flow(self, features: dict[int, torch.Tensor], latents: torch.Tensor) -> tuple[dict, dict]:
        """The flow generator on features `for_flow` and latents of any precision; displacements and masks, float32."""
        return self.flow_generator.model(features, latents.to(self.device, self.flow_dtype))


def encode_appearance(handle: AnimatorHandle, image: torch.Tensor) -> Appearance:
    """One picture [1, H, W, C] read by encoder and motion head."""
    handle.load(handle.encoder, handle.motion_head)
    code, features = handle.encoder.model(handle.to_device(to_animator(image, handle.config.size)))
    pose = handle.motion_head.model(code)
    keep = mm.intermediate_device()
    return Appearance(code.to(keep), {scale: maps.to(keep) for scale, maps in features.items()},
                      pose.to("cpu", torch.float32), handle.id)


def encode_motion(handle: AnimatorHandle, frames: Iterator[torch.Tensor], progress: Progress) -> torch.Tensor:
    """Motion codes [T, D] of a stream of pictures [H, W, C], uint8 or in 0..1, never holding more than a chunk of them."""
    chunk = handle.load(handle.encoder, handle.motion_head)
    codes: list[torch.Tensor] = []
    while block := [to_animator(as_image(frame)[None], handle.config.size) for frame in islice(frames, chunk)]:
        pictures = torch.cat(block)

        def run(start: int, stop: int, pictures=pictures) -> torch.Tensor:
            code = handle.encoder.model.codes(handle.to_device(pictures[start:stop]))
            return handle.motion_head.model(code).to("cpu", torch.float32)

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
    if motion.directions != handle.config.directions:
        raise ValueError(f"The motion has {motion.directions} directions and the animator {handle.config.directions}, though both name animator "
                         f"{handle.id}: the motion is damaged. Encode it again.")
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

    def run(start: int, stop: int) -> Chunk:
        displacement, mask = handle.generate_flow(for_flow, every[start:stop])
        pictures = handle.decoder.model(features, displacement, mask)
        finest = handle.config.size
        return Chunk(start, stop, pictures, displacement[finest], mask[finest])

    for _, _, result in in_chunks(len(motion), chunk, run):
        yield result


class LEOLoadAnimator(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOLoadAnimator",
            display_name="LEO Load Animator",
            category="LEO/load",
            description="Loads the networks that read a picture, turn motion codes into flow and paint the frames.",
            search_aliases=["LIA", "LIA-X", "image animator", "load model", "portrait animation"],
            inputs=[
                io.Combo.Input("model", options=files.list_files("animator"),
                               tooltip="LEO animator, or LIA or LIA-X weights, from ComfyUI's models/leo folder."),
            ],
            outputs=[LeoAnimator.Output("animator", tooltip="The animator, for every node that reads or renders pictures.")],
        )

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        return io.NodeOutput(AnimatorHandle(files.resolve_file(model)))


class LEOEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOEncoder",
            display_name="LEO Encoder",
            category="LEO/core",
            description="Reads one picture: what the person looks like, and the pose they are in.",
            search_aliases=["appearance", "source image", "encode picture", "reference image"],
            inputs=[
                LeoAnimator.Input("animator", tooltip="Animator to read the picture with."),
                io.Image.Input("image", tooltip="One picture of a person, best cropped to a square around them."),
            ],
            outputs=[
                LeoAppearance.Output("appearance", tooltip="The person and background, to be moved by a motion."),
                LeoMotion.Output("pose", tooltip="The picture's own motion code: a motion of one frame."),
            ],
        )

    @classmethod
    def execute(cls, animator: AnimatorHandle, image: torch.Tensor) -> io.NodeOutput:
        check_single(image, "LEO Encoder")
        appearance = encode_appearance(animator, image)
        return io.NodeOutput(appearance, MotionSequence(appearance.pose, POSE_FPS, animator.id))


class LEOMotionEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOMotionEncoder",
            display_name="LEO Motion Encoder",
            category="LEO/core",
            description="Reads the motion of a clip: a few numbers per frame, whatever its length and size.",
            search_aliases=["driving video", "motion capture", "encode video", "video to motion"],
            inputs=[
                LeoAnimator.Input("animator", tooltip="Animator to read the clip with; a motion fits only its own animator."),
                io.Video.Input("video", optional=True, tooltip="Clip to read frame by frame, without loading it whole."),
                io.Image.Input("images", optional=True, tooltip="Frames to read instead of a video."),
                LeoCrop.Input("crop", optional=True,
                              tooltip="Where the person is, from LEO Crop Subject on the first frame or on all of them; its policy fills frames "
                                      "with nobody in them."),
                io.Float.Input("fps", default=25.0, min=0.01, max=1000.0, step=0.001,
                               tooltip="Frame rate of the images, which carry none; a video brings its own."),
                io.Combo.Input("broken_frames", options=["hold", "interpolate", "pass through"], default="hold", optional=True, advanced=True,
                               tooltip="Video frames that do not decode: hold the last, blend the neighbours, or read what is salvaged."),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The motion of the clip, one code per frame.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, animator: AnimatorHandle, fps: float, video=None, images: torch.Tensor | None = None, crop: Crop | None = None,
                broken_frames: BrokenFrames = "hold") -> io.NodeOutput:
        if (video is None) == (images is None):
            raise ValueError("LEO Motion Encoder reads either a video or images: connect one of the two, found "
                             f"{'none' if video is None else 'both'}.")
        if video is not None:
            stream = open_video(video, broken_frames)
            rate, total = stream.fps, len(stream)
            frames = map(torch.from_numpy, ahead(stream))
        else:
            check_image(images)
            rate, total, frames = exact_rate(fps), images.shape[0], iter(images)
        if crop is not None:
            absent = crop.missing_of(total)
            frames = (crop.cut(frame, place) for place, frame in enumerate(frames))
        codes = encode_motion(animator, frames, Progress(total))
        said = [f"{total} frames at {float(rate):.5g} fps"]
        if video is not None:
            said.append(str(stream.report))
        if crop is not None and absent.any():
            codes = fill_missing(codes, absent, crop.policy)
            said.append(f"nobody found in {int(absent.sum())}, whose motion is {'interpolated' if crop.policy == 'interpolate' else 'held'}")
        tell(cls, "; ".join(said))
        return io.NodeOutput(MotionSequence(codes, rate, animator.id))


class LEOFlowGenerator(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOFlowGenerator",
            display_name="LEO Flow Generator",
            category="LEO/core",
            description="Turns every code of a motion into flow maps: where each pixel of the picture moves, and what it uncovers.",
            search_aliases=["flow maps", "optical flow", "warp", "motion to flow"],
            inputs=[
                LeoAnimator.Input("animator", tooltip="Animator that made the appearance and the motion."),
                LeoAppearance.Input("appearance", tooltip="The person to move, from LEO Encoder."),
                LeoMotion.Input("motion", tooltip="The poses to render, one per frame; use LEO Transfer Motion to fit another person's motion."),
            ],
            outputs=[LeoFlow.Output("flow", tooltip="Flow and mask at every scale, for LEO Inpainting Decoder.")],
        )

    @classmethod
    def execute(cls, animator: AnimatorHandle, appearance: Appearance, motion: MotionSequence) -> io.NodeOutput:
        check_wiring(animator, appearance=appearance, motion=motion)
        chunk = animator.load(animator.flow_generator)
        features, every = animator.for_flow(appearance.features), latents(animator, appearance, motion)
        # Kept in float16 on the CPU: frames change by less than 1/255, memory halves.
        displacement = {r: torch.empty(len(motion), 2, r, r, dtype=torch.float16) for r in animator.config.scales}
        mask = {r: torch.empty(len(motion), 1, r, r, dtype=torch.float16) for r in animator.config.scales}
        progress = Progress(len(motion))

        def run(start: int, stop: int):
            return animator.generate_flow(features, every[start:stop])

        for start, stop, (moved, kept) in in_chunks(len(motion), chunk, run):
            for scale in animator.config.scales:
                displacement[scale][start:stop] = moved[scale].to("cpu", torch.float16)
                mask[scale][start:stop] = kept[scale].to("cpu", torch.float16)
            progress.update(stop, lambda shown=kept[animator.config.size][-1]: shown.movedim(0, -1).expand(-1, -1, 3))
        return io.NodeOutput(FlowField(displacement, mask, animator.config.align_corners, animator.id))


class LEOInpaintingDecoder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOInpaintingDecoder",
            display_name="LEO Inpainting Decoder",
            category="LEO/core",
            description="Warps the person by the flow and paints what the warp uncovers.",
            search_aliases=["decode", "render", "inpaint", "flow to video", "warp image"],
            inputs=[
                LeoAnimator.Input("animator", tooltip="Animator that made the appearance and the flow."),
                LeoAppearance.Input("appearance", tooltip="The person to render, from LEO Encoder."),
                LeoFlow.Input("flow", tooltip="Flow maps from LEO Flow Generator, edited or not."),
                io.Image.Input("picture", optional=True,
                               tooltip="The picture given to LEO Encoder: frames then come at its own size and aspect."),
                io.Boolean.Input("full_resolution", default=False,
                                 tooltip="Move the picture's own pixels, sharp at any size; the animator paints only what is uncovered."),
            ],
            outputs=[
                io.Image.Output("images", tooltip="One frame per code of the motion."),
                io.Mask.Output("inpainted", tooltip="1 where the pixel was painted by the decoder, 0 where it was warped from the picture."),
            ],
        )

    @classmethod
    def execute(cls, animator: AnimatorHandle, appearance: Appearance, flow: FlowField, full_resolution: bool,
                picture: torch.Tensor | None = None) -> io.NodeOutput:
        check_wiring(animator, appearance=appearance, flow=flow)
        size = side = (animator.config.size, animator.config.size)
        if picture is not None:
            check_single(picture, "LEO Inpainting Decoder")
            size = tuple(picture.shape[1:3])
        elif full_resolution:
            raise ValueError("Full resolution moves the pixels of the original, and no picture is connected. Connect the "
                             "picture that went into LEO Encoder to 'picture'.")
        sharpen = FullResolutionFrames(animator, appearance, picture[0]) if full_resolution else None
        chunk = animator.load(animator.decoder)
        features = {scale: animator.to_device(maps) for scale, maps in appearance.features.items()}
        keep = {"dtype": mm.intermediate_dtype(), "device": mm.intermediate_device()}
        images, inpainted = torch.empty(len(flow), *size, 3, **keep), torch.empty(len(flow), *size, **keep)
        progress = Progress(len(flow))

        def run(start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            displacement = {r: flow.displacement[r][start:stop].to(animator.device) for r in flow.scales}
            mask = {r: flow.mask[r][start:stop].to(animator.device) for r in flow.scales}
            pictures = animator.decoder.model(features, displacement, mask)
            return pictures, displacement[side[0]], mask[side[0]].float()

        for start, stop, (pictures, moved, kept) in in_chunks(len(flow), chunk, run):
            # Frame by frame from here on, on the CPU: a photo's size may be far beyond what a chunk has memory for.
            for i, frame in enumerate(range(start, stop)):
                mm.throw_exception_if_processing_interrupted()
                inpainted[frame] = 1 - resize(kept[i:i + 1].cpu(), size)[0, 0]
                if sharpen is None:
                    images[frame] = to_image(resize(pictures[i:i + 1].cpu(), size))[0]
                else:
                    images[frame] = sharpen(to_image(pictures[i:i + 1])[0], moved[i:i + 1], kept[i:i + 1])
                progress.update(frame + 1, lambda shown=frame: images[shown])
        return io.NodeOutput(images, inpainted)


NODES: list[type[io.ComfyNode]] = [LEOLoadAnimator, LEOEncoder, LEOMotionEncoder, LEOFlowGenerator, LEOInpaintingDecoder]

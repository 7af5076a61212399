"""LEO's four stages as nodes: encoder, motion encoder, flow generator, inpainting decoder; and the loader."""

import comfy.model_management as mm
import torch
from comfy_api.latest import io

from ..leo_core.animator import Appearance
from ..leo_core.crop import Crop
from ..leo_core.flow import FlowField
from ..leo_core.motion import MotionSequence, fill_missing
from ..leo_core.rates import exact_rate
from ..leo_core.video import BrokenFrames, ahead
from .support import files
from .support.chunks import Progress, in_chunks
from .support.faces import framing_advice
from .support.fullres import FullResolutionFrames
from .support.handles import AnimatorHandle
from .support.images import check_image, is_transparent, one_picture, resize, to_image
from .support.rendering import check_wiring, encode_appearance, encode_clip, latents, own_pose
from .support.sockets import LeoAnimator, LeoAppearance, LeoCrop, LeoFlow, LeoMotion
from .support.status import show_status
from .support.streams import open_video


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
                io.Combo.Input(
                    "model",
                    options=files.list_files("animator"),
                    tooltip="LEO animator, or LIA or LIA-X weights, from ComfyUI's models/leo folder.",
                )
            ],
            outputs=[
                LeoAnimator.Output("animator", tooltip="The animator, for every node that reads or renders pictures.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model=None) -> list[tuple[int, int]]:
        return files.fingerprint(model, "animator")

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
                io.Image.Input(
                    "image",
                    tooltip="A picture of a person, ideally cropped to a square around them; only the first of a "
                    "batch is used.",
                ),
            ],
            outputs=[
                LeoAppearance.Output("appearance", tooltip="The person and background, to be moved by a motion."),
                LeoMotion.Output("pose", tooltip="The picture's own motion code: a motion of one frame."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, animator: AnimatorHandle, image: torch.Tensor) -> io.NodeOutput:
        image, left_out = one_picture(image)
        advice = framing_advice(image) if animator.config.reader else None
        transparent = "transparent parts of the picture are read on black" if is_transparent(image) else None
        if message := [line for line in (left_out, transparent, advice) if line]:
            show_status(cls, "; ".join(message))
        appearance = encode_appearance(animator, image)
        return io.NodeOutput(appearance, own_pose(appearance))


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
                LeoAnimator.Input(
                    "animator", tooltip="Animator to read the clip with; a motion fits only its own animator."
                ),
                io.Video.Input(
                    "video", optional=True, tooltip="Clip to read frame by frame, without loading it whole."
                ),
                io.Image.Input("images", optional=True, tooltip="Frames to read instead of a video."),
                LeoCrop.Input(
                    "crop",
                    optional=True,
                    tooltip="Where the person is, from LEO Crop Subject on the first frame or on all of them; its "
                    "'missing' setting decides how frames without a person are filled.",
                ),
                io.Float.Input(
                    "fps",
                    default=25.0,
                    optional=True,
                    min=0.01,
                    max=1000.0,
                    step=0.001,
                    tooltip="Frame rate of the images, which have none of their own; a video keeps its own.",
                ),
                io.Combo.Input(
                    "broken_frames",
                    options=["hold", "interpolate", "pass through"],
                    default="hold",
                    optional=True,
                    advanced=True,
                    tooltip="What to do with video frames that cannot be decoded: hold the last good one, blend the "
                    "neighbors, or read what can be salvaged.",
                ),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The motion of the clip, one code per frame.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        animator: AnimatorHandle,
        fps: float = 25.0,
        video=None,
        images: torch.Tensor | None = None,
        crop: Crop | None = None,
        broken_frames: BrokenFrames = "hold",
    ) -> io.NodeOutput:
        if (video is None) == (images is None):
            raise ValueError(
                "LEO Motion Encoder reads either a video or images: connect one of the two, found "
                f"{'none' if video is None else 'both'}."
            )
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
        codes = encode_clip(animator, frames, Progress(total, "reading", cls))
        message = [f"{total} frames at {float(rate):.5g} fps"]
        if video is not None:
            message.append(str(stream.report))
        elif is_transparent(images):
            message.append("transparent parts of the images are read on black")
        if crop is not None and absent.any():
            codes = fill_missing(codes, absent, crop.policy)
            message.append(
                f"nobody found in {int(absent.sum())} frames, whose motion is "
                f"{'interpolated' if crop.policy == 'interpolate' else 'held'}"
            )
        show_status(cls, "; ".join(message))
        return io.NodeOutput(MotionSequence(codes, rate, animator.id))


class LEOFlowGenerator(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOFlowGenerator",
            display_name="LEO Flow Generator",
            category="LEO/core",
            description="Turns every code of a motion into flow maps: where each pixel of the picture moves, and what "
            "it uncovers.",
            search_aliases=["flow maps", "optical flow", "warp", "motion to flow"],
            inputs=[
                LeoAnimator.Input("animator", tooltip="Animator that made the appearance and the motion."),
                LeoAppearance.Input("appearance", tooltip="The person to move, from LEO Encoder."),
                LeoMotion.Input(
                    "motion",
                    tooltip="The poses to render, one per frame; use LEO Transfer Motion to fit another person's "
                    "motion.",
                ),
            ],
            outputs=[LeoFlow.Output("flow", tooltip="Flow and mask at every scale, for LEO Inpainting Decoder.")],
        )

    @classmethod
    def execute(cls, animator: AnimatorHandle, appearance: Appearance, motion: MotionSequence) -> io.NodeOutput:
        check_wiring(animator, appearance=appearance, motion=motion)
        chunk = animator.load(animator.flow_generator)
        features, every = animator.for_flow(appearance.features), latents(animator, appearance, motion)
        anchor = animator.anchor(features, appearance)
        # Kept in float16 on the CPU: frames change by less than 1/255, memory halves.
        displacement = {r: torch.empty(len(motion), 2, r, r, dtype=torch.float16) for r in animator.config.scales}
        mask = {r: torch.empty(len(motion), 1, r, r, dtype=torch.float16) for r in animator.config.scales}
        progress = Progress(len(motion))

        def run(start: int, stop: int):
            return animator.generate_flow(features, every[start:stop], anchor)

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
                io.Image.Input(
                    "picture",
                    optional=True,
                    tooltip="The picture given to LEO Encoder; frames then have its size and aspect ratio.",
                ),
                io.Boolean.Input(
                    "full_resolution",
                    default=False,
                    optional=True,
                    tooltip="Move the picture's own pixels, sharp at any size; the animator paints only what is "
                    "uncovered.",
                ),
            ],
            outputs=[
                io.Image.Output("images", tooltip="One frame per code of the motion."),
                io.Mask.Output(
                    "inpainted",
                    tooltip="1 where the pixel was painted by the decoder, 0 where it was warped from the picture.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        animator: AnimatorHandle,
        appearance: Appearance,
        flow: FlowField,
        full_resolution: bool = False,
        picture: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        check_wiring(animator, appearance=appearance, flow=flow)
        size = side = (animator.config.size, animator.config.size)
        if picture is not None:
            picture, _ = one_picture(picture)  # LEO Encoder has already reported the rest of this batch
            size = tuple(picture.shape[1:3])
        elif full_resolution:
            raise ValueError(
                "Full resolution moves the pixels of the original, and no picture is connected. Connect the "
                "picture that went into LEO Encoder to 'picture'."
            )
        sharpen = FullResolutionFrames(animator, appearance, picture[0]) if full_resolution else None
        if full_resolution and is_transparent(picture):
            show_status(cls, "transparent parts of the picture are shown on black")
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
                inpainted[frame] = 1 - resize(kept[i : i + 1].cpu(), size)[0, 0]
                if sharpen is None:
                    images[frame] = to_image(resize(pictures[i : i + 1].cpu(), size))[0]
                else:
                    images[frame] = sharpen(to_image(pictures[i : i + 1])[0], moved[i : i + 1], kept[i : i + 1])
                progress.update(frame + 1, lambda shown=frame: images[shown])
        return io.NodeOutput(images, inpainted)


NODES: list[type[io.ComfyNode]] = [
    LEOLoadAnimator,
    LEOEncoder,
    LEOMotionEncoder,
    LEOFlowGenerator,
    LEOInpaintingDecoder,
]

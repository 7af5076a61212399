"""Flow as material: nodes that show LEO_FLOW and change it before it is decoded."""

import comfy.model_management as mm
import torch
from comfy_api.latest import io

from ..leo_core import flow as ops
from .support.chunks import Progress
from .support.images import check_image, is_transparent, opaque
from .support.sockets import LeoFlow
from .support.status import show_status
from .support.widgets import RAMP, over_time, timing_inputs

CATEGORY = "LEO/flow"


class LEOVisualizeFlow(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOVisualizeFlow",
            display_name="LEO Visualize Flow",
            category=CATEGORY,
            description="Shows where each pixel goes, as colors, arrows or a bent grid, and what is left for "
            "inpainting.",
            search_aliases=[
                "optical flow",
                "color wheel",
                "arrows",
                "deformation grid",
                "occlusion mask",
                "preview flow",
            ],
            inputs=[
                LeoFlow.Input("flow", tooltip="The flow to look at."),
                io.Combo.Input(
                    "view",
                    options=["color", "arrows", "grid", "warped picture"],
                    default="color",
                    optional=True,
                    tooltip="A color wheel, arrows that point where things go, a grid that bends with the picture, or "
                    "the warped picture.",
                ),
                io.Int.Input(
                    "size",
                    default=512,
                    optional=True,
                    min=64,
                    max=4096,
                    step=8,
                    tooltip="Side of the result in pixels.",
                ),
                io.Float.Input(
                    "full_color",
                    default=0.0,
                    optional=True,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="Movement shown in full color, as a fraction of the picture's width; 0 uses the largest "
                    "in the clip.",
                ),
                io.Int.Input(
                    "spacing",
                    default=24,
                    optional=True,
                    min=4,
                    max=512,
                    advanced=True,
                    tooltip="Pixels between arrows and between grid lines.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="Picture to show under arrows and grid, or to warp: the source picture that LEO Encoder "
                    "read.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="One picture per frame of the flow."),
                io.Mask.Output(
                    "inpainted",
                    tooltip="1 where the pixel is left for inpainting, 0 where it is warped from the picture.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, flow, view="color", size=512, full_color=0.0, spacing=24, image=None) -> io.NodeOutput:
        if image is not None:
            check_image(image)
            notes = [f"the first of {len(image)} pictures is used"] if len(image) > 1 else []
            image = image[:1]
            if is_transparent(image):
                notes.append("transparent parts of the picture are shown on black")
            if notes and view != "color":
                show_status(cls, "; ".join(notes))
            image = opaque(image)
        inpainted = ops.inpainted(flow, size)
        if view == "color":
            picture = ops.color(flow, size, 2 * full_color)
        elif view == "grid":
            picture = ops.grid(flow, size, spacing, image)
        else:
            picture = cls.on_picture(flow, view, size, spacing, image)
        return io.NodeOutput(picture, inpainted)

    @classmethod
    def on_picture(cls, flow, view, size, spacing, image) -> torch.Tensor:
        def progress(done: int) -> None:
            mm.throw_exception_if_processing_interrupted()
            bar.update(done)

        bar = Progress(len(flow))
        if image is None:
            if view == "warped picture":
                raise ValueError(
                    "The view 'warped picture' needs a picture to warp. Connect the source picture to the image input."
                )
            return ops.arrows(flow, torch.ones(1, size, size, 3), spacing, progress)
        square = ops.resize(image.movedim(-1, 1).float(), size).clamp(0, 1)
        if view == "arrows":
            return ops.arrows(flow, square.movedim(1, -1), spacing, progress)
        return ops.warp_picture(square, flow).movedim(1, -1)


class LEOEditFlow(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOEditFlow",
            display_name="LEO Edit Flow",
            category=CATEGORY,
            description="Weakens, mixes, pushes or freezes flow maps before LEO Inpainting Decoder paints them.",
            search_aliases=[
                "freeze region",
                "flow strength",
                "blend flow",
                "hold still",
                "logo",
                "add flow",
                "warp field",
            ],
            inputs=[
                LeoFlow.Input("flow", tooltip="The flow to edit."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    optional=True,
                    min=-2.0,
                    max=4.0,
                    step=0.01,
                    tooltip="Scales every displacement: 1 changes nothing, 0 leaves everything in its place.",
                ),
                LeoFlow.Input(
                    "blend_with",
                    optional=True,
                    tooltip="Another flow from the same animator to mix in, with as many frames or just one.",
                ),
                io.Float.Input(
                    "blend",
                    default=0.5,
                    optional=True,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How much of the other flow to mix in, if one is connected.",
                ),
                *timing_inputs("the blend"),
                io.Image.Input(
                    "push",
                    optional=True,
                    tooltip="Your own displacement as a picture, added last: red moves right, green moves down, darker "
                    "than gray moves left and up.",
                ),
                io.Float.Input(
                    "push_reach",
                    default=0.1,
                    optional=True,
                    min=-1.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Movement at full red or green in the push picture, as a fraction of the picture's width.",
                ),
                io.Mask.Input(
                    "freeze",
                    optional=True,
                    tooltip="Region to hold still, such as hands or a logo; it overrides everything else.",
                ),
                LeoFlow.Input(
                    "still",
                    optional=True,
                    tooltip="How the frozen region looks at rest: the flow of the source's own pose; without it, the "
                    "untouched picture.",
                ),
            ],
            outputs=[LeoFlow.Output("flow", tooltip="The edited flow, for LEO Inpainting Decoder.")],
        )

    @classmethod
    def execute(
        cls,
        flow,
        strength=1.0,
        blend=0.5,
        timing="constant",
        curve=RAMP,
        push_reach=0.1,
        blend_with=None,
        push=None,
        freeze=None,
        still=None,
    ) -> io.NodeOutput:
        flow = ops.scale_strength(flow, strength)
        if blend_with is not None:
            flow = ops.blend_flows(flow, blend_with, over_time(timing, curve, blend, max(len(flow), len(blend_with))))
        if push is not None:
            flow = ops.add_displacement(flow, ops.displacement_from_picture(push, push_reach))
        if freeze is not None:
            flow = ops.freeze(flow, freeze, still)
        return io.NodeOutput(flow)


NODES: list[type[io.ComfyNode]] = [LEOVisualizeFlow, LEOEditFlow]

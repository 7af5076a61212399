"""Motion as material: nodes that take LEO_MOTION apart and put it together again."""
from comfy_api.latest import io

from ..leo_core import motion as ops
from .types import LeoMotion

CATEGORY = "LEO/motion"


class LEOTransferMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOTransferMotion",
            display_name="LEO Transfer Motion",
            category=CATEGORY,
            description="Puts the motion of one subject on the subject of the source picture.",
            search_aliases=["retarget motion", "driving video", "relative motion", "absolute motion", "reenact", "LIA"],
            inputs=[
                LeoMotion.Input("source_pose", tooltip="The pose of the picture to animate, from LEO Encoder."),
                LeoMotion.Input("driving", tooltip="The motion to follow, from a video, a file or the sampler."),
                io.Combo.Input(
                    "mode",
                    options=["relative", "absolute"],
                    default="relative",
                    tooltip="Relative adds the driver's change of pose to the source's own pose; absolute takes over the driver's poses as they are.",
                ),
                io.Combo.Input(
                    "reference",
                    options=["first frame", "best match", "frame index"],
                    default="first frame",
                    tooltip="The driving frame that counts as the source's own pose in relative mode; best match takes the one nearest to it.",
                ),
                io.Int.Input(
                    "reference_frame",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="The driving frame to use as reference when reference is 'frame index', counted from 0.",
                    advanced=True,
                ),
                io.Float.Input(
                    "gain",
                    default=1.0,
                    min=-4.0,
                    max=4.0,
                    step=0.01,
                    tooltip="How far the motion is followed: 0 holds the source's pose, 1 follows fully, more exaggerates.",
                ),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The poses to render the source picture with, one for each driving frame.")],
        )

    @classmethod
    def execute(cls, source_pose, driving, mode, reference, reference_frame, gain) -> io.NodeOutput:
        frame = {"first frame": 0, "frame index": reference_frame}.get(reference)
        if frame is None:
            frame = ops.closest_frame(driving, source_pose)
        return io.NodeOutput(ops.transfer(driving, source_pose, mode, frame, gain))


NODES: list[type[io.ComfyNode]] = [LEOTransferMotion]

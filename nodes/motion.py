"""Motion as material: nodes that take LEO_MOTION apart and put it together again."""

from comfy_api.latest import io, ui

from ..leo_core import motion as ops
from ..leo_core.animator import Appearance
from ..leo_core.directions import describe, deviations, read_amounts, read_choice
from ..leo_core.motion import MotionSequence
from ..leo_core.rates import exact_rate
from .support.handles import AnimatorHandle
from .support.images import to_image
from .support.rendering import render_chunks
from .support.sockets import LeoAnimator, LeoAppearance, LeoMotion
from .support.widgets import NAMES_TOOLTIP, RAMP, known_directions, over_time, timing_inputs

CATEGORY = "LEO/motion"
AS_IT_IS = {"timing": "as it is"}


def timeline(motion: MotionSequence) -> dict:
    """What web/leo_timeline.js draws on the node."""
    return {"leo_motion": [{"frames": len(motion), "fps": float(motion.fps), "curves": ops.outline(motion)}]}


class LEOTransferMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOTransferMotion",
            display_name="LEO Transfer Motion",
            category=CATEGORY,
            description="Applies one subject's motion to the subject of the source picture.",
            search_aliases=["retarget motion", "driving video", "relative motion", "absolute motion", "reenact", "LIA"],
            inputs=[
                # first: what a bypassed node hands on
                LeoMotion.Input("driving", tooltip="The motion to follow, from a video, a file or the sampler."),
                LeoMotion.Input("source_pose", tooltip="The pose of the picture to animate, from LEO Encoder."),
                io.Combo.Input(
                    "mode",
                    options=["relative", "absolute"],
                    default="relative",
                    optional=True,
                    tooltip="Relative adds the driver's change of pose to the source's own pose; absolute uses "
                    "the driver's poses as they are.",
                ),
                io.Combo.Input(
                    "reference",
                    options=["first frame", "best match", "frame index"],
                    default="first frame",
                    optional=True,
                    tooltip="The driving frame that counts as the source's own pose in relative mode; best match "
                    "takes the one nearest to it.",
                ),
                io.Int.Input(
                    "reference_frame",
                    default=0,
                    optional=True,
                    min=0,
                    max=10_000_000,
                    tooltip="The driving frame to use as reference when reference is 'frame index', counted from 0.",
                    advanced=True,
                ),
                io.Float.Input(
                    "gain",
                    default=1.0,
                    optional=True,
                    min=-4.0,
                    max=4.0,
                    step=0.01,
                    tooltip="How far the motion is followed: 0 holds the source's pose, 1 follows it fully, more "
                    "exaggerates it.",
                ),
                io.String.Input(
                    "direction_gains",
                    default="",
                    multiline=True,
                    optional=True,
                    advanced=True,
                    tooltip="Extra gains for individual directions, one per line, such as '7: 0.5'; directions that "
                    "are not listed use 1.",
                ),
                LeoAnimator.Input("animator", optional=True, tooltip=NAMES_TOOLTIP),
            ],
            outputs=[
                LeoMotion.Output(
                    "motion", tooltip="The poses to render the source picture with, one for each driving frame."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        source_pose,
        driving,
        mode="relative",
        reference="first frame",
        reference_frame=0,
        gain=1.0,
        direction_gains="",
        animator=None,
    ) -> io.NodeOutput:
        frame = {"first frame": 0, "frame index": reference_frame}.get(reference)
        if frame is None:
            frame = ops.closest_frame(driving, source_pose)
        known = known_directions(animator, driving)
        gains = read_amounts(direction_gains, driving.directions, known, unlisted=1.0)
        return io.NodeOutput(ops.transfer(driving, source_pose, mode, frame, gain * gains))


class LEOEditDirections(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOEditDirections",
            display_name="LEO Edit Directions",
            category=CATEGORY,
            description="Moves a pose or a whole motion along the animator's directions: turn the head, open the "
            "mouth.",
            search_aliases=["expression editor", "pose sliders", "head rotation", "smile", "keyframes", "retargeting"],
            has_intermediate_output=True,
            inputs=[
                LeoMotion.Input("motion", tooltip="The motion or the pose to edit."),
                io.String.Input(
                    "edits",
                    default="",
                    optional=True,
                    multiline=True,
                    tooltip="One direction and amount per line, like '7: 1.5' or 'smile: 0.5', in standard deviations "
                    "of what the animator has seen.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    optional=True,
                    min=-4.0,
                    max=4.0,
                    step=0.01,
                    tooltip="Scales all the edits together; 0 changes nothing.",
                ),
                *timing_inputs("the edit"),
                LeoAnimator.Input(
                    "animator",
                    optional=True,
                    tooltip="Supplies the directions' names and standard deviations; without it, directions are "
                    "numbers and amounts are in the code's own units.",
                ),
                LeoAppearance.Input(
                    "appearance",
                    optional=True,
                    tooltip="If the animator is connected too, every run shows this picture in the edited pose on the "
                    "node.",
                ),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The edited motion, as long as the input.")],
        )

    @classmethod
    def execute(
        cls, motion, edits="", strength=1.0, timing="constant", curve=RAMP, animator=None, appearance=None
    ) -> io.NodeOutput:
        known = known_directions(animator, motion)
        amounts = read_amounts(edits, motion.directions, known) * deviations(motion.directions, known)
        weights = over_time(timing, curve, strength, len(motion))
        edited = ops.edit_directions(motion, amounts, weights)
        shown = {"leo_directions": describe(motion.directions, known), **timeline(edited)}
        if animator is not None and appearance is not None:
            shown |= cls.preview(animator, appearance, ops.trim(edited, int(weights.abs().argmax()), 1))
        return io.NodeOutput(edited, ui=shown)

    @classmethod
    def preview(cls, animator: AnimatorHandle, appearance: Appearance, pose: MotionSequence) -> dict:
        """The frame where the edit is strongest, rendered from the appearance that is already encoded."""
        rendered = next(render_chunks(animator, appearance, pose))
        return ui.PreviewImage(to_image(rendered.pictures), cls=cls).as_dict()


class LEOBlendMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOBlendMotion",
            display_name="LEO Blend Motion",
            category=CATEGORY,
            description="Mixes two motions by a constant weight or along a curve; a pose mixes with every frame of the "
            "other motion.",
            search_aliases=["mix motion", "crossfade", "interpolate poses", "lerp"],
            has_intermediate_output=True,
            inputs=[
                LeoMotion.Input("first", tooltip="The motion at weight 0."),
                LeoMotion.Input("second", tooltip="The motion at weight 1."),
                io.Float.Input(
                    "weight",
                    default=0.5,
                    optional=True,
                    min=-1.0,
                    max=2.0,
                    step=0.01,
                    tooltip="How much of the second motion: 0 is exactly the first, 1 exactly the second, and values "
                    "beyond exaggerate the difference.",
                ),
                *timing_inputs("the weight"),
                io.Combo.Input(
                    "lengths",
                    options=["cut to the shorter", "retime the second"],
                    default="cut to the shorter",
                    optional=True,
                    tooltip="What to do when the second motion is longer or shorter than the first.",
                ),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The mixed motion, at the first motion's frame rate.")],
        )

    @classmethod
    def execute(
        cls, first, second, weight=0.5, timing="constant", curve=RAMP, lengths="cut to the shorter"
    ) -> io.NodeOutput:
        if len(first) > 1 and len(second) > 1:
            second = ops.change_rate(second, first.fps)
            if lengths == "retime the second":
                second = ops.stretch(second, len(first))
            shorter = min(len(first), len(second))
            first, second = ops.trim(first, 0, shorter), ops.trim(second, 0, shorter)
        weights = over_time(timing, curve, weight, max(len(first), len(second)))
        mixed = ops.blend(first, second, weights)
        return io.NodeOutput(mixed, ui=timeline(mixed))


class LEORetimeMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEORetimeMotion",
            display_name="LEO Retime Motion",
            category=CATEGORY,
            description="Plays a motion at another frame rate, length or speed, in reverse, or back and forth.",
            search_aliases=[
                "slow motion",
                "speed",
                "frame rate",
                "fps",
                "reverse",
                "ping-pong",
                "boomerang",
                "resample",
            ],
            inputs=[
                LeoMotion.Input("motion", tooltip="The motion to retime."),
                io.Combo.Input(
                    "playback",
                    options=["forward", "reverse", "ping-pong"],
                    default="forward",
                    optional=True,
                    tooltip="Forward, in reverse, or back and forth; ping-pong loops without doubling the frames where "
                    "it turns.",
                ),
                io.DynamicCombo.Input(
                    "timing",
                    optional=True,
                    options=[
                        io.DynamicCombo.Option("as it is", []),
                        io.DynamicCombo.Option(
                            "speed",
                            [
                                io.Float.Input(
                                    "speed",
                                    default=1.0,
                                    optional=True,
                                    min=0.01,
                                    max=100.0,
                                    step=0.01,
                                    tooltip="2 plays twice as fast in half the frames, 0.5 is slow motion; the frame "
                                    "rate stays the same.",
                                )
                            ],
                        ),
                        io.DynamicCombo.Option(
                            "frames",
                            [
                                io.Int.Input(
                                    "frames",
                                    default=64,
                                    optional=True,
                                    min=1,
                                    max=10_000_000,
                                    tooltip="Number of frames in the result; the first and last poses and the frame "
                                    "rate stay the same.",
                                )
                            ],
                        ),
                        io.DynamicCombo.Option(
                            "frame rate",
                            [
                                io.Float.Input(
                                    "fps",
                                    default=25.0,
                                    optional=True,
                                    min=0.01,
                                    max=1000.0,
                                    step=0.001,
                                    tooltip="Frames per second of the result; the movement takes as long as before.",
                                )
                            ],
                        ),
                    ],
                    tooltip="What to change: the speed, the number of frames at the same rate, or the rate over the "
                    "same duration.",
                ),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The retimed motion.")],
        )

    @classmethod
    def execute(cls, motion, playback="forward", timing=AS_IT_IS) -> io.NodeOutput:
        if timing["timing"] == "speed":
            motion = ops.change_speed(motion, timing.get("speed", 1.0))
        elif timing["timing"] == "frames":
            motion = ops.stretch(motion, timing.get("frames", 64))
        elif timing["timing"] == "frame rate":
            motion = ops.change_rate(motion, exact_rate(timing.get("fps", 25.0)))
        play = {"forward": lambda m: m, "reverse": ops.reverse, "ping-pong": ops.ping_pong}[playback]
        return io.NodeOutput(play(motion))


class LEOTrimMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOTrimMotion",
            display_name="LEO Trim Motion",
            category=CATEGORY,
            description="Cuts a motion down to one part; a single frame is a pose.",
            search_aliases=["cut motion", "crop in time", "pick pose", "frame from motion", "timeline"],
            has_intermediate_output=True,
            inputs=[
                LeoMotion.Input("motion", tooltip="The motion to cut."),
                io.Int.Input(
                    "start",
                    default=0,
                    optional=True,
                    min=0,
                    max=10_000_000,
                    tooltip="First frame to keep, counted from 0.",
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    optional=True,
                    min=0,
                    max=10_000_000,
                    tooltip="How many frames to keep; 0 keeps all that follow.",
                ),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The part that was kept.")],
        )

    @classmethod
    def execute(cls, motion, start=0, frames=0) -> io.NodeOutput:
        return io.NodeOutput(ops.trim(motion, start, frames or None), ui=timeline(motion))


class LEOSmoothMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOSmoothMotion",
            display_name="LEO Smooth Motion",
            category=CATEGORY,
            description="Removes jitter without adding delay; the mean pose and the first and last frames stay the "
            "same.",
            search_aliases=["denoise motion", "jitter", "stabilize", "low-pass", "shake", "flicker"],
            inputs=[
                LeoMotion.Input("motion", tooltip="The motion to smooth."),
                io.Float.Input(
                    "seconds",
                    default=0.3,
                    optional=True,
                    min=0.0,
                    max=20.0,
                    step=0.01,
                    tooltip="Movements with this period are halved, faster ones are removed, slower ones stay.",
                ),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The smoothed motion, as long as the input.")],
        )

    @classmethod
    def execute(cls, motion, seconds=0.3) -> io.NodeOutput:
        return io.NodeOutput(ops.smooth(motion, seconds))


class LEOAmplifyMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOAmplifyMotion",
            display_name="LEO Amplify Motion",
            category=CATEGORY,
            description="Makes a motion larger or smaller around its mean pose.",
            search_aliases=["exaggerate", "dampen", "motion strength", "scale motion"],
            inputs=[
                LeoMotion.Input("motion", tooltip="The motion to scale."),
                io.Float.Input(
                    "gain",
                    default=1.5,
                    optional=True,
                    min=-4.0,
                    max=4.0,
                    step=0.01,
                    tooltip="0 holds the mean pose, 1 changes nothing, more exaggerates, below 0 mirrors the motion.",
                ),
                io.String.Input(
                    "direction_gains",
                    default="",
                    multiline=True,
                    optional=True,
                    advanced=True,
                    tooltip="Extra gains for individual directions, one per line, such as '7: 0.5'; directions that "
                    "are not listed use 1.",
                ),
                LeoAnimator.Input("animator", optional=True, tooltip=NAMES_TOOLTIP),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The scaled motion, with the same mean pose.")],
        )

    @classmethod
    def execute(cls, motion, gain=1.5, direction_gains="", animator=None) -> io.NodeOutput:
        gains = read_amounts(direction_gains, motion.directions, known_directions(animator, motion), unlisted=1.0)
        return io.NodeOutput(ops.amplify(motion, gain * gains))


class LEOSelectDirections(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOSelectDirections",
            display_name="LEO Select Directions",
            category=CATEGORY,
            description="Keeps the motion in some directions only and holds the others still: just the head, or just "
            "the mouth.",
            search_aliases=["filter motion", "only head", "only expression", "mask directions", "component"],
            inputs=[
                LeoMotion.Input("motion", tooltip="The motion to select from."),
                io.String.Input(
                    "directions",
                    default="",
                    optional=True,
                    multiline=True,
                    tooltip="Directions separated by commas or line breaks: numbers, ranges like 3-7, or names.",
                ),
                io.Combo.Input(
                    "action",
                    options=["keep", "hold"],
                    default="keep",
                    optional=True,
                    tooltip="Keep the movement of the listed directions and hold all others, or the other way round.",
                ),
                io.Combo.Input(
                    "rest",
                    options=["first frame", "mean pose"],
                    default="first frame",
                    optional=True,
                    tooltip="The pose that held directions stay in, unless a rest pose is connected.",
                ),
                LeoMotion.Input(
                    "rest_pose",
                    optional=True,
                    tooltip="Pose that held directions stay in, for instance the source's own pose from LEO Encoder.",
                ),
                LeoAnimator.Input("animator", optional=True, tooltip=NAMES_TOOLTIP),
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The motion with the other directions held still.")],
        )

    @classmethod
    def execute(
        cls, motion, directions="", action="keep", rest="first frame", rest_pose=None, animator=None
    ) -> io.NodeOutput:
        chosen = read_choice(directions, motion.directions, known_directions(animator, motion))
        if rest_pose is None and rest == "mean pose":
            rest_pose = ops.mean_pose(motion)
        return io.NodeOutput(ops.select_directions(motion, chosen if action == "keep" else ~chosen, rest_pose))


class LEOPlotMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOPlotMotion",
            display_name="LEO Plot Motion",
            category=CATEGORY,
            description="Plots each direction of a motion over time, all on the same scale.",
            search_aliases=["motion curves", "graph", "chart", "visualize motion", "inspect motion", "timeline"],
            is_output_node=True,
            inputs=[
                LeoMotion.Input("motion", tooltip="The motion to plot."),
                io.Int.Input(
                    "width", default=960, optional=True, min=200, max=4096, tooltip="Width of the picture in pixels."
                ),
                io.Int.Input(
                    "strip",
                    default=48,
                    optional=True,
                    min=16,
                    max=512,
                    tooltip="Height of each direction's strip in pixels.",
                ),
                LeoMotion.Input(
                    "behind",
                    optional=True,
                    tooltip="Another motion to draw in gray behind it, such as the motion before an edit.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The plot, one strip per direction, with direction 0 at the top.")
            ],
        )

    @classmethod
    def execute(cls, motion, width=960, strip=48, behind=None) -> io.NodeOutput:
        return io.NodeOutput(ops.plot(motion, behind, width, strip), ui=timeline(motion))


NODES: list[type[io.ComfyNode]] = [
    LEOTransferMotion,
    LEOEditDirections,
    LEOBlendMotion,
    LEORetimeMotion,
    LEOTrimMotion,
    LEOSmoothMotion,
    LEOAmplifyMotion,
    LEOSelectDirections,
    LEOPlotMotion,
]

"""Faces from outside drive LEO: landmarks of ComfyUI's detector and recordings of face capture become LEO_MOTION."""

import os
from fractions import Fraction

import folder_paths
from comfy_api.latest import io, ui

from ..leo_core import face
from ..leo_core.animator import Direction
from ..leo_core.directions import read_amounts
from ..leo_core.identity import require_same_animator
from ..leo_core.rates import exact_rate
from .support import files
from .support.handles import AnimatorHandle
from .support.sockets import LeoAnimator, LeoMotion
from .support.status import show_status
from .support.widgets import choice_inputs

CATEGORY = "LEO/motion"
CONTROLS = {i: Direction(control.name, control.low, control.high) for i, control in enumerate(face.CONTROLS)}
FaceLandmarks = io.Custom("FACE_LANDMARKS")
RECORDINGS = (".csv", ".json")


def recordings() -> list[str]:
    """Files of face capture in ComfyUI's input folder, below it too, and those of the pack's samples."""
    root = folder_paths.get_input_directory()
    found = [
        os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")
        for folder, _, names in os.walk(root)
        for name in names
        if name.lower().endswith(RECORDINGS) and os.path.isfile(os.path.join(folder, name))  # no link to nowhere
    ]
    return sorted(found) + sorted(path.name for path in files.PACK_SAMPLES.iterdir() if path.suffix in RECORDINGS)


def recording(name: str) -> str:
    """Full path of a listed recording. :raises ValueError: it is not listed."""
    if name not in recordings():
        raise ValueError(
            f"'{name}' is neither in ComfyUI's input folder nor a sample. Put the .csv or .json file into "
            f"{folder_paths.get_input_directory()}, and press R in ComfyUI."
        )
    path = os.path.join(folder_paths.get_input_directory(), name)
    return path if os.path.isfile(path) else str(files.PACK_SAMPLES / name)


def group_inputs() -> list[io.Input]:
    """A gain for each group of controls, and for single ones."""
    about = {
        "head": "turn, nod and tilt follow",
        "place": "the head's position and distance follow",
        "mouth": "jaw and lips follow",
        "eyes": "the eyelids follow",
        "brows": "the brows follow",
        "gaze": "the gaze follows",
    }
    return [
        *(
            io.Float.Input(
                group,
                default=1.0,
                optional=True,
                min=-4.0,
                max=4.0,
                step=0.01,
                tooltip=f"How far {about[group]} the face; 0 means no movement.",
            )
            for group in face.GROUPS
        ),
        io.String.Input(
            "control_gains",
            default="",
            multiline=True,
            optional=True,
            advanced=True,
            tooltip="Extra gains for individual controls, one per line, such as 'smile: 1.5' or 'nod: -1'; controls "
            "that are not listed use 1.",
        ),
    ]


def calibration_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "calibration",
            options=["automatic", "neutral frame", "absolute"],
            default="automatic",
            optional=True,
            tooltip="What counts as this face at rest: found automatically in the clip, a frame that you choose, or "
            "the mean face of many people.",
        ),
        io.Int.Input(
            "neutral_frame",
            default=0,
            optional=True,
            min=0,
            max=10_000_000,
            advanced=True,
            tooltip="The frame at rest when calibration is 'neutral frame', counted from 0.",
        ),
        io.Float.Input(
            "smooth",
            default=0.2,
            optional=True,
            min=0.0,
            max=5.0,
            step=0.01,
            tooltip="Seconds over which jitter is smoothed out of the head, less on the face, while blinks stay quick; "
            "0 changes nothing.",
        ),
    ]


def missing_input() -> io.Input:
    return io.Combo.Input(
        "missing",
        options=["interpolate", "hold"],
        default="interpolate",
        optional=True,
        tooltip="Frames without a face: interpolate to the next one with a face, or hold the last.",
    )


def to_motion(
    controls,
    fps: Fraction,
    animator: AnimatorHandle,
    calibration: str,
    neutral_frame: int,
    smooth: float,
    missing: str,
    groups: dict[str, float],
    control_gains: str,
):
    """Controls as they were measured -> the motion, and the directions that nothing moves."""
    controls = face.filled(controls, missing)
    controls = face.calibrated(controls, calibration, neutral_frame)
    gains = read_amounts(control_gains, len(CONTROLS), CONTROLS, unlisted=1.0).numpy() * face.gains(groups)
    controls = face.smoothed(controls, smooth, fps) * gains
    return face.driven(controls, fps, animator.id, animator.config.directions, animator.directions)


def said(frames: int, fps: Fraction, absent: int, missing: str, idle: list[str]) -> str:
    """What was done, in a line for people."""
    return "; ".join(
        filter(
            None,
            [
                f"{frames} frames at {float(fps):.5g} fps",
                f"no face in {absent} frames: {missing}" if absent else "",
                f"at rest, because nothing moves them: {', '.join(idle)}" if idle else "",
            ],
        )
    )


class LEOMotionFromFace(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOMotionFromFace",
            display_name="LEO Motion From Face",
            category=CATEGORY,
            description="Turns face landmarks into motion for any animator with named directions, whoever the driver "
            "is.",
            search_aliases=[
                "face landmarks",
                "mediapipe",
                "ARKit",
                "blendshapes",
                "drive with face",
                "retarget expression",
                "puppet",
            ],
            inputs=[
                LeoAnimator.Input(
                    "animator",
                    tooltip="The animator to drive; its directions need names, like those of leo-face-128 and LIA-X.",
                ),
                FaceLandmarks.Input(
                    "face_landmarks", tooltip="From Detect Face Landmarks (MediaPipe), one entry per frame."
                ),
                io.Video.Input(
                    "video", optional=True, tooltip="The clip the landmarks come from, used for its frame rate."
                ),
                io.Float.Input(
                    "fps",
                    default=25.0,
                    optional=True,
                    min=0.01,
                    max=1000.0,
                    step=0.001,
                    tooltip="Frame rate of the landmarks when no video is connected.",
                ),
                *calibration_inputs(),
                missing_input(),
                *group_inputs(),
                io.Combo.Input(
                    "person",
                    options=["largest", "nearest", "index"],
                    default="largest",
                    optional=True,
                    tooltip="Which of several faces: the largest, nearest to a point, or by number; then followed "
                    "over the clip.",
                ),
                *choice_inputs("Number of the face in the detector's order, from 0."),
            ],
            outputs=[
                LeoMotion.Output(
                    "motion", tooltip="The face's motion, for LEO Transfer Motion or straight for rendering."
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        animator: AnimatorHandle,
        face_landmarks,
        fps=25.0,
        calibration="automatic",
        neutral_frame=0,
        smooth=0.2,
        missing="interpolate",
        person="largest",
        index=0,
        point_x=0.5,
        point_y=0.5,
        head=1.0,
        place=1.0,
        mouth=1.0,
        eyes=1.0,
        brows=1.0,
        gaze=1.0,
        control_gains="",
        video=None,
    ) -> io.NodeOutput:
        seen = face.read_detections(face_landmarks, person, index, (point_x, point_y))
        rate = exact_rate(fps)
        if video is not None:
            rate = cls.rate_of(video, seen)
        controls = seen.controls()
        if calibration != "absolute":
            controls = face.steady_place(controls)
        groups = {"head": head, "place": place, "mouth": mouth, "eyes": eyes, "brows": brows, "gaze": gaze}
        motion, idle = to_motion(
            controls, rate, animator, calibration, neutral_frame, smooth, missing, groups, control_gains
        )
        show_status(cls, said(len(motion), rate, seen.missing, missing, idle))
        return io.NodeOutput(motion)

    @staticmethod
    def rate_of(video, seen: face.Detections) -> Fraction:
        """:raises ValueError: the landmarks come from pictures of another size."""
        width, height = video.get_dimensions()
        # a clip's size is that of its file, which may lie on its side
        if seen.size not in ((height, width), (width, height)):
            raise ValueError(
                f"The landmarks come from pictures of {seen.size[1]}x{seen.size[0]}, the video has {width}x{height}. "
                "Connect the clip they come from, or none and its frame rate as fps."
            )
        return exact_rate(video.get_frame_rate())


class LEOLoadFaceCapture(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOLoadFaceCapture",
            display_name="LEO Load Face Capture",
            category=CATEGORY,
            description="Reads a face capture recording (Live Link Face CSV or JSON of ARKit weights) as motion for an "
            "animator.",
            search_aliases=[
                "Live Link Face",
                "ARKit",
                "blendshapes",
                "iPhone face capture",
                "mocap",
                "import csv",
                "Audio2Face",
            ],
            has_intermediate_output=True,
            inputs=[
                LeoAnimator.Input(
                    "animator",
                    tooltip="The animator to drive; its directions need names, like those of leo-face-128 and LIA-X.",
                ),
                io.Combo.Input(
                    "file",
                    options=recordings(),
                    tooltip="A .csv or .json in ComfyUI's input folder, or the pack's sample.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    optional=True,
                    min=0.0,
                    max=1000.0,
                    step=0.001,
                    tooltip="Frame rate to use if the file gives none or a wrong one; 0 uses the file's own.",
                ),
                *calibration_inputs(),
                missing_input(),
                *group_inputs(),
            ],
            outputs=[
                LeoMotion.Output(
                    "motion", tooltip="The recorded motion, for LEO Transfer Motion or straight for rendering."
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file=None, **_) -> list[tuple[int, int]]:
        stats = [
            os.stat(recording(name)) for name in (recordings() if file is None else [file])
        ]  # none where the name comes over a link
        return [(stat.st_mtime_ns, stat.st_size) for stat in stats]

    @classmethod
    def execute(
        cls,
        animator: AnimatorHandle,
        file,
        fps=0.0,
        calibration="automatic",
        neutral_frame=0,
        smooth=0.2,
        missing="interpolate",
        head=1.0,
        place=1.0,
        mouth=1.0,
        eyes=1.0,
        brows=1.0,
        gaze=1.0,
        control_gains="",
    ) -> io.NodeOutput:
        groups = {"head": head, "place": place, "mouth": mouth, "eyes": eyes, "brows": brows, "gaze": gaze}
        capture = face.load_capture(recording(file), fps)
        motion, idle = to_motion(
            capture.controls(),
            capture.fps,
            animator,
            calibration,
            neutral_frame,
            smooth,
            missing,
            groups,
            control_gains,
        )
        return io.NodeOutput(motion, ui=ui.PreviewText(said(len(motion), capture.fps, capture.missing, missing, idle)))


class LEOSaveFaceCapture(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOSaveFaceCapture",
            display_name="LEO Save Face Capture",
            category=CATEGORY,
            description="Writes a motion as a Live Link Face CSV, which game engines and Blender can use to drive "
            "other faces.",
            search_aliases=["export csv", "Live Link Face", "ARKit", "blendshapes", "MetaHuman", "export motion"],
            is_output_node=True,
            inputs=[
                LeoAnimator.Input(
                    "animator",
                    tooltip="The animator the motion belongs to; its directions must be named after face controls.",
                ),
                LeoMotion.Input("motion", tooltip="The motion to write."),
                io.String.Input(
                    "filename_prefix",
                    default="leo/face",
                    optional=True,
                    tooltip="Folder and name in ComfyUI's output folder; a number is added.",
                ),
            ],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, animator: AnimatorHandle, motion, filename_prefix="leo/face") -> io.NodeOutput:
        require_same_animator("motion", motion.animator, "LEO_ANIMATOR", animator.id)
        folder, name, counter, subfolder = files.place_in_output(
            files.with_tokens(filename_prefix, cls.hidden and cls.hidden.prompt)
        )
        file = f"{name}_{counter:05}_.csv"
        face.save_capture(os.path.join(folder, file), face.to_controls(motion, animator.directions), motion.fps)
        return io.NodeOutput(
            ui=ui.PreviewText(f"{os.path.join(subfolder, file)}: {len(motion)} frames at {float(motion.fps):.5g} fps")
        )


NODES: list[type[io.ComfyNode]] = [LEOMotionFromFace, LEOLoadFaceCapture, LEOSaveFaceCapture]

"""Motion in files: save and load."""

import os

from comfy_api.latest import io, ui

from ..leo_core import motion as ops
from ..leo_core.motion import MotionSequence
from .support import files
from .support.sockets import LeoMotion


def summary(motion: MotionSequence) -> str:
    """One line for people: length, rate, animator."""
    seconds, fps = float(len(motion) / motion.fps), float(motion.fps)
    return f"{len(motion)} frames, {seconds:.2f} s at {fps:g} fps, animator {motion.animator}"


class LEOSaveMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOSaveMotion",
            display_name="LEO Save Motion",
            category="LEO/motion",
            description="Writes a motion as a small .safetensors file to keep and to share.",
            search_aliases=["export motion", "motion file", "share motion"],
            is_output_node=True,
            inputs=[
                LeoMotion.Input("motion", tooltip="The motion to save."),
                io.String.Input(
                    "filename_prefix",
                    default="leo/motion",
                    optional=True,
                    tooltip="Folder and name in ComfyUI's output folder, with a number added; tokens like "
                    "%date:yyyy-MM-dd% work.",
                ),
                io.String.Input(
                    "description",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="A line about what the motion shows, kept in the file and displayed when it is loaded.",
                ),
            ],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, motion, filename_prefix="leo/motion", description="") -> io.NodeOutput:
        folder, name, counter, subfolder = files.place_in_output(
            files.with_tokens(filename_prefix, cls.hidden and cls.hidden.prompt)
        )
        file = f"{name}_{counter:05}_.safetensors"
        ops.save_motion(os.path.join(folder, file), motion, description)
        return io.NodeOutput(ui=ui.PreviewText(f"{os.path.join(subfolder, file)}: {summary(motion)}"))


class LEOLoadMotion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOLoadMotion",
            display_name="LEO Load Motion",
            category="LEO/motion",
            description="Reads a saved motion; it fits only the animator that it was made with.",
            search_aliases=["import motion", "motion library", "motion preset", "open motion"],
            has_intermediate_output=True,
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files.list_files("motion"),
                    tooltip="Motion file from ComfyUI's models/leo folder or its output folder, or one that comes with "
                    "the pack.",
                )
            ],
            outputs=[LeoMotion.Output("motion", tooltip="The saved motion.")],
        )

    @classmethod
    def fingerprint_inputs(cls, file=None) -> list[tuple[int, int]]:
        return files.fingerprint(file, "motion")

    @classmethod
    def execute(cls, file) -> io.NodeOutput:
        motion, description = ops.load_motion(files.resolve_file(file))
        return io.NodeOutput(motion, ui=ui.PreviewText("\n".join(filter(None, [summary(motion), description]))))


NODES: list[type[io.ComfyNode]] = [LEOSaveMotion, LEOLoadMotion]

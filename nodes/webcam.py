"""The browser's webcam, a picture per run.

ComfyUI's own Webcam Capture hands the path of its picture to Load Image, which looks for it in the input folder and
refuses it (ComfyUI 0.30.0), so the pack reads the picture itself. The page shows the camera (ComfyUI's widget of type
WEBCAM), and `web/leo_webcam.js` uploads a frame of it with every prompt.
"""

import os

import folder_paths
from comfy_api.latest import io

from ..leo_core.files import quoted
from .support.samples import first_picture


class LEOWebcam(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOWebcam",
            display_name="LEO Webcam",
            category="LEO/load",
            description="Takes a picture with the browser's webcam on every run, or holds one still to compare with.",
            search_aliases=["camera", "live capture", "puppet", "selfie", "webcam capture"],
            inputs=[
                io.Webcam.Input("image", tooltip="What the camera sees; each run takes this picture."),
                io.Boolean.Input(
                    "hold",
                    default=False,
                    optional=True,
                    tooltip="Freeze the camera's picture and output it on every run.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="One picture, at the camera's resolution.")],
        )

    @classmethod
    def execute(cls, image: str, hold: bool = False) -> io.NodeOutput:
        if not image:
            raise ValueError(
                "The webcam gave no picture. Open ComfyUI as localhost, 127.0.0.1 or https, let the browser use the "
                "camera, and close other programs that use it."
            )
        try:
            path = folder_paths.get_annotated_filepath(image)
        except ValueError:  # a path that leads out of ComfyUI's folders
            path = ""
        if not os.path.isfile(path):
            raise ValueError(f"The webcam's picture '{quoted(image)}' is gone. Press Run again to take a new one.")
        return io.NodeOutput(first_picture(path)[0])


NODES: list[type[io.ComfyNode]] = [LEOWebcam]

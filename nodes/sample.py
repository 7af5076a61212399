"""The first node of a workflow: a sample that comes with the pack, until a file of the user's own replaces it."""

import os
from fractions import Fraction

from comfy_api.latest import InputImpl, Types, io

from .support import samples
from .support.status import show_status

STILL_FPS = Fraction(25)


class LEOLoadSample(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOLoadSample",
            display_name="LEO Load Sample",
            category="LEO/load",
            description="Loads a photo or a clip: a sample that comes with the pack, or a file of your own that you "
            "upload or drop on the node.",
            search_aliases=["example", "demo", "bundled", "load image", "load photo", "load video", "upload"],
            inputs=[
                io.Combo.Input(
                    "sample",
                    options=samples.names(),
                    tooltip="One of the pack's samples, or a picture or clip from ComfyUI's input folder, marked "
                    "[input].",
                )
            ],
            outputs=[
                io.Image.Output("image", tooltip="The picture, or the first frame of the clip."),
                io.Video.Output("video", tooltip="The clip, or the picture as a one-frame video."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, sample=None) -> list[tuple[int, int]]:
        # a linked name is not known yet, so any sample may be meant
        stats = [os.stat(samples.path_of(name)) for name in (samples.names() if sample is None else [sample])]
        return [(stat.st_mtime_ns, stat.st_size) for stat in stats]

    @classmethod
    def execute(cls, sample: str) -> io.NodeOutput:
        path = samples.path_of(sample)
        image, transparent = samples.first_picture(path)
        if transparent:
            show_status(cls, "transparent parts of the picture are shown on black")
        if samples.is_clip(path):
            return io.NodeOutput(image, InputImpl.VideoFromFile(path))
        still = Types.VideoComponents(images=image, audio=None, frame_rate=STILL_FPS)
        return io.NodeOutput(image, InputImpl.VideoFromComponents(still))


NODES: list[type[io.ComfyNode]] = [LEOLoadSample]

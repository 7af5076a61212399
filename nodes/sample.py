"""The samples that come with the pack, so that every workflow opens and runs without a missing file."""

from fractions import Fraction
from pathlib import Path

import torch
from comfy_api.latest import InputImpl, Types, io

from ..leo_core.video import read_video

SAMPLES = Path(__file__).parent.parent / "samples"
STILLS = {".png", ".jpg"}
CLIPS = {".mp4"}
STILL_FPS = Fraction(25)


def names() -> list[str]:
    return sorted(path.name for path in SAMPLES.glob("*") if path.suffix in STILLS | CLIPS)


class LEOLoadSample(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LEOLoadSample",
            display_name="LEO Load Sample",
            category="LEO/load",
            description="Loads a picture or a clip that comes with the pack, to try a workflow without files of your "
            "own.",
            search_aliases=["example", "demo", "bundled", "load image", "load video"],
            inputs=[io.Combo.Input("sample", options=names(), tooltip="Bundled picture or clip to load.")],
            outputs=[
                io.Image.Output("image", tooltip="The picture, or the first frame of the clip."),
                io.Video.Output("video", tooltip="The clip, or the picture as a video of one frame."),
            ],
        )

    @classmethod
    def execute(cls, sample: str) -> io.NodeOutput:
        if sample not in names():
            raise ValueError(f"There is no sample '{sample}'. Choose one of: {', '.join(names())}.")
        path = SAMPLES / sample
        first = next(iter(read_video(str(path))))
        image = torch.from_numpy(first).float().div(255)[None]
        if path.suffix in CLIPS:
            return io.NodeOutput(image, InputImpl.VideoFromFile(str(path)))
        still = Types.VideoComponents(images=image, audio=None, frame_rate=STILL_FPS)
        return io.NodeOutput(image, InputImpl.VideoFromComponents(still))


NODES: list[type[io.ComfyNode]] = [LEOLoadSample]

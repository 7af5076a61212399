"""Run workflows from the real page, and make their thumbnails of what they write: four frames of a video, two of a
wide one, or the photo beside the picture that it became.

python3 scripts/dev.py thumbnails scripts/workflows/motion.py     (after `dev.py author`)
"""

import sys
import tempfile
from pathlib import Path

import author_workflows
import av
from comfy_server import ComfyServer
from environment import ROOT
from frontend import Frontend
from PIL import Image

SIDE = 512


def moments(path: Path, count: int) -> list[Image.Image]:
    """Frames of a video, evenly spread between its ends."""
    with av.open(str(path)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    return [frames[(2 * i + 1) * len(frames) // (2 * count)] for i in range(count)]


def mosaic(pictures: list[Image.Image], columns: int) -> Image.Image:
    width = SIDE // columns
    height = round(width * pictures[0].height / pictures[0].width)
    page = Image.new("RGB", (SIDE, height * (len(pictures) // columns)))
    for i, picture in enumerate(pictures):
        page.paste(
            picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS),
            (i % columns * width, i // columns * height),
        )
    return page


def result(frontend: Frontend, prompt: dict, history: dict) -> Image.Image:
    keeper = next(key for key, node in prompt.items() if node["class_type"] in ("SaveImage", "SaveVideo"))
    (written,) = frontend.server.files({"outputs": {keeper: history["outputs"][keeper]}})
    if written.suffix == ".png":
        photo = next(node["inputs"]["sample"] for node in prompt.values() if node["class_type"] == "LEOLoadSample")
        return mosaic([Image.open(ROOT / "samples" / photo), Image.open(written)], 2)
    wide = moments(written, 1)[0]
    return mosaic(moments(written, 2), 1) if wide.width > 1.5 * wide.height else mosaic(moments(written, 4), 2)


def main(descriptions: list[str]) -> None:
    flows = author_workflows.describe(descriptions)
    with (
        tempfile.TemporaryDirectory() as base,
        ComfyServer(Path(base)) as server,
        Frontend(server, camera=True) as frontend,
    ):
        for flow in flows:
            frontend.load(ROOT / "workflows" / f"{flow.title}.json")
            picture = result(frontend, frontend.prompt(), frontend.run(3600))
            path = ROOT / "workflows" / f"{flow.title}.jpg"
            picture.save(path, quality=88)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])

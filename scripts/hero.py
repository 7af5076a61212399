"""Write the animated picture on top of README.md, docs/figures/hero.webp, and icon.png, from what the nodes make.

`python3 scripts/dev.py hero` samples one motion without any driving video and renders it with two people of the
samples. Run it again when the animator or its motion prior has changed.
"""

import sys
import tempfile
from pathlib import Path

import av
from author_blueprint import PRIOR
from author_workflows import MODEL
from comfy_server import ComfyServer
from environment import ROOT
from PIL import Image, ImageDraw, ImageFont

PEOPLE = ("portrait_1.jpg", "astronaut.png")
FRAMES, EVERY, SEED = 126, 2, 7
CELL, LABEL = 240, 26
HERO, ICON = ROOT / "docs" / "figures" / "hero.webp", ROOT / "icon.png"


def prompt() -> dict:
    """One sampled motion, with the pose of the first person, on each of PEOPLE."""
    nodes = {
        "animator": ("LEOLoadAnimator", {"model": MODEL}),
        "prior": ("LEOLoadMotionPrior", {"prior": PRIOR}),
        "motion": (
            "LEOLMDMSampler",
            {
                "prior": ["prior", 0],
                "start_pose": ["look 0", 1],
                "frames": FRAMES,
                "seed": SEED,
                "steps": 25,
                "sampler": "dpmpp_2m",
                "eta": 0.0,
                "variation": 0.3,
            },
        ),
    }
    for number, sample in enumerate(PEOPLE):
        nodes |= {
            f"photo {number}": ("LEOLoadSample", {"sample": sample}),
            f"look {number}": ("LEOEncoder", {"animator": ["animator", 0], "image": [f"photo {number}", 0]}),
            f"moved {number}": (
                "LEOTransferMotion",
                {
                    "source_pose": [f"look {number}", 1],
                    "driving": ["motion", 0],
                    "mode": "relative",
                    "reference": "first frame",
                    "reference_frame": 0,
                    "gain": 1.0,
                },
            ),
            f"video {number}": (
                "LEORenderVideo",
                {
                    "animator": ["animator", 0],
                    "appearance": [f"look {number}", 0],
                    "motion": [f"moved {number}", 0],
                    "picture": [f"photo {number}", 0],
                    "full_resolution": True,
                    "crf": 12,
                    "feather": 0.1,
                    "region": "box",
                    "length": "motion",
                    "broken_frames": "hold",
                },
            ),
            f"saved {number}": (
                "SaveVideo",
                {
                    "video": [f"video {number}", 0],
                    "filename_prefix": f"leo/hero_{number}",
                    "format": "auto",
                    "codec": "auto",
                },
            ),
        }
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def frames(path: Path) -> list[Image.Image]:
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def hero(clips: list[list[Image.Image]]) -> list[Image.Image]:
    """Photo and result of every person side by side, with a word below each."""
    font = ImageFont.load_default(15)
    pages = []
    for moment in zip(*(clip[::EVERY] for clip in clips), strict=True):
        page = Image.new("RGB", (2 * len(PEOPLE) * CELL, CELL + LABEL), "white")
        write = ImageDraw.Draw(page)
        for number, (sample, frame) in enumerate(zip(PEOPLE, moment, strict=True)):
            for column, picture, word in (
                (2 * number, Image.open(ROOT / "samples" / sample), "photo"),
                (2 * number + 1, frame, "LEO"),
            ):
                page.paste(picture.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS), (column * CELL, 0))
                write.text(((column + 0.5) * CELL, CELL + LABEL / 2), word, "#444", font, "mm")
        pages.append(page)
    return pages


def icon(clip: list[Image.Image]) -> Image.Image:
    """Three moments of one person, beside each other as slices."""
    page = Image.new("RGB", (256, 256))
    for slice_, place in enumerate((0, len(clip) // 3, 2 * len(clip) // 3)):
        left, right = slice_ * 256 // 3, (slice_ + 1) * 256 // 3
        page.paste(clip[place].resize((256, 256)).crop((left, 0, right, 256)), (left, 0))
    return page


def main() -> int:
    with tempfile.TemporaryDirectory() as base, ComfyServer(Path(base)) as server:
        server.run(prompt(), patience=1800)
        clips = [frames(path) for path in sorted((server.base / "output" / "leo").glob("*.mp4"))]
    pages = hero(clips)
    pages[0].save(HERO, save_all=True, append_images=pages[1:], duration=EVERY * 40, loop=0, quality=62, method=4)
    icon(clips[0]).save(ICON)
    for path in (HERO, ICON):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

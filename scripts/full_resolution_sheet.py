"""How sharp the full-resolution warp is beside the decoder's own picture, in figures and in a frame sheet.

.dev/venv/bin/python scripts/full_resolution_sheet.py SHEET.jpg PICTURE[@X,Y,SIDE] ... [--model FILE] [--driving CLIP]

Each picture (or a square of it) is animated by the clip. Sharpness is the mean gradient magnitude over the pixels that
were not inpainted, divided by that of the same pixels where they lie in the original. Sheet, a row per picture: the
original, the decoder's picture, the full-resolution warp, and in white what was inpainted, at the strongest movement.
"""

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from kornia.filters import spatial_gradient
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from leo_core.animator.checkpoint import load_animator  # noqa: E402
from leo_core.flow import looked_at  # noqa: E402
from leo_core.fullres import FullResolution  # noqa: E402
from leo_core.motion import MotionSequence, transfer  # noqa: E402
from leo_core.video import read_video  # noqa: E402

MODEL = str(ROOT / "models" / "leo-face-64.safetensors")
DRIVING = str(ROOT / "samples" / "man_talking.mp4")
MOMENTS = 12
CELL = 512


def read_picture(location: str) -> torch.Tensor:
    """PICTURE[@X,Y,SIDE] as [1, 3, H, W] in 0..1."""
    path, _, square = location.partition("@")
    picture = next(iter(read_video(path)))
    if square:
        x, y, side = map(int, square.split(","))
        picture = picture[y : y + side, x : x + side]
    return torch.from_numpy(picture).movedim(-1, 0)[None].float() / 255


def gradient(picture: torch.Tensor) -> torch.Tensor:
    """Gradient magnitude of the brightness, [1, 1, H, W]."""
    return spatial_gradient(picture.mean(1, keepdim=True)).norm(dim=2)


class Bench:
    """An animator and some moments of the motion of one clip."""

    def __init__(self, model: str, driving: str, count: int = MOMENTS):
        self.animator, self.info = load_animator(model)
        self.size = self.animator.config.size
        clip = read_video(driving)
        moments = set(torch.linspace(0, len(clip) - 1, count + 1).round().int().tolist())
        frames = torch.cat(
            [
                self.prepare(torch.from_numpy(frame).movedim(-1, 0)[None].float() / 255)
                for place, frame in enumerate(clip)
                if place in moments
            ]
        )
        self.motion = MotionSequence(self.animator.encode_motion(frames), clip.fps, self.info.id)

    def prepare(self, picture: torch.Tensor) -> torch.Tensor:
        return F.interpolate(picture, (self.size, self.size), mode="bilinear", antialias=True) * 2 - 1

    def compare(self, original: torch.Tensor) -> tuple[dict[str, float], list[torch.Tensor]]:
        """Figures over all moments, and the four cells of the sheet's row, [1, 3, H, W] each."""
        code, features = self.animator.encoder(self.prepare(original))
        pose = self.animator.motion_head(code)
        moves = transfer(self.motion, MotionSequence(pose, self.motion.fps, self.info.id)).codes[1:]
        anchor = self.animator.anchor(features, code)
        at_rest = self.animator.flow_generator(features, code + self.animator.dictionary(pose), anchor)
        full = FullResolution(
            original[0].movedim(0, -1), self.animator.config.align_corners, tuple(part[self.size] for part in at_rest)
        )
        figures, most, cells = [], -1.0, []
        for latent in (code + self.animator.dictionary(moves)).split(1):
            displacement, mask = self.animator.flow_generator(features, latent, anchor)
            decoded = (self.animator.decoder(features, displacement, mask) / 2 + 0.5).clamp(0, 1)
            finest = displacement[self.size], mask[self.size]
            shift, keep = full.at_full_size(*finest)
            sharp = full(decoded[0].movedim(0, -1), *finest).movedim(-1, 0)[None]
            large = F.interpolate(decoded, original.shape[-2:], mode="bicubic").clamp(0, 1)
            kept = keep > 0.99
            before = F.grid_sample(gradient(original), looked_at(shift).movedim(1, -1), align_corners=False)[
                kept
            ].mean()
            figures.append(
                [
                    float(gradient(large)[kept].mean() / before),
                    float(gradient(sharp)[kept].mean() / before),
                    float((keep < 0.5).float().mean()),
                ]
            )
            if float(shift.abs().mean()) > most:
                most, cells = float(shift.abs().mean()), [original, large, sharp, 1 - keep.expand(-1, 3, -1, -1)]
        decoder, warp, painted = zip(*figures, strict=True)
        return {
            "decoder": sum(decoder) / len(decoder),
            "full resolution": sum(warp) / len(warp),
            "its least": min(warp),
            "painted": sum(painted) / len(painted),
        }, cells


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sheet", type=Path)
    options.add_argument("pictures", nargs="+", metavar="PICTURE[@X,Y,SIDE]")
    options.add_argument("--model", default=MODEL)
    options.add_argument("--driving", default=DRIVING)
    options = options.parse_args(arguments)
    bench = Bench(options.model, options.driving)
    page = Image.new("RGB", (4 * CELL, len(options.pictures) * CELL), "white")
    for row, location in enumerate(options.pictures):
        figures, cells = bench.compare(read_picture(location))
        print(location, *(f"{name} {value:.3f}" for name, value in figures.items()), sep="  ")
        for column, cell in enumerate(cells):
            pixels = (cell[0].movedim(0, -1) * 255).round().byte().numpy()
            page.paste(
                Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.LANCZOS), (column * CELL, row * CELL)
            )
    page.save(options.sheet, quality=92)


if __name__ == "__main__":
    with torch.inference_mode():
        main(sys.argv[1:])

"""A sheet of videos made out of nothing: one row per picture and seed, their frames from left to right.

.dev/venv/bin/python scripts/motion_sheet.py ANIMATOR PRIOR SHEET.jpg PHOTO:SEED ... [--seconds 5] [--columns 12]
[--lmdm-steps 25]

Frames are those of LEO Render Video with full_resolution on; only the shown ones are rendered.
"""

import argparse
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from leo_core.animator.checkpoint import load_animator  # noqa: E402
from leo_core.fullres import FullResolution  # noqa: E402
from leo_core.identity import require_same_animator  # noqa: E402
from leo_core.lmdm.checkpoint import load_prior  # noqa: E402
from leo_core.lmdm.prior import Sampling  # noqa: E402

CELL = 128


@torch.inference_mode()
def row(animator, prior, picture: Path, seed: int, frames: int, columns: int, steps: int) -> torch.Tensor:
    """[CELL, columns x CELL, 3] in 0..1: moments spaced evenly over a video of that picture and seed."""
    photo = torch.from_numpy(np.array(Image.open(picture).convert("RGB"))).float() / 255
    small = F.interpolate(photo.movedim(-1, 0)[None], (animator.config.size,) * 2, mode="bilinear", antialias=True)
    look, features = animator.encoder(small * 2 - 1)
    pose = animator.motion_head(look)
    motion = prior.sample(frames, Sampling(seed, steps), pose)
    shown = motion[torch.linspace(0, frames - 1, columns).long()]
    codes = torch.cat([pose, shown])
    displacement, mask = animator.flow_generator(
        features, look + animator.dictionary(codes), animator.anchor(features, look)
    )
    decoded = animator.decoder(features, displacement, mask).clamp(-1, 1) / 2 + 0.5
    finest = animator.config.size
    flow, keep = displacement[finest], mask[finest]
    full = FullResolution(photo, animator.config.align_corners, (flow[:1], keep[:1]))
    cells = [full(decoded[i].movedim(0, -1), flow[i : i + 1], keep[i : i + 1]) for i in range(1, len(codes))]
    cells = F.interpolate(torch.stack(cells).movedim(-1, 1), (CELL, CELL), mode="bilinear", antialias=True)
    return torch.cat(list(cells.movedim(1, -1)), dim=1)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("animator", type=Path)
    options.add_argument("prior", type=Path)
    options.add_argument("sheet", type=Path)
    options.add_argument("videos", nargs="+", metavar="PICTURE:SEED")
    options.add_argument("--seconds", type=Fraction, default=Fraction(5))
    options.add_argument("--columns", type=int, default=12)
    options.add_argument("--lmdm-steps", type=int, default=25)
    given = options.parse_args()
    animator, info = load_animator(given.animator)
    prior = load_prior(given.prior)
    require_same_animator("motion prior", prior.animator, "animator", info.id)
    rows = []
    for video in given.videos:
        picture, _, seed = video.rpartition(":")
        rows.append(
            row(
                animator,
                prior,
                Path(picture),
                int(seed),
                round(given.seconds * prior.fps),
                given.columns,
                given.lmdm_steps,
            )
        )
    page = (torch.cat(rows).clamp(0, 1) * 255).round().to(torch.uint8)
    Image.fromarray(page.numpy()).save(given.sheet, quality=90)

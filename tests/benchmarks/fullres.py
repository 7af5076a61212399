"""The full-resolution warp beside one bicubic `grid_sample` of the same picture: python tests/benchmarks/fullres.py
[--sides 512 4096]

A frame of leo-face-128 on a bundled photo scaled to squares of these sides, at a few moments of a bundled clip. Both
run in turns and the best of a few rounds counts: seconds of processor time with one thread, of the clock with more.
The grid is the flow of the same frame, made beforehand. "memory" is what the process grows by at most while it makes
a frame, beside the bytes of the frame. Nothing is asserted.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT), str(ROOT / "scripts")]

from animator import best_seconds  # noqa: E402
from full_resolution_sheet import DRIVING, Bench, read_picture  # noqa: E402
from motion import resident  # noqa: E402

from leo_core.flow import looked_at  # noqa: E402
from leo_core.fullres import FullResolution  # noqa: E402
from leo_core.motion import MotionSequence, transfer  # noqa: E402

MODEL, PHOTO = ROOT / "models" / "leo-face-128.safetensors", ROOT / "samples" / "astronaut.png"


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    parser.add_argument("--photo", default=str(PHOTO))
    parser.add_argument("--moments", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    bench = Bench(str(MODEL), DRIVING, options.moments)
    animator, size = bench.animator, bench.size
    photo = read_picture(options.photo)
    code, features = animator.encoder(bench.prepare(photo))
    pose = animator.motion_head(code)
    anchor = animator.anchor(features, code)
    at_rest = animator.flow_generator(features, code + animator.dictionary(pose), anchor)
    codes = transfer(bench.motion, MotionSequence(pose, bench.motion.fps, bench.info.id)).codes[1:]
    displacement, mask = animator.flow_generator(features, code + animator.dictionary(codes), anchor)
    decoded = (animator.decoder(features, displacement, mask) / 2 + 0.5).clamp(0, 1).movedim(1, -1)
    finest = list(zip(decoded, displacement[size].split(1), mask[size].split(1), strict=True))

    print(f"milliseconds a frame, {options.threads} threads")
    print(f"{'':32}{'grid_sample':>14}{'full resolution':>18}{'times':>8}{'memory, MB':>14}{'frame, MB':>12}")
    for side in options.sides:
        large = F.interpolate(photo, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        full = FullResolution(
            large[0].movedim(0, -1), animator.config.align_corners, tuple(part[size] for part in at_rest)
        )
        sampled = made = 0.0
        for frame in finest:
            grid = looked_at(full.at_full_size(*frame[1:])[0]).movedim(1, -1).contiguous()
            sample = partial(F.grid_sample, large, grid, mode="bicubic", align_corners=False)
            best = best_seconds({"sample": sample, "full": partial(full, *frame)}, options.rounds)
            sampled, made = sampled + best["sample"], made + best["full"]
            del grid, sample
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        full(*finest[0])
        grown = (resident("VmHWM") - before) / 1e6
        print(
            f"    {side:5} x {side:5} "
            f"px{'':13}{1000 * sampled / len(finest):14.1f}{1000 * made / len(finest):18.1f}{made / sampled:8.2f}"
            f"{grown:14.1f}{12 * side**2 / 1e6:12.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

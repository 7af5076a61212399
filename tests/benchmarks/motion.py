"""How long every motion operation takes on an hour of motion, and how much memory: python tests/benchmarks/motion.py

90,000 frames of 20 directions on one CPU core; each operation should stay under one second.
"""
import sys
import tempfile
import time
import tracemalloc
from fractions import Fraction
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from leo_core import motion as ops  # noqa: E402
from leo_core.identity import AnimatorId  # noqa: E402
from leo_core.motion import MotionSequence  # noqa: E402

FRAMES, DIRECTIONS = 90_000, 20


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    first, second = (MotionSequence(torch.randn(FRAMES, DIRECTIONS, generator=generator), Fraction(25), AnimatorId("benchmark", "0" * 64))
                     for _ in range(2))
    pose, curve = ops.trim(first, 0, 1), torch.rand(FRAMES, generator=generator)
    file = Path(tempfile.mkdtemp()) / "motion.safetensors"
    operations = {
        "transfer, relative": lambda: ops.transfer(first, pose, gain=0.5),
        "transfer, absolute": lambda: ops.transfer(first, pose, "absolute", gain=0.5),
        "closest frame": lambda: ops.closest_frame(first, pose),
        "edit along a curve": lambda: ops.edit_directions(first, torch.ones(DIRECTIONS), curve),
        "blend along a curve": lambda: ops.blend(first, second, curve),
        "trim": lambda: ops.trim(first, 100, 80_000),
        "stretch to 120,001": lambda: ops.stretch(first, 120_001),
        "stretch to 59,999": lambda: ops.stretch(first, 59_999),
        "stretch to 9": lambda: ops.stretch(first, 9),
        "25 to 29.97 fps": lambda: ops.change_rate(first, Fraction(30000, 1001)),
        "25 to 15 fps": lambda: ops.change_rate(first, Fraction(15)),
        "reverse": lambda: ops.reverse(first),
        "ping-pong": lambda: ops.ping_pong(first),
        "smooth, 0.5 s": lambda: ops.smooth(first, 0.5),
        "amplify": lambda: ops.amplify(first, 2.0),
        "select": lambda: ops.select_directions(first, torch.arange(DIRECTIONS) < 5),
        "concatenate": lambda: ops.concatenate([first, second]),
        "save": lambda: ops.save_motion(file, first),
        "load": lambda: ops.load_motion(file),
        "plot": lambda: ops.plot(first, second),
    }
    print(f"{'operation':24}{'seconds':>10}{'numpy peak, MB':>18}   (the motion itself: {first.codes.nbytes / 1e6:.1f} MB)")
    for name, run in operations.items():
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        tracemalloc.start()
        run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{name:24}{seconds:10.3f}{peak / 1e6:18.1f}")


if __name__ == "__main__":
    main()

"""How long every motion operation takes on an hour of motion, and how much memory: python tests/benchmarks/motion.py

90,000 frames of 20 directions on one CPU core; each operation should stay under one second. Seconds are of processor
time, so that other programs change them little. Memory is what the resident size of a process of its own grows by at
most, as Linux counts it, in multiples of the motion; a result as long as the motion is 1 of them.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from leo_core import motion as ops  # noqa: E402
from leo_core.identity import AnimatorId  # noqa: E402
from leo_core.motion import MotionSequence  # noqa: E402

FRAMES, DIRECTIONS = 90_000, 20


def resident(what: str) -> int:
    """VmRSS or VmHWM (the most so far) of this process in bytes."""
    return 1024 * int(Path("/proc/self/status").read_text().split(what + ":")[1].split()[0])


def growth(run: Callable) -> int:
    """The most bytes that a process grows by while it runs something."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        Path("/proc/self/clear_refs").write_text("5")  # the most so far is what there is now
        before = resident("VmRSS")
        run()
        os.write(writer, str(resident("VmHWM") - before).encode())
        os._exit(0)
    os.wait()
    os.close(writer)
    with os.fdopen(reader) as told:
        return int(told.read())


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    first, second = (
        MotionSequence(
            torch.randn(FRAMES, DIRECTIONS, generator=generator), Fraction(25), AnimatorId("benchmark", "0" * 64)
        )
        for _ in range(2)
    )
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
    small = ops.trim(first, 0, 100)  # what SciPy takes for itself on first use does not count as an operation's
    ops.stretch(ops.stretch(ops.smooth(small, 0.5), 50), 200)
    print(f"{'operation':24}{'seconds':>10}{'memory':>10}   (the motion itself: {first.codes.nbytes / 1e6:.1f} MB)")
    for name, run in operations.items():
        memory = growth(run)
        start = time.process_time()
        run()
        print(f"{name:24}{time.process_time() - start:10.3f}{memory / first.codes.nbytes:10.1f}")


if __name__ == "__main__":
    main()

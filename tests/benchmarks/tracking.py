"""How well flow of real clips is estimated, on rendered ones whose exact flow is known, of 25 frames a second:

python -m leo_core render-humans --assets ASSETS --out CLIPS --identities 8 --clips-per-identity 1 --frames 90 --fps
25 --framing body --seed 900 python tests/benchmarks/tracking.py CLIPS
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from leo_core.training.data import read_source  # noqa: E402
from leo_core.training.tracking import follow  # noqa: E402

LOOKED_AT = (10, 20, 40, 60, 89)  # frames
MOVES = 0.05  # half widths of the picture, from which on a pixel moves


def errors(flow: np.ndarray, believed: np.ndarray, exact: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Summed error and length of the flow of moving pixels that are believed, their number, and that of all moving
    ones."""
    length = np.linalg.norm(exact, axis=-1)
    moving = visible & (length > MOVES)
    error = np.linalg.norm(flow - exact, axis=-1)
    return np.array(
        [error[moving & believed].sum(), length[moving & believed].sum(), (moving & believed).sum(), moving.sum()]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", help="folder of render-humans")
    parser.add_argument("--size", type=int, default=128, help="pixels of the clips")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    found = {"followed from frame to frame": np.zeros(4), "each frame alone": np.zeros(4)}
    for clip in read_source(args.clips, args.size):
        exact, visible = clip.flow.astype(np.float32), clip.visible
        flow, believed = follow(clip.frames, 0)
        for t in LOOKED_AT:
            alone = follow(clip.frames[[0, t]], 0)
            found["followed from frame to frame"] += errors(flow[t], believed[t], exact[t], visible[t])
            found["each frame alone"] += errors(alone[0][1], alone[1][1], exact[t], visible[t])
    print(f"{'moving pixels that frame 0 shows':30} error / movement   believed")
    for name, (error, length, count, moving) in found.items():
        print(f"{name:30} {error / length:16.3f} {count / moving:10.2f}")


if __name__ == "__main__":
    main()

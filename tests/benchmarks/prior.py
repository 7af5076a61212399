"""How long sampling takes with the motion priors that ship, and whether a GPU makes the same motion: python
tests/benchmarks/prior.py

64 frames at 50 steps from one start pose should take less than three seconds on two cores. Seconds are of processor
time on one core, so that other programs change them little. Where PyTorch finds a GPU, its motion should be the
CPU's to 1e-3 normalized units.
"""

import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from leo_core.lmdm.checkpoint import load_prior  # noqa: E402
from leo_core.lmdm.prior import MotionPrior, Sampling  # noqa: E402
from leo_core.lmdm.samplers import SAMPLERS  # noqa: E402

FRAMES, STEPS, ROUNDS = 64, 50, 3


def sampled(prior: MotionPrior, sampler: str, device: str = "cpu") -> torch.Tensor:
    return prior.sample(FRAMES, Sampling(0, STEPS, sampler), device=device)


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    print(f"{'prior':28}{'sampler':>10}{'seconds':>10}{'GPU off by':>12}")
    for path in sorted((ROOT / "models").glob("*-prior.safetensors")):
        prior = load_prior(path)
        for sampler in SAMPLERS:
            seconds = []
            for _ in range(ROUNDS):
                start = time.process_time()
                motion = sampled(prior, sampler)
                seconds.append(time.process_time() - start)
            off = "no GPU"
            if torch.cuda.is_available():
                other = sampled(load_prior(path, device="cuda"), sampler, "cuda")
                off = f"{prior.scale.residual(other - motion).abs().max():.1e}"
            print(f"{path.stem:28}{sampler:>10}{min(seconds):10.2f}{off:>12}")


if __name__ == "__main__":
    main()

"""What a frame costs in each network, against the operations it counts: python tests/benchmarks/animator.py [--scale 2]

One thread, random weights, seconds of processor time (so that other programs change them little), the best of a few
runs. An operation is a multiplication or an addition; grid sampling, normalisation and activations count as none. The
rate of a plain 3x3 convolution, measured in the same run on every map size of the animator, is what the processor can do
at best; "of it" is the share that a whole network reaches.
"""
import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from leo_core.animator import Animator, AnimatorConfig, lia, liax, orthonormal_basis  # noqa: E402


def best_seconds(run: Callable, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def operations(run: Callable) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def conv_rate(config: AnimatorConfig, repeats: int) -> float:
    """Operations per second of the fastest 3x3 convolution among the animator's own widths and sizes."""
    rates = []
    for side in config.scales:
        width = config.channels[side]
        maps, kernel = torch.randn(1, width, side, side), torch.randn(width, width, 3, 3)
        run = lambda: torch.nn.functional.conv2d(maps, kernel, padding=1)  # noqa: B023, E731
        run()
        rates.append(operations(run) / max(best_seconds(run, repeats), 1e-9) if side >= 32 else 0.0)
    return max(rates)


def small_random(config: AnimatorConfig) -> Animator:
    animator, generator = Animator(config).eval().requires_grad_(False), torch.Generator().manual_seed(0)
    for parameter in animator.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / max(1, parameter[0].numel()) ** 0.5)
    animator.dictionary.basis.copy_(orthonormal_basis(animator.dictionary.basis))
    return animator


def measure(name: str, config: AnimatorConfig, repeats: int) -> None:
    animator = small_random(config)
    picture = torch.rand(1, 3, config.size, config.size) * 2 - 1
    code, features = animator.encoder(picture)
    latent = code + animator.dictionary(animator.motion_head(code))
    displacement, mask = animator.flow_generator(features, latent)
    stages = {"encoder, once": lambda: animator.motion_head(animator.encoder(picture)[0]),
              "flow generator": lambda: animator.flow_generator(features, latent),
              "decoder": lambda: animator.decoder(features, displacement, mask)}
    rate = conv_rate(config, repeats)
    print(f"{name}: {sum(p.numel() for p in animator.parameters()) / 1e6:.1f} M parameters, a 3x3 convolution makes {rate / 1e9:.1f} Gop/s")
    count = {stage: operations(run) for stage, run in stages.items()}
    seconds = {stage: best_seconds(run, repeats) for stage, run in stages.items()}
    for table in (count, seconds):
        table["a frame"] = table["flow generator"] + table["decoder"]
    print(f"    {'stage':16}{'Gop':>10}{'seconds':>10}{'Gop/s':>10}{'of it':>8}")
    for stage in count:
        made = count[stage] / seconds[stage]
        print(f"    {stage:16}{count[stage] / 1e9:10.1f}{seconds[stage]:10.3f}{made / 1e9:10.1f}{made / rate:8.0%}")


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.5, help="of LIA-X; the released weights have 2, half scale is 0.5")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    measure("LIA 256", lia(256), options.repeats)
    measure(f"LIA-X 512 at scale {options.scale:g}", liax(options.scale), options.repeats)


if __name__ == "__main__":
    main()

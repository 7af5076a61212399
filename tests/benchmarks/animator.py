"""What a frame costs in each network, beside the processor's limit and beside the published formulation:

    python tests/benchmarks/animator.py [--threads 2]          LIA 256, float32
    python tests/benchmarks/animator.py --liax 0.5             the networks of LIA-X at half scale, alone
    python tests/benchmarks/animator.py --model FILE           those of an animator of our own, 1 to 16 frames at once

Random weights. Everything is run in turns and the best of a few rounds counts, in seconds of processor time with one
thread (so that other programs change them little) and of the clock with more. An operation is a multiplication or an
addition, counted on the published formulation (`direct.py`); grid sampling, normalization and activations count as
none. "of it" is the share of the rate of a plain 3x3 convolution of the animator's own widths and sizes, the fastest
one and in its best memory layout. Outputs are compared before anything is timed. Nothing is asserted about time.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from direct import DirectLIA  # noqa: E402

from leo_core.animator import Animator, AnimatorConfig, lia, liax, orthonormal_basis  # noqa: E402
from leo_core.animator.checkpoint import load_animator  # noqa: E402

TOLERANCE = 1e-3
CLIP = 64  # frames over which one reading of the source is shared out


def best_seconds(runs: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Run everything in turns, so that all meet the same machine; the least seconds of each."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = clock()
            run()
            best[name] = min(best[name], clock() - start)
    return best


def operations(run: Callable) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def convolutions(config: AnimatorConfig) -> dict[str, tuple[Callable, int]]:
    """Plain 3x3 convolutions of the animator's widths and sizes, each with the operations it makes."""
    runs = {}
    for side in (scale for scale in config.scales if scale >= 32):
        width = config.channels[side]
        for layout in (torch.contiguous_format, torch.channels_last):
            maps = torch.randn(1, width, side, side).to(memory_format=layout)
            kernel = torch.randn(width, width, 3, 3).to(memory_format=layout)
            run = lambda maps=maps, kernel=kernel: torch.nn.functional.conv2d(maps, kernel, padding=1)  # noqa: E731
            runs[f"{width} channels, {side} px, {layout}"] = run, operations(run)
    return runs


def random_animator(config: AnimatorConfig) -> Animator:
    """Weights of the size training gives them."""
    animator, generator = Animator(config).eval().requires_grad_(False), torch.Generator().manual_seed(0)
    for name, parameter in animator.named_parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / max(1, parameter[0].numel()) ** 0.5)
        if name.endswith("modulation.bias"):
            parameter.add_(1)
    animator.dictionary.basis.copy_(orthonormal_basis(animator.dictionary.basis))
    return animator.to(memory_format=torch.channels_last)  # as `load_animator` does


def compare(what: str, found: torch.Tensor, expected: torch.Tensor) -> None:
    error = ((found - expected).norm() / expected.norm()).item()
    print(f"    {what:42}{error:10.1e}")
    if error > TOLERANCE:
        raise SystemExit(f"The {what} differ by {error:.1e}, expected at most {TOLERANCE:g}: nothing is timed.")


def said(name: str, rate: float) -> str:
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{name}, float32, {torch.get_num_threads()} threads{load}: a 3x3 convolution makes {rate / 1e9:.1f} Gop/s"


def rows(made: dict[str, tuple[int, float]], rate: float) -> None:
    print(f"    {'':34}{'Gop':>8}{'seconds':>10}{'Gop/s':>10}{'of it':>8}")
    for name, (count, seconds) in made.items():
        print(
            f"    {name:34}{count / 1e9:8.1f}{seconds:10.3f}{count / seconds / 1e9:10.1f}{count / seconds / rate:8.0%}"
        )


def measure_lia(batch: int, rounds: int) -> None:
    """LIA 256 beside its direct formulation."""
    animator = random_animator(lia(256))
    direct = DirectLIA(animator)
    pictures = torch.rand(batch, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    source = pictures[:1]

    def drive(moving: torch.Tensor) -> torch.Tensor:
        return animator.motion_head(animator.encoder.codes(moving))

    code, features = animator.encoder(source)
    codes = drive(pictures)
    latents = code + animator.dictionary(codes)
    own_code, own_features = direct.encode(source)
    own_motion = direct.motion(direct.encode(pictures[-1:])[0])
    own_latent = direct.latent(own_code, own_motion)
    print("relative error against the direct formulation")
    compare("appearance codes", code, own_code)
    compare("motion codes of the last picture", codes[-1:], own_motion)
    compare(
        "features of the source",
        torch.cat([f.flatten() for f in features.values()]),
        torch.cat([f.flatten() for f in own_features.values()]),
    )
    compare("frames", animator.render(features, latents)[-1:], direct.generate(own_features, own_latent))

    plain = convolutions(animator.config)
    best = best_seconds(
        {
            **{name: run for name, (run, _) in plain.items()},
            "direct encoder": lambda: direct.encode(source),
            "direct generator": lambda: direct.generate(own_features, own_latent),
            "encoder, the source": lambda: animator.encoder(source),
            "encoder, driving frames": lambda: drive(pictures),
            "generator": lambda: animator.render(features, latents),
        },
        rounds,
    )
    rate = max(count / best[name] for name, (_, count) in plain.items())
    reading, painting = (
        operations(lambda: direct.encode(source)),
        operations(lambda: direct.generate(own_features, own_latent)),
    )
    read, painted = best["encoder, driving frames"] / batch, best["generator"] / batch

    print(said("LIA 256", rate))
    rows(
        {
            "direct encoder": (reading, best["direct encoder"]),
            "direct generator": (painting, best["direct generator"]),
            "encoder, the source": (reading, best["encoder, the source"]),
            f"encoder, a frame of {batch}": (reading, read),
            f"generator, a frame of {batch}": (painting, painted),
        },
        rate,
    )
    ours = painted + best["encoder, the source"] / CLIP
    loop = best["direct encoder"] + best["direct generator"]
    print(f"    {'a frame, seconds':34}{'direct':>10}{'ours':>8}{'times':>8}")
    for name, theirs, mine in (
        ("without a driving clip", loop, ours),
        ("the same, source read once", best["direct generator"], ours),
        ("with a driving clip", loop + best["direct encoder"], ours + read),
    ):
        print(f"    {name:34}{theirs:10.3f}{mine:8.3f}{theirs / mine:8.1f}")


def measure_stages(name: str, animator: Animator, batch: int, rounds: int) -> None:
    """Any family, alone."""
    config = animator.config
    pictures = torch.rand(batch, 3, config.size, config.size) * 2 - 1
    code, features = animator.encoder(pictures[:1])
    latents = code + animator.dictionary(animator.motion_head(code)).expand(batch, -1)
    anchor = animator.anchor(features, code)
    displacement, mask = animator.flow_generator(features, latents, anchor)
    stages = {
        "encoder": lambda: animator.motion_head(animator.encoder(pictures)[0]),
        "flow generator": lambda: animator.flow_generator(features, latents, anchor),
        "decoder": lambda: animator.decoder(features, displacement, mask),
    }
    counts = {stage: operations(run) / batch for stage, run in stages.items()}
    stages["generator and decoder"] = lambda: animator.render(features, latents, anchor)
    counts["generator and decoder"] = counts["flow generator"] + counts["decoder"]
    plain = convolutions(config)
    best = best_seconds({**{name: run for name, (run, _) in plain.items()}, **stages}, rounds)
    rate = max(count / best[name] for name, (_, count) in plain.items())
    print(said(name, rate) + f"; {sum(p.numel() for p in animator.parameters()) / 1e6:.1f} M parameters")
    rows({f"{stage}, a frame of {batch}": (counts[stage], best[stage] / batch) for stage in stages}, rate)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4, help="frames at once in ours")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--liax", type=float, metavar="SCALE", help="measure LIA-X instead; the released weights have scale 2"
    )
    parser.add_argument("--model", type=Path, help="measure this animator of our own instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.model is not None:
        animator, _ = load_animator(options.model)
        for batch in (1, 4, 8, 16):
            measure_stages(options.model.stem, animator, batch, options.rounds)
    elif options.liax is not None:
        animator = random_animator(liax(options.liax))
        measure_stages(f"LIA-X 512 at scale {options.liax:g}", animator, options.batch, options.rounds)
    else:
        measure_lia(options.batch, options.rounds)


if __name__ == "__main__":
    main()

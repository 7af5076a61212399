"""Everything about speed that wants a GPU, in under eight minutes: python tests/benchmarks/gpu.py [--write
docs/speed.md]

Prints one Markdown table; --write also puts it into a file, between the two lines that mark its place there.
`--device cpu --small` runs every measurement on tiny networks in seconds, so that it is known to work when a GPU is
at hand.

Frames a second are of flow generator and decoder in half precision (float32 on a CPU), at the batch that makes the
most of them; their share is of the rate of the fastest 3x3 convolution of the same network's widths, measured in the
same run, in operations counted on what runs. LIA and LIA-X have random weights. Times are of the clock, the best of
a few rounds, the device waited for.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]

from accelerate import Accelerator  # noqa: E402
from animator import operations, random_animator  # noqa: E402

from leo_core.animator import Animator, AnimatorConfig, lia, liax  # noqa: E402
from leo_core.animator.checkpoint import load_animator  # noqa: E402
from leo_core.fullres import FullResolution  # noqa: E402
from leo_core.lmdm.checkpoint import load_prior  # noqa: E402
from leo_core.lmdm.prior import Sampling  # noqa: E402
from leo_core.motion import load_motion  # noqa: E402
from leo_core.training.data import Clip  # noqa: E402
from leo_core.training.objective import Weights  # noqa: E402
from leo_core.training.trainer import Trainer  # noqa: E402
from leo_core.video import read_video  # noqa: E402

MODEL = ROOT / "models" / "leo-face-128.safetensors"
BEGIN, END = "<!-- tests/benchmarks/gpu.py writes from here -->", "<!-- to here -->"
SMALL = {4: 32, 8: 32, 16: 32, 32: 32}

Row = tuple[str, str]


class Machine:
    """Where to measure, and how thoroughly."""

    def __init__(self, device: str, small: bool):
        self.device, self.small = torch.device(device), small
        self.half = torch.float32 if self.device.type == "cpu" else torch.float16
        self.batches = (1, 2) if small else (1, 2, 4, 8, 16, 32, 64)
        self.rounds = 1 if small else 5

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[], object]) -> float:
        """The least of a few rounds, after one that does not count."""
        run()
        best = float("inf")
        for _ in range(self.rounds):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            best = min(best, time.perf_counter() - start)
        return best

    @contextmanager
    def peak(self) -> Iterator[Callable[[], str]]:
        """Yields a function that tells the most memory allocated since."""
        if self.device.type != "cuda":
            yield lambda: "not measured"
            return
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        yield lambda: f"{torch.cuda.max_memory_allocated(self.device) / 1e6:,.0f} MB"

    def name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"


def photo(side: int) -> torch.Tensor:
    """A bundled photo as [1, 3, side, side] in -1..1."""
    picture = (
        torch.from_numpy(next(iter(read_video(str(ROOT / "samples" / "astronaut.png"))))).movedim(-1, 0)[None].float()
        / 127.5
        - 1
    )
    return F.interpolate(picture, (side, side), mode="bilinear", antialias=True)


def renderer(
    animator: Animator, codes: torch.Tensor, place: torch.device, precision: torch.dtype
) -> Callable[[int], torch.Tensor]:
    """A function of a number of frames that renders them there from the bundled photo."""
    animator, picture = animator.to(place, precision), photo(animator.config.size)
    code, features = animator.encoder(picture.to(place, precision))
    latents = code + animator.dictionary(codes.to(place, precision))
    anchor = animator.anchor(features, code)
    return lambda count: animator.render(features, latents[torch.arange(count) % len(latents)], anchor)


def convolution_rate(machine: Machine, config: AnimatorConfig) -> float:
    """Operations a second of the fastest 3x3 convolution of these widths, in half precision."""
    best = 0.0
    for width, side in {(config.channels[side], side) for side in config.scales if side >= min(32, config.size)}:
        maps = torch.randn(machine.batches[-1], width, side, side, device=machine.device, dtype=machine.half)
        maps = maps.contiguous(memory_format=torch.channels_last)
        kernel = torch.randn(width, width, 3, 3, device=machine.device, dtype=machine.half).contiguous(
            memory_format=torch.channels_last
        )
        run = lambda maps=maps, kernel=kernel: F.conv2d(maps, kernel, padding=1)  # noqa: E731
        best = max(best, operations(run) / machine.seconds(run))
    return best


def frames(machine: Machine) -> Iterator[Row]:
    """Flow generator and decoder of every family."""
    ours, _ = load_animator(MODEL)
    if machine.small:
        families = {
            "LIA": random_animator(lia(32, SMALL, 32, 4)),
            "LIA-X": random_animator(AnimatorConfig("LIA-X", 32, 32, 6, SMALL, 1, True, True, 2, 2)),
        }
    else:
        families = {"LIA 256": random_animator(lia(256)), "LIA-X 512": random_animator(liax())}
    for name, animator in {**families, MODEL.stem: ours}.items():
        config = animator.config
        codes = torch.randn(8, config.directions, generator=torch.Generator().manual_seed(0)) * 0.1
        with machine.peak() as peak:
            render = renderer(animator, codes, machine.device, machine.half)
            rates = {}
            for count in machine.batches:
                try:
                    rates[count] = count / machine.seconds(lambda count=count: render(count))  # noqa: B023
                except torch.OutOfMemoryError:
                    break
            batch = max(rates, key=rates.get)
            share = operations(lambda: render(1)) * rates[batch] / convolution_rate(machine, config)  # noqa: B023
            yield f"{name}, frames a second", f"{rates[batch]:,.1f} (batches of {batch})"
            yield f"{name}, share of the convolution's rate", f"{share:.0%}"
            yield f"{name}, peak memory", peak()
        animator.to("cpu", torch.float32)


def accuracy(machine: Machine) -> Iterator[Row]:
    """Half precision on the device beside float32 on the CPU, with trained weights and the bundled motions."""
    motions = [
        load_motion(path)[0].codes[:: 40 if machine.small else 8]
        for path in sorted((ROOT / "models" / MODEL.stem).glob("*.safetensors"))
    ]
    codes = torch.cat(motions[:1] if machine.small else motions)
    pictures = []
    for place, precision in ((torch.device("cpu"), torch.float32), (machine.device, machine.half)):
        animator, _ = load_animator(MODEL)
        render = [renderer(animator, part, place, precision) for part in codes.split(16)]
        pictures.append(
            torch.cat(
                [run(len(part)).float().cpu().clamp(-1, 1) for run, part in zip(render, codes.split(16), strict=True)]
            )
        )
    error = (pictures[0] - pictures[1]).div(2).square().mean((1, 2, 3))
    told = (
        "exact"
        if not error.any()
        else "{:.1f} / {:.1f} dB".format(*(-10 * torch.log10(value) for value in (error.max(), error.mean())))
    )
    yield f"{MODEL.stem}, PSNR against float32 on a CPU, worst / mean", told


def prior(machine: Machine) -> Iterator[Row]:
    """Sampling, and whether a seed makes the motion that it makes on a CPU."""
    path, count, sampling = (
        MODEL.with_name(f"{MODEL.stem}-prior.safetensors"),
        64,
        Sampling(0, 2 if machine.small else 50),
    )
    there = load_prior(path, device=machine.device)
    seconds = machine.seconds(lambda: there.sample(count, sampling, device=machine.device))
    off = (
        there.scale.residual(
            there.sample(count, sampling, device=machine.device) - load_prior(path).sample(count, sampling)
        )
        .abs()
        .max()
    )
    yield f"motion prior, {count} frames in {sampling.steps} steps", f"{seconds:.2f} s"
    yield "motion prior, a seed's motion there beside a CPU's, normalized", f"{off:.1e}"


def full_resolution(machine: Machine) -> Iterator[Row]:
    """leo-face-128 on large photos."""
    animator, _ = load_animator(MODEL)
    size, picture = animator.config.size, photo(animator.config.size)
    code, features = animator.encoder(picture)
    pose = animator.motion_head(code)
    anchor = animator.anchor(features, code)
    flows = [
        animator.flow_generator(features, code + animator.dictionary(codes), anchor) for codes in (pose, pose + 0.1)
    ]
    decoded = (animator.decoder(features, *flows[1]) / 2 + 0.5).clamp(0, 1)[0].movedim(0, -1).to(machine.device)
    at_rest, moved = ([part[size].to(machine.device) for part in flow] for flow in flows)
    for megapixels in (0.05,) if machine.small else (1, 4, 12):
        large = (photo(round((megapixels * 1e6) ** 0.5))[0].movedim(0, -1) / 2 + 0.5).to(machine.device)
        with machine.peak() as peak:
            full = FullResolution(large, animator.config.align_corners, tuple(at_rest))
            seconds = machine.seconds(lambda: full(decoded, *moved))  # noqa: B023
            yield f"full resolution, {megapixels} megapixels", f"{1000 * seconds:.1f} ms a frame"
            yield f"full resolution, {megapixels} megapixels, peak memory", peak()


def training(machine: Machine) -> Iterator[Row]:
    """Steps of train-animator on clips of noise, at the geometry of the shipped model."""
    config, count = (lia(32, SMALL, 32, 4), 1) if machine.small else (load_animator(MODEL)[0].config, 8)
    config = replace(config, family="LIA")
    chance = np.random.default_rng(0)
    clips = [
        Clip(str(i), str(i), chance.integers(256, size=(8, config.size, config.size, 3), dtype=np.uint8))
        for i in range(4)
    ]
    precision = "no" if machine.device.type == "cpu" else "bf16"
    with tempfile.TemporaryDirectory() as run, machine.peak() as peak, torch.inference_mode(False), torch.enable_grad():
        trainer = Trainer(
            Path(run),
            config,
            Weights(),
            1e-3,
            0,
            accelerator=Accelerator(cpu=machine.device.type == "cpu", mixed_precision=precision),
        )
        seconds = machine.seconds(lambda: trainer.train_step(clips, count, 1000))
        yield f"train-animator, {config.size} px, batches of {count}", f"{1 / seconds:.2f} steps a second ({precision})"
        yield "train-animator, peak memory", peak()


MEASUREMENTS = (frames, accuracy, prior, full_resolution, training)


def table(machine: Machine) -> str:
    lines = [f"| {machine.name()}, PyTorch {torch.__version__} | |", "| --- | --- |"]
    for measure in MEASUREMENTS:
        for what, found in measure(machine):
            lines.append(f"| {what} | {found} |")
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def written(text: str, made: str) -> str:
    """A document with the table in its place.

    :raises ValueError: the document does not mark one.
    """
    if not 0 <= text.find(BEGIN) < text.find(END):
        raise ValueError(
            f"The file does not say where the table belongs. Write these two lines into it: {BEGIN} and {END}"
        )
    return text[: text.index(BEGIN) + len(BEGIN)] + f"\n{made}\n" + text[text.index(END) :]


@torch.inference_mode()
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--small", action="store_true", help="tiny networks and few rounds: whether it works, not how fast"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this document")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU. Install a build for yours, or try this command with --device cpu --small.")
    made = table(Machine(options.device, options.small))
    print(made)
    if options.write:
        options.write.write_text(written(options.write.read_text(), made))


if __name__ == "__main__":
    main()

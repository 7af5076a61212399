"""Is the sampled motion like real motion? Statistics of a prior against held-out people (``evaluate-prior``)."""

import json
import time
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch import nn

from ..files import write_atomically
from ..lmdm.checkpoint import load_prior
from ..lmdm.condition import CodeScale, to_residual
from ..lmdm.prior import MotionPrior, Sampling, private_generator
from ..lmdm.samplers import SAMPLERS
from ..lmdm.training import Windows
from ..motion import MotionSequence
from .motion_sources import collect
from .outputs import file_to_write


@dataclass(frozen=True)
class Likeness:
    """Sampled windows against real ones, see `compare`."""

    spread_ratio: list[float]
    second_difference_ratio: float
    classifier_accuracy: float
    nearest_training_distance: float


def windows_of(motions: list[MotionSequence], length: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``count`` windows spread evenly over all motions, overlapping where they must.

    :return: [count, length, D] and the index of each one's motion, [count].
    :raises ValueError: no motion is that long.
    """
    places = [(index, begin) for index, motion in enumerate(motions) for begin in range(len(motion) - length + 1)]
    if not places:
        raise ValueError(
            f"None of {len(motions)} motions has the {length} frames of a window. Evaluate on longer clips."
        )
    chosen = [places[round(i)] for i in torch.linspace(0, len(places) - 1, count).tolist()]
    windows = torch.stack([motions[index].codes[begin : begin + length] for index, begin in chosen])
    return windows, torch.tensor([index for index, _ in chosen])


def sample_windows(prior: MotionPrior, starts: torch.Tensor, sampling: Sampling, length: int) -> torch.Tensor:
    """One window from each start pose [N, D]: [N, length, D]."""
    known = starts.unsqueeze(1).repeat(1, length, 1)
    generator = private_generator(sampling.seed, "evaluation")
    style = prior.process.infer(prior.scale.codes(known[:, :1]), generator)
    parts = torch.arange(len(starts)).split(64)
    return torch.cat(
        [
            prior.sample_window(known[part], torch.arange(length) < 1, style.of(part), sampling, generator)
            for part in parts
        ]
    )


def spread_ratio(sampled: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[D] ratio of the standard deviations of residuals. Residuals, because start poses are given and would flatter."""
    return to_residual(sampled)[1].std((0, 1)) / to_residual(real)[1].std((0, 1))


def second_difference_ratio(sampled: torch.Tensor, real: torch.Tensor, scale: CodeScale) -> float:
    """Ratio of the mean |second difference|, in normalized codes."""
    return (
        scale.residual(sampled.diff(n=2, dim=1)).abs().mean() / scale.residual(real.diff(n=2, dim=1)).abs().mean()
    ).item()


def nearest_distance(windows: torch.Tensor, training: torch.Tensor, scale: CodeScale) -> float:
    """Median over windows of the root-mean-square distance to the nearest training window, residuals in normalized
    units."""
    asked, known = (scale.residual(to_residual(codes)[1]).flatten(1) for codes in (windows, training))
    return (torch.cdist(asked, known).min(1).values / asked.shape[1] ** 0.5).median().item()


def classifier_accuracy(
    sampled: torch.Tensor,
    sampled_people: torch.Tensor,
    real: torch.Tensor,
    real_people: torch.Tensor,
    scale: CodeScale,
    rounds: int = 4,
    steps: int = 300,
) -> float:
    """How well a small 1-D convolutional network tells sampled from real windows of people it was not trained on,
    0..1.

    People are split in halves; the network is trained on one half and judged on the other, by the mean of the two
    classes' accuracies, so 0.5 is chance however many windows each has. Mean of ``rounds`` splits. It sees
    normalized codes, residuals and steps.

    :param sampled_people: [N] whose start pose (or motion) each window has.
    """

    def view(codes: torch.Tensor) -> torch.Tensor:
        steps_taken = F.pad(scale.residual(codes.diff(dim=1)), (0, 0, 1, 0))
        residual = F.pad(scale.residual(to_residual(codes)[1]), (0, 0, 1, 0))
        return torch.cat([scale.codes(codes), residual, steps_taken / steps_taken.std()], dim=-1).transpose(1, 2)

    inputs = torch.cat([view(sampled), view(real)])
    labels = torch.cat([torch.ones(len(sampled)), torch.zeros(len(real))])
    people = torch.cat([sampled_people, real_people])
    names = people.unique()
    accuracies = []
    for index in range(rounds):
        generator = private_generator(index, "classifier")
        order = names[torch.randperm(len(names), generator=generator)]
        unseen = torch.isin(people, order[: max(1, len(order) // 2)])
        network = small_classifier(inputs.shape[1], generator)
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
        train_inputs, train_labels = inputs[~unseen], labels[~unseen]
        weight = torch.where(train_labels > 0, 0.5 / train_labels.mean(), 0.5 / (1 - train_labels.mean()))
        for _ in range(steps):
            batch = torch.randint(len(train_inputs), (64,), generator=generator)
            guess = network(train_inputs[batch]).squeeze(1)
            loss = F.binary_cross_entropy_with_logits(guess, train_labels[batch], weight[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            right = (network(inputs[unseen]).squeeze(1) > 0).float() == labels[unseen]
        truth = labels[unseen] > 0
        accuracies.append((right[truth].float().mean() + right[~truth].float().mean()).item() / 2)
    return sum(accuracies) / rounds


def small_classifier(channels: int, generator: torch.Generator) -> nn.Module:
    network = nn.Sequential(
        nn.Conv1d(channels, 32, 5, 2, 2),
        nn.ReLU(),
        nn.Conv1d(32, 32, 5, 2, 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 1),
    )
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_uniform_(parameter, generator=generator)
        else:
            nn.init.zeros_(parameter)
    return network


def compare(
    sampled: torch.Tensor,
    sampled_people: torch.Tensor,
    real: torch.Tensor,
    real_people: torch.Tensor,
    training: torch.Tensor,
    scale: CodeScale,
) -> Likeness:
    return Likeness(
        [round(ratio, 3) for ratio in spread_ratio(sampled, real).tolist()],
        round(second_difference_ratio(sampled, real, scale), 3),
        round(classifier_accuracy(sampled, sampled_people, real, real_people, scale), 3),
        round(nearest_distance(sampled, training, scale), 3),
    )


def seam_ratios(codes: torch.Tensor, seams: torch.Tensor, scale: CodeScale) -> dict[str, float]:
    """How steps and second differences at seams compare with those inside segments; 1 is alike.

    :param codes: [T, D].
    :param seams: [J] index of the first new frame of each segment. Its step, and the second differences that reach
        across the seam, count as "at the seam".
    :return: "step 95", "step 99.5", "second difference 95", "second difference 99.5": ratios of the percentiles of the
        Euclidean norms in normalized units.
    """
    step = scale.residual(codes.diff(dim=0)).norm(dim=1)
    second = scale.residual(codes.diff(n=2, dim=0)).norm(dim=1)
    at_step = torch.zeros(len(step), dtype=torch.bool)
    at_step[seams - 1] = True
    at_second = torch.zeros(len(second), dtype=torch.bool)
    at_second[torch.cat([seams - 2, seams - 1])] = True
    ratios = {}
    for what, values, at in (("step", step, at_step), ("second difference", second, at_second)):
        for percentile in (95, 99.5):
            ratios[f"{what} {percentile}"] = round(
                (values[at].quantile(percentile / 100) / values[~at].quantile(percentile / 100)).item(), 3
            )
    return ratios


def seam_frames(frames: int, known: int, length: int, context: int) -> torch.Tensor:
    """First new frame of every segment after the first, in a motion of ``MotionPrior.sample``."""
    return torch.arange(length - known + 1, frames, length - context)


def endurance(prior: MotionPrior, seconds: float, sampling: Sampling, start: torch.Tensor) -> dict:
    """Long motion: does it stay around its first minute, are its seams smooth, does it repeat, does memory stay
    flat?"""
    fps, frames = float(prior.fps), round(seconds * float(prior.fps))
    minute = round(60 * fps)
    memory, process = [], psutil.Process()
    began = time.perf_counter()

    def note_memory(done: int, total: int, estimate) -> None:
        for moment in (max(1, total // 20), total):  # the same where there is one step: two figures all the same
            if done == moment:
                memory.append(process.memory_info().rss)

    codes = prior.sample(frames, sampling, start, progress=note_memory)
    first, last = codes[:minute], codes[-minute:]
    segments = codes[: len(codes) // minute * minute].reshape(-1, minute, codes.shape[1])[:, : prior.config.length]
    flat = prior.scale.residual(to_residual(segments)[1]).flatten(1)
    apart = torch.cdist(flat, flat) / flat.shape[1] ** 0.5
    apart.fill_diagonal_(float("inf"))
    spread = first.std(0)
    seams = seam_frames(frames, 1, prior.config.length, prior.config.context)
    return {
        "frames": frames,
        "seconds to sample": round(time.perf_counter() - began, 1),
        "largest change of the mean, in standard deviations": round(
            ((last.mean(0) - first.mean(0)).abs() / spread).max().item(), 3
        ),
        "largest change of the standard deviation, in standard deviations": round(
            ((last.std(0) - spread).abs() / spread).max().item(), 3
        ),
        "seams against inside": seam_ratios(codes, seams, prior.scale),
        "smallest distance between segments of different minutes": round(apart.min().item(), 3),
        "memory after a twentieth and at the end, MB": [round(size / 2**20, 1) for size in memory],
    }


def transition_seams(
    prior: MotionPrior, motions: list[MotionSequence], sampling: Sampling, frames: int = 24, pairs: int = 32
) -> dict[str, float]:
    """Second differences where generated transitions meet the motions they join, and where loops close, against the
    99th percentile elsewhere.

    :return: share of seams above that percentile, and the largest seam as a multiple of it.
    """
    scale, report = prior.scale, {}
    context = prior.config.context
    motions = [m for m in motions if len(m) > 2 * context + 2]
    for what in ("transition", "loop"):
        ratios = []
        for index in range(pairs):
            before = motions[index % len(motions)].codes
            after = before if what == "loop" else motions[(index * 7 + 1) % len(motions)].codes
            between = prior.transition(
                before, frames, after, Sampling(sampling.seed + index, sampling.steps, sampling.sampler, sampling.eta)
            )
            whole = torch.cat([before, between, after])
            second = scale.residual(whole.diff(n=2, dim=0)).norm(dim=1)
            at = torch.zeros(len(second), dtype=torch.bool)
            for seam in (len(before), len(before) + frames):
                at[[seam - 2, seam - 1]] = True
            ratios.append((second[at].max() / second[~at].quantile(0.99)).item())
        report[f"{what}s with a seam above the 99th percentile"] = round(sum(ratio > 1 for ratio in ratios) / pairs, 3)
        report[f"{what}: largest seam against the 99th percentile"] = round(max(ratios), 3)
    return report


class NoNetwork(nn.Module):
    """Stands in for the denoiser and leaves the posterior mean as it is."""

    def __init__(self, directions: int):
        super().__init__()
        self.directions = directions

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(len(x), self.directions, x.shape[-1])


def evaluate(args) -> None:
    """Run ``evaluate-prior``."""
    if args.threads:
        torch.set_num_threads(args.threads)
    prior = load_prior(args.prior)
    motions, held_out = collect(args)
    if not held_out:
        raise ValueError("Nothing is held out. Name the people the prior was not trained on with --hold-out.")
    scale, length = prior.scale, prior.config.length
    training = Windows(motions, prior.config)
    identities = sorted({identity for identity, _ in held_out})
    kept = [(identity, motion) for identity, motion in held_out if len(motion) >= length]
    real, which = windows_of([motion for _, motion in kept], length, args.count)
    people = torch.tensor([identities.index(identity) for identity, _ in kept])[which]
    neighbors = training.spread(4096)
    sampling = Sampling(args.seed, args.steps, args.sampler, args.eta)
    report: dict[str, Any] = {
        "counts": {
            "training motions": len(training.motions),
            "training frames": training.frames,
            "held-out people": len(set(people.tolist())),
            "held-out motions": len(kept),
            "held-out windows": args.count,
            "sampled sequences": args.count,
        },
        "sampling": asdict(sampling),
    }
    models = {
        "prior": prior,
        "posterior mean without the network": replace(prior, unet=NoNetwork(prior.config.directions)),
    }
    if args.ablation:
        models["ablation"] = load_prior(args.ablation)
    for what, model in models.items():
        sampled = sample_windows(model, real[:, 0], sampling, length)
        report[what] = asdict(compare(sampled, people, real, people, neighbors, scale))
    unconditional = prior.start_poses.draw(args.count, private_generator(args.seed, "starts"))
    sampled = sample_windows(prior, unconditional, sampling, length)
    shuffled = torch.arange(args.count) % (people.max() + 1)
    report["prior, unconditional"] = asdict(compare(sampled, shuffled, real, people, neighbors, scale))
    seen = training.spread(args.count)
    report["training windows in place of samples"] = asdict(
        compare(seen, shuffled.sort().values, real, people, neighbors, scale)
    )
    report["distance from held-out windows to the nearest training window"] = round(
        nearest_distance(real, neighbors, scale), 3
    )
    report["seams"] = transition_seams(prior, [motion for _, motion in kept], sampling)
    if args.seconds:
        report["endurance"] = endurance(
            prior, args.seconds, Sampling(args.seed, args.long_steps, args.sampler, args.eta), real[0, :1]
        )
    text = json.dumps(report, indent=1)
    print(text)
    if args.report:
        write_atomically(args.report, lambda path: Path(path).write_text(text + "\n"))


def add_commands(subparsers) -> None:
    """``evaluate-prior``."""
    parser = subparsers.add_parser(
        "evaluate-prior", help="compare what a motion prior samples with the motion of held-out people"
    )
    parser.add_argument("prior", type=Path)
    parser.add_argument("--data", nargs="+", required=True, help="the sources it was trained on, see train-prior")
    parser.add_argument(
        "--hold-out", nargs="+", required=True, help="identities (parts of names) it was not trained on"
    )
    parser.add_argument("--animator", type=Path, help="animator file that encodes clips")
    parser.add_argument("--run-folder", type=Path, default=Path("."), help="where encoded clips are cached")
    parser.add_argument("--fps", type=Fraction, help="frame rate of clips, where their files do not say it")
    parser.add_argument("--ablation", type=Path, help="a prior trained with --no-lmc, to stand beside")
    parser.add_argument("--count", type=int, default=256, help="sampled sequences and held-out windows")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--sampler", default=Sampling.sampler, choices=list(SAMPLERS))
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600, help="length of the endurance test; 0 leaves it out")
    parser.add_argument("--long-steps", type=int, default=20, help="denoising steps of the endurance test")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--report", type=file_to_write(), help="JSON file to write the figures to")
    parser.set_defaults(run=evaluate)

"""The yardsticks themselves: they must see what they are there to see. And what ships, by the yardstick of its
seams."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from leo_core.lmdm.checkpoint import load_prior
from leo_core.lmdm.condition import CodeScale
from leo_core.lmdm.prior import Sampling
from leo_core.motion import load_motion
from leo_core.training.evaluate_prior import (
    classifier_accuracy,
    endurance,
    nearest_distance,
    seam_frames,
    seam_ratios,
    second_difference_ratio,
    spread_ratio,
    transition_seams,
)

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
SCALE = CodeScale(torch.zeros(3), torch.ones(3))


def walks(count, seed, length=24):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, length, 3, generator=generator).cumsum(1) * 0.2


def test_the_classifier_finds_a_difference_and_only_where_there_is_one():
    people = torch.arange(160) % 8
    alike = classifier_accuracy(walks(160, 0), people, walks(160, 1), people, SCALE, rounds=2, steps=80)
    smoother = walks(160, 0)
    smoother[:, 1:-1] = (smoother[:, :-2] + smoother[:, 1:-1] + smoother[:, 2:]) / 3
    different = classifier_accuracy(smoother, people, walks(160, 1), people, SCALE, rounds=2, steps=80)
    assert alike < 0.62 and different > 0.85


def test_spread_and_second_differences_are_ratios():
    real = walks(200, 1)
    assert torch.allclose(spread_ratio(2 * real, real), torch.tensor(2.0))
    assert abs(second_difference_ratio(0.5 * real, real, SCALE) - 0.5) < 1e-5


def test_a_copy_of_a_training_window_is_at_no_distance():
    training = walks(50, 2)
    assert nearest_distance(training[:7], training, SCALE) < 1e-3
    assert nearest_distance(walks(7, 3), training, SCALE) > 0.2


def test_joints_are_found_where_windows_meet():
    assert seam_frames(100, 1, 24, 3).tolist() == [24, 45, 66, 87]
    codes = torch.sin(torch.arange(400).unsqueeze(1) * torch.tensor([0.1, 0.17, 0.23]))
    seams = seam_frames(400, 1, 24, 3)
    smooth = seam_ratios(codes, seams, SCALE)
    assert all(ratio < 1.1 for ratio in smooth.values())
    for seam in seams:
        codes[seam:] += 0.5
    broken = seam_ratios(codes, seams, SCALE)
    assert all(ratio > 2 for ratio in broken.values())


@torch.inference_mode()
def test_the_motions_that_ship_are_joined_and_looped_without_a_seam():
    motions = [load_motion(path)[0] for path in sorted((MODELS / "leo-face-64").glob("*.safetensors"))]
    report = transition_seams(
        load_prior(MODELS / "leo-face-64-prior.safetensors"), motions, Sampling(0, 20), pairs=len(motions)
    )
    assert len(motions) > 4 and max(report.values()) <= 1, report


@torch.inference_mode()
def test_the_memory_of_a_long_motion_is_that_of_this_process_in_megabytes():
    """Not in kilobytes or bytes: systems count what a process holds in different units."""
    prior = load_prior(MODELS / "leo-face-64-prior.safetensors")
    prior = replace(prior, config=replace(prior.config, fps="2"))  # minutes of few frames
    report = endurance(prior, 150, Sampling(0, 4), prior.draw_start(0))
    held = psutil.Process().memory_info().rss / 2**20
    memory = report["memory after a twentieth and at the end, MB"]
    assert report["frames"] == 300 and len(memory) == 2
    assert all(0.5 * held < size < 2 * held for size in memory), (memory, held)


@torch.inference_mode()
def test_a_motion_of_few_steps_has_two_figures_of_memory_too():
    prior = load_prior(MODELS / "leo-face-64-prior.safetensors")
    prior = replace(prior, config=replace(prior.config, fps="2"))
    report = endurance(prior, 150, Sampling(0, 1), prior.draw_start(0))
    assert len(report["memory after a twentieth and at the end, MB"]) == 2


def test_a_prior_is_evaluated_where_python_has_no_resource_module():
    """As on Windows. psutil comes first: only its part for Linux needs that module itself."""
    code = "import psutil, sys; sys.modules['resource'] = None; import leo_core.training.evaluate_prior"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr

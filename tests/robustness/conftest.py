"""Good files to begin from, and the judge of what reading a bad one comes to."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # malformed.py


@pytest.fixture(scope="session")
def judge(tmp_path_factory):
    """judge(reader, good, files): what reading each of (name, bytes) comes to, by name; see limited.py."""

    def judge(reader: str, good: Path, files: Iterable[tuple[str, bytes]]) -> dict[str, dict]:
        folder = tmp_path_factory.mktemp(reader)
        names = []
        for name, content in files:
            (folder / name).write_bytes(content)
            names.append(name)
        assert len(set(names)) == len(names)
        command = [sys.executable, str(Path(__file__).with_name("limited.py")), reader, str(good)]
        run = subprocess.run(
            command,
            input="\n".join(str(folder / name) for name in names),
            capture_output=True,
            text=True,
            cwd=folder,
            check=True,
        )
        results = dict(zip(names, map(json.loads, run.stdout.splitlines()), strict=True))
        assert not (folder / "executed").exists()
        return results

    return judge


@pytest.fixture
def handle(animator_file, monkeypatch):
    """What LEO Load Animator puts on its socket for the small animator, in full precision: bfloat16 rounds by the
    size of a batch."""
    import comfy.model_management as mm
    import torch
    from leo_pack.nodes.support.handles import AnimatorHandle

    monkeypatch.setattr(mm, "FORCE_FP32", True)
    with torch.inference_mode():
        yield AnimatorHandle(animator_file)


@pytest.fixture(scope="session")
def prior_file(tmp_path_factory, animator_file) -> str:
    """A motion prior of the small animator, hardly trained."""
    from fractions import Fraction

    import torch

    from leo_core.animator.checkpoint import load_animator
    from leo_core.lmdm.checkpoint import save_prior
    from leo_core.lmdm.prior import PriorConfig
    from leo_core.lmdm.training import PriorTrainer, PriorTraining
    from leo_core.motion import MotionSequence

    animator = load_animator(animator_file)[1].id
    time_ = torch.arange(60).unsqueeze(1) / 25
    motions = [MotionSequence(torch.sin(3 * time_ + i + torch.arange(4.0)), Fraction(25), animator) for i in range(3)]
    path = tmp_path_factory.mktemp("prior") / "prior.safetensors"
    config = PriorConfig(4, length=16, context=3, channels=(8, 16), head_width=8)
    save_prior(path, PriorTrainer(motions, config, PriorTraining(steps=3, batch=4)).train())
    return str(path)

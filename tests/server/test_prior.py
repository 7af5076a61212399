"""LEO Train Motion Prior on clips, in a real server: it learns them, what it saved is used at once, an interrupt
leaves nothing."""

import re
import time

import pytest
from comfy_server import ExecutionError

from leo_core.motion import load_motion

DRAWING = {"seed": 3, "steps": 8, "sampler": "dpmpp_2m", "eta": 0.0}


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def learning(name: str, steps: int) -> dict:
    """Three clips: the man, the woman, and the man's last seconds."""
    return {
        "animator": node("LEOLoadAnimator", model="leo-face-64.safetensors"),
        "man": node("LEOLoadSample", sample="man_talking.mp4"),
        "woman": node("LEOLoadSample", sample="woman_talking.mp4"),
        "first": node("LEOMotionEncoder", animator=["animator", 0], video=["man", 1], fps=25.0),
        "second": node("LEOMotionEncoder", animator=["animator", 0], video=["woman", 1], fps=25.0),
        "third": node("LEOTrimMotion", motion=["first", 0], start=40, frames=0),
        "train": node(
            "LEOTrainMotionPrior",
            **{"motions.motion0": ["first", 0], "motions.motion1": ["second", 0], "motions.motion2": ["third", 0]},
            name=name,
            steps=steps,
            batch=8,
            window=32,
            rate=1e-3,
            seed=0,
        ),
    }


def test_three_clips_become_a_prior_that_moves_like_them(server):
    history = server.run(
        learning("three clips", 20)
        | {
            "save first": node("LEOSaveMotion", motion=["first", 0], filename_prefix="leo/clip"),
            "save second": node("LEOSaveMotion", motion=["second", 0], filename_prefix="leo/clip"),
        }
    )
    (told,) = history["outputs"]["train"]["text"]
    losses = [float(number) for number in re.findall(r"(?<=-> )[\d.]+", told)]
    assert len(losses) == 2 and losses[1] < 0.5, told

    server.run(
        {
            f"{part} {seed}": value
            for seed in range(4)
            for part, value in {
                "load": node("LEOLoadMotionPrior", prior="three clips.safetensors"),
                "sample": node(
                    "LEOLMDMSampler", prior=[f"load {seed}", 0], frames=100, variation=0.3, **{**DRAWING, "seed": seed}
                ),
                "save": node("LEOSaveMotion", motion=[f"sample {seed}", 0], filename_prefix=f"leo/sampled {seed}"),
            }.items()
        }
    )
    spread = {}
    for what in ("clip", "sampled"):
        motions = [load_motion(path)[0].codes for path in (server.base / "output" / "leo").glob(f"{what}*.safetensors")]
        spread[what] = sum((codes - codes.mean(0)).square().mean(0) for codes in motions).div(len(motions)).sqrt()
    ratio = spread["sampled"] / spread["clip"]
    assert 0.5 < ratio.min() and ratio.max() < 2, ratio


def test_an_interrupt_leaves_no_file(server):
    folder = server.base / "output" / "leo"
    before = sorted(folder.glob("**/*")) if folder.is_dir() else []
    with server.events() as events:
        queued = server.queue(learning("never finished", 100_000))
        while not any(kind == "progress" and data["node"] == "train" and data["value"] > 3 for kind, data in events):
            assert not [kind for kind, _ in events if kind in ("execution_error", "execution_success")]
            time.sleep(0.05)
        server.interrupt()
        with pytest.raises(ExecutionError, match="interrupted at node train LEOTrainMotionPrior"):
            server.wait(queued)
    assert (sorted(folder.glob("**/*")) if folder.is_dir() else []) == before

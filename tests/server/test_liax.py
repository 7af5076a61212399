"""One graph, two families: LIA and LIA-X files in a real server, with motion out of a prior for either."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leo_core.animator.checkpoint import load_animator
from leo_core.motion import MotionSequence, load_motion, save_motion

DATA = Path(__file__).resolve().parents[1] / "data"

spec = importlib.util.spec_from_file_location("recipe", DATA / "recipe.py")
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)


def narrow(name: str, widths: dict[int, int]) -> dict[str, torch.Tensor]:
    """Weights of a published layout at other widths and with one residual block per scale."""
    layout = recipe.load_layout(DATA / f"{name}_layout.json")
    kept = {
        key: shape
        for key, shape in layout.items()
        if not any(f"{block}.{i}." in key for block in ("_2", "_rgb") for i in (1, 2, 3))
    }
    return recipe.weights({key: [widths.get(n, n) for n in shape] for key, shape in kept.items()})


@pytest.fixture(scope="module")
def leo(server):
    """The server with a small file of each family, as they are released: a training checkpoint and a bare state
    dict."""
    folder = server.base / "models" / "leo"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"gen": narrow("lia64", {512: 32, 256: 32})}, folder / "narrow-lia.pt")
    torch.save(narrow("liax_half", {256: 64, 128: 32, 64: 32}), folder / "narrow-lia-x.pt")
    for name, phase in (("still", 0.3), ("start", 0.9), ("end", 1.7)):
        pixels = (recipe.picture(96, phase)[0].movedim(0, -1) / 2 + 0.5).clamp(0, 1) * 255
        Image.fromarray(pixels.to(torch.uint8).numpy()).save(server.base / "input" / f"{name}.png")
    return server


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def person(model: str) -> dict:
    return {
        "1": node("LoadImage", image="still.png"),
        "2": node("LEOLoadAnimator", model=model),
        "3": node("LEOEncoder", animator=["2", 0], image=["1", 0]),
    }


def rendering(motion: str, prefix: str) -> dict:
    return {
        "20": node("LEOFlowGenerator", animator=["2", 0], appearance=["3", 0], motion=[motion, 0]),
        "21": node(
            "LEOInpaintingDecoder",
            animator=["2", 0],
            appearance=["3", 0],
            flow=["20", 0],
            picture=["1", 0],
            full_resolution=False,
        ),
        "22": node("SaveImage", images=["21", 0], filename_prefix=prefix),
    }


def pictures(leo, history: dict, prefix: str) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.open(path)) for path in leo.files(history) if path.name.startswith(prefix)]
    ).astype(int)


FAMILIES = {"narrow-lia.pt": 20, "narrow-lia-x.pt": 40}


@pytest.mark.parametrize("model", FAMILIES)
def test_a_driving_clip_moves_the_picture(leo, model):
    prompt = (
        person(model)
        | {
            "4": node("LoadImage", image="start.png"),
            "5": node("LoadImage", image="end.png"),
            "6": node("ImageBatch", image1=["4", 0], image2=["5", 0]),
            "7": node("LEOMotionEncoder", animator=["2", 0], images=["6", 0], fps=25.0),
            "8": node(
                "LEOTransferMotion",
                source_pose=["3", 1],
                driving=["7", 0],
                mode="relative",
                reference="first frame",
                reference_frame=0,
                gain=1.0,
            ),
        }
        | rendering("8", "driven")
    )
    frames = pictures(leo, leo.run(prompt), "driven")
    assert frames.shape == (2, 96, 96, 3) and (frames[0] != frames[1]).any()


def swaying(model: str, path: Path) -> MotionSequence:
    """Slow oscillations in every code of an animator."""
    count, generator = FAMILIES[model], torch.Generator().manual_seed(0)
    time = torch.arange(100).unsqueeze(1) / 25
    codes = sum(0.3 * torch.sin(6.283 * (f * time + torch.rand(count, generator=generator))) for f in (0.4, 0.7))
    return MotionSequence(codes, Fraction(25), load_animator(path)[1].id)


@pytest.mark.parametrize("model", FAMILIES)
def test_a_prior_of_its_codes_is_trained_sampled_looped_and_rendered(leo, model):
    family = model.removesuffix(".pt")
    output = leo.base / "output" / "leo"
    output.mkdir(exist_ok=True)
    save_motion(output / f"{family} sways.safetensors", swaying(model, leo.base / "models" / "leo" / model))
    leo.run(
        {
            "1": node("LEOLoadMotion", file=f"{family} sways.safetensors"),
            "2": node(
                "LEOTrainMotionPrior",
                **{"motions.motion0": ["1", 0]},
                name=f"{family} prior",
                steps=20,
                batch=4,
                window=16,
                rate=1e-3,
                seed=0,
            ),
        }
    )

    drawing = {"seed": 3, "steps": 4, "sampler": "dpmpp_2m", "eta": 0.0}
    made = (
        person(model)
        | {
            "4": node("LEOLoadMotionPrior", prior=f"{family} prior.safetensors"),
            "5": node("LEOLMDMSampler", prior=["4", 0], start_pose=["3", 1], frames=20, variation=0.3, **drawing),
            "6": node("LEOLoopMotion", prior=["4", 0], motion=["5", 0], transition_frames=12, **drawing),
            "7": node("LEOSaveMotion", motion=["5", 0], filename_prefix=f"leo/{family} sampled"),
            "8": node("LEOSaveMotion", motion=["6", 0], filename_prefix=f"leo/{family} looped"),
            "9": node("LEOTrimMotion", motion=["6", 0], start=19, frames=2),
        }
        | rendering("9", "sampled")
    )
    frames = pictures(leo, leo.run(made), "sampled")
    assert frames.shape == (2, 96, 96, 3) and (frames[0] != frames[1]).any()
    sampled, _ = load_motion(output / f"{family} sampled_00001_.safetensors")
    looped, _ = load_motion(output / f"{family} looped_00001_.safetensors")
    assert sampled.codes.shape == (20, FAMILIES[model]) and looped.codes.shape == (32, FAMILIES[model])
    assert torch.equal(looped.codes[:20], sampled.codes)
    steps = torch.cat([looped.codes, looped.codes[:1]]).diff(dim=0).norm(dim=1)
    assert steps[-1] <= 2 * steps[:-1].max()  # the seam is a step like others

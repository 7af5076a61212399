"""The shipped workflows with LIA-X weights: small ones of the released layout in place of the download."""
import importlib.util
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
CLIP_FRAMES = 2
NARROW = {256: 64, 128: 32, 64: 32}

spec = importlib.util.spec_from_file_location("recipe", DATA / "recipe.py")
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)


@pytest.fixture
def liax(server):
    """models/leo/lia-x.pt of LIA-X's structure and 40 directions, narrow and with one residual block per scale."""
    layout = recipe.load_layout(DATA / "liax_half_layout.json")
    kept = {key: shape for key, shape in layout.items() if not any(f"{block}.{i}." in key for block in ("_2", "_rgb") for i in (1, 2, 3))}
    (server.base / "models" / "leo").mkdir(parents=True, exist_ok=True)
    torch.save(recipe.weights({key: [NARROW.get(n, n) for n in shape] for key, shape in kept.items()}),
               server.base / "models" / "leo" / "lia-x.pt")
    yield
    (server.base / "models" / "leo" / "lia-x.pt").unlink()


def with_short_clips(prompt: dict) -> dict:
    """The prompt with its sample clips cut to a few frames, and LIA-X for its animator."""
    clips = [key for key, node in prompt.items() if node["inputs"].get("sample", "").endswith(".mp4")]
    for node in prompt.values():
        if node["class_type"] == "LEOLoadAnimator":
            node["inputs"]["model"] = "lia-x.pt"
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] in clips and value[1] == 1:
                node["inputs"][name] = [f"{value[0]}000", 0]
    return prompt | {f"{key}000": {"class_type": "Video Slice", "inputs": {
        "video": [key, 1], "start_time": 1.0, "duration": CLIP_FRAMES / 25, "strict_duration": False}} for key in clips}


def pictures(path: Path) -> np.ndarray:
    """Frames [T, H, W, 3] of a picture or video file."""
    if path.suffix == ".png":
        return np.asarray(Image.open(path).convert("RGB"))[None].astype(int)
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


@pytest.mark.parametrize("title", [path.stem for path in sorted((ROOT / "workflows").glob("*LIA-X*.json"))]
                         + ["LEO - Animate a person from a driving video"])
def test_it_runs_with_lia_x_and_writes_its_output(server, liax, frontend, title):
    state = frontend.load(ROOT / "workflows" / f"{title}.json")
    assert (state["toasts"], state["unknown"], state["red"]) == ([], [], [])
    prompt = with_short_clips(frontend.prompt())
    keeper, = (key for key, node in prompt.items() if node["class_type"] in ("SaveImage", "SaveVideo"))
    written = server.files({"outputs": {keeper: server.run(prompt)["outputs"][keeper]}})
    assert [path.name.split("_")[0] for path in written] == [Path(prompt[keeper]["inputs"]["filename_prefix"]).name]
    frames = pictures(written[0])
    assert frames.shape == (CLIP_FRAMES if written[0].suffix == ".mp4" else 1, 256, 256, 3)
    assert frames.std() > 1  # random weights paint something

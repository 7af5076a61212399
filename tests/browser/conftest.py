"""The real frontend in a headless Chromium, on the server that all tests share (fixture `frontend`: a fresh page
each)."""

import importlib.util
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
NARROW = {256: 64, 128: 32, 64: 32}

# Fewer frames and steps, as a user would set them who is in a hurry.
REDUCED = {
    "LEOLMDMSampler": {"frames": 12, "steps": 4},
    "LEOLoopMotion": {"transition_frames": 8, "steps": 4},
    "LEOJoinMotion": {"transition_frames": 8, "steps": 4},
    "LEORetimeMotion": {"timing.speed": 10},
    "LEOTrimMotion": {"frames": 10},
    "LEOTrainMotionPrior": {"steps": 3, "window": 16},
}
CLIP_SECONDS = 0.64
REDUCE = """([values, seconds]) => {
  const set = (node, name, value) => {
    const widget = node.widgets.find(w => w.name === name);
    if (name === 'frames' && widget.value < value) return;  // the workflow wants fewer already
    widget.value = value;
    widget.callback?.(value);
  };
  for (const node of [...app.graph.nodes]) {
    for (const [name, value] of Object.entries(values[node.type] ?? {})) set(node, name, value);
    if (node.type !== 'LEOLoadSample' || !node.widgets[0].value.endsWith('.mp4')) continue;
    if (!node.outputs[1].links?.length) continue;
    const part = LiteGraph.createNode('Video Slice');
    part.pos = [node.pos[0], -500 - 4 * node.pos[1]];
    app.graph.add(part);
    set(part, 'start_time', 1);
    set(part, 'duration', seconds);
    for (const id of [...node.outputs[1].links]) {
      const link = app.graph.getLink(id);
      part.connect(0, app.graph.getNodeById(link.target_id), link.target_slot);
    }
    node.connect(1, part, 0);
  }
}"""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium_page(server):
    from frontend import Frontend

    with Frontend(server, camera=True) as page:
        yield page


@pytest.fixture
def frontend(chromium_page):
    chromium_page.open()
    return chromium_page


@pytest.fixture
def reduced():
    """A function that sets fewer frames and steps in the workflow of a page, and cuts its clips: what CI runs."""
    return lambda page, seconds=CLIP_SECONDS: page.evaluate(REDUCE, [REDUCED, seconds])


@pytest.fixture(scope="session")
def narrow_liax(tmp_path_factory) -> Path:
    """A file of LIA-X's structure and 40 directions, narrow and with one residual block per scale, with random
    weights."""
    import torch

    spec = importlib.util.spec_from_file_location("recipe", DATA / "recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    layout = recipe.load_layout(DATA / "liax_half_layout.json")
    kept = {
        key: shape
        for key, shape in layout.items()
        if not any(f"{block}.{i}." in key for block in ("_2", "_rgb") for i in (1, 2, 3))
    }
    path = tmp_path_factory.mktemp("liax") / "lia-x.pt"
    torch.save(recipe.weights({key: [NARROW.get(n, n) for n in shape] for key, shape in kept.items()}), path)
    return path


@pytest.fixture
def liax(server, narrow_liax):
    """`narrow_liax` in the place of the weights that the workflows offer to download: models/leo/lia-x.pt."""
    place = server.base / "models" / "leo" / narrow_liax.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(narrow_liax.read_bytes())
    yield
    place.unlink()


@pytest.fixture
def save_face_detector(server):
    """A function that puts a file of ComfyUI's face detector in its place, whose weights are nothing but biases: it
    finds a face in the left half of every picture, the size of a head, with the given landmarks [478, 3] in the
    detector's own picture of 192 pixels."""
    import torch
    from comfy_extras.mediapipe.face_landmarker import FaceLandmarker
    from comfy_extras.nodes_mediapipe import _CONTOUR_PARTS
    from safetensors.torch import save_file

    path = server.base / "models" / "detection" / "mediapipe_face_fp32.safetensors"

    def save(face: torch.Tensor) -> None:
        weights = {
            key.replace("detector.", f"detector_{variant}."): torch.zeros_like(value)
            for variant in ("short", "full")
            for key, value in FaceLandmarker(detector_variant=variant).state_dict().items()
        }
        weights["detector_short.cls_16.bias"] += 9  # every anchor of the fine grid is sure
        weights["detector_short.cls_8.bias"] -= 9
        middle, size = [25.0, 45.0], [64.0, 64.0]  # of 128, from the first anchor, which is the one that is kept
        weights["detector_short.reg_16.bias"] = torch.tensor(middle + size + 6 * middle).repeat(2)
        weights["mesh.head_landmarks.bias"] = face.reshape(-1)
        weights["canonical_vertices"] = face[:468] - face.mean(0)
        weights["procrustes_indices"], weights["procrustes_weights"] = torch.arange(0, 468, 13), torch.ones(36)
        ring = torch.stack([torch.arange(478), torch.arange(1, 479) % 478], 1).int()
        weights |= {f"topology.{part}": ring.clone() for part in (*_CONTOUR_PARTS, "irises", "nose", "tesselation")}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in weights.items()}, path)

    yield save
    path.unlink(missing_ok=True)


@pytest.fixture
def face_detector(save_face_detector):
    """The detector that the workflows offer to download, with the landmarks of the mean face."""
    import numpy as np
    import torch

    save_face_detector(torch.from_numpy(np.load(DATA / "talking_face.npz")["mean"] * 120 + [96, 96, 0]).float())

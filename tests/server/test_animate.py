"""The first graph in a real ComfyUI: a photo and a driving clip become a video; what is wired wrong says so."""

import copy
import json
import shutil
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from comfy_server import ExecutionError
from PIL import Image

from leo_core.animator.checkpoint import load_animator

ROOT = Path(__file__).resolve().parents[2]
TURN = 0  # the direction that the model names "turn"
PROMPT = json.loads((ROOT / "scripts" / "demo_prompt.json").read_text())


def node_of(prompt: dict, class_type: str) -> str:
    """Key of the only node of a type."""
    (key,) = (key for key, node in prompt.items() if node["class_type"] == class_type)
    return key


def video_of(server, prompt: dict) -> Path:
    """The video that a prompt writes; the crop shows a picture as well."""
    (video,) = (path for path in server.files(server.run(prompt)) if path.suffix == ".mp4")
    return video


@pytest.fixture
def prompt():
    return copy.deepcopy(PROMPT)


def beginning(prompt: dict) -> dict:
    """Of the prompt's video the first three frames."""
    motion = [node_of(prompt, "LEOTransferMotion"), 0]
    short = copy.deepcopy(prompt) | {
        "20": {"class_type": "LEOTrimMotion", "inputs": {"motion": motion, "start": 0, "frames": 3}}
    }
    short[node_of(prompt, "LEORenderVideo")]["inputs"]["motion"] = ["20", 0]
    return short


@pytest.fixture
def other_animator(server, animator_file) -> str:
    """Name of a second animator in the server's models/leo."""
    (server.base / "models" / "leo").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(animator_file, server.base / "models" / "leo" / "other.safetensors")
    return "other.safetensors"


def test_the_video_has_the_frames_rate_and_size_of_the_clip(server, prompt):
    frames, rate = decode(video_of(server, prompt))
    driving, driving_rate = decode(ROOT / "samples" / "man_talking.mp4")
    assert (frames.shape, rate) == (driving.shape, driving_rate)


def decode(path: Path) -> tuple[np.ndarray, Fraction]:
    """Frames [T, H, W, 3] in 0..255, and their rate."""
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]), rate


def test_the_person_of_the_photo_makes_the_motion_of_the_clip(server, prompt):
    """The first frame is the photo; then the video moves when the clip does, and its codes follow the clip's."""
    frames, _ = decode(video_of(server, prompt))
    photo = np.asarray(Image.open(ROOT / "samples" / "woman.png").convert("RGB"))
    assert np.abs(frames[0].astype(int) - photo).mean() < 4
    driving, _ = decode(ROOT / "samples" / "man_talking.mp4")
    animator, _ = load_animator(ROOT / "models" / "leo-face-64.safetensors")
    turned, followed = (codes_of(animator, clip)[:, TURN] for clip in (driving, frames))
    assert np.corrcoef(turned, followed)[0, 1] > 0.8


@torch.inference_mode()
def codes_of(animator, frames: np.ndarray) -> np.ndarray:
    pictures = torch.from_numpy(frames).movedim(-1, 1).float() / 127.5 - 1
    pictures = torch.nn.functional.interpolate(pictures, (animator.config.size,) * 2, mode="bilinear", antialias=True)
    return animator.motion_head(animator.encoder(pictures)[0]).numpy()


def refused(server, prompt) -> str:
    """The message of a prompt that cannot run; the server must be well after it."""
    with pytest.raises(ExecutionError) as refusal:
        server.run(prompt)
    assert server.get_json("/queue") == {"queue_running": [], "queue_pending": []}
    return str(refusal.value)


def test_wrong_wiring_is_refused(server, prompt):
    prompt[node_of(prompt, "LEORenderVideo")]["inputs"]["motion"] = [node_of(prompt, "LEOLoadAnimator"), 0]
    assert "LEO_ANIMATOR" in refused(server, prompt)


def test_a_motion_of_another_animator_is_refused_by_name(server, prompt, other_animator):
    prompt["other"] = {"class_type": "LEOLoadAnimator", "inputs": {"model": other_animator}}
    prompt[node_of(prompt, "LEOMotionEncoder")]["inputs"]["animator"] = ["other", 0]
    message = refused(server, prompt)
    assert "'other'" in message and "'leo-face-128'" in message


def test_a_picture_of_one_pixel_is_refused(server, prompt):
    prompt["dot"] = {"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "batch_size": 1, "color": 0}}
    prompt[node_of(prompt, "LEOEncoder")]["inputs"]["image"] = ["dot", 0]
    assert "The picture is 1x1 pixels; an animator needs at least 16" in refused(server, prompt)


def test_the_first_picture_of_a_batch_is_animated(server, prompt):
    encoder = prompt[node_of(prompt, "LEOEncoder")]["inputs"]
    prompt["gray"] = {
        "class_type": "EmptyImage",
        "inputs": {"width": 256, "height": 256, "batch_size": 1, "color": 0x808080},
    }
    prompt["two"] = {"class_type": "ImageBatch", "inputs": {"image1": encoder["image"], "image2": ["gray", 0]}}
    encoder["image"] = ["two", 0]
    frames, _ = decode(video_of(server, beginning(prompt)))
    photo = np.asarray(Image.open(ROOT / "samples" / "woman.png").convert("RGB"))
    assert np.abs(frames[0].astype(int) - photo).mean() < 4


def test_a_file_that_is_no_model_is_refused(server, prompt):
    (server.base / "models" / "leo").mkdir(parents=True, exist_ok=True)
    (server.base / "models" / "leo" / "letter.pt").write_text("Dear reader")
    prompt[node_of(prompt, "LEOLoadAnimator")]["inputs"]["model"] = "letter.pt"
    assert "letter.pt is not a model file that can be read safely" in refused(server, prompt)


def test_an_interrupt_stops_the_render_and_the_next_run_works(server, prompt):
    retime = {
        "class_type": "LEORetimeMotion",
        "inputs": {
            "motion": [node_of(prompt, "LEOTransferMotion"), 0],
            "playback": "forward",
            "timing": "frames",
            "timing.frames": 3000,
        },
    }
    long = {**copy.deepcopy(prompt), "retime": retime}
    long[node_of(prompt, "LEORenderVideo")]["inputs"]["motion"] = ["retime", 0]
    generator = node_of(prompt, "LEORenderVideo")
    with server.events() as events:
        queued = server.queue(long)
        while not any(kind == "progress" and data["node"] == generator and data["value"] > 8 for kind, data in events):
            assert not [kind for kind, _ in events if kind in ("execution_error", "execution_success")]
            time.sleep(0.05)
        server.interrupt()
        with pytest.raises(ExecutionError, match=f"interrupted at node {generator} LEORenderVideo"):
            server.wait(queued)
    prompt[node_of(prompt, "LEOTransferMotion")]["inputs"]["gain"] = 0.5
    assert server.files(server.run(beginning(prompt)))

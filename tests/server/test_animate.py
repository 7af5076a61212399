"""The first graph in a real ComfyUI: a photo and a driving clip become a video; what is wired wrong says so."""
import copy
import json
import shutil
import time
from pathlib import Path

import av
import pytest
from comfy_server import ExecutionError

ROOT = Path(__file__).resolve().parents[2]
PROMPT = json.loads((ROOT / "scripts" / "demo_prompt.json").read_text())


def node_of(prompt: dict, class_type: str) -> str:
    """Key of the only node of a type."""
    key, = (key for key, node in prompt.items() if node["class_type"] == class_type)
    return key


@pytest.fixture
def prompt():
    return copy.deepcopy(PROMPT)


@pytest.fixture
def other_animator(server, animator_file) -> str:
    """Name of a second animator in the server's models/leo."""
    (server.base / "models" / "leo").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(animator_file, server.base / "models" / "leo" / "other.safetensors")
    return "other.safetensors"


def test_the_video_has_the_frames_rate_and_size_of_the_clip(server, prompt):
    video, = server.files(server.run(prompt))
    assert describe(video) == describe(ROOT / "samples" / "man_talking.mp4")


def describe(path: Path) -> tuple:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sum(1 for _ in container.decode(video=0)), stream.average_rate, stream.width, stream.height


def refused(server, prompt) -> str:
    """The message of a prompt that cannot run; the server must be well after it."""
    with pytest.raises(ExecutionError) as refusal:
        server.run(prompt)
    assert server.get_json("/queue") == {"queue_running": [], "queue_pending": []}
    return str(refusal.value)


def test_wrong_wiring_is_refused(server, prompt):
    prompt[node_of(prompt, "LEOFlowGenerator")]["inputs"]["motion"] = [node_of(prompt, "LEOLoadAnimator"), 0]
    assert "LEO_ANIMATOR" in refused(server, prompt)


def test_a_motion_of_another_animator_is_refused_by_name(server, prompt, other_animator):
    prompt["other"] = {"class_type": "LEOLoadAnimator", "inputs": {"model": other_animator}}
    prompt[node_of(prompt, "LEOMotionEncoder")]["inputs"]["animator"] = ["other", 0]
    message = refused(server, prompt)
    assert "'other'" in message and "'leo-face-64'" in message


def test_a_picture_of_one_pixel_is_refused(server, prompt):
    prompt["dot"] = {"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "batch_size": 1, "color": 0}}
    prompt[node_of(prompt, "LEOEncoder")]["inputs"]["image"] = ["dot", 0]
    assert "The picture is 1x1 pixels; an animator needs at least 16" in refused(server, prompt)


def test_a_batch_of_pictures_is_refused(server, prompt):
    prompt["two"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 2, "color": 0}}
    prompt[node_of(prompt, "LEOEncoder")]["inputs"]["image"] = ["two", 0]
    assert "Image From Batch" in refused(server, prompt)


def test_a_file_that_is_no_model_is_refused(server, prompt):
    (server.base / "models" / "leo").mkdir(parents=True, exist_ok=True)
    (server.base / "models" / "leo" / "letter.pt").write_text("Dear reader")
    prompt[node_of(prompt, "LEOLoadAnimator")]["inputs"]["model"] = "letter.pt"
    assert "letter.pt is no model file that can be read safely" in refused(server, prompt)


def test_an_interrupt_stops_the_render_and_the_next_run_works(server, prompt):
    retime = {"class_type": "LEORetimeMotion", "inputs": {
        "motion": [node_of(prompt, "LEOTransferMotion"), 0], "playback": "forward", "timing": "frames", "timing.frames": 3000}}
    long = {**copy.deepcopy(prompt), "retime": retime}
    long[node_of(prompt, "LEOFlowGenerator")]["inputs"]["motion"] = ["retime", 0]
    generator = node_of(prompt, "LEOFlowGenerator")
    with server.events() as events:
        queued = server.queue(long)
        while not any(kind == "progress" and data["node"] == generator and data["value"] > 8 for kind, data in events):
            time.sleep(0.05)
        server.interrupt()
        with pytest.raises(ExecutionError, match=f"interrupted at node {generator} LEOFlowGenerator"):
            server.wait(queued, timeout=60)
    prompt[node_of(prompt, "LEOTransferMotion")]["inputs"]["gain"] = 0.5
    assert server.files(server.run(prompt))

"""The editing workflows in a real server, on a clip with sound instead of their samples: what changes, and what
stays."""

import copy
import json
from fractions import Fraction
from pathlib import Path

import kornia
import numpy as np
import pytest
import torch
from PIL import Image

from leo_core.motion import load_motion
from leo_core.video import VideoWriter, continued_index, read_video, sound_of_file, sound_of_tensor

ROOT = Path(__file__).resolve().parents[2]
FPS = Fraction(25)
RATE = 44100


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def node_of(prompt: dict, class_type: str) -> str:
    """Key of the only node of a type."""
    (key,) = (key for key, node in prompt.items() if node["class_type"] == class_type)
    return key


def noise(seconds: float) -> torch.Tensor:
    return torch.randn((1, 1, round(seconds * RATE)), generator=torch.Generator().manual_seed(0)) * 0.1


def frames_of(path: Path) -> np.ndarray:
    return np.stack(list(read_video(str(path)))).astype(np.float32)


@pytest.fixture
def prompt(server):
    """prompt(name, sample, frames): a workflow with a clip of so many frames, and with sound, in place of its
    driving sample."""

    def load(name: str, sample: str, frames: int) -> dict:
        graph = json.loads((ROOT / "tests" / "data" / f"{name}_prompt.json").read_text())
        source = list(read_video(str(ROOT / "samples" / sample)))
        with VideoWriter(
            str(server.base / "input" / "clip.mp4"), (256, 256), FPS, 10, sound_of_tensor(noise(frames / 25), RATE)
        ) as writer:
            for frame in range(frames):
                writer.write(source[continued_index(frame, len(source), "ping-pong")])
        (key,) = (key for key, made in graph.items() if made["inputs"].get("sample") == sample)
        graph[key] = node("LoadVideo", file="clip.mp4")
        graph["frames"] = node("GetVideoComponents", video=[key, 0])
        graph["first"] = node("ImageFromBatch", image=["frames", 0], batch_index=0, length=1)
        for other in graph.values():
            for input_name, value in other["inputs"].items():
                if value == [key, 1]:
                    other["inputs"][input_name] = [key, 0]
                elif value == [key, 0] and other["class_type"] != "GetVideoComponents":
                    other["inputs"][input_name] = ["first", 0]
        return graph

    return load


def check_sound(path: Path):
    heard = sound_of_file(str(path)).take(10**9)[0]
    given = noise(len(heard) / RATE)[0, 0].numpy()
    middle = slice(len(heard) // 4, len(heard) // 2)
    lag = np.correlate(heard, given[middle], "valid").argmax() - middle.start
    assert abs(lag) / RATE < 0.02


def subject_in_any_frame(clip: np.ndarray, room: int) -> torch.Tensor:
    """What is not as green as the backdrop in some frame, widened by ``room`` pixels: bool [H, W]."""
    chroma = kornia.color.rgb_to_ycbcr(torch.from_numpy(clip).movedim(-1, 1) / 255)[:, 1]
    shape = (chroma > 0.39).any(0)[None, None].float()
    return torch.nn.functional.max_pool2d(shape, 2 * room + 1, 1, room)[0, 0] > 0


def test_a_video_is_edited_by_its_first_frame(server, prompt, capsys):
    """Background of 100 frames with and without paste-back, and the motion that moves them."""
    graph = prompt("edit_by_first_frame", "woman_talking.mp4", 100)
    graph[node_of(graph, "EmptyImage")] = node(
        "LEOLoadSample", sample="astronaut.png"
    )  # a wall on which a movement would be seen
    driving, transfer, render = (
        node_of(graph, kind) for kind in ("LEOMotionEncoder", "LEOTransferMotion", "LEORenderVideo")
    )
    graph["exact"] = copy.deepcopy(graph[transfer])
    graph["exact"]["inputs"]["mode"] = "absolute"
    for name, made in (("read", driving), ("moved", transfer), ("exact", "exact")):
        graph[f"save {name}"] = node("LEOSaveMotion", motion=[made, 0], filename_prefix=f"leo/{name}")
    for name, changes in (("whole", {"region": "box"}), ("plain", {"region": "box", "full_resolution": False})):
        graph[name] = copy.deepcopy(graph[render])
        graph[name]["inputs"].update(changes)
        graph[f"save {name}"] = node(
            "SaveVideo", video=[name, 0], filename_prefix=f"leo/{name}", format="auto", codec="auto"
        )
    numbered = {key: str(number) for number, key in enumerate(graph)}
    graph = {
        numbered[key]: {
            **made,
            "inputs": {
                name: [numbered[value[0]], value[1]] if isinstance(value, list) else value
                for name, value in made["inputs"].items()
            },
        }
        for key, made in graph.items()
    }
    history = server.run(graph)
    files = {path.stem.split("_0000")[0]: path for path in server.files(history)}
    (shown,) = history["outputs"][node_of(graph, "PreviewImage")]["images"]

    edited = np.asarray(
        Image.open(server.base / shown["type"] / shown["subfolder"] / shown["filename"]).convert("RGB")
    ).astype(np.float32)
    clip = frames_of(server.base / "input" / "clip.mp4")
    outside = ~subject_in_any_frame(clip, 14).numpy()
    assert 0.1 < outside.mean() < 0.6
    off = {name: np.abs(frames_of(files[name]) - edited)[:, outside].mean() for name in ("edited", "whole", "plain")}
    with capsys.disabled():
        print(f"\nbackground off by {off} of 255, over {outside.mean():.0%} of the picture")
    assert off["edited"] < 2 and off["edited"] < min(off["whole"], off["plain"])
    assert frames_of(files["edited"]).shape == clip.shape
    check_sound(files["edited"])

    read, moved, exact = (
        load_motion(server.base / "output" / "leo" / f"{name}_00001_.safetensors")[0].codes
        for name in ("read", "moved", "exact")
    )
    assert len(read) == 100 and read.diff(dim=0).abs().max() > 0.01
    assert torch.equal(exact, read)
    assert torch.allclose(moved - moved[:1], read - read[:1], atol=1e-5)


def test_one_motion_moves_many_people(server, prompt):
    (video,) = server.files(server.run(prompt("many_people", "woman_talking.mp4", 8)))
    frames = frames_of(video)
    assert frames.shape == (8, 512, 512, 3)
    clip = frames_of(server.base / "input" / "clip.mp4")
    man = np.asarray(Image.open(ROOT / "samples" / "man.png").convert("RGB")).astype(np.float32)
    tiles = {
        place: frames[:, y : y + 256, x : x + 256]
        for place, (y, x) in enumerate(((0, 0), (0, 256), (256, 0), (256, 256)))
    }
    assert np.abs(tiles[0][0] - clip[0]).mean() < 4 and np.abs(tiles[3][0] - man).mean() < 4
    shirt = np.s_[0, 230:, 100:150]
    assert (tiles[0][shirt] - tiles[1][shirt])[..., 2].mean() > 40, "blue became orange"
    assert np.abs(tiles[2][0] - tiles[2][0].mean(-1, keepdims=True)).mean() < 4, "gray"
    for frames in tiles.values():
        assert np.abs(frames[7] - frames[0]).mean() > 1
    check_sound(video)


def test_one_of_two_people_moves_and_the_rest_of_the_photo_stays(server, prompt):
    files = server.files(server.run(prompt("paste_back", "man_talking.mp4", 8)))
    (video,) = (path for path in files if path.suffix == ".mp4")  # the crop shows its picture as well
    frames = frames_of(video)
    photo = np.concatenate(
        [np.asarray(Image.open(ROOT / "samples" / f"{who}.png").convert("RGB")) for who in ("man", "woman")], 1
    ).astype(np.float32)
    assert frames.shape == (8, 256, 512, 3)
    assert np.abs(frames - photo)[:, :, :250].mean() < 2
    assert np.abs(frames[0] - photo)[:, 256:].mean() < 4 and np.abs(frames[7] - frames[0])[:, 300:450].mean() > 2
    check_sound(video)

"""Soak test of one server: random graphs, interrupts, models swapped and freed; memory, files and results stay as
they were.

Judged is what the system calls resident: what is in use, and what the allocator keeps for the next request. How much
it would give back when asked is told beside it: that much of any growth is not a leak.
"""

import random
import re
import shutil
import time
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from comfy_server import ComfyServer, ExecutionError

from leo_core.lmdm.samplers import SAMPLERS

ROOT = Path(__file__).resolve().parents[2]
MOTIONS = sorted(f"leo-face-64/{path.name}" for path in (ROOT / "models" / "leo-face-64").glob("*.safetensors"))
TRIM = """\
import ctypes
import gc
import sys

from aiohttp import web
from server import PromptServer


@PromptServer.instance.routes.get("/trim")
async def trim(request):
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return web.Response()


NODE_CLASS_MAPPINGS = {}
"""
SETTLE = 10  # prompts after which every kind of graph has run, and everything that is loaded once is loaded
OWN, OTHER = "leo-face-64.safetensors", "other.safetensors"
KINDS = [*[(OWN, "file")] * 3, *[(OWN, "sample")] * 3, *[(OWN, "pose")] * 2, (OTHER, "pose"), (OTHER, "clip")]
GROWTH = 1.05


@pytest.fixture(scope="module")
def fresh_server(tmp_path_factory, animator_file):
    """A server of its own, whose memory is measured; a second pack lets its allocator be told to give back what it
    keeps."""
    base = tmp_path_factory.mktemp("soak")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "trim.py").write_text(TRIM)
    with ComfyServer(base) as running:
        (running.base / "models" / "leo").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(animator_file, running.base / "models" / "leo" / "other.safetensors")
        yield running


class Graph:
    """A prompt that grows node by node."""

    def __init__(self):
        self.prompt: dict[str, dict] = {}

    def add(self, class_type: str, **inputs) -> str:
        key = str(len(self.prompt) + 1)
        self.prompt[key] = {"class_type": class_type, "inputs": inputs}
        return key


class Cards:
    """Random choices without replacement: each pack of cards is shuffled, dealt to its end, and shuffled again. So
    ten prompts hold every kind of graph, and what is loaded or compiled once is, before memory is first looked at."""

    def __init__(self, seed: int):
        self.draw = random.Random(seed)
        self._left: dict[str, list] = {}

    def deal(self, pack: str, cards: tuple | list):
        left = self._left.get(pack) or self.draw.sample(cards, len(cards))
        self._left[pack] = left[1:]
        return left[0]


def random_prompt(cards: Cards) -> dict:
    """A valid graph out of the pack's nodes that ends in a video file."""
    graph, draw = Graph(), cards.draw
    model, kind = cards.deal("motion", KINDS)
    animator = [graph.add("LEOLoadAnimator", model=model), 0]
    image = [graph.add("LEOLoadSample", sample="woman.png"), 0]
    encoder = graph.add("LEOEncoder", animator=animator, image=image)
    if kind == "file":
        driving = [graph.add("LEOLoadMotion", file=draw.choice(MOTIONS)), 0]
        motion = [
            graph.add(
                "LEOTransferMotion",
                source_pose=[encoder, 1],
                driving=driving,
                mode="relative",
                gain=draw.uniform(0.3, 1.2),
                reference_frame=0,
                reference=cards.deal("reference", ("first frame", "best match")),
            ),
            0,
        ]
    elif kind == "sample":
        prior = [graph.add("LEOLoadMotionPrior", prior="leo-face-64-prior.safetensors"), 0]
        shortest, longest = cards.deal("frames", ((8, 16), (17, 32), (33, 40)))
        motion = [
            graph.add(
                "LEOLMDMSampler",
                prior=prior,
                start_pose=[encoder, 1],
                frames=draw.randint(shortest, longest),
                seed=draw.getrandbits(64),
                steps=draw.randint(2, 6),
                sampler=cards.deal("sampler", tuple(SAMPLERS)),
                eta=0.0,
                variation=0.3,
            ),
            0,
        ]
    elif kind == "clip":
        clip = [graph.add("LEOLoadSample", sample="man_talking.mp4"), 1]
        motion = [graph.add("LEOMotionEncoder", animator=animator, video=clip, fps=25.0, broken_frames="hold"), 0]
    else:
        motion = [
            graph.add(
                "LEORetimeMotion",
                motion=[encoder, 1],
                playback="forward",
                timing="frames",
                **{"timing.frames": draw.randint(2, 12)},
            ),
            0,
        ]
    for _ in range(cards.deal("edits", range(4))):
        edit = cards.deal("edit", ("LEOSmoothMotion", "LEOAmplifyMotion", "LEOSelectDirections", "LEORetimeMotion"))
        inputs = {
            "LEOSmoothMotion": {"seconds": draw.uniform(0, 0.5)},
            "LEOAmplifyMotion": {"gain": draw.uniform(0, 1.5), "direction_gains": ""},
            "LEOSelectDirections": {"directions": "0-2", "action": "keep", "rest": "first frame"},
            "LEORetimeMotion": {
                "playback": cards.deal("playback", ("forward", "reverse")),
                "timing": "speed",
                "timing.speed": draw.uniform(0.8, 2),
            },
        }[edit]
        motion = [graph.add(edit, motion=motion, **inputs), 0]
    if cards.deal("save", (True, False, False, False, False)):
        graph.add("LEOSaveMotion", motion=motion, filename_prefix=f"leo/soak {draw.randint(0, 3)}", description="")
    ending = cards.deal("ending", ("render", "render", "render in full", "decode", "decode"))
    if ending == "decode":
        flow = [graph.add("LEOFlowGenerator", animator=animator, appearance=[encoder, 0], motion=motion), 0]
        frames = [
            graph.add(
                "LEOInpaintingDecoder", animator=animator, appearance=[encoder, 0], flow=flow, full_resolution=False
            ),
            0,
        ]
        video = [graph.add("CreateVideo", images=frames, fps=25.0, bit_depth=8), 0]
    else:
        video = [
            graph.add(
                "LEORenderVideo",
                animator=animator,
                appearance=[encoder, 0],
                motion=motion,
                picture=image,
                crf=23,
                feather=0.1,
                region="box",
                full_resolution=ending == "render in full",
                length="motion",
                broken_frames="hold",
            ),
            0,
        ]
    graph.add("SaveVideo", video=video, filename_prefix="soak", format="auto", codec="auto")
    return graph.prompt


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def film_of(server: ComfyServer, history: dict) -> Path:
    (film,) = (path for path in server.files(history) if path.suffix == ".mp4")
    return film


def freed(server: ComfyServer) -> tuple[int, int]:
    """The server's resident memory in MB, once it has let go of models and results: as it is, and with the allocator
    trimmed."""

    def resident() -> int:
        return process.memory_info().rss // 2**20

    process = psutil.Process(server.process.pid)
    server.free()
    kept = [resident()]
    while len(kept) < 6 or min(kept[-6:-1]) > min(kept[-1:]):  # a busy machine takes longer to let go
        time.sleep(0.5)
        kept.append(resident())
    server.get("/trim")
    return min(kept), resident()


def half_files(server: ComfyServer) -> list[Path]:
    return [
        path
        for path in server.base.rglob("*")
        if path.suffix == ".part" or re.match(r"\..+-\w{8}\.safetensors", path.name)
    ]


@pytest.mark.timeout(7200)
def test_many_random_graphs_leave_the_server_as_it_was(fresh_server, full, record_property):
    server, cards = fresh_server, Cards(7)
    draw = cards.draw
    fixed = random_prompt(Cards(1))
    first = frames_of(film_of(server, server.run(fixed)))
    count = 200 if full else 16
    finished = interrupted = frees = 0
    for number in range(count):
        queued = server.queue(random_prompt(cards))
        stop = number >= SETTLE and draw.random() < 0.15
        if stop:
            time.sleep(draw.uniform(0, 1.5))
            server.interrupt()
        try:
            film = film_of(server, server.wait(queued))
            assert len(frames_of(film)) >= 1
            finished += 1
        except ExecutionError as error:
            assert stop and "interrupted" in str(error), error
            interrupted += 1
        if number + 1 == SETTLE:
            kept_then, used_then = freed(server)
        elif draw.random() < 0.1:
            server.free()
            frees += 1
    kept, used = freed(server)
    told = (
        f"{count} prompts: {finished} finished, {interrupted} interrupted, {frees} times freed; resident after "
        f"{SETTLE} {kept_then} MB, trimmed {used_then} MB; at the end {kept} MB, trimmed {used} MB"
    )
    record_property("soak", told)
    print(told)
    assert not half_files(server)
    assert np.array_equal(frames_of(film_of(server, server.run(fixed))), first)
    assert kept <= GROWTH * kept_then, told

"""What surrounds the networks: python tests/benchmarks/pipeline.py [streaming] [graph] [memory]

streaming: 1,000 frames of the shipped animator rendered into a file by LEO Render Video, beside rendering them
alone. graph: a photo and a clip of 64 frames (--frames) to a video in a real ComfyUI, LIA 256 with random weights,
beside the core calls of the same work in this process. memory: what a process grows by at most while LEO Flow
Generator and LEO Inpainting Decoder make 16, 32 and 64 frames of LIA 256, beside its weights and its outputs.

Seconds of the clock and of the processor: other programs change the latter little. Nothing is asserted.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

import conftest  # noqa: E402  ComfyUI's modules and the pack's under the names tests have for them
import torch  # noqa: E402
from animator import random_animator  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from motion import resident  # noqa: E402

from leo_core.animator import fast_bfloat16, lia  # noqa: E402
from leo_core.animator.checkpoint import load_animator, raw_state, save_animator  # noqa: E402
from leo_core.motion import MotionSequence  # noqa: E402
from leo_core.video import VideoWriter, read_video  # noqa: E402

conftest.order_paths()  # the other benchmarks have put the repository first

SHIPPED = ROOT / "models" / "leo-face-64.safetensors"


def timed(run: Callable) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    start = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def node(file: str, name: str):
    return getattr(importlib.import_module(f"leo_pack.nodes.{file}"), name)


def sources(handle, count: int) -> tuple:
    """The bundled photo as an appearance, and a motion that wanders about its pose."""
    image, _ = node("sample", "LEOLoadSample").execute("woman.png").args
    appearance, pose = node("animator", "LEOEncoder").execute(handle, image).args
    steps = torch.randn(count, handle.config.directions, generator=torch.Generator().manual_seed(0)) * 0.02
    return appearance, MotionSequence(pose.codes + steps.cumsum(0).sin() * 0.2, Fraction(25), handle.id)


def streaming(count: int = 1000, rounds: int = 3) -> None:
    import folder_paths

    handle = node("animator", "AnimatorHandle")(str(SHIPPED))
    appearance, motion = sources(handle, count)
    render_chunks, render_video = node("animator", "render_chunks"), node("video", "LEORenderVideo")

    def alone() -> None:
        for _ in render_chunks(handle, appearance, motion):
            pass

    def to_file() -> None:
        render_video.execute(handle, appearance, motion, False, 18, 16.0, "face", "motion", "hold")

    with tempfile.TemporaryDirectory() as folder:
        folder_paths.set_temp_directory(folder)
        seconds = {run: [] for run in (alone, to_file)}
        for _ in range(rounds):
            for run, times in seconds.items():
                times.append(timed(run))
    print(f"{count} frames of {SHIPPED.stem}, seconds: clock, processor")
    best = {run: [min(column) for column in zip(*times, strict=True)] for run, times in seconds.items()}
    for what, run in (("rendering alone", alone), ("LEO Render Video", to_file)):
        print(f"    {what:34}{best[run][0]:8.2f}{best[run][1]:8.2f}")
    print(f"    {'more':34}{best[to_file][0] / best[alone][0] - 1:8.0%}{best[to_file][1] / best[alone][1] - 1:8.0%}")


def write_lia(path: Path) -> None:
    animator = random_animator(lia(256))
    save_animator(path, raw_state(animator, animator.dictionary.basis), animator.config)


def write_clip(path: Path, count: int) -> None:
    """So many frames of the bundled clip at 256 px, from its start again where it ends."""
    frames = list(read_video(str(ROOT / "samples" / "man_talking.mp4")))
    with VideoWriter(str(path), (256, 256), Fraction(25)) as writer:
        for i in range(count):
            picture = torch.from_numpy(frames[i % len(frames)]).movedim(-1, 0)[None].float()
            small = torch.nn.functional.interpolate(picture, (256, 256), mode="bilinear", antialias=True)
            writer.write(small[0].movedim(0, -1).round().clamp(0, 255).byte().contiguous().numpy())


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@torch.inference_mode()
def graph(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, ComfyServer(Path(folder)) as server:
        (Path(folder) / "models" / "leo").mkdir(parents=True, exist_ok=True)
        model, clip = Path(folder) / "models" / "leo" / "lia256.safetensors", Path(folder) / "input" / "clip.mp4"
        write_lia(model)
        write_clip(clip, count)
        prompt = json.loads((ROOT / "scripts" / "demo_prompt.json").read_text())
        for entry in prompt.values():
            if entry["class_type"] == "LEOLoadAnimator":
                entry["inputs"]["model"] = model.name
            if entry["class_type"] == "LEORenderVideo":  # at the animator's size, not the photo's
                inputs = {name: value for name, value in entry["inputs"].items() if name not in ("picture", "crop")}
                entry["inputs"] = inputs | {"full_resolution": False}
            if entry["class_type"] == "LEOCropSubject":
                entry["inputs"]["person"] = "whole picture"
        prompt["2"] = {"class_type": "LoadVideo", "inputs": {"file": clip.name}}
        for entry in prompt.values():
            entry["inputs"] = {
                name: ["2", 0] if value == ["2", 1] else value for name, value in entry["inputs"].items()
            }
        before = processor_seconds(server.process.pid)
        messages = dict(server.run(prompt, patience=1800)["status"]["messages"])
        processor = processor_seconds(server.process.pid) - before
        clock = (messages["execution_success"]["timestamp"] - messages["execution_start"]["timestamp"]) / 1000

        frames = torch.stack([torch.from_numpy(frame) for frame in read_video(str(clip))])
        pictures = frames.movedim(-1, 1).float() / 127.5 - 1

        def core() -> None:
            precision = torch.bfloat16 if fast_bfloat16() else torch.float32  # as the nodes choose it
            animator, _ = load_animator(model, flow_dtype=precision)
            code, features = animator.encoder(pictures[:1])
            for_flow = {scale: maps.to(precision) for scale, maps in features.items()}
            codes = torch.cat([animator.motion_head(animator.encoder.codes(part)) for part in pictures.split(4)])
            for latent in (code + animator.dictionary(codes)).split(4):
                animator.decoder(features, *animator.flow_generator(for_flow, latent.to(precision)))

        alone = timed(core)
    print(f"{count} frames of LIA 256 from photo, clip and file to video, seconds: clock, processor")
    print(f"    {'the workflow in ComfyUI':34}{clock:8.2f}{processor:8.2f}")
    print(f"    {'the core calls':34}{alone[0]:8.2f}{alone[1]:8.2f}")
    print(f"    {'more':34}{clock / alone[0] - 1:8.0%}{processor / alone[1] - 1:8.0%}")


@torch.inference_mode()
def made(model: str, count: int) -> None:
    """In a process of its own: print how much it grew by, its weights and its outputs, in bytes."""
    handle_type, flow, decoder = (
        node("animator", "AnimatorHandle"),
        node("animator", "LEOFlowGenerator"),
        node("animator", "LEOInpaintingDecoder"),
    )
    small = handle_type(str(SHIPPED))  # what torch and ComfyUI take for themselves on first use does not count
    decoder.execute(small, sources(small, 4)[0], flow.execute(small, *sources(small, 4)).args[0], False)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    handle = handle_type(model)
    appearance, motion = sources(handle, count)
    (field,) = flow.execute(handle, appearance, motion).args
    images, inpainted = decoder.execute(handle, appearance, field, False).args
    grown = resident("VmHWM") - before
    weights = sum(
        p.nbytes
        for part in (handle.encoder, handle.motion_head, handle.flow_generator, handle.decoder)
        for p in part.model.parameters()
    )
    outputs = (
        images.nbytes
        + inpainted.nbytes
        + sum(map(lambda maps: maps.nbytes, [*field.displacement.values(), *field.mask.values()]))
    )
    print(json.dumps([grown, weights, outputs]))


def memory() -> None:
    print(f"LIA 256, MB {'grown by':>20}{'weights':>10}{'outputs':>10}{'2 weights + outputs':>22}")
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "lia256.safetensors")
        with torch.inference_mode():
            write_lia(Path(model))
        for count in (16, 32, 64):
            run = subprocess.run(
                [sys.executable, __file__, "--made", model, str(count)], capture_output=True, text=True, check=True
            )
            grown, weights, outputs = (value / 1e6 for value in json.loads(run.stdout.splitlines()[-1]))
            print(f"    {count:3} frames{grown:20.0f}{weights:10.0f}{outputs:10.0f}{2 * weights + outputs:22.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["streaming", "graph", "memory", []], help="all by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, default=64, help="of the graph")
    parser.add_argument("--made", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the processes started here
    if options.made:
        return made(options.made[0], int(options.made[1]))
    measurements = {"streaming": streaming, "graph": partial(graph, options.frames), "memory": memory}
    for what in options.what or measurements:
        measurements[what]()


if __name__ == "__main__":
    main()

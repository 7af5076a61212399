"""A whole render: python tests/benchmarks/render.py [--sides 1024 3464] [--frames 96]

LEO Render Video with leo-face-128 and a ready-made motion moves a photo of these sides in full resolution, with
sound, into a file. Seconds of processor time of one thread of torch, and the share of each stage. Encoding is
what other threads than the node's took, and what the writer took in the node's; "other" is what the node did
besides: reading the photo, bytes, previews.
Nothing is asserted.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

import torch  # noqa: E402
from pipeline import conftest, node  # noqa: E402

from leo_core.motion import load_motion, transfer  # noqa: E402

conftest.order_paths()

MODEL = ROOT / "models" / "leo-face-128.safetensors"


class Stages(dict[str, float]):
    """Seconds of processor time that functions of the node's thread took."""

    def of(self, name: str, run: Callable) -> Callable:
        def timed(*values, **named):
            start = time.thread_time()
            try:
                return run(*values, **named)
            finally:
                self[name] = self.get(name, 0.0) + time.thread_time() - start

        return timed

    def of_each(self, name: str, run: Callable) -> Callable:
        """The same of a function that yields."""

        def timed(*values) -> Iterator:
            following = self.of(name, iter(run(*values)).__next__)
            while True:
                try:
                    item = following()
                except StopIteration:
                    return
                yield item

        return timed


def render(side: int, count: int) -> tuple[float, Stages]:
    """:return: seconds of processor time of all threads, and of the stages of the node's."""
    video = sys.modules[node("video", "LEORenderVideo").__module__]
    handle = node("animator", "AnimatorHandle")(str(MODEL))
    picture, _ = node("sample", "LEOLoadSample").execute("astronaut.png").args
    picture = torch.nn.functional.interpolate(picture.movedim(-1, 1), (side, side), mode="bicubic", antialias=True)
    picture = picture.clamp(0, 1).movedim(1, -1).contiguous()
    appearance, pose = node("animator", "LEOEncoder").execute(handle, picture).args
    motion, _ = load_motion(MODEL.with_suffix("") / "talk.safetensors")
    motion = transfer(replace(motion, codes=motion.codes[torch.arange(count) % len(motion)]), pose)
    rate = 48_000
    seconds = count / float(motion.fps)
    sound = {"waveform": torch.sin(torch.arange(int(rate * seconds)) / 20)[None, None], "sample_rate": rate}

    stages = Stages()
    wrapped = {
        (video, "render_chunks"): stages.of_each("networks", video.render_chunks),
        (video.FullResolutionFrames, "__init__"): stages.of("full resolution", video.FullResolutionFrames.__init__),
        (video.FullResolutionFrames, "__call__"): stages.of("full resolution", video.FullResolutionFrames.__call__),
        (video.Paste, "__call__"): stages.of("putting back", video.Paste.__call__),
        (video.VideoWriter, "write"): stages.of("encoding", video.VideoWriter.write),
        (video.VideoWriter, "__exit__"): stages.of("encoding", video.VideoWriter.__exit__),
    }
    before = {(owner, name): getattr(owner, name) for owner, name in wrapped}
    for (owner, name), run in wrapped.items():
        setattr(owner, name, run)
    try:
        start = time.process_time(), time.thread_time()
        video.LEORenderVideo.execute(handle, appearance, motion, full_resolution=True, picture=picture, audio=sound)
        total, own = time.process_time() - start[0], time.thread_time() - start[1]
    finally:
        for (owner, name), run in before.items():
            setattr(owner, name, run)
    stages["other"] = own - sum(stages.values())
    stages["encoding"] += total - own
    return total, stages


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 3464])
    parser.add_argument("--frames", type=int, default=96)
    options = parser.parse_args()
    torch.set_num_threads(1)
    import folder_paths

    with tempfile.TemporaryDirectory() as folder:
        folder_paths.set_temp_directory(folder)
        for side in options.sides:
            total, stages = render(side, options.frames)
            milliseconds = 1000 * total / options.frames
            print(f"{side} x {side} px, {options.frames} frames: {total:.1f} s, {milliseconds:.0f} ms a frame")
            for name, seconds in sorted(stages.items(), key=lambda stage: -stage[1]):
                print(f"    {name:20}{1000 * seconds / options.frames:10.1f} ms{seconds / total:8.0%}", flush=True)


if __name__ == "__main__":
    main()

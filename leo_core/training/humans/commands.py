"""Command line: render a data set of people, or a contact sheet to look at."""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from ...files import write_atomically
from ..outputs import PICTURE, file_to_write
from .motion import FRAMINGS
from .people import HumanLibrary
from .render import Clip, render_clip


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Register `render-humans` and `humans-sheet`; each sets `run`, a function of the parsed arguments."""
    render = subparsers.add_parser("render-humans", help="render clips of synthetic people with exact optical flow")
    render.set_defaults(run=render_humans)
    sheet = subparsers.add_parser(
        "humans-sheet", help="write one picture of many synthetic people, their motion and flow"
    )
    sheet.set_defaults(run=humans_sheet)
    for command in (render, sheet):
        command.add_argument("--assets", type=Path, required=True, help="folder of MakeHuman's CC0 assets")
        command.add_argument(
            "--out",
            type=Path if command is render else file_to_write(*PICTURE),
            required=True,
            help="folder of the clips" if command is render else "PNG file to write",
        )
        command.add_argument("--identities", type=int, default=8, help="number of people")
        command.add_argument("--framing", choices=FRAMINGS, default="head")
        command.add_argument("--size", type=int, default=128, help="width and height in pixels")
        command.add_argument("--frames", type=int, default=64)
        command.add_argument("--fps", type=float, default=15.0)
        command.add_argument("--seed", type=int, default=0, help="first identity seed; also shifts the motions")
        command.add_argument(
            "--relight", type=float, default=0.0, help="share (0 to 1) of the shading that follows the room's light"
        )
    render.add_argument("--clips-per-identity", type=int, default=2)
    render.add_argument(
        "--format",
        choices=("npz", "mp4"),
        default="npz",
        help="npz: everything in one file; mp4: video, flow at half size",
    )
    render.add_argument("--settled", action="store_true", help="start and end every motion near the neutral posture")
    render.add_argument(
        "--turns", type=float, default=1.0, help="how far heads turn; little leaves mouth and eyes to be explained"
    )
    render.add_argument(
        "--part", default="1/1", help="render the k-th of n shares of the clips, as k/n, to use several processes"
    )


def render_humans(arguments: argparse.Namespace) -> None:
    """Render the clips that are not there yet and write `manifest.json`.

    The manifest lists every clip with its identity seed, motion seed, framing and split: the last tenth of the
    identities, at least one when there are several, is "val". Identities come in pairs that perform the same
    motions, which gives evaluation one motion on two people.
    """
    library = HumanLibrary(arguments.assets)
    arguments.out.mkdir(parents=True, exist_ok=True)
    held_out = max(1, arguments.identities // 10) if arguments.identities > 1 else 0
    clips = []
    for identity in range(arguments.identities):
        for k in range(arguments.clips_per_identity):
            motion = 10_000 + arguments.seed + (identity // 2) * arguments.clips_per_identity + k
            name = f"{arguments.framing}_{arguments.seed + identity:05d}_{motion:05d}"
            clips.append(
                {
                    "file": f"{name}.{arguments.format}",
                    "identity": arguments.seed + identity,
                    "motion": motion,
                    "framing": arguments.framing,
                    "split": "val" if identity >= arguments.identities - held_out else "train",
                }
            )
    shared = {
        "size": arguments.size,
        "frames": arguments.frames,
        "fps": arguments.fps,
        "relight": arguments.relight,
        "settled": arguments.settled,
        "turns": arguments.turns,
    }
    manifest = json.dumps({**shared, "clips": clips}, indent=1)
    write_atomically(arguments.out / "manifest.json", lambda path: Path(path).write_text(manifest, encoding="utf-8"))
    part, parts = (int(x) for x in arguments.part.split("/"))
    for clip in clips[part - 1 :: parts]:
        target = arguments.out / clip["file"]
        if target.exists():
            continue
        rendered = render_clip(
            library,
            clip["identity"],
            clip["motion"],
            arguments.framing,
            arguments.size,
            arguments.frames,
            arguments.fps,
            arguments.settled,
            arguments.relight,
            arguments.turns,
        )
        save_clip(rendered, target)
        print(target.name, flush=True)


def save_clip(clip: Clip, path: Path) -> None:
    """Write a clip. `.npz`: all of it as rendered. `.mp4`: the video, and beside it an `.npz` of the rest, its maps
    at half size (every second pixel; the flow is in normalized units, so it needs no scaling)."""
    maps: dict[str, Any] = {name: getattr(clip, name) for name in ("backward_flow", "visible", "coverage")}
    rest: dict[str, Any] = {"controls": clip.controls, "backdrop": clip.backdrop, "fps": np.float64(clip.fps)}
    if path.suffix == ".npz":
        write_atomically(path, lambda part: np.savez_compressed(part, frames=clip.frames, **maps, **rest))
        return
    half = {name: values[:, ::2, ::2] for name, values in maps.items()}
    write_atomically(path.with_suffix(".npz"), lambda part: np.savez_compressed(part, **half, **rest))
    write_atomically(path, lambda part: _write_video(part, clip))


def _write_video(path: str, clip: Clip) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(clip.fps).limit_denominator(1001), options={"crf": "12", "preset": "slow"}
        )
        stream.height, stream.width = clip.frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def humans_sheet(arguments: argparse.Namespace) -> None:
    """One row per identity: frames across the clip, then the last shown frame's flow (color by direction),
    visibility, and frame 0 warped to it."""
    library = HumanLibrary(arguments.assets)
    rows = []
    for identity in range(arguments.seed, arguments.seed + arguments.identities):
        clip = render_clip(
            library,
            identity,
            10_000 + identity,
            arguments.framing,
            arguments.size,
            arguments.frames,
            arguments.fps,
            relight=arguments.relight,
        )
        shown = np.linspace(0, len(clip.frames) - 1, 7).astype(int)
        last = shown[-3]
        seen = np.repeat(clip.visible[last][..., None] * np.uint8(255), 3, -1)
        rows.append(
            np.concatenate([*clip.frames[shown], color_flow(clip.backward_flow[last]), seen, warp(clip, int(last))], 1)
        )
    write_atomically(arguments.out, lambda path: Image.fromarray(np.concatenate(rows)).save(path))


def color_flow(flow: np.ndarray) -> np.ndarray:
    """Colors uint8 [H, W, 3] of a normalized flow [H, W, 2]: hue for direction, saturation for length (full at a
    quarter of the picture)."""
    flow = flow.astype(np.float32)
    strength = np.minimum(np.hypot(flow[..., 0], flow[..., 1]) / 0.5, 1.0)[..., None]
    angle = np.arctan2(flow[..., 1], flow[..., 0])[..., None] + np.array([0.0, 2.0, 4.0]) * np.pi / 3.0
    return (255.0 * (1.0 - strength * (0.5 - 0.5 * np.cos(angle)))).astype(np.uint8)


def warp(clip: Clip, t: int) -> np.ndarray:
    """Frame 0 warped by frame t's flow, uint8 [H, W, 3]."""
    import torch

    size = clip.frames.shape[1]
    centers = (torch.arange(size) * 2 + 1) / size - 1
    grid = torch.stack(torch.meshgrid(centers, centers, indexing="xy"), -1) + torch.from_numpy(
        clip.backward_flow[t].astype(np.float32)
    )
    first = torch.from_numpy(clip.frames[0]).permute(2, 0, 1)[None].float()
    moved = torch.nn.functional.grid_sample(first, grid[None], padding_mode="border", align_corners=False)
    return moved[0].permute(1, 2, 0).round().to(torch.uint8).numpy()

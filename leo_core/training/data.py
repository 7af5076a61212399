"""Clips for training, decoded once into memory.

A source is a folder of videos, a folder of frame folders (as TaichiHD, FaceForensics and CelebV-HQ are usually
prepared), a folder written by ``render-humans`` (with exact flow), or a tiled grid ``grid.mp4@128`` whose cells of 128
px are clips of their own. A source may be written ``NAME=PATH``; every clip's name then begins with NAME.
"""

import json
import logging
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from einops import reduce

from ..rates import exact_rate
from .decoding import VIDEOS, center_square, decode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One video of one subject.

    :param frames: [T, S, S, 3] uint8.
    :param flow: [T, S, S, 2] float16, or None: where each pixel of frame t was in the reference frame, as a
        displacement in normalized units (2 is the width, pixel centers as with align_corners=False).
    :param visible: [T, S, S] bool: whether that point can be seen in the reference frame, or, of estimated flow,
        whether it is to be believed. None where flow is None.
    :param controls: [T, K] float32, or None: what the person does, about -1..1.
    :param framing: what the controls mean: a key of `humans.motion.CONTROLS`.
    :param reference: the frame that flow leads to.
    :param exact: whether flow is known, not estimated.
    :param coverage: [T, S, S] uint8, or None: the share of each pixel that the person covers, of 255.
    :param backdrop: [S, S, 3] uint8, or None: what the frames show without the person.
    :param regions: [T, S, S] uint8, or None: 255 where mouth and eyes are.
    :param fps: frames per second, None where its files do not say it.
    """

    name: str
    identity: str
    frames: np.ndarray
    flow: np.ndarray | None = None
    visible: np.ndarray | None = None
    controls: np.ndarray | None = None
    framing: str = "head"
    reference: int = 0
    exact: bool = True
    coverage: np.ndarray | None = None
    backdrop: np.ndarray | None = None
    regions: np.ndarray | None = None
    fps: Fraction | None = None


def before_backdrop(clip: Clip, times: np.ndarray, backdrop: np.ndarray) -> np.ndarray:
    """The rendered person before another backdrop [S, S, 3]: frames [n, S, S, 3] float32 in 0..255.

    :raises ValueError: the clip has no coverage, or no backdrop of its own.
    """
    if clip.coverage is None or clip.backdrop is None:
        raise ValueError(f"{clip.name} does not say what the person covers, so its backdrop cannot be replaced.")
    uncovered = 1 - clip.coverage[times, ..., None] / np.float32(255)
    return clip.frames[times] + uncovered * (backdrop.astype(np.float32) - clip.backdrop)


def read_grid(path: Path, cell: int, size: int) -> list[Clip]:
    """One clip per cell of cell x cell pixels, named by row and column.

    :raises ValueError: no cell fits into the picture.
    """
    cells: dict[str, list[np.ndarray]] = {}
    pictures, fps = decode(path)
    for picture in pictures:
        for top in range(0, picture.height - cell + 1, cell):
            for left in range(0, picture.width - cell + 1, cell):
                # cut out first: a resize that is only told the box would let the neighbors into its edges
                tile = picture.crop((left, top, left + cell, top + cell))
                cells.setdefault(f"{path.stem}_r{top // cell}c{left // cell}", []).append(center_square(tile, size))
    if not cells:
        raise ValueError(f"{path} has no cell of {cell} px. Name the size of its cells, as in grid.mp4@128.")
    return [Clip(name, name, np.stack(frames), fps=fps) for name, frames in cells.items()]


def read_renders(folder: Path, size: int) -> list[Clip]:
    """Clips of ``render-humans``: the manifest names them, their subjects and the split."""
    clips, manifest = [], json.loads((folder / "manifest.json").read_text())
    fps = exact_rate(manifest["fps"]) if "fps" in manifest else None
    for entry in manifest["clips"]:
        clip = read_render(folder, entry)
        if clip.frames.shape[1] % size:
            raise ValueError(
                f"{folder} holds renders of {clip.frames.shape[1]} px, which do not reduce to {size} "
                f"px. Render again with --size {size}."
            )
        clips.append(replace(shrunk(clip, size), fps=fps))
    return clips


def read_render(folder: Path, entry: dict) -> Clip:
    """A clip of the manifest at its own size. Beside a video its maps have every second pixel."""
    path = folder / entry["file"]
    with np.load(path.with_suffix(".npz")) as data:
        maps = dict(data)
    if path.suffix != ".npz":
        maps["frames"] = np.stack([np.asarray(picture) for picture in decode(path)[0]])
        for name in {"backward_flow", "visible", "coverage", "regions"} & maps.keys():
            maps[name] = maps[name].repeat(2, 1).repeat(2, 2)
    return Clip(
        f"{folder.name}/{path.stem}",
        f"{folder.name}-{entry['identity']}",
        maps["frames"],
        maps["backward_flow"],
        maps["visible"],
        maps["controls"],
        entry["framing"],
        exact=entry.get("exact", True),
        coverage=maps.get("coverage"),
        backdrop=maps.get("backdrop"),
        regions=maps.get("regions"),
    )


def shrunk(clip: Clip, size: int) -> Clip:
    """The same clip at size x size pixels, of which its own are a multiple."""
    factor = clip.frames.shape[1] // size
    if factor == 1:
        return clip

    def pictures(values: np.ndarray) -> np.ndarray:
        return shrink(values, factor).round().astype(np.uint8)

    small = replace(clip, frames=pictures(clip.frames))
    if clip.coverage is not None:
        small = replace(small, coverage=pictures(clip.coverage))
    if clip.backdrop is not None:
        small = replace(small, backdrop=pictures(clip.backdrop[None])[0])
    if clip.regions is not None:
        small = replace(small, regions=pictures(clip.regions))
    if clip.flow is None or clip.visible is None:
        return small
    # flow of hidden points is left out of the mean
    visible = shrink(clip.visible, factor)
    flow = shrink(clip.flow * clip.visible[..., None], factor) / np.maximum(visible, 1e-3)[..., None]
    return replace(small, flow=flow.astype(np.float16), visible=visible > 0.5)


def shrink(maps: np.ndarray, factor: int) -> np.ndarray:
    """Mean over factor x factor pixels of [T, S, S, ...]; float32."""
    return reduce(maps.astype(np.float32), "t (h i) (w j) ... -> t h w ...", "mean", i=factor, j=factor)


def read_videos(folder: Path, size: int) -> list[Clip]:
    """One clip per video file or folder of frames. What cannot be read is named and left out."""
    clips = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() and path.suffix.lower() not in VIDEOS:
            continue
        try:
            clips.append(read_clip(path, size))
        except (OSError, ValueError) as error:
            log.warning("%s is left out: %s", path, error)
    return clips


def read_clip(path: Path, size: int) -> Clip:
    """One video file or folder of frames.

    :raises ValueError: it has fewer than two frames, or holds no video that can be read.
    :raises OSError: it cannot be read.
    """
    pictures, fps = decode(path)
    frames = [center_square(picture, size) for picture in pictures]
    if len(frames) < 2:
        raise ValueError(f"it has {len(frames)} frames, and training needs at least 2")
    return Clip(path.stem, path.stem, np.stack(frames), fps=fps)


def read_source(source: str, size: int, detail: int | None = None) -> list[Clip]:
    """All clips of one source at size x size.

    :param detail: pixels of clips without flow, where those are wanted larger.
    :raises ValueError: nothing readable is there.
    """
    label, _, location = source.rpartition("=")
    location, _, cell = location.partition("@")
    path = Path(location)
    if cell:
        if not (cell.isdecimal() and int(cell)):
            raise ValueError(
                f"{source}: {cell!r} is not a number of pixels. Give the size of the cells, as in grid.mp4@128."
            )
        clips = read_grid(path, int(cell), detail or size)
    elif (path / "manifest.json").is_file():
        clips = read_renders(path, size)
    elif path.is_dir():
        clips = read_videos(path, detail or size)
    else:
        raise ValueError(
            f"{location} is not a folder. A source is a folder of videos, of frame folders or of renders, or "
            f"a tiled grid written grid.mp4@CELL."
        )
    if not clips:
        raise ValueError(
            f"{location} holds no clip that can be read. Put videos ({', '.join(sorted(VIDEOS))}) or "
            f"folders of frames there."
        )
    if label:
        clips = [replace(c, name=f"{label}/{c.name}", identity=f"{label}/{c.identity}") for c in clips]
    return clips


def read_sources(sources: list[str], size: int, detail: int | None = None) -> list[Clip]:
    """All clips of several sources. One that is named twice counts twice, and is read once."""
    read = {source: read_source(source, size, detail) for source in dict.fromkeys(sources)}
    return [clip for source in sources for clip in read[source]]


def split_by_identity(clips: list[Clip], held_out: list[str]) -> tuple[list[Clip], list[Clip]]:
    """Training and held-out clips; a clip is held out when its identity contains one of the given texts."""
    out = [any(text in clip.identity for text in held_out) for clip in clips]
    return [c for c, h in zip(clips, out, strict=True) if not h], [c for c, h in zip(clips, out, strict=True) if h]

"""Readers for the MakeHuman asset formats (hm08 base mesh, morph targets, fitted assets, rigs, BVH poses).

Lengths are MakeHuman's decimeters, y up, z toward the viewer, the person's left at +x. Everything is returned as
numpy arrays; nothing is executed from the files.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Mesh:
    """Triangles over split corners: `vertex` [C] indexes the file's vertices [N, 3], `uv` [C, 2] has v measured from
    the image top."""

    positions: np.ndarray
    vertex: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray


def read_obj(path: Path, group: str | None = None) -> Mesh:
    """Read a Wavefront file; with `group`, keep only the faces of that group (all vertices stay, so indices keep
    their meaning)."""
    positions, texture, polygons = [], [], []
    keep = group is None
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            positions.append([float(x) for x in words[1:4]])
        elif words[0] == "vt":
            texture.append([float(x) for x in words[1:3]])
        elif words[0] == "g" and group is not None:
            keep = words[1:2] == [group]
        elif words[0] == "f" and keep:
            polygons.append([_corner_of(word) for word in words[1:]])
    corners: dict[tuple[int, int], int] = {}
    triangles = []
    for polygon in polygons:
        ids = [corners.setdefault(corner, len(corners)) for corner in polygon]
        triangles += [(ids[0], ids[i], ids[i + 1]) for i in range(1, len(ids) - 1)]
    pairs = np.array(list(corners), dtype=np.int64) - 1
    uv = np.array(texture, dtype=np.float32)[pairs[:, 1]]
    uv[:, 1] = 1.0 - uv[:, 1]
    return Mesh(np.array(positions, dtype=np.float32), pairs[:, 0], uv, np.array(triangles, dtype=np.int64))


def _corner_of(word: str) -> tuple[int, int]:
    """Numbers of the vertex and of the texture point, out of "vertex/texture" or "vertex/texture/normal"."""
    vertex, texture = word.split("/")[:2]
    return int(vertex), int(texture)


def read_target(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a morph target: vertex indices [K] and displacements [K, 3]."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        numbers = " ".join(line for line in stream if not line.startswith("#"))
    table = np.fromstring(numbers, sep=" ").reshape(-1, 4)
    return table[:, 0].astype(np.int64), table[:, 1:].astype(np.float32)


@dataclass(frozen=True)
class Fit:
    """How an asset follows the base mesh: per vertex three base vertices, their weights, an offset, and the
    reference lengths of the offset."""

    vertices: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    scales: tuple[tuple[int, int, float], ...]
    deleted: np.ndarray

    def place(self, base: np.ndarray) -> np.ndarray:
        """Positions [M, 3] of the asset on a morphed base mesh [N, 3]."""
        scale = np.array(
            [abs(base[a, axis] - base[b, axis]) / length for axis, (a, b, length) in enumerate(self.scales)],
            dtype=np.float32,
        )
        return np.einsum("mk,mkc->mc", self.weights, base[self.vertices]) + self.offsets * scale


def read_mhclo(path: Path) -> Fit:
    """Read a `.mhclo` fitting file; raises ValueError for one that is not fitted to hm08."""
    scales = {}
    rows: list[list[float]] = []
    deleted: list[int] = []
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "basemesh" and words[1] != "hm08":
            raise ValueError(f"{path} is fitted to the base mesh {words[1]!r}; only hm08 is supported")
        if words[0] in ("x_scale", "y_scale", "z_scale"):
            scales[words[0][0]] = (int(words[1]), int(words[2]), float(words[3]))
        elif words[0] in ("verts", "delete_verts"):
            section = words[0]
        elif words[0].isdigit() and section == "verts":
            rows.append([float(x) for x in words])
        elif words[0].isdigit() and section == "delete_verts":
            deleted += _ranges(words)
    vertices = np.array([row[:3] if len(row) > 1 else [row[0]] * 3 for row in rows], dtype=np.int64)
    weights = np.array([row[3:6] if len(row) > 1 else [1.0, 0.0, 0.0] for row in rows], dtype=np.float32)
    offsets = np.array([row[6:9] if len(row) > 1 else [0.0] * 3 for row in rows], dtype=np.float32)
    return Fit(vertices, weights, offsets, tuple(scales[axis] for axis in "xyz"), np.array(deleted, dtype=np.int64))


def _ranges(words: list[str]) -> list[int]:
    numbers: list[int] = []
    span = False
    for word in words:
        if word == "-":
            span = True
        elif span:
            numbers += range(numbers[-1] + 1, int(word) + 1)
            span = False
        else:
            numbers.append(int(word))
    return numbers


@dataclass(frozen=True)
class Rig:
    """A skeleton: bones in parent-first order, the base vertices whose mean is each bone's head, and skin weights
    [N, B] with rows summing to 1."""

    names: tuple[str, ...]
    parents: np.ndarray
    heads: tuple[np.ndarray, ...]
    weights: np.ndarray

    def index(self, name: str) -> int:
        return self.names.index(name)

    def joints(self, base: np.ndarray) -> np.ndarray:
        """Bone heads [B, 3] of a morphed base mesh."""
        return np.stack([base[head].mean(0) for head in self.heads])


def read_rig(skeleton: Path, weights: Path, vertices: int) -> Rig:
    """Read a `.mhskel` and its `.mhw` weights for a mesh of `vertices` vertices."""
    tree = json.loads(skeleton.read_text(encoding="utf-8"))
    names: list[str] = []

    def add(parent: str | None) -> None:
        for name, bone in tree["bones"].items():
            if bone["parent"] == parent:
                names.append(name)
                add(name)

    add(None)
    parents = np.array([names.index(tree["bones"][n]["parent"]) if tree["bones"][n]["parent"] else -1 for n in names])
    heads = tuple(np.array(tree["joints"][tree["bones"][n]["head"]]) for n in names)
    table = np.zeros((vertices, len(names)), dtype=np.float32)
    for name, pairs in json.loads(weights.read_text(encoding="utf-8"))["weights"].items():
        if name in names and pairs:
            array = np.array(pairs)
            np.add.at(table[:, names.index(name)], array[:, 0].astype(np.int64), array[:, 1])
    total = table.sum(1, keepdims=True)
    table[total[:, 0] == 0, names.index("root")] = 1.0
    return Rig(tuple(names), parents, heads, table / np.where(total > 0, total, 1.0))


def read_bvh(path: Path, rig: Rig) -> np.ndarray:
    """Local rotations of a BVH file as rotation vectors [frames, B, 3] (radians), turned from the file's z-up axes
    to y-up.

    A BVH joint rests without rotation, so these act in world axes around each bone's head. Root translations are not
    read.
    """
    header, motion = path.read_text(encoding="utf-8").split("MOTION")
    layout: list[tuple[str | None, str]] = []
    joint: str | None = None
    for line in header.splitlines():
        words = line.split()
        if words[:1] in (["ROOT"], ["JOINT"]):
            joint = words[1]
        elif words[:1] == ["CHANNELS"]:
            layout += [(joint, channel) for channel in words[2:]]
    rows = [np.array(line.split(), dtype=np.float64) for line in motion.strip().splitlines()[2:] if line.strip()]
    table = np.stack(rows)
    to_y_up = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    result = np.tile(np.eye(3), (len(table), len(rig.names), 1, 1))
    for column, (name, channel) in enumerate(layout):
        if channel.endswith("rotation") and name in rig.names:
            axis = np.zeros(3)
            axis["XYZ".index(channel[0])] = 1.0
            bone = rig.index(name)
            result[:, bone] = result[:, bone] @ rotation(np.radians(table[:, column, None]) * (to_y_up @ axis))
    return rotation_vector(result)


def rotation(vector: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of rotation vectors [..., 3] in radians."""
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    axis = vector / np.maximum(angle[..., 0], 1e-12)
    cross = np.zeros((*vector.shape[:-1], 3, 3))
    cross[..., 2, 1], cross[..., 0, 2], cross[..., 1, 0] = axis[..., 0], axis[..., 1], axis[..., 2]
    cross = cross - np.swapaxes(cross, -1, -2)
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Rotation vectors [..., 3] of rotation matrices [..., 3, 3] with angles below a half turn."""
    cosine = np.clip((np.trace(matrix, axis1=-2, axis2=-1) - 1.0) / 2.0, -1.0, 1.0)
    angle = np.arccos(cosine)
    twice = np.stack(
        [
            matrix[..., 2, 1] - matrix[..., 1, 2],
            matrix[..., 0, 2] - matrix[..., 2, 0],
            matrix[..., 1, 0] - matrix[..., 0, 1],
        ],
        -1,
    )
    return twice / np.maximum(2.0 * np.sinc(angle / np.pi), 1e-9)[..., None]


def read_texture(path: Path, size: int = 512) -> np.ndarray:
    """An RGBA texture [size, size, 4] in [0, 1] whose transparent texels carry the color of their opaque neighbors.

    Without that, texture filtering pulls whatever was painted under the transparency into the edges of hair.
    """
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA").resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255.0
    alpha = pixels[..., 3:]
    if alpha.min() > 0.99:
        return pixels
    levels = [np.concatenate([pixels[..., :3] * alpha, alpha], -1)]
    while len(levels[-1]) > 1:
        top = levels[-1]
        levels.append(top.reshape(len(top) // 2, 2, len(top) // 2, 2, 4).mean((1, 3)))
    filled = levels[-1]
    for level in reversed(levels[:-1]):
        # A texel keeps as much of its own color as it is opaque, and takes the rest from the coarser level.
        up = filled.repeat(2, 0).repeat(2, 1)
        up = up[..., :3] / np.maximum(up[..., 3:], 1e-6)
        rgb = level[..., :3] + (1.0 - level[..., 3:]) * up
        filled = np.concatenate([rgb, np.ones_like(rgb[..., :1])], -1)
    return np.concatenate([filled[..., :3], alpha], -1)

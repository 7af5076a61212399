"""A photo of a face as a jointed sheet: a mesh over the landmarks, the head around them, and what lies behind lids
and lips.

All of it is our choice. Geometry is kept in the head's own frame (`leo_core.face`): face heights, x right, y down, z
away. A pose is a sum of displacements, one per action, then a rotation, a size and a place. Vertices keep their
place in the photo as texture coordinates, so a rendered pixel knows which of the photo's pixels it is.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import Delaunay

from ...face import HeadPose, head_pose

# Rows of MediaPipe's mesh. Lips from the picture's left corner to its right one, eleven columns; from inside to
# outside.
_UPPER_LIP = (
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
)
_LOWER_LIP = (
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
)
_OVAL = (
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
    234,
    127,
    162,
    21,
    54,
    103,
    67,
    109,
)
# Per eye, the person's left first: upper and lower lid from outer to inner corner, crease above the upper one, irises.
_EYES = (
    (
        (263, 466, 388, 387, 386, 385, 384, 398, 362),
        (263, 249, 390, 373, 374, 380, 381, 382, 362),
        (467, 260, 259, 257, 258, 286, 414),
        slice(473, 478),
    ),
    (
        (33, 246, 161, 160, 159, 158, 157, 173, 133),
        (33, 7, 163, 144, 145, 153, 154, 155, 133),
        (247, 30, 29, 27, 28, 56, 190),
        slice(468, 473),
    ),
)
_BROWS = ((276, 283, 282, 295, 285, 300, 293, 334, 296, 336), (46, 53, 52, 65, 55, 70, 63, 105, 66, 107))
_INNER_BROWS = ((285, 336, 295, 296), (55, 107, 65, 66))
# The tip and base of the nose, which lips do not pull along.
_NOSE_TIP = (1, 2, 4, 5, 19, 94, 97, 98, 164, 165, 167, 326, 327, 391, 393)
FACE = 468

# Rings of head and surroundings around the face oval: how far out, and how far behind the oval's own depth.
_RINGS = ((1.12, 0.12), (1.28, 0.28), (1.5, 0.42), (1.8, 0.5), (2.3, 0.55), (3.2, 0.6), (5.0, 0.6))
_LAST_RIGID_RING = 2.3
_ABOVE_EYES = 1.15  # rings reach a little further where hair is

ACTIONS = (
    "jaw",
    "close",
    "smile",
    "wide",
    "pucker",
    "upper",
    "lower",
    "press",
    "sideways",
    "left lid",
    "right lid",
    "brows up",
    "brows down",
    "left brow",
    "right brow",
    "gaze sideways",
    "gaze up",
    "cheeks",
)

# What is drawn with the photo, and what with a texture of teeth and tongue.
PHOTO, MOUTH = 0, 1
# Parts of the mouth's texture, as (left, top, right, bottom) in 0..1.
TEETH_ABOVE, TEETH_BELOW, TONGUE, DARK = (
    (0.0, 0.0, 1.0, 0.3),
    (0.0, 0.3, 1.0, 0.55),
    (0.0, 0.55, 0.8, 0.95),
    (0.85, 0.6, 0.95, 0.9),
)
_OPEN = 0.02  # a gap between the lips, in face heights, from which the photo's own teeth are shown


def smooth(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, without a corner between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


@dataclass(frozen=True)
class Pose:
    """T poses: amounts of the actions [T, len(ACTIONS)], and where the head is in the picture's pixels."""

    actions: np.ndarray
    head: HeadPose


class _Lips:
    """Where vertices are about the mouth of a puppet.

    :ivar x, y: [V] from its middle; across: [V] 0 in the middle, 1 at the corners; arch: [V] 1 in the middle, 0 at the
        corners; up, low, all: [V] bool, whether they are of the upper lip, the lower one, or either.
    """

    def __init__(self, puppet: "Puppet"):
        self.x, self.y = (puppet.rest[:, k] - puppet.mouth[k] for k in (0, 1))
        self.across = np.clip(np.abs(self.x) / puppet.half, 0, 1)
        self.arch = np.sqrt(np.clip(1 - (self.x / (1.02 * puppet.half)) ** 2, 0, 1))
        self.corners = [row[k] for row in _UPPER_LIP for k in (0, -1)]
        self.up, self.low = (np.zeros(len(self.x), bool) for _ in range(2))
        self.up[[i for row in _UPPER_LIP for i in row[1:-1]]] = True
        self.low[[i for row in _LOWER_LIP for i in row[1:-1]]] = True
        self.all = self.up | self.low
        self.all[self.corners] = True


class Puppet:
    """The sheet of one photo.

    :param landmarks: [478, 3] in pixels of the photo.
    :ivar rest: [V, 3] vertices in the head's frame; texture: [V, 2] where they are in the photo (pixels) or in the
        mouth's texture (0..1); kind: [V] `PHOTO` or `MOUTH`; triangles: [F, 3].
    :ivar follow: [V] how far a vertex goes along with the head, 1 is rigidly.
    """

    def __init__(self, landmarks: np.ndarray):
        self.landmarks = landmarks.astype(np.float64)
        self.head = head_pose(self.landmarks[None])
        face = self.head.to_head(self.landmarks[None])[0]
        self.face = face
        lips = np.array([*_UPPER_LIP[0], *_LOWER_LIP[0]])
        self.mouth = face[[61, 291]].mean(0)
        self.half = float(np.linalg.norm(face[291, :2] - face[61, :2]) / 2)
        self.gap = float(np.mean(face[[87, 14, 317], 1] - face[[82, 13, 312], 1]))
        self.lip_depth = float(face[lips, 2].mean())

        rings, weights = self._rings()
        sheet = np.concatenate([face[:FACE], rings])
        parts = [
            (sheet, self._project(sheet), PHOTO, self._triangulate(sheet), np.concatenate([np.ones(FACE), weights]))
        ]
        self.eyes, first = [], len(sheet)
        for upper, lower, _, _ in _EYES:
            points, texture, triangles = self._eyeball(upper, lower)
            self.eyes.append(slice(first, first + len(points)))
            first += len(points)
            parts.append((points, texture, PHOTO, triangles, np.ones(len(points))))
        self.inside: list[slice] = []
        for points, texture, kind, triangles in self._inside():
            self.inside.append(slice(first, first + len(points)))
            first += len(points)
            parts.append((points, texture, kind, triangles, np.ones(len(points))))

        counts = np.cumsum([0] + [len(points) for points, *_ in parts])
        self.rest = np.concatenate([points for points, *_ in parts])
        self.texture = np.concatenate([texture for _, texture, *_ in parts])
        self.kind = np.concatenate([np.full(len(points), kind) for points, _, kind, *_ in parts])
        self.triangles = np.concatenate([part[3] + offset for part, offset in zip(parts, counts, strict=False)]).astype(
            np.int32
        )
        self.follow = np.concatenate([part[4] for part in parts])
        # A surface point is named by its texture coordinates; parts of their own must not be mistaken for each other.
        self.part = np.concatenate([np.full(len(part[0]), number) for number, part in enumerate(parts)])
        self.still = self.head.to_picture(self.rest[None])[0]
        self.sheet = np.arange(len(self.rest)) < FACE + len(_RINGS) * len(_OVAL)
        self.shapes = self._shapes()

    def _project(self, points: np.ndarray) -> np.ndarray:
        return self.head.to_picture(points[None])[0, :, :2]

    def _rings(self) -> tuple[np.ndarray, np.ndarray]:
        oval = self.face[list(_OVAL)]
        center = np.array([0.0, 0.05])
        rings, weights = [], []
        for out, behind in _RINGS:
            reach = 1 + (out - 1) * np.where(oval[:, 1:2] < 0, _ABOVE_EYES, 1.0)
            at = center + (oval[:, :2] - center) * reach
            # The head is round: what is outside of the oval lies behind it, at most as deep as the ears and a little
            # more.
            depth = np.minimum(oval[:, 2] + behind, np.maximum(oval[:, 2], 0.1) + 0.35)
            rings.append(np.concatenate([at, depth[:, None]], 1))
            # Necks go along less and less, shoulders stay.
            weights.append((1 - smooth((at[:, 1] - 0.5) / 0.5)) * (out <= _LAST_RIGID_RING))
        return np.concatenate(rings), np.concatenate(weights)

    def _triangulate(self, sheet: np.ndarray) -> np.ndarray:
        """Triangles over the landmarks with lids and lips parted, so that none crosses an eye or the mouth, and the
        rings."""
        flat = sheet[:FACE, :2].copy()
        for upper, lower, crease, _ in _EYES:
            flat[list(upper[1:-1]), 1] -= 0.03
            flat[list(crease), 1] -= 0.03
            flat[list(lower[1:-1]), 1] += 0.01
        arch = np.sqrt(np.clip(1 - np.linspace(-1, 1, 11) ** 2, 0, 1))
        level = flat[[61, 291], 1].mean()
        for depth, (up, low) in enumerate(zip(_UPPER_LIP, _LOWER_LIP, strict=True)):
            columns = np.linspace(flat[61, 0], flat[291, 0], 11)
            flat[list(up[1:-1])] = np.stack([columns, level - arch * (0.02 + 0.02 * depth)], 1)[1:-1]
            flat[list(low[1:-1])] = np.stack([columns, level + arch * (0.08 + 0.02 * depth)], 1)[1:-1]
            flat[[up[0], up[-1]], 0] = columns[[0, -1]] + np.array([1, -1]) * 0.004 * (3 - depth)
            flat[[up[0], up[-1]], 1] = level
        below = [
            i for i in range(FACE) if flat[i, 1] > level + 0.03 and i not in {j for row in _LOWER_LIP for j in row}
        ]
        flat[below, 1] += 0.12
        triangles = Delaunay(flat).simplices
        holes = [set(_UPPER_LIP[0]) | set(_LOWER_LIP[0]), *(set(upper) | set(lower) for upper, lower, *_ in _EYES)]
        triangles = np.array([t for t in triangles if not any(hole.issuperset(t.tolist()) for hole in holes)])
        # Delaunay also fills the hull's concave places outside of the oval.
        middle = flat[triangles].mean(1)
        inside = np.array(
            [
                cv2.pointPolygonTest(flat[list(_OVAL)].astype(np.float32), tuple(map(float, m)), False) >= 0
                for m in middle
            ]
        )
        a, b, c = (flat[triangles[:, k]] for k in range(3))
        turned = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
        triangles[turned] = triangles[turned][:, [0, 2, 1]]
        count = len(_OVAL)
        loops = [np.array(_OVAL), *(FACE + count * k + np.arange(count) for k in range(len(_RINGS)))]
        bands = [triangles[inside]]
        for inner, outer in zip(loops, loops[1:], strict=False):
            a, b, c, d = inner, outer, np.roll(outer, -1), np.roll(inner, -1)
            bands += [np.stack([a, b, c], 1), np.stack([a, c, d], 1)]
        return np.concatenate(bands)

    def _eyeball(self, upper: tuple[int, ...], lower: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A sheet behind the lids, larger than their opening. Its photo is that of the opening, stretched beyond it."""
        u, v = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1.5, 1.5, 9), indexing="xy")
        edges = [
            np.stack([np.interp(u[0], np.linspace(-1, 1, 9), self.face[list(lid), k]) for k in range(3)], 1)
            for lid in (upper, lower)
        ]
        middle, half = (edges[0] + edges[1]) / 2, (edges[1] - edges[0]) / 2
        half[:, 1] = np.maximum(half[:, 1], 0.008)
        points = middle[None] + half[None] * v[..., None]
        # Narrow eyes need a taller sheet: lids that open wide or follow an upward glance would show what is behind it.
        points[..., 1] += 0.05 * np.sign(v) * np.clip(np.abs(v) - 1, 0, 1)
        seen = middle[None] + half[None] * np.clip(v, -0.6, 0.75)[..., None]
        points[..., 2] += 0.012
        triangles = _grid_triangles(9, 9)
        if points[0, 0, 0] > points[0, -1, 0]:  # the person's left eye begins at the picture's right
            triangles = triangles[:, [0, 2, 1]]
        return points.reshape(-1, 3), self._project(seen.reshape(-1, 3)), triangles

    def _inside(self):
        """What is behind the lips: the photo's own teeth where it shows them, teeth above and below, a tongue, the
        dark."""
        x, y = self.mouth[:2]
        lip = float(np.mean(self.face[[82, 13, 312], 1]))
        if self.gap > _OPEN:
            ring = [*_UPPER_LIP[0], *_LOWER_LIP[0][-2:0:-1]]
            points = self.face[ring].copy()
            texture = self._project(points)
            points[:, 2] += 0.012
            fan = np.array([(0, k, k + 1) for k in range(1, len(ring) - 1)])
            middle = points.mean(0), texture.mean(0)
            points, texture = (np.concatenate([a, m[None]]) for a, m in zip((points, texture), middle, strict=True))
            last = len(ring)
            fan = np.array([(last, k, (k + 1) % last) for k in range(last)])
            yield points, texture, PHOTO, fan
        for (left, top, right, bottom), width, high, low, deep in (
            (TEETH_ABOVE, 0.85, lip - 0.05, lip + 0.042, 0.022),
            (TEETH_BELOW, 0.72, lip + 0.02, lip + 0.09, 0.035),
            (TONGUE, 0.6, lip + 0.035, lip + 0.12, 0.06),
            (DARK, 1.0, lip - 0.03, lip + 0.05, 0.08),
        ):
            u, v = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(0, 1, 3), indexing="xy")
            points = np.stack(
                [x + u * width * self.half, high + (low - high) * v, self.lip_depth + deep + 0.06 * u * u], -1
            )
            texture = np.stack([left + (right - left) * (u + 1) / 2, top + (bottom - top) * v], -1)
            yield points.reshape(-1, 3), texture.reshape(-1, 2), MOUTH, _grid_triangles(3, 9)

    def _shapes(self) -> np.ndarray:
        """Displacement of every vertex for one unit of every action, [len(ACTIONS), V, 3], in the head's frame."""
        shapes = {name: np.zeros((len(self.rest), 3)) for name in ACTIONS}
        lips = _Lips(self)
        self._open(shapes, lips)
        self._close(shapes, lips)
        self._smile(shapes, lips)
        self._form(shapes, lips)
        self._look(shapes)
        self._raise_brows(shapes)
        self._carry_inside(shapes)
        return np.stack([shapes[name] for name in ACTIONS])

    def _around(self, center: np.ndarray, radius_x: float, radius_y: float) -> np.ndarray:
        """Weights [V]: 1 at a point of the sheet, falling off about it."""
        p = self.rest
        return np.exp(-(((p[:, 0] - center[0]) / radius_x) ** 2) - ((p[:, 1] - center[1]) / radius_y) ** 2) * self.sheet

    def _open(self, shapes: dict[str, np.ndarray], lips: "_Lips") -> None:
        """The jaw: skin below the mouth goes down with the chin, skin beside it less and less, what is above stays."""
        p, x, y, low, up = self.rest, lips.x, lips.y, lips.low, lips.up
        width = np.ptp(self.face[[234, 454], 0]) / 2
        jaw = smooth((y + 0.02) / 0.16) * smooth(1.3 - np.abs(p[:, 0]) / (0.95 * width)) * self.sheet
        beside = smooth((np.abs(x) - self.half) / (0.6 * self.half))
        jaw = np.where(self.sheet & ~lips.all & (y < 0.1), jaw * (beside + (1 - beside) * lips.arch), jaw)
        jaw[low], jaw[lips.corners] = 0.25 + 0.75 * lips.arch[low], 0.25
        jaw[up] = -0.06 * lips.arch[up]
        jaw[list(_NOSE_TIP)] = 0
        jaw[FACE:] *= np.clip(1.25 - (p[FACE:, 1] - 0.5) / 0.4, 0, 1) * self.follow[FACE:]
        shapes["jaw"][:, 1] = 0.17 * jaw
        shapes["jaw"][:, 2] = 0.05 * np.clip(jaw, 0, 1)

    def _close(self, shapes: dict[str, np.ndarray], lips: "_Lips") -> None:
        """Both lips to the line between them."""
        x, y = lips.x, lips.y
        near = np.exp(-((np.maximum(np.abs(x) - self.half, 0) / 0.05) ** 2) - (y / 0.1) ** 2) * self.sheet
        middle = {}
        for up_row, low_row in zip(_UPPER_LIP, _LOWER_LIP, strict=True):
            for k in range(1, 10):
                between = (self.face[_LOWER_LIP[0][k], 1] + self.face[_UPPER_LIP[0][k], 1]) / 2
                middle[up_row[k]] = between - self.face[_UPPER_LIP[0][k], 1]
                middle[low_row[k]] = between - self.face[_LOWER_LIP[0][k], 1]
        gap = max(self.gap, 0)
        shapes["close"][:, 1] = np.where(
            lips.all, 0, -0.35 * gap * near * smooth(y / 0.06 + 0.5) + 0.35 * gap * near * smooth(0.5 - y / 0.06)
        )
        shapes["close"][list(middle), 1] = list(middle.values())

    def _smile(self, shapes: dict[str, np.ndarray], lips: "_Lips") -> None:
        """Corners of the mouth, and cheeks."""
        side, inside = np.sign(lips.x), np.abs(lips.x) < self.half
        for corner in (61, 291):
            at = self.face[corner]
            pull = self._around(at, 0.15, 0.13)
            outward = np.sign(at[0] - self.mouth[0])
            pull = np.where(lips.all, lips.across**1.5 * (side == outward), pull * (1 - 0.6 * inside))
            shapes["smile"] += pull[:, None] * np.array([outward * 0.035, -0.055, 0.03])
            cheek = self._around(at + np.array([outward * 0.06, -0.14, 0]), 0.13, 0.1)
            shapes["smile"] += cheek[:, None] * np.array([0, -0.014, -0.01])
            shapes["cheeks"] += cheek[:, None] * np.array([outward * 0.006, -0.02, -0.015])
        shapes["smile"][lips.low, 1] -= 0.004

    def _form(self, shapes: dict[str, np.ndarray], lips: "_Lips") -> None:
        """Lips that widen, pucker, press, rise, fall and go to the side."""
        x, y, half, mouth, arch = lips.x, lips.y, self.half, self.mouth, lips.arch
        near = np.exp(-(((x / (1.5 * half)) ** 2 + (y / (0.75 * half)) ** 2) ** 2)) * self.sheet
        near[lips.all] = 1
        shapes["wide"][:, 0] = 0.28 * x * near
        shapes["wide"][:, 2] = 0.15 * half * lips.across**2 * near
        shapes["pucker"][:, 0] = -0.4 * x * near
        shapes["pucker"][:, 2] = -0.06 * near * (1 - 0.5 * lips.across**2)
        thick = np.zeros(len(x))
        for rows in (_UPPER_LIP, _LOWER_LIP):
            for depth, row in enumerate(rows):
                thick[list(row[1:10])] = depth / 3
        toward = np.where(lips.up, 1.0, -1.0) * arch
        shapes["pucker"][:, 1] = -0.018 * toward * thick
        shapes["press"][:, 1] = 0.022 * toward * thick
        shapes["press"][:, 2] = 0.01 * lips.all
        above = self._around(mouth + np.array([0, -0.07, 0]), 0.9 * half, 0.05) * (y < 0) * ~lips.all
        rise = np.where(lips.up, arch**0.7, above)
        rise[list(_NOSE_TIP)] = 0
        shapes["upper"][:, 1] = -0.045 * rise
        below = self._around(mouth + np.array([0, 0.08, 0]), 0.9 * half, 0.05) * (y > 0) * ~lips.all
        shapes["lower"][:, 1] = 0.045 * np.where(lips.low, arch**0.7, below)
        beside = self._around(mouth + np.array([0, 0.05, 0]), 0.2, 0.16) * smooth((y + 0.1) / 0.12)
        shapes["sideways"][:, 0] = 0.06 * np.where(lips.all, 1, beside)

    def _look(self, shapes: dict[str, np.ndarray]) -> None:
        """Lids and eyeballs."""
        for name, (upper_lid, lower_lid, crease, _), eyeball in zip(
            ("left lid", "right lid"), _EYES, self.eyes, strict=True
        ):
            line = self.face[list(lower_lid)]
            order = np.argsort(line[:, 0])
            ids = list(upper_lid[1:-1])
            goal = np.interp(self.face[ids, 0], line[order, 0], line[order, 1])
            down = goal - self.face[ids, 1] - 0.001
            shapes[name][ids, 1] = 0.9 * down
            # The lid bulges over the eyeball, so that it stays before it.
            shapes[name][ids, 2] = -0.004
            shapes[name][list(crease), 1] = 0.4 * down
            shapes[name][list(lower_lid[1:-1]), 1] = -0.1 * down
            eye = self.face[[upper_lid[0], upper_lid[-1]]]
            u = (self.rest[eyeball, 0] - eye[:, 0].mean()) / (np.ptp(eye[:, 0]) / 2)
            free = np.clip(1 - u**2, 0, 1) * np.tile(
                np.repeat(np.clip(1.3 - np.abs(np.linspace(-1.5, 1.5, 9)), 0, 1), 9), 1
            )
            shapes["gaze sideways"][eyeball, 0] = 0.25 * np.ptp(eye[:, 0]) * free
            shapes["gaze up"][eyeball, 1] = -0.13 * np.ptp(eye[:, 0]) * free
            shapes["gaze up"][ids, 1] = -0.015

    def _raise_brows(self, shapes: dict[str, np.ndarray]) -> None:
        for k, name in enumerate(("left brow", "right brow")):
            lift = self._around(self.face[list(_BROWS[k])].mean(0), 0.15, 0.075)
            lift[list(_BROWS[k])] = 1
            shapes[name][:, 1] = -0.045 * lift
            shapes["brows up"][:, 1] -= 0.05 * lift
            inner = self.face[list(_INNER_BROWS[k])].mean(0)
            frown = self._around(inner, 0.08, 0.07)
            shapes["brows down"] += frown[:, None] * np.array([-np.sign(inner[0]) * 0.02, 0.028, 0])
            shapes["brows down"][:, 1] += 0.012 * lift

    def _carry_inside(self, shapes: dict[str, np.ndarray]) -> None:
        """Teeth below and tongue go with the jaw; the photo's own teeth and those above stay with the head."""
        below, tongue, dark = self.inside[-3:]
        shapes["jaw"][dark, 1] = 0.16 * np.repeat([0, 0.5, 1], 9)
        shapes["jaw"][below, 1] = 0.16
        shapes["jaw"][tongue, 1] = 0.13
        shapes["sideways"][below, 0] = 0.03
        # What the photo has between its lips, and the dark, go along with them: beside them there is nothing to show.
        for part in (*self.inside[:-4], dark):
            shapes["sideways"][part, 0] = 0.055

    def posed(self, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """:return: vertices [T, V, 3] in pixels of the photo (z in the same unit), and landmarks [T, 478, 3]."""
        moved = self.rest + np.einsum("ta,avk->tvk", pose.actions, self.shapes)
        moved = self._in_order(moved)
        placed = pose.head.to_picture(moved)
        vertices = self.still + self.follow[:, None] * (placed - self.still)
        irises = []
        for sheet, (*_, iris) in zip(self.eyes, _EYES, strict=True):
            # The iris moves as the sheet at its place does.
            center = self.face[iris].mean(0)
            nearest = sheet.start + np.argmin(np.square(self.rest[sheet, :2] - center[:2]).sum(1))
            shift = moved[:, nearest] - self.rest[nearest]
            irises.append((iris.start, self.face[iris] + shift[:, None]))
        face = np.concatenate([moved[:, :FACE]] + [points for _, points in sorted(irises, key=lambda item: item[0])], 1)
        return vertices, pose.head.to_picture(face)

    def _in_order(self, moved: np.ndarray) -> np.ndarray:
        """Lips and lids do not pass through each other: where they would, both meet in the middle."""
        for above_row, below_row in (
            (_UPPER_LIP[0][1:-1], _LOWER_LIP[0][1:-1]),
            *((upper[1:-1], lower[1:-1]) for upper, lower, *_ in _EYES),
        ):
            above, below = list(above_row), list(below_row)
            crossed = np.maximum(moved[:, above, 1] - moved[:, below, 1], 0) / 2
            moved[:, above, 1] -= crossed
            moved[:, below, 1] += crossed
        return moved


def _grid_triangles(rows: int, columns: int) -> np.ndarray:
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    return np.concatenate([np.stack([a, a + 1, a + columns + 1], 1), np.stack([a, a + columns + 1, a + columns], 1)])


def regions(landmarks: np.ndarray, size: int, factor: float) -> np.ndarray:
    """Where mouth and eyes are: uint8 [T, size, size], 255 inside, of landmarks [T, 478, 3] that count in 1 / factor
    pixels."""
    maps = np.zeros((len(landmarks), size, size), np.uint8)
    groups = [[*_UPPER_LIP[3], *_LOWER_LIP[3]]] + [[*upper, *lower, *crease] for upper, lower, crease, _ in _EYES]
    for picture, points in zip(maps, landmarks, strict=True):
        for group in groups:
            cv2.fillConvexPoly(picture, cv2.convexHull(np.rint(points[group, :2] * factor).astype(np.int32)), 255)
    grown = max(3, round(size / 40)) | 1
    return np.stack([cv2.dilate(picture, np.ones((grown, grown), np.uint8)) for picture in maps])

"""One vocabulary of face controls: what a face does, as twenty numbers, measured the same way wherever a face comes
from.

Landmarks are those of MediaPipe's face mesh with irises, [T, 478, 3]: x right, y down, z away from the camera, all
in pixels. A similarity transform of points that no expression moves (forehead, temples, nose, eye corners) gives the
head's place, size and rotation; what is left over in the head's own frame is expression. Lengths there are in face
heights (hairline to chin). Every control is 0 for the mean face at rest and about 1 at its full extent (our choice
throughout).

Left and right are the person's own. The definitions from ARKit's 52 blendshapes stand beside those from landmarks.
"""

from dataclasses import dataclass, field

import numpy as np

LANDMARKS = 478

# Points that stay in place on the skull, and where the mean of 1,298 frontal portraits has them, in thousandths of a
# face height around the middle of the face.
_RIGID = {
    10: (0, -447, 72),
    103: (-291, -378, 182),
    332: (291, -378, 182),
    21: (-384, -240, 317),
    251: (384, -240, 317),
    127: (-412, -62, 440),
    356: (412, -62, 440),
    234: (-409, 27, 461),
    454: (409, 27, 461),
    168: (0, -161, 23),
    6: (0, -120, -7),
    197: (0, -81, -39),
    195: (0, -44, -75),
    4: (0, 46, -130),
    2: (0, 129, -30),
    33: (-259, -124, 154),
    133: (-102, -117, 123),
    362: (102, -117, 123),
    263: (259, -124, 154),
}
RIGID = tuple(_RIGID)
# The head turns about this point, between the ears; the frame's origin.
_PIVOT = np.array([0.0, 0.0, 0.45])
_TEMPLATE = np.array(list(_RIGID.values())) / 1000 - _PIVOT

_UPPER_INNER, _LOWER_INNER = (82, 13, 312), (87, 14, 317)
_UPPER_OUTER, _LOWER_OUTER = (37, 0, 267), (84, 17, 314)
_CORNERS = (61, 291)
_CHIN = (148, 152, 377)
_NOSE = 2
# Per eye, the person's left first: outer and inner corner, pairs of upper and lower lid, iris center.
_EYES = (
    ((263, 362), ((386, 374), (385, 380), (387, 373)), 473),
    ((33, 133), ((159, 145), (158, 153), (160, 144)), 468),
)
_BROWS_OUTER, _BROWS_INNER = (70, 63, 105, 300, 293, 334), (107, 55, 336, 285)
_BROWS = (70, 63, 105, 66, 107, 300, 293, 334, 296, 336)


@dataclass(frozen=True)
class Control:
    """One control.

    :param name: as shown to people, and as the name of the motion direction that is tied to it.
    :param group: head, place, mouth, eyes, brows or gaze.
    :param low, high: the range in which faces stay faces.
    :param mirror: the control that a mirrored picture shows in its place, and sign, with which.
    :param blendshapes: ARKit shape -> weight; the weighted sum is the control, relative to the face at rest. Empty for
        the head's place and rotation, which come with the capture as numbers of their own.
    """

    name: str
    group: str
    low: float
    high: float
    sign: int = 1
    mirror: str = ""
    blendshapes: dict[str, float] = field(default_factory=dict)


CONTROLS = (
    Control("turn", "head", -1, 1, -1),
    Control("nod", "head", -1, 1),
    Control("tilt", "head", -1, 1, -1),
    Control("across", "place", -1, 1, -1),
    Control("down", "place", -1, 1),
    Control("nearer", "place", -1, 1),
    Control(
        "jaw open",
        "mouth",
        0,
        1,
        blendshapes={
            "jawOpen": 1.0,
            "mouthClose": -1.0,
            "mouthUpperUpLeft": 0.1,
            "mouthUpperUpRight": 0.1,
            "mouthLowerDownLeft": 0.15,
            "mouthLowerDownRight": 0.15,
        },
    ),
    Control(
        "smile",
        "mouth",
        -0.6,
        1,
        blendshapes={"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "mouthFrownLeft": -0.4, "mouthFrownRight": -0.4},
    ),
    Control(
        "mouth wide",
        "mouth",
        -0.7,
        1,
        blendshapes={
            "mouthSmileLeft": 0.35,
            "mouthSmileRight": 0.35,
            "mouthStretchLeft": 0.35,
            "mouthStretchRight": 0.35,
            "mouthPucker": -0.8,
            "mouthFunnel": -0.5,
        },
    ),
    Control("pucker", "mouth", -0.5, 1, blendshapes={"mouthPucker": 1.0, "mouthFunnel": 0.6}),
    Control(
        "upper lip up",
        "mouth",
        -0.4,
        1,
        blendshapes={"mouthUpperUpLeft": 0.5, "mouthUpperUpRight": 0.5, "mouthShrugUpper": 0.5},
    ),
    Control(
        "lower lip down",
        "mouth",
        -0.6,
        1,
        blendshapes={
            "mouthLowerDownLeft": 0.5,
            "mouthLowerDownRight": 0.5,
            "mouthShrugLower": -0.6,
            "mouthClose": -0.6,
        },
    ),
    Control(
        "press lips",
        "mouth",
        -0.6,
        1,
        blendshapes={
            "mouthPressLeft": 0.4,
            "mouthPressRight": 0.4,
            "mouthRollUpper": 0.5,
            "mouthRollLower": 0.5,
            "mouthFunnel": -0.4,
        },
    ),
    Control(
        "mouth sideways",
        "mouth",
        -1,
        1,
        -1,
        blendshapes={"mouthLeft": 1.0, "mouthRight": -1.0, "jawLeft": 0.5, "jawRight": -0.5},
    ),
    Control(
        "close left eye",
        "eyes",
        -0.3,
        1,
        mirror="close right eye",
        blendshapes={"eyeBlinkLeft": 1.0, "eyeWideLeft": -0.35, "eyeSquintLeft": 0.25},
    ),
    Control(
        "close right eye",
        "eyes",
        -0.3,
        1,
        mirror="close left eye",
        blendshapes={"eyeBlinkRight": 1.0, "eyeWideRight": -0.35, "eyeSquintRight": 0.25},
    ),
    Control(
        "brows up",
        "brows",
        -0.6,
        1,
        blendshapes={
            "browInnerUp": 0.5,
            "browOuterUpLeft": 0.25,
            "browOuterUpRight": 0.25,
            "browDownLeft": -0.3,
            "browDownRight": -0.3,
        },
    ),
    Control(
        "brows down", "brows", -0.6, 1, blendshapes={"browDownLeft": 0.5, "browDownRight": 0.5, "browInnerUp": -0.5}
    ),
    Control(
        "look sideways",
        "gaze",
        -1,
        1,
        -1,
        blendshapes={"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5, "eyeLookInLeft": -0.5, "eyeLookOutRight": -0.5},
    ),
    Control(
        "look up",
        "gaze",
        -1,
        1,
        blendshapes={"eyeLookUpLeft": 0.5, "eyeLookUpRight": 0.5, "eyeLookDownLeft": -0.5, "eyeLookDownRight": -0.5},
    ),
)
NAMES = tuple(control.name for control in CONTROLS)
MIRROR = tuple(NAMES.index(control.mirror or control.name) for control in CONTROLS)
SIGN = tuple(control.sign for control in CONTROLS)

# Motion codes of an animator with a motion reader are its controls times this.
CODE_UNIT = 3.0
# One unit of turn, nod and tilt.
ANGLE_UNITS = np.radians([35.0, 20.0, 20.0])
# One unit of across and down, of half the picture; of nearer, a factor in size; and the size that counts as 0, of the
# picture.
PLACE_UNIT, SIZE_UNIT, SIZE_AT_REST = 0.3, 1.25, 0.5

# Measures of a mean face at rest, and of one unit, in face heights (lids and gaze: eye widths). The rest is that of
# talkers between words.
_REST_AND_UNIT = {
    "jaw open": (0.0, 0.16),
    "smile": (-0.135, 0.05),
    "mouth wide": (0.32, 0.09),
    "pucker": (0.105, 0.045),
    "upper lip up": (-0.135, 0.045),
    "lower lip down": (-0.245, 0.05),
    "press lips": (-0.09, 0.045),
    "mouth sideways": (0.0, 0.05),
    "close left eye": (-0.28, 0.22),
    "close right eye": (-0.28, 0.22),
    "brows up": (0.118, 0.05),
    "brows down": (0.007, 0.03),
    "look sideways": (0.0, 0.2),
    "look up": (0.07, 0.12),
}


@dataclass(frozen=True)
class HeadPose:
    """Where heads are: landmarks = scale * rotation @ head-frame point + origin.

    :param rotation: [T, 3, 3].
    :param scale: [T] pixels of a face height.
    :param origin: [T, 3] the point between the ears, in pixels.
    """

    rotation: np.ndarray
    scale: np.ndarray
    origin: np.ndarray

    def to_head(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks [T, N, 3] in pixels -> the head's own frame, in face heights."""
        return np.einsum("tni,tij->tnj", landmarks - self.origin[:, None], self.rotation) / self.scale[:, None, None]

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """The way back."""
        return self.scale[:, None, None] * np.einsum("tnj,tij->tni", points, self.rotation) + self.origin[:, None]


def head_pose(landmarks: np.ndarray) -> HeadPose:
    """The similarity transform that brings the template's rigid points nearest to landmarks [T, 478, 3] (Umeyama
    1991)."""
    points = landmarks[:, RIGID].astype(np.float64)
    center = points.mean(1)
    template = _TEMPLATE - _TEMPLATE.mean(0)
    u, values, vt = np.linalg.svd(np.einsum("tni,nj->tij", points - center[:, None], template))
    flip = np.ones((len(points), 3))
    flip[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * flip[:, None]) @ vt
    scale = (values * flip).sum(1) / np.square(template).sum()
    origin = center - scale[:, None] * (rotation @ _TEMPLATE.mean(0))
    return HeadPose(rotation, scale, origin)


def angles(rotation: np.ndarray) -> np.ndarray:
    """Turn (nose to the picture's right), nod (down) and tilt (top of the head to the picture's left) of [T, 3, 3],
    [T, 3] radians."""
    turn = np.arcsin(np.clip(-rotation[:, 2, 0], -1, 1))
    nod = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    tilt = np.arctan2(-rotation[:, 1, 0], rotation[:, 0, 0])
    return np.stack([-turn, nod, tilt], 1)


def rotation_of(turn: np.ndarray, nod: np.ndarray, tilt: np.ndarray) -> np.ndarray:
    """Rotations [T, 3, 3] of which `angles` reads these, [T] radians each."""
    one, zero = np.ones_like(turn), np.zeros_like(turn)
    cx, sx, cy, sy, cz, sz = np.cos(nod), np.sin(nod), np.cos(turn), np.sin(turn), np.cos(tilt), np.sin(tilt)
    rx = np.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx], -1).reshape(-1, 3, 3)
    ry = np.stack([cy, zero, -sy, zero, one, zero, sy, zero, cy], -1).reshape(-1, 3, 3)
    rz = np.stack([cz, sz, zero, -sz, cz, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    return rz @ ry @ rx


def _expression(p: np.ndarray) -> dict[str, np.ndarray]:
    """Raw measures [T] of head-frame landmarks p [T, 478, 3], in face heights."""

    def y(points) -> np.ndarray:
        return p[:, points, 1].mean(1)

    upper, lower = y(_UPPER_INNER), y(_LOWER_INNER)
    eyes = y([corner for corners, _, _ in _EYES for corner in corners])
    thickness = upper - y(_UPPER_OUTER) + y(_LOWER_OUTER) - lower
    center = [*_UPPER_INNER, *_LOWER_INNER, *_UPPER_OUTER, *_LOWER_OUTER]
    raw = {
        "jaw open": lower - upper,
        "smile": p[:, _NOSE, 1] - y(_CORNERS),
        "mouth wide": np.linalg.norm(p[:, _CORNERS[1]] - p[:, _CORNERS[0]], axis=-1),
        "pucker": p[:, _CORNERS, 2].mean(1) - p[:, center, 2].mean(1),
        "upper lip up": p[:, _NOSE, 1] - upper,
        "lower lip down": lower - y(_CHIN),
        "press lips": -thickness,
        "mouth sideways": p[:, center, 0].mean(1),
        "brows up": eyes - y(_BROWS),
        "brows down": y(_BROWS_INNER) - y(_BROWS_OUTER),
    }
    gaze = []
    for side, (corners, lids, iris) in zip(("left", "right"), _EYES, strict=True):
        width = np.linalg.norm(p[:, corners[0]] - p[:, corners[1]], axis=-1)
        opening = np.mean([np.linalg.norm(p[:, a] - p[:, b], axis=-1) for a, b in lids], 0)
        raw[f"close {side} eye"] = -opening / width
        gaze.append((p[:, iris] - p[:, corners].mean(1))[:, :2] / width[:, None])
    raw["look sideways"], raw["look up"] = np.mean(gaze, 0).T * [[1], [-1]]
    return raw


def measure(landmarks: np.ndarray, size: tuple[float, float] | float) -> np.ndarray:
    """Controls of landmarks.

    :param landmarks: [T, 478, 3] in pixels.
    :param size: width and height of the picture, or the side of a square one, in pixels. Across, down and nearer count
        from its middle and in its shorter side.
    :return: [T, K] float32 in the order of `CONTROLS`; NaN where landmarks are.
    :raises ValueError: landmarks of another shape.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (LANDMARKS, 3):
        raise ValueError(
            f"Face landmarks are [frames, {LANDMARKS}, 3] (MediaPipe's mesh with irises), got {list(landmarks.shape)}. "
            f"Use a detector that refines irises."
        )
    result = np.full((len(landmarks), len(CONTROLS)), np.nan)
    known = np.isfinite(landmarks).all((1, 2))
    found = landmarks[known].astype(np.float64)
    if not len(found):
        return result.astype(np.float32)
    width, height = np.broadcast_to(np.asarray(size, np.float64), 2)
    side = min(width, height)
    pose = head_pose(found)
    values = dict(zip(NAMES, (angles(pose.rotation) / ANGLE_UNITS).T, strict=False))
    values["across"] = (2 * pose.origin[:, 0] - width) / side / PLACE_UNIT
    values["down"] = (2 * pose.origin[:, 1] - height) / side / PLACE_UNIT
    values["nearer"] = np.log(pose.scale / side / SIZE_AT_REST) / np.log(SIZE_UNIT)
    for name, value in _expression(pose.to_head(found)).items():
        rest, unit = _REST_AND_UNIT[name]
        values[name] = (value - rest) / unit
    result[known] = np.stack([values[name] for name in NAMES], 1)
    return result.astype(np.float32)

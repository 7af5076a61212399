"""Random human motion as joint rotations over time. It knows the rig and never the person, so one motion fits every
identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import face
from .assets import rotation
from .people import HumanLibrary

FRAMINGS = ("head", "upper", "body")

# How a head turn is shared by the neck bones and the head, from the bottom up. Our choice.
_NECK = (("neck01", 0.12), ("neck02", 0.14), ("neck03", 0.14), ("head", 0.60))


@dataclass(frozen=True)
class Controls:
    """What renders of one framing tell of the motion, frame by frame, in numbers of about -1..1: for supervising
    motion codes. Our choice.

    In a mirror, control i is control `mirror[i]` times `sign[i]`. Controls with a `rest` are places in the picture
    (-1..1), less the rest, over REACH.
    """

    names: tuple[str, ...]
    mirror: tuple[int, ...]
    sign: tuple[int, ...]
    rest: tuple[float, ...] = ()


REACH = 0.3
# Joints of the body: their bone (which begins there), and about where a standing person has them in a picture. Left is
# the person's left.
JOINTS = {
    "hip": ("root", 0.0, 0.0),
    "head": ("head", 0.0, -0.6),
    "left shoulder": ("upperarm01.L", 0.12, -0.48),
    "right shoulder": ("upperarm01.R", -0.12, -0.48),
    "left elbow": ("lowerarm01.L", 0.22, -0.24),
    "right elbow": ("lowerarm01.R", -0.22, -0.24),
    "left hand": ("wrist.L", 0.27, -0.03),
    "right hand": ("wrist.R", -0.27, -0.03),
    "left knee": ("lowerleg01.L", 0.1, 0.36),
    "right knee": ("lowerleg01.R", -0.1, 0.36),
    "left foot": ("foot.L", 0.11, 0.7),
    "right foot": ("foot.R", -0.11, 0.7),
}


def _joint_controls() -> Controls:
    names = list(JOINTS)
    swapped = {"left": "right", "right": "left"}
    partner = [names.index(" ".join(swapped.get(word, word) for word in name.split())) for name in names]
    return Controls(
        tuple(f"{name} {axis}" for name in names for axis in ("across", "down")),
        tuple(2 * other + axis for other in partner for axis in (0, 1)),
        (-1, 1) * len(names),
        tuple(place for _, *at in JOINTS.values() for place in at),
    )


_HEAD_CONTROLS = Controls(
    (
        "turn",
        "nod",
        "tilt",
        "open mouth",
        "close eyes",
        "look sideways",
        "look up",
        "raise brows",
        "pucker",
        "widen mouth",
    ),
    tuple(range(10)),
    (-1, 1, -1, 1, 1, -1, 1, 1, 1, 1),
)
CONTROLS = {
    "head": _HEAD_CONTROLS,
    "upper": _HEAD_CONTROLS,
    "body": _joint_controls(),
    "face": Controls(face.NAMES, face.MIRROR, face.SIGN),
}
_HEAD_LIMITS = np.radians([20.0, 35.0, 12.0])
_LEGS = 3.6  # head heights from sole to hip
_STANDING = ("standing01", "standing02", "standing03")


@dataclass(frozen=True)
class Motion:
    """T frames of motion: local rotations [T, B, 3, 3] of the rig's bones and the root's path [T, 3] in head
    heights.

    `neutral` [B, 3, 3] is the posture around which the person moves, eyes open and face at rest; framing and light
    are set up on it. `controls` [T, 10] says what head and face do (CONTROLS["head"]).
    """

    rotations: np.ndarray
    root: np.ndarray
    neutral: np.ndarray
    controls: np.ndarray


def sample_motion(
    library: HumanLibrary, seed: int, framing: str, frames: int, fps: float, settled: bool = False, turns: float = 1.0
) -> Motion:
    """Draw a motion from an integer seed; the same arguments give the same bytes.

    `framing` decides what moves: "head" talks, looks around, nods, turns and blinks; "upper" and "body" add arms,
    trunk and legs. With `settled` the motion starts and ends near the neutral posture. Ranges of the head: yaw 35,
    pitch 20, roll 12 degrees, times `turns`: with little of them, mouth and eyes are what moves, as with talkers
    before a camera.
    """
    if framing not in FRAMINGS:
        raise ValueError(f"framing {framing!r}; expected one of {', '.join(FRAMINGS)}")
    rng = np.random.default_rng([seed, FRAMINGS.index(framing)])
    time = np.arange(frames) / fps
    envelope = np.ones(frames)
    if settled:
        edge = min(0.7, time[-1] / 3.0) if frames > 1 else 1.0
        envelope = _smoothstep(time / edge) * _smoothstep((time[-1] - time) / edge)

    rig = library.rig
    vectors = np.zeros((frames, len(rig.names), 3))
    turn = turns * _head_turn(rng, time) * envelope[:, None]
    for bone, share in _NECK:
        vectors[:, rig.index(bone)] += share * turn
    face = _face(rng, time, library)
    for unit, weight in face.items():
        vectors += (weight * envelope)[:, None, None] * library.face_units[unit]
    root = (
        envelope[:, None] * np.array([0.07, 0.035, 0.16]) * np.stack([_wander(rng, time, 0.35) for _ in range(3)], -1)
    )
    sway = np.stack([_wander(rng, time, 0.4) for _ in range(3)], -1) * np.radians([3.0, 4.0, 2.5]) * envelope[:, None]
    for bone in ("spine03", "spine02", "spine01"):
        vectors[:, rig.index(bone)] += sway / 3.0
    breath = np.radians(1.2) * np.sin(2.0 * np.pi * (0.25 * time + rng.random()))
    for side, sign in (("L", 1.0), ("R", -1.0)):
        vectors[:, rig.index(f"clavicle.{side}"), 2] += sign * (
            breath + np.radians(3.0) * _wander(rng, time, 0.3).clip(0, 1) * envelope
        )

    posture = library.poses[str(rng.choice(_STANDING))].copy()
    if framing == "head":
        # The camera sees head and shoulders; a straight trunk keeps them centered.
        trunk = ("root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "neck02", "neck03", "head")
        posture[[rig.index(name) for name in trunk]] = 0.0
        path = np.broadcast_to(posture, vectors.shape)
    else:
        path, root = _body_path(rng, time, library, posture, envelope, root)
    neutral = rotation(posture)
    return Motion(
        (rotation(vectors) @ rotation(path)).astype(np.float32),
        root.astype(np.float32),
        neutral.astype(np.float32),
        _controls(turn, face, envelope).astype(np.float32),
    )


def _controls(turn: np.ndarray, face: dict[str, np.ndarray], envelope: np.ndarray) -> np.ndarray:
    """CONTROLS["head"] [T, 10] of head turns [T, 3] in radians and weights of face units."""

    def unit(name: str) -> np.ndarray:
        return face.get(name, np.zeros(len(envelope))) * envelope

    nod, yaw, tilt = (turn / _HEAD_LIMITS).T
    return np.stack(
        [
            yaw,
            nod,
            tilt,
            unit("JawDrop") + unit("JawDropStretched"),
            unit("LeftUpperLidClosed") - unit("LeftUpperLidOpen"),
            unit("LeftEyeturnLeft") - unit("LeftEyeturnRight"),
            unit("LeftEyeUp") - unit("LeftEyeDown"),
            unit("LeftInnerBrowUp") - unit("LeftBrowDown"),
            unit("LipsKiss"),
            unit("MouthLeftPullSide"),
        ],
        -1,
    )


def _head_turn(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Pitch, yaw and roll [T, 3] in radians: moves and holds, with the habit of one clip (look around, nod, shake or
    talk) on top."""
    habit = rng.choice(["look", "nod", "shake", "talk"], p=[0.45, 0.2, 0.15, 0.2])
    reach = {"look": 1.0, "nod": 0.6, "shake": 0.6, "talk": 0.6}[habit]
    turn = np.stack([reach * _moves(rng, time, 0.45, 1.3) for _ in range(3)], -1)
    if habit == "nod":
        turn[:, 0] += 0.6 * _burst(rng, time) * np.sin(2 * np.pi * rng.uniform(0.9, 1.6) * time)
    if habit == "shake":
        turn[:, 1] += 0.6 * _burst(rng, time) * np.sin(2 * np.pi * rng.uniform(0.7, 1.3) * time)
    turn += 0.08 * np.stack([_wander(rng, time, 1.5) for _ in range(3)], -1)
    return turn.clip(-1.0, 1.0) * _HEAD_LIMITS


def _face(rng: np.random.Generator, time: np.ndarray, library: HumanLibrary) -> dict[str, np.ndarray]:
    """Weights [T] of the face units: speech, an expression that comes and goes, brows, gaze and blinks."""
    units: dict[str, np.ndarray] = {name: np.zeros(len(time)) for name in library.face_units}
    names = list(library.expressions)
    # Most of MakeHuman's expressions are strong negative ones; smiles weigh more here, as among people in front of a
    # camera.
    likely = np.array([3.0 if name.startswith(("smile", "laugh", "attention")) else 1.0 for name in names])
    for name in rng.choice(names, size=2, replace=False, p=likely / likely.sum()):
        strength = rng.uniform(0.15, 0.65) * (0.5 + 0.5 * _wander(rng, time, 0.3))
        for unit, weight in library.expressions[str(name)].items():
            if not unit.startswith("Tongue"):
                units[unit] += weight * strength
    talking = rng.uniform(0.35, 1.0) * _smoothstep(0.9 + 1.6 * _wander(rng, time, 0.35))
    syllables = 0.5 + 0.5 * _wander(rng, time, 3.2)
    units["JawDrop"] += talking * syllables * 0.75
    units["JawDropStretched"] += 0.25 * talking * (0.5 + 0.5 * _wander(rng, time, 2.0)) * syllables
    units["LipsKiss"] += 0.7 * talking * _wander(rng, time, 1.8).clip(0, 1)
    wide = 0.4 * talking * _wander(rng, time, 1.5).clip(0, 1)
    units["MouthLeftPullSide"] += wide
    units["MouthRightPullSide"] += wide
    units["lowerLipDown"] += 0.25 * talking * _wander(rng, time, 2.5).clip(0, 1)
    brows = _moves(rng, time, 0.3, 1.2)
    for unit, lifted in (
        ("InnerBrowUp", 0.7 * brows.clip(0, 1)),
        ("OuterBrowUp", 0.7 * brows.clip(0, 1)),
        ("BrowDown", 0.7 * (-brows).clip(0, 1)),
    ):
        units[f"Left{unit}"] += lifted
        units[f"Right{unit}"] += lifted
    across, up = 0.9 * _moves(rng, time, 0.12, 0.9), 0.55 * _moves(rng, time, 0.12, 0.9)
    lids = 0.75 * _blinks(rng, time) + 0.3 * (-up).clip(0, 1)
    for side in ("Left", "Right"):
        units[f"{side}EyeturnLeft"] += across.clip(0, 1)
        units[f"{side}EyeturnRight"] += (-across).clip(0, 1)
        units[f"{side}EyeUp"] += up.clip(0, 1)
        units[f"{side}EyeDown"] += (-up).clip(0, 1)
        units[f"{side}UpperLidOpen"] = units[f"{side}UpperLidOpen"] * (1 - lids) + 0.35 * up.clip(0, 1)
        units[f"{side}UpperLidClosed"] = np.maximum(units[f"{side}UpperLidClosed"], lids)
        units[f"{side}LowerLidUp"] = np.maximum(units[f"{side}LowerLidUp"], 0.5 * lids)
    # Speech and an open-mouthed expression together must not unhinge the jaw.
    limits = {"JawDrop": 0.8, "JawDropStretched": 0.5}
    return {unit: weight.clip(0.0, limits.get(unit, 1.0)) for unit, weight in units.items() if np.any(weight)}


def _body_path(rng, time, library, posture, envelope, root):
    """Slow passages between random postures, as in everyday gestures and tai chi: rotation vectors [T, B, 3] and the
    root's path [T, 3]."""
    rig = library.rig
    path = np.tile(posture, (len(time), 1, 1))
    for side, mirror in (("L", 1.0), ("R", -1.0)):
        reach = {
            f"upperarm01.{side}": np.radians([45.0, 35.0, 50.0]),
            f"lowerarm01.{side}": np.radians([25.0, 55.0, 15.0]),
            f"wrist.{side}": np.radians([20.0, 15.0, 20.0]),
            f"upperleg01.{side}": np.radians([12.0, 6.0, 6.0]),
            f"lowerleg01.{side}": np.radians([14.0, 0.0, 0.0]),
        }
        for bone, limit in reach.items():
            moves = np.stack([_moves(rng, time, 0.9, 1.5) for _ in range(3)], -1)
            if bone.startswith("lowerarm"):
                moves[:, 1] = -mirror * np.abs(moves[:, 1])
            if bone.startswith("lowerleg"):
                moves[:, 0] = np.abs(moves[:, 0])
            path[:, rig.index(bone)] += envelope[:, None] * limit * moves
    for bone in ("spine04", "spine02", "root"):
        path[:, rig.index(bone)] += (
            envelope[:, None]
            * np.radians([4.0, 9.0, 4.0])
            * np.stack([_moves(rng, time, 1.0, 1.5) for _ in range(3)], -1)
        )
    # Two in three people also turn round, step wide and sink into their knees, as in tai chi.
    if rng.random() < 2 / 3:
        path[:, rig.index("root"), 1] += envelope * np.radians(65.0) * _moves(rng, time, 1.4, 0.8)
        wide = envelope * np.radians(24.0) * (0.5 + 0.5 * _moves(rng, time, 1.4, 1.2))
        sunk = envelope * np.radians(38.0) * (0.5 + 0.5 * _moves(rng, time, 1.4, 1.2))
        for side, mirror in (("L", 1.0), ("R", -1.0)):
            path[:, rig.index(f"upperleg01.{side}"), 2] += mirror * wide
            path[:, rig.index(f"upperleg01.{side}"), 0] -= sunk
            path[:, rig.index(f"lowerleg01.{side}"), 0] += 2.0 * sunk
        root = root - np.outer(_LEGS * (1.0 - np.cos(sunk) * np.cos(wide)), [0.0, 2.0, 0.0])
    return path, root * np.array([2.0, 0.5, 1.5])


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _wander(rng: np.random.Generator, time: np.ndarray, hertz: float) -> np.ndarray:
    """A smooth aimless signal [T] within [-1, 1] that changes about `hertz` times a second."""
    rates = hertz * rng.uniform(0.35, 1.25, 5)
    phases = rng.uniform(0, 2 * np.pi, 5)
    return np.tanh(0.75 * np.sin(2 * np.pi * rates * time[:, None] + phases).sum(1))


def _moves(rng: np.random.Generator, time: np.ndarray, duration: float, hold: float) -> np.ndarray:
    """Moves of about `duration` seconds to random places in [-1, 1] with holds of about `hold` seconds between them,
    [T]."""
    value = rng.uniform(-0.5, 0.5)
    signal = np.full(len(time), value)
    start = rng.uniform(-0.5, 0.4) * hold
    while start < time[-1]:
        # Jumping to the other side more often than not makes the motion visible in short clips.
        target = rng.uniform(0.3, 1.0) * (-np.sign(value) if rng.random() < 0.7 else np.sign(value))
        length = duration * rng.uniform(0.7, 1.6)
        signal += (target - value) * _smoothstep((time - start) / length)
        value, start = target, start + length + hold * rng.uniform(0.2, 1.2)
    return signal


def _burst(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """A window [T] of one to two seconds in which a nod or a shake happens."""
    center, width = rng.uniform(0.2, 0.8) * time[-1], rng.uniform(0.8, 1.4)
    return _smoothstep(1.4 - np.abs(time - center) / width)


def _blinks(rng: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Closed lids [T] in [0, 1]: a blink of a third of a second every two to four seconds, at least one a clip."""
    closed = np.zeros(len(time))
    moment = rng.uniform(0.3, min(2.5, max(0.31, time[-1])))
    while moment < time[-1]:
        closed = np.maximum(closed, _smoothstep(1.6 - np.abs(time - moment) / 0.12))
        moment += rng.uniform(1.6, 3.8)
    return closed

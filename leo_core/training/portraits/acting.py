"""What puppets do: draws of poses that have little to do with each other, for training. All of it is our choice."""

import numpy as np

from ...face import ANGLE_UNITS, HeadPose, angles, rotation_of
from .puppet import ACTIONS, Pose, Puppet
from .render import Look

_INDEX = {name: k for k, name in enumerate(ACTIONS)}
# The neck, about which heads turn, in the head's frame.
_NECK = np.array([0.0, 0.6, 0.1])


def draw_look(rng: np.random.Generator, photo: np.ndarray) -> Look:
    """Colors of mouth and light for one clip, about as bright as the photo [P, P, 3] uint8."""
    bright = np.clip(np.percentile(photo, 80) / 190, 0.45, 1.05)
    enamel = bright * rng.uniform(0.55, 0.92) * np.array([1, rng.uniform(0.93, 1.0), rng.uniform(0.8, 0.97)])
    inside = bright * rng.uniform(0.04, 0.22) * np.array([1, rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.6)])
    tongue = bright * rng.uniform(0.35, 0.7) * np.array([1, rng.uniform(0.45, 0.65), rng.uniform(0.45, 0.65)])
    light = rng.normal(0, 1, 3) - [0, 0.5, 0.7]
    return Look(
        np.clip(enamel, 0, 1),
        inside,
        tongue,
        (rng.uniform(0.35, 1), rng.choice([0.0, rng.uniform(0.3, 1)])),
        light / np.linalg.norm(light),
        rng.choice([0.0, rng.uniform(0, 0.35)]),
    )


def draw_expression(rng: np.random.Generator) -> np.ndarray:
    """Amounts of the actions of one frame, [len(ACTIONS)]."""
    a = dict.fromkeys(ACTIONS, 0.0)
    kind = rng.choice(
        ["rest", "talk", "open", "smile", "laugh", "pucker", "grimace"], p=[0.16, 0.38, 0.12, 0.12, 0.08, 0.08, 0.06]
    )
    a["close"] = 1.0 if rng.random() < 0.65 else rng.uniform(0, 1)
    if kind == "talk":
        a["jaw"] = rng.choice([0.0, rng.uniform(0.02, 0.5)], p=[0.2, 0.8])
        a["smile"], a["wide"] = rng.uniform(-0.4, 0.3), rng.uniform(-0.5, 0.5)
        a["upper"], a["lower"] = rng.uniform(-0.2, 0.6), rng.uniform(-0.2, 0.7)
        a["pucker"] = rng.choice([0.0, rng.uniform(0, 0.8)], p=[0.6, 0.4])
        a["press"] = rng.choice([0.0, rng.uniform(0, 1)], p=[0.7, 0.3])
    elif kind == "open":
        a["jaw"], a["wide"], a["lower"] = rng.uniform(0.3, 1), rng.uniform(-0.4, 0.4), rng.uniform(0, 0.6)
    elif kind == "smile":
        a["smile"], a["wide"], a["cheeks"] = rng.uniform(0.2, 1.1), rng.uniform(0, 0.5), rng.uniform(0, 1)
        a["close"] = rng.choice([0.0, 1.0, rng.uniform(0, 1)])
    elif kind == "laugh":
        a["smile"], a["wide"], a["jaw"] = rng.uniform(0.4, 1.1), rng.uniform(0, 0.5), rng.uniform(0.1, 0.6)
        a["close"], a["upper"], a["cheeks"] = 0, rng.uniform(0, 0.7), rng.uniform(0.3, 1)
    elif kind == "pucker":
        a["pucker"], a["jaw"] = rng.uniform(0.3, 1.1), rng.choice([0.0, rng.uniform(0, 0.35)])
        a["smile"] = rng.uniform(-0.5, 0)
    elif kind == "grimace":
        a["upper"], a["lower"], a["wide"] = rng.uniform(0.2, 1.1), rng.uniform(0.2, 1.1), rng.uniform(-0.2, 0.7)
        a["smile"] = rng.uniform(-0.6, 0.4)
    else:
        a["smile"] = rng.uniform(-0.6, 0.2)
        a["press"] = rng.choice([0.0, rng.uniform(-0.3, 1)])
    if rng.random() < 0.3:
        a["sideways"] = rng.normal(0, 0.5)
    lids = rng.choice(["rest", "shut", "half", "wide", "one"], p=[0.34, 0.16, 0.2, 0.1, 0.2])
    amount = {
        "rest": rng.normal(0, 0.05),
        "shut": rng.uniform(0.9, 1.05),
        "half": rng.uniform(0.1, 0.9),
        "wide": rng.uniform(-0.35, 0),
        "one": rng.normal(0, 0.1),
    }[lids]
    a["left lid"] = a["right lid"] = amount
    # People rarely wink, but the animator needs many winks to learn that the eyes move independently.
    if lids == "one":
        a[rng.choice(["left lid", "right lid"])] = rng.uniform(0.3, 1.05)
    brows = rng.choice(["rest", "up", "down", "one"], p=[0.45, 0.28, 0.2, 0.07])
    if brows == "up":
        a["brows up"] = rng.uniform(0.1, 1.1)
    elif brows == "down":
        a["brows down"], a["brows up"] = rng.uniform(0.2, 1.1), rng.uniform(-0.3, 0.1)
    elif brows == "one":
        a[rng.choice(["left brow", "right brow"])] = rng.uniform(0.3, 1)
    if rng.random() < 0.6:
        a["gaze sideways"], a["gaze up"] = rng.uniform(-1, 1), rng.uniform(-0.9, 0.9)
    return np.array([a[name] for name in ACTIONS])


def draw_pose(rng: np.random.Generator, puppet: Puppet, frames: int) -> Pose:
    """Poses of one clip, the first of them calmer than the others.

    Most clips hold the head still, half of these entirely: mouth and eyes are then all there is to explain, and
    their small flow is not drowned by errors of the head's large one. Some hold the face.
    """
    actions = np.stack([draw_expression(rng) for _ in range(frames)])
    still_head, still_face = (rng.random() < 0.6), (rng.random() < 0.12)
    sway = rng.choice([0.0, 1.0]) if still_head else 1.0
    reach = 0.06 * sway if still_head else rng.uniform(0.25, 1.0)
    rest = angles(puppet.head.rotation)[0] / ANGLE_UNITS
    turned = rest * rng.uniform(0.3, 1) + reach * np.clip(rng.normal(0, 0.55, (frames, 3)), -1.2, 1.2) * [0.8, 0.8, 0.7]
    # Beyond this the photo has nothing to show.
    turned = rest + np.clip(turned - rest, -0.9, 0.9)
    if still_face and not still_head:
        actions[:] = actions[0]
    if rng.random() < 0.5 and sway:
        turned[0] = rest * rng.uniform(0.5, 1) + 0.1 * rng.normal(0, 1, 3)
    rotation = rotation_of(*(turned * ANGLE_UNITS).T)
    scale = puppet.head.scale * np.exp(sway * rng.normal(0, 0.01 if still_head else 0.05, frames))
    # Part of the way heads turn about the neck.
    neck = puppet.head.scale[0] * (
        np.einsum("ij,tj->ti", puppet.head.rotation[0], np.tile(_NECK, (frames, 1))) - rotation @ _NECK
    )
    shift = sway * rng.normal(0, 0.005 if still_head else 0.05, (frames, 3)) * puppet.head.scale[0] * [1, 0.7, 0]
    return Pose(actions, HeadPose(rotation, scale, puppet.head.origin + rng.uniform(0, 1) * neck + shift))


def draw_eyes(rng: np.random.Generator, puppet: Puppet, frames: int) -> Pose:
    """Poses of one clip in which only the eyes move: glances, winks of either eye and blinks, equally often.
    The first frame is the photo's own.

    Eyes fill a hundredth of a picture, and an animator hardly learns them while the rest of the face moves too.
    """
    actions = np.zeros((frames, len(ACTIONS)))
    actions[:, _INDEX["close"]] = 1
    for amounts in actions[1:]:
        kind = rng.choice(["glance", "left lid", "right lid", "blink"])
        if kind == "glance":
            amounts[_INDEX["gaze sideways"]], amounts[_INDEX["gaze up"]] = rng.uniform(-1, 1), rng.uniform(-0.9, 0.9)
        else:
            lids = ["left lid", "right lid"] if kind == "blink" else [kind]
            amounts[[_INDEX[lid] for lid in lids]] = rng.uniform(0.4, 1.05)
    head = puppet.head
    return Pose(
        actions,
        HeadPose(np.repeat(head.rotation, frames, 0), np.repeat(head.scale, frames), np.repeat(head.origin, frames, 0)),
    )


ACTS = {"all": draw_pose, "eyes": draw_eyes}

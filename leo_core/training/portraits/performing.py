"""Motion in time for animators of face controls: people who talk, listen, look around, laugh. All of it is our
choice.

Codes of such animators are the controls of `leo_core.face`, so a performance is motion as it stands, without a
picture: material for priors beside real clips, and the ready-made motions.
"""

import numpy as np

from ... import face

STYLES = (
    "talk",
    "whisper",
    "listen",
    "look around",
    "smile slowly",
    "laugh",
    "nod",
    "shake",
    "tilt",
    "surprise",
    "blink",
    "wink",
)
BLINKS_PER_MINUTE = 17.0


def perform(style: str, seconds: float, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Controls [T, K] float32 of one performance, 0 being the face at rest.

    :param style: one of `STYLES`; nod to wink are single gestures with rest around them, the others go on.
    :raises ValueError: another style.
    """
    if style not in STYLES:
        raise ValueError(f"There is no style {style!r}. Choose one of {', '.join(STYLES)}.")
    time = np.arange(round(seconds * fps)) / fps
    c = {name: np.zeros(len(time)) for name in face.NAMES}
    calm = {"talk": 1.0, "laugh": 0.8, "look around": 0.5, "listen": 0.5, "whisper": 0.6}.get(style, 0.25)
    for name, size, rate in (
        ("turn", 0.1, 0.35),
        ("nod", 0.11, 0.45),
        ("tilt", 0.1, 0.3),
        ("across", 0.06, 0.25),
        ("down", 0.05, 0.3),
        ("nearer", 0.12, 0.2),
    ):
        c[name] += calm * size * wander(time, rate, rng)
    c["smile"] += 0.18 * wander(time, 0.12, rng)
    c["brows up"] += 0.08 * wander(time, 0.3, rng)
    _STYLE[style](c, time, rng)
    blinks(c, time, rng, {"blink": 40.0, "wink": 4.0}.get(style, BLINKS_PER_MINUTE))
    return np.stack([c[name] for name in face.NAMES], 1).astype(np.float32)


def wander(time: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise [T] of spread about 1 whose frequencies go up to ``rate`` Hz and a little beyond."""
    frequencies = rate * rng.uniform(0.15, 1.6, 7)
    waves = np.sin(2 * np.pi * (frequencies * time[:, None] + rng.random(7))) / np.maximum(frequencies / rate, 0.5)
    return waves.sum(1) / 2


def bump(time: np.ndarray, start: float, rise: float, hold: float, fall: float) -> np.ndarray:
    """From 0 to 1 and back [T], smoothly."""
    up, down = np.clip((time - start) / rise, 0, 1), np.clip((time - start - rise - hold) / fall, 0, 1)
    return up * up * (3 - 2 * up) * (1 - down * down * (3 - 2 * down))


def blinks(c: dict, time: np.ndarray, rng: np.random.Generator, per_minute: float) -> None:
    """Lids that fall within a tenth of a second and rise a little slower, sometimes twice, and look down a little."""
    moment = rng.exponential(60 / per_minute)
    while moment < time[-1]:
        lid = bump(time, moment, rng.uniform(0.07, 0.11), rng.uniform(0.0, 0.05), rng.uniform(0.12, 0.2)) * rng.uniform(
            0.85, 1.05
        )
        for side in ("left", "right"):
            c[f"close {side} eye"] = np.maximum(c[f"close {side} eye"], lid)
        c["brows up"] -= 0.08 * lid
        moment += 0.35 if rng.random() < 0.08 else 0.45 + rng.exponential(max(0.1, 60 / per_minute - 0.45))


def glances(c: dict, time: np.ndarray, rng: np.random.Generator, often: float, far: float) -> None:
    """Eyes that jump away from the camera and back; lids go along with looking down."""
    moment = rng.exponential(1 / often)
    while moment < time[-1]:
        side, up = rng.normal(0, far), rng.normal(-0.1, 0.6 * far)
        move = bump(time, moment, 0.06, rng.uniform(0.3, 1.5), 0.07)
        c["look sideways"] += np.clip(side, -0.9, 0.9) * move
        c["look up"] += np.clip(up, -0.8, 0.7) * move
        lid = np.clip(-up, -0.2, 0.6) * 0.4 * move
        c["close left eye"] += lid
        c["close right eye"] += lid
        moment += 0.5 + rng.exponential(1 / often)


def _talk(c: dict, time: np.ndarray, rng: np.random.Generator, loud: float = 1.0) -> None:
    moment = rng.uniform(0.1, 0.6)
    while moment < time[-1]:
        length = rng.uniform(1.0, 3.6)  # a phrase, then a breath
        end, effort = moment + length, loud * rng.uniform(0.75, 1.25)
        c["nod"] += rng.uniform(-0.1, 0.25) * bump(time, moment, 0.35, length - 0.5, 0.5)
        if rng.random() < 0.5:
            c["brows up"] += rng.uniform(0.15, 0.6) * bump(
                time, moment + rng.uniform(0, 0.6 * length), 0.18, rng.uniform(0.1, 0.5), 0.3
            )
        while moment < end:
            syllable = rng.uniform(0.13, 0.26)
            opened = bump(time, moment, 0.45 * syllable, 0.1 * syllable, 0.65 * syllable)
            c["jaw open"] += effort * rng.uniform(0.1, 0.42) * opened
            c["lower lip down"] += effort * rng.uniform(0.1, 0.5) * opened
            c["upper lip up"] += effort * rng.uniform(0.0, 0.25) * opened
            shape = rng.normal(0, 0.35)
            c["mouth wide"] += shape * opened
            c["pucker"] -= min(shape, 0) * 1.1 * opened
            if rng.random() < 0.18:  # m, b, p
                closed = bump(time, moment - 0.05, 0.05, 0.02, 0.06)
                c["press lips"] += 0.6 * closed
                for name in ("jaw open", "lower lip down"):
                    c[name] *= 1 - 0.9 * closed
            moment += syllable
        if rng.random() < 0.4:
            c["nod"] += 0.25 * bump(time, end - 0.3, 0.15, 0.05, 0.3)
        moment = end + rng.uniform(0.25, 1.0)
    glances(c, time, rng, 0.3, 0.25)


def _whisper(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
    _talk(c, time, rng, 0.45)
    c["nearer"] += 0.35
    c["nod"] += 0.12
    c["brows up"] += 0.2


def _listen(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
    moment = rng.uniform(0.5, 2.0)
    while moment < time[-1]:
        for k in range(rng.integers(1, 4)):
            c["nod"] += rng.uniform(0.15, 0.4) * bump(time, moment + 0.42 * k, 0.18, 0.02, 0.22)
        if rng.random() < 0.4:
            c["smile"] += rng.uniform(0.2, 0.6) * bump(time, moment, 0.4, rng.uniform(0.4, 1.5), 0.7)
        moment += rng.uniform(1.8, 4.5)
    c["tilt"] += rng.choice([-1, 1]) * rng.uniform(0.05, 0.25)
    glances(c, time, rng, 0.25, 0.2)


def _look_around(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
    moment, side = 0.3, rng.choice([-1, 1])
    while moment < time[-1]:
        # With the sway and the rest pose of a person this stays within 0.9, beyond which a photo has nothing to show.
        far, hold = rng.uniform(0.3, 0.65) * side, rng.uniform(0.5, 1.4)
        # Eyes go first.
        c["look sideways"] += 0.6 * np.sign(far) * bump(time, moment, 0.08, 0.45, 0.4)
        c["turn"] += far * bump(time, moment + 0.1, 0.55, hold, 0.6)
        c["nod"] += rng.normal(0, 0.2) * bump(time, moment + 0.1, 0.55, hold, 0.6)
        moment, side = moment + 0.7 + hold + rng.uniform(0.2, 0.7), -side
    c["brows up"] += 0.15


def _smile(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
    smile = bump(time, 0.15 * time[-1], 0.3 * time[-1], 0.2 * time[-1], 0.3 * time[-1])
    _smiling(c, smile)


def _smiling(c: dict, amount: np.ndarray) -> None:
    c["smile"] += 0.9 * amount
    c["mouth wide"] += 0.75 * amount
    c["upper lip up"] += 0.25 * amount
    c["close left eye"] += 0.22 * amount
    c["close right eye"] += 0.22 * amount


def _laugh(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
    moment = 0.3
    while moment < time[-1]:
        length = rng.uniform(1.4, 2.6)
        burst = bump(time, moment, 0.25, length - 0.7, 0.6)
        _smiling(c, burst)
        c["jaw open"] += burst * (0.32 + 0.13 * np.sin(2 * np.pi * 4.6 * (time - moment)))
        c["lower lip down"] += 0.4 * burst
        c["nod"] += burst * (-0.3 + 0.06 * np.sin(2 * np.pi * 4.6 * (time - moment)))
        moment += length + rng.uniform(0.5, 1.5)


def _gesture(name: str, size: float, period: float, times: int):
    def act(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
        start = max(0.0, (time[-1] - period * times) / 2)
        inside = bump(time, start, 0.2, period * times - 0.4, 0.25)
        c[name] += size * inside * np.sin(2 * np.pi * (time - start) / period)

    return act


def _tilt(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
    third = time[-1] / 3
    c["tilt"] += 0.9 * bump(time, 0.2, 0.5, third - 0.4, 0.6) - 0.9 * bump(
        time, 0.2 + 1.4 * third, 0.5, third - 0.5, 0.6
    )


def _surprise(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
    shock = bump(time, 0.5, 0.16, 0.45 * time[-1], 0.6)
    c["brows up"] += 0.95 * shock
    c["jaw open"] += 0.45 * shock
    c["mouth wide"] -= 0.25 * shock
    c["close left eye"] -= 0.25 * shock
    c["close right eye"] -= 0.25 * shock
    c["nod"] -= 0.2 * shock
    c["nearer"] -= 0.25 * shock


def _blink(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
    """Blinks alone, as every performance has them."""


def _wink(c: dict, time: np.ndarray, rng: np.random.Generator) -> None:
    shut = bump(time, 0.4 * time[-1], 0.1, 0.12, 0.2)
    c["close left eye"] += shut
    c["smile"] += 0.35 * bump(time, 0.3 * time[-1], 0.3, 0.6, 0.5)
    c["tilt"] += 0.2 * shut


_STYLE = {
    "talk": _talk,
    "whisper": _whisper,
    "listen": _listen,
    "look around": _look_around,
    "smile slowly": _smile,
    "laugh": _laugh,
    "nod": _gesture("nod", 0.55, 0.6, 3),
    "shake": _gesture("turn", 0.6, 0.75, 3),
    "tilt": _tilt,
    "surprise": _surprise,
    "blink": _blink,
    "wink": _wink,
}


def perform_person(seconds: float, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Controls [T, K] of one person who talks, listens, laughs and looks around in turn, about a rest pose of their
    own."""
    parts, total = [], 0.0
    while total < seconds:
        style = rng.choice(
            ["talk", "listen", "look around", "smile slowly", "laugh", "whisper"],
            p=[0.48, 0.26, 0.08, 0.08, 0.05, 0.05],
        )
        length = min(rng.uniform(4, 9), seconds - total + 1)
        parts.append(perform(str(style), length, fps, rng))
        total += length
    overlap = round(0.6 * fps)
    motion = parts[0]
    for part in parts[1:]:
        fade = (np.arange(overlap) + 0.5)[:, None] / overlap
        fade = fade * fade * (3 - 2 * fade)
        if len(part) <= overlap or len(motion) <= overlap:
            continue
        motion = np.concatenate(
            [motion[:-overlap], motion[-overlap:] * (1 - fade) + part[:overlap] * fade, part[overlap:]]
        )
    spread = dict.fromkeys(face.NAMES, 0.12) | {
        "turn": 0.12,
        "nod": 0.2,
        "nearer": 0.5,
        "down": 0.15,
        "across": 0.08,
        "jaw open": 0.02,
        "close left eye": 0.0,
        "close right eye": 0.0,
    }
    rest = rng.normal(0, [spread[name] for name in face.NAMES])
    lids = rng.normal(0, 0.12)
    rest[face.NAMES.index("jaw open")] = abs(rest[face.NAMES.index("jaw open")])
    rest[[face.NAMES.index(f"close {side} eye") for side in ("left", "right")]] += lids
    motion = motion + rest * (0.6 if rng.random() < 0.5 else 1.0)
    low, high = (np.array([getattr(control, end) for control in face.CONTROLS]) for end in ("low", "high"))
    return np.clip(motion, low - 0.2, high + 0.2).astype(np.float32)[: round(seconds * fps)]

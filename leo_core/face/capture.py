"""Face capture in files: the CSV of Live Link Face, and the JSON lists of named weights that web trackers and
speech-driven rigs write.

Both hold ARKit's 52 blendshapes, 0 at rest and 1 at their full extent, named in any case. The CSV may add the head's
and eyes' angles in radians: yaw to the picture's right, pitch down, roll with the top of the head to the picture's
right (the app's documentation does not say so; public readers of it do, and where a recorder counts the other way a
gain of -1 helps).
"""

import csv
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from ..files import quoted, write_atomically
from ..rates import exact_rate
from .controls import ANGLE_UNITS, CONTROLS, NAMES

# In the order of the app's columns.
SHAPES = tuple(
    [
        f"eye{what}{side}"
        for side in ("Left", "Right")
        for what in ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")
    ]
    + [
        "jawForward",
        "jawRight",
        "jawLeft",
        "jawOpen",
        "mouthClose",
        "mouthFunnel",
        "mouthPucker",
        "mouthRight",
        "mouthLeft",
    ]
    + [f"mouth{what}{side}" for what in ("Smile", "Frown", "Dimple", "Stretch") for side in ("Left", "Right")]
    + ["mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"]
    + [f"mouth{what}{side}" for what in ("Press", "LowerDown", "UpperUp") for side in ("Left", "Right")]
    + [
        "browDownLeft",
        "browDownRight",
        "browInnerUp",
        "browOuterUpLeft",
        "browOuterUpRight",
        "cheekPuff",
        "cheekSquintLeft",
        "cheekSquintRight",
        "noseSneerLeft",
        "noseSneerRight",
        "tongueOut",
    ]
)
HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
EYES = tuple(f"{side}Eye{what}" for side in ("Left", "Right") for what in ("Yaw", "Pitch", "Roll"))
# What the head's angles count of turn, nod and tilt.
_HEAD_SIGN = np.array([1.0, 1.0, -1.0])
_INDEX = {name.casefold(): place for place, name in enumerate(SHAPES)}
# Controls [K, 52] of shapes; all zero for the head's place and rotation.
_WEIGHTS = np.array([[control.blendshapes.get(shape, 0.0) for shape in SHAPES] for control in CONTROLS])

LARGEST_CSV, LARGEST_JSON = 2**28, 2**26  # bytes
MOST_FRAMES = 500_000  # more than two hours at 60 fps
MOST_PARTS = 2_000_000  # lists and objects of a JSON: each takes tens of bytes in the file, and hundreds in memory
FASTEST = 1000  # frames per second
LONGEST_GAP = 10  # seconds between two rows of one take
LARGEST_WEIGHT = 8.0  # weights are 0..1; some rigs exaggerate
RATES = (24, 25, 30, 48, 50, 60, 100, 120)
_TIMECODE = re.compile(r"(\d{1,3}):(\d{2}):(\d{2}):(\d{1,3})(?:\.(\d+))?", re.ASCII)


@dataclass(frozen=True)
class FaceCapture:
    """A recording at a fixed rate.

    :param shapes: [T, 52] weights in the order of `SHAPES`, NaN in rows of frames that were dropped.
    :param head: [T, 3] turn, nod and tilt in radians as `controls.angles` counts them, or None.
    :param fps: frames per second.
    """

    shapes: np.ndarray
    head: np.ndarray | None
    fps: Fraction

    @property
    def missing(self) -> int:
        """Frames that were dropped."""
        return int(np.isnan(self.shapes).any(1).sum())

    def controls(self) -> np.ndarray:
        """[T, K] float32: NaN in dropped frames, and in what the format does not say, the head's place and perhaps
        its rotation."""
        values = self.shapes @ _WEIGHTS.T
        values[:, :6] = np.nan
        if self.head is not None:
            values[:, :3] = self.head / ANGLE_UNITS
        return values.astype(np.float32)


def load_capture(path: str | os.PathLike, fps: float = 0.0) -> FaceCapture:
    """Read a recording.

    A CSV has a Timecode of hours:minutes:seconds:frame, from which dropped frames are known; its rate is the lowest
    usual one that has such frame numbers. A JSON is a list of frames, or an object with ``frames`` and the rate as
    ``fps``, ``frameRate`` or ``exportFps``; a frame is an object of names and weights, a list of {"categoryName",
    "score"}, or an object with either as ``blendshapes``. A table of ``facsNames`` (or ``names``) and ``weightMat``
    is read too.

    :param fps: the rate, where the file does not say it or is wrong; 0 for the file's own.
    :raises ValueError: not such a file, too large, or damaged.
    """
    path = Path(path)
    if not 0 <= fps <= FASTEST:  # nor NaN
        raise ValueError(
            f"A recording has 0 to {FASTEST} frames per second, got {fps}. Set fps to 0 for the file's own."
        )
    largest = LARGEST_JSON if path.suffix.lower() == ".json" else LARGEST_CSV
    if path.stat().st_size > largest:
        raise ValueError(
            f"{path.name} is {path.stat().st_size / 2**20:.0f} MB; a recording of two hours at 60 fps is less than "
            f"{largest / 2**20:.0f} MB. Split it into takes."
        )
    return _read_json(path, fps) if path.suffix.lower() == ".json" else _read_csv(path, fps)


def _read_csv(path: Path, fps: float) -> FaceCapture:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = [name.strip().casefold() for name in next(rows, [])]
            columns = _columns(path, header)
            times, values = [], []
            for number, row in enumerate(rows, 2):
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(header):
                    raise ValueError(
                        f"{path.name} has {len(row)} columns in line {number} and {len(header)} names. Export it again."
                    )
                times.append((number, *_timecode(path, number, row[header.index("timecode")])))
                values.append(_numbers(path, number, [row[column] for column in columns]))
                if len(times) > MOST_FRAMES:
                    raise ValueError(
                        f"{path.name} has more than {MOST_FRAMES} frames. Split it into takes of at most two hours."
                    )
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not a text file. Choose the .csv that Live Link Face recorded.") from None
    except csv.Error as error:
        raise ValueError(f"{path.name} is not a CSV that can be read ({error}). Export it again.") from None
    if not times:
        raise ValueError(f"{path.name} has no rows below its names: nothing was recorded. Choose another take.")
    frame_numbers = max(frame for *_, frame in times)
    counted = next((rate for rate in RATES if frame_numbers < rate), None) if not fps else math.ceil(fps)
    if counted is None or frame_numbers >= counted:
        raise ValueError(
            f"{path.name} counts frames up to {frame_numbers:.0f} in a second, more than {counted or max(RATES)} fps "
            "has. Set fps to the rate of the recording."
        )
    places = _places(path, times, counted)
    table = np.full((places[-1] + 1, len(columns)), np.nan)
    table[places] = values
    head = table[:, len(SHAPES) :] * _HEAD_SIGN if len(columns) > len(SHAPES) else None
    return FaceCapture(table[:, : len(SHAPES)], head, exact_rate(fps) if fps else Fraction(counted))


def _columns(path: Path, header: list[str]) -> list[int]:
    """Where the shapes are in a row, and the head's angles if it has them."""
    absent = [name for name in ("Timecode", *SHAPES) if name.casefold() not in header]
    if absent:
        raise ValueError(
            f"{path.name} lacks {len(absent)} of the 53 columns that Live Link Face writes, among them {absent[0]}; it "
            f"begins with '{quoted(','.join(header[:3]))}'. Choose the .csv of a take recorded with ARKit."
        )
    head = [name.casefold() for name in HEAD]
    return [header.index(name.casefold()) for name in SHAPES] + [
        header.index(name) for name in head if set(head) <= set(header)
    ]


def _timecode(path: Path, number: int, text: str) -> tuple[int, float]:
    """Seconds of the day, and the frame in the second."""
    match = _TIMECODE.fullmatch(text.strip())
    if not match:
        raise ValueError(
            f"{path.name} has the timecode '{quoted(text)}' in line {number}; expected hours:minutes:seconds:frame."
        )
    hours, minutes, seconds, frame = (int(match[k]) for k in range(1, 5))
    return hours * 3600 + minutes * 60 + seconds, frame + float(f"0.{match[5] or 0}")


def _numbers(path: Path, number: int, cells: list[str]) -> list[float]:
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        raise ValueError(f"{path.name} has a cell that is not a number in line {number}. Export it again.") from None
    _require_weights(path, f"line {number}", values)
    return values


def _require_weights(path: Path, where: str, values: Iterable[float]) -> None:
    for value in values:
        if not -LARGEST_WEIGHT <= value <= LARGEST_WEIGHT:  # nor NaN
            raise ValueError(
                f"{path.name} has the value {quoted(value)} in {where}; weights are 0 to 1, angles in radians. Export "
                "it again."
            )


def _places(path: Path, times: list[tuple[int, int, float]], rate: int) -> list[int]:
    """The frame of every row, counted from the first."""
    places: list[int] = []
    base = None
    for number, seconds, frame in times:
        at = seconds * rate + frame
        base = at if base is None else base
        if at < base and base - at > 12 * 3600 * rate:  # past midnight
            at += 24 * 3600 * rate
        place = round(at - base)
        if places and place < places[-1]:
            raise ValueError(
                f"{path.name} goes back in time in line {number}. A file holds one take in order: split it there."
            )
        if places and place - places[-1] > LONGEST_GAP * rate:
            raise ValueError(
                f"{path.name} jumps by {(place - places[-1]) / rate:.0f} seconds before line {number}. A file holds "
                "one take: split it there."
            )
        places.append(place)
        if place >= MOST_FRAMES:
            raise ValueError(
                f"{path.name} has more than {MOST_FRAMES} frames. Split it into takes of at most two hours."
            )
    return places


def _read_json(path: Path, fps: float) -> FaceCapture:
    try:
        text = path.read_text(encoding="utf-8")
        parts = text.count("[") + text.count("{")
        value = json.loads(text) if parts <= MOST_PARTS else None
    except (ValueError, RecursionError) as error:  # no text, no JSON, a number of thousands of digits, far too deep
        raise ValueError(
            f"{path.name} is not a JSON file that can be read ({quoted(error)}). Export it again."
        ) from None
    if parts > MOST_PARTS:
        raise ValueError(
            f"{path.name} has {parts} lists and objects; two hours at 60 fps have less than {MOST_PARTS}. "
            "Split it into takes."
        )
    described = value if isinstance(value, dict) else {"frames": value}
    names = described.get("facsNames", described.get("names"))
    frames = described.get("weightMat") or described.get("frames")
    if not isinstance(frames, list) or not frames:
        raise ValueError(f"{path.name} has no list of frames. Expected one, or an object with 'frames' and 'fps'.")
    if len(frames) > MOST_FRAMES:
        raise ValueError(f"{path.name} has more than {MOST_FRAMES} frames. Split it into takes of at most two hours.")
    rate = fps or next((described[key] for key in ("fps", "frameRate", "exportFps") if key in described), 0)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= FASTEST:
        raise ValueError(f"{path.name} does not give its frame rate. Set fps to the rate of the recording.")
    shapes = np.zeros((len(frames), len(SHAPES)))
    for number, frame in enumerate(frames):
        weights = _weights(path, number, frame, names)
        if weights is None:
            shapes[number] = np.nan
            continue
        known = {_INDEX[name.casefold()]: weight for name, weight in weights.items() if name.casefold() in _INDEX}
        if not known:
            raise ValueError(
                f"{path.name} names none of ARKit's 52 shapes in frame {number}. Expected names like jawOpen."
            )
        _require_weights(path, f"frame {number}", known.values())
        shapes[number, list(known)] = list(known.values())
    return FaceCapture(shapes, None, exact_rate(rate))


def _weights(path: Path, number: int, frame: object, names: object) -> dict[str, float] | None:
    """Names and weights of one frame; None where it shows no face."""
    if isinstance(frame, dict) and "blendshapes" in frame:
        frame = frame["blendshapes"]
    if frame is None or frame == [] or frame == {}:
        return None
    if isinstance(frame, list) and isinstance(names, list) and len(frame) == len(names):
        frame = dict(zip(map(str, names), frame, strict=True))
    elif isinstance(frame, list) and all(isinstance(entry, dict) for entry in frame):
        frame = {
            str(entry.get("categoryName", entry.get("name"))): entry.get("score", entry.get("value")) for entry in frame
        }
    if not isinstance(frame, dict):
        raise ValueError(
            f'{path.name} has a frame {number} that is not a set of named weights. Expected {{"jawOpen": 0.3, ..}}.'
        )
    weights = {name: weight for name, weight in frame.items() if name.casefold() in _INDEX}
    if not all(isinstance(weight, (int, float)) and not isinstance(weight, bool) for weight in weights.values()):
        raise ValueError(f"{path.name} has a weight that is not a number in frame {number}. Export it again.")
    return weights


def _solver() -> tuple[np.ndarray, np.ndarray]:
    """Columns that face controls are made of, [14, C], and what each is in shapes, [C, 52].

    Both sides of a face share a column, so that a smile is one of both corners, except those of the eyes' lids.
    """
    columns, shapes = [], []
    for place, name in enumerate(SHAPES):
        unit = np.zeros(len(SHAPES))
        unit[place] = 1
        twin = {"eyeLookInLeft": "eyeLookOutRight", "eyeLookOutLeft": "eyeLookInRight"}.get(
            name, name.replace("Left", "Right")
        )
        if "Left" in name and name not in ("jawLeft", "mouthLeft", "eyeBlinkLeft", "eyeWideLeft", "eyeSquintLeft"):
            unit[SHAPES.index(twin)] = 1
        elif "Right" in name and name not in (
            "jawRight",
            "mouthRight",
            "eyeBlinkRight",
            "eyeWideRight",
            "eyeSquintRight",
        ):
            continue
        if (_WEIGHTS @ unit).any():
            columns.append((_WEIGHTS @ unit)[6:])
            shapes.append(unit)
    return np.array(columns).T, np.array(shapes)


def save_capture(path: str | os.PathLike, controls: np.ndarray, fps: Fraction) -> None:
    """Write controls as a CSV of Live Link Face with head and eye angles, which other rigs read, atomically.

    `load_capture` reads the same controls back. Weights are not negative where the controls can be made of such; an
    upper lip below its rest has no shape in ARKit, and a few weights are then negative, which most rigs take as the
    opposite shape. Weights above 1 are written where a control asks for them.

    :param controls: [T, K], unknown ones NaN, which counts as rest; the head's place has no column.
    :param fps: frames per second; the timecode counts in whole ones, so 29.97 counts as 30.
    """
    columns, units = _solver()
    values = np.nan_to_num(controls.astype(np.float64))
    rate = math.ceil(fps)
    weights = np.array([nnls(columns, frame[6:])[0] for frame in values])
    weights += (values[:, 6:] - weights @ columns.T) @ np.linalg.pinv(columns).T
    shapes = weights @ units
    head = values[:, :3] * ANGLE_UNITS * _HEAD_SIGN
    # Left and right eye look alike.
    gaze = values[:, [NAMES.index("look sideways"), NAMES.index("look up")]] * np.radians([30.0, -20.0])
    eyes = np.concatenate([gaze, np.zeros((len(gaze), 1))], 1)

    def write(temporary: str) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in SHAPES), *HEAD, *EYES]
            )
            for place, row in enumerate(np.concatenate([shapes, head, eyes, eyes], 1)):
                seconds, frame = divmod(place, rate)
                stamp = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frame:02}.000"
                writer.writerow([stamp, len(SHAPES) + len(HEAD) + len(EYES), *(f"{value:.5f}" for value in row)])

    write_atomically(path, write)

"""How well rendered faces follow the driving ones, by landmarks: ``evaluate --landmarks`` and
``evaluate-landmarks``.

``evaluate`` writes recordings, each an npz in one folder: ``rendered`` [T, S, S, 3] uint8; for a clip rebuilt from
its own first frame also ``driving``, the true frames; for its motion on another person's photo also ``photo`` [1, S,
S, 3], and ``driver``, the name of the clip's own recording. Landmarks are read off all of them at 256 px and
compared. This half needs MediaPipe and no torch, so the two halves may run in different Pythons. The yardsticks are
our choice but for AKD, the average keypoint distance (Siarohin et al. 2019).
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..face import CONTROLS, NAMES, measure
from ..files import write_atomically
from .landmarks import Finder, MediaPipe, find_clip, read_clip_landmarks, save_arrays
from .outputs import file_to_write

SIDE = 256  # pixels that landmarks are read and distances told at
LEAST_MOTION = 0.25  # pixels by which a clip's landmarks move on average; clips that move less have no ratio
LEAST_SPREAD = 1e-3  # of a control, about as little as single precision tells from nothing
LANDMARK_FILE = "landmarks.npz"

# Rows of the table: the mean of some controls.
ROWS = {
    "mouth opening": ("jaw open",),
    "mouth width": ("mouth wide",),
    "left eye": ("close left eye",),
    "right eye": ("close right eye",),
    "eyes": ("close left eye", "close right eye"),
    "brows": ("brows up",),
    "yaw": ("turn",),
    "pitch": ("nod",),
    "roll": ("tilt",),
}
EXPRESSION = [k for k, control in enumerate(CONTROLS) if control.group not in ("head", "place")]
# Lengths that belong to a person and hardly to an expression: pairs of landmarks.
LENGTHS = (
    (33, 263),
    (133, 362),
    (234, 454),
    (127, 356),
    (168, 2),
    (6, 4),
    (10, 168),
    (33, 2),
    (263, 2),
    (129, 358),
    (103, 332),
)


@dataclass(frozen=True)
class Following:
    """How a measure of rendered faces follows that of the driving ones: correlation, and gain, the slope of its
    regression on it.

    Both are None where the driving faces hold still, and correlation also where the rendered ones do.
    """

    correlation: float | None
    gain: float | None

    @staticmethod
    def of(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> "Following":
        """Of clips' (driving, rendered) measures [T], each without its mean over time, pooled."""
        driving, rendered = (
            np.concatenate([values - values.mean() for values in column]).astype(np.float64)
            for column in zip(*pairs, strict=True)
        )
        own, other = np.sqrt(np.square(driving).mean()), np.sqrt(np.square(rendered).mean())
        together = (driving * rendered).mean()
        return Following(
            float(together / (own * other)) if min(own, other) > LEAST_SPREAD else None,
            float(together / own**2) if own > LEAST_SPREAD else None,
        )


@dataclass(frozen=True)
class Pair:
    """Landmarks of T driving and rendered frames, [T, 478, 3] at 256 px, NaN without a face; of the photo that was
    driven, [478, 3].

    Without a photo, the first driving frame was.
    """

    name: str
    driving: np.ndarray
    rendered: np.ndarray
    photo: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """[T] whether both show a face."""
        return np.isfinite(self.driving).all((1, 2)) & np.isfinite(self.rendered).all((1, 2))

    @property
    def lost(self) -> int:
        """Rendered frames that show no face, though the driving ones do."""
        return int((np.isfinite(self.driving).all((1, 2)) & ~self.known).sum())

    def controls(self) -> tuple[np.ndarray, np.ndarray]:
        """Controls [T, K] of both, where both show a face."""
        return measure(self.driving[self.known], SIDE), measure(self.rendered[self.known], SIDE)

    def akd(self) -> tuple[float, float | None]:
        """Mean distance of rendered from driving landmarks in pixels, and its ratio to that of repeating the first
        frame."""
        driving, rendered = self.driving[self.known, :, :2], self.rendered[self.known, :, :2]
        ours = float(np.linalg.norm(rendered - driving, axis=-1).mean())
        repeated = float(np.linalg.norm(driving[:1] - driving, axis=-1).mean())
        return ours, ours / repeated if repeated > LEAST_MOTION else None

    def expression(self) -> tuple[float, float]:
        """Mean distance in a control between rendered and driving expression, each from its first frame on, and that
        of no motion."""
        driving, rendered = (values[:, EXPRESSION] - values[:1, EXPRESSION] for values in self.controls())
        return float(np.abs(rendered - driving).mean()), float(np.abs(driving).mean())

    def identity(self) -> tuple[float, float, float]:
        """Distance in `proportions` of the rendered faces from the photo, of them from the driver, and of photo and
        driver.

        :raises ValueError: there is no photo.
        """
        if self.photo is None:
            raise ValueError(f"{self.name} was rendered without a photo of another person, so it has no identity.")
        driving, rendered = proportions(self.driving[self.known]), proportions(self.rendered[self.known])
        photo = proportions(np.stack([self.photo]))

        def distance(a: np.ndarray, b: np.ndarray) -> float:
            return float(np.sqrt(np.square(a - b).mean(-1)).mean())

        return distance(rendered, photo), distance(rendered, driving), distance(photo, driving)


def proportions(landmarks: np.ndarray) -> np.ndarray:
    """Logarithms of a face's `LENGTHS` relative to their geometric mean, [T, P], of landmarks [T, 478, 3].

    0.01 of them is about one percent of a length. Measured in three dimensions, so that a turned head keeps them.
    """
    a, b = np.array(LENGTHS).T
    lengths = np.log(np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1))
    return lengths - lengths.mean(-1, keepdims=True)


def save_recording(folder: Path, name: str, **arrays: np.ndarray) -> None:
    """Write one recording (see the module) as ``name.npz``."""
    save_arrays(folder / f"{name}.npz", arrays)


def recordings(folder: Path) -> list[Path]:
    """Files of a folder's recordings, in order. :raises ValueError: there are none."""
    files = sorted(path for path in folder.glob("*.npz") if path.name != LANDMARK_FILE)
    if not files:
        raise ValueError(
            f"{folder} holds no recordings. Write some with python -m leo_core evaluate MODEL --data ... --write "
            f"{folder}."
        )
    return files


def find_all(folder: Path, open_finder: Callable[[], Finder] = lambda: MediaPipe(video=True)) -> dict[str, np.ndarray]:
    """Landmarks of all recordings at 256 px, [T, 478, 3] under ``recording/part``.

    :param open_finder: makes a `Finder`; every sequence has one of its own.
    """
    found = {}
    for path in recordings(folder):
        with np.load(path) as data:
            for part in {"driving", "rendered", "photo"} & set(data.files):
                found[f"{path.stem}/{part}"] = find_clip((enlarged(frame) for frame in data[part]), open_finder())
    return found


def enlarged(frame: np.ndarray) -> np.ndarray:
    """A frame [S, S, 3] uint8 at the size at which landmarks are read."""
    shrinks = frame.shape[0] > SIDE
    return cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def pairs(folder: Path, found: dict[str, np.ndarray]) -> list[Pair]:
    """What is compared. :raises ValueError: landmarks of a recording are missing, or of another length; a photo
    shows no face."""
    result: list[Pair] = []
    for path in recordings(folder):
        with np.load(path) as data:
            driver = str(data["driver"]) if "driver" in data.files else None
        parts = [f"{driver or path.stem}/driving", f"{path.stem}/rendered"] + [f"{path.stem}/photo"] * (
            driver is not None
        )
        missing = [part for part in parts if part not in found]
        if missing:
            raise ValueError(
                f"The landmarks lack {', '.join(missing)}. Find them again with python -m leo_core evaluate-landmarks "
                f"{folder}."
            )
        driving, rendered, *photo = (found[part] for part in parts)
        if len(driving) != len(rendered):
            raise ValueError(
                f"{path.stem} has {len(rendered)} rendered frames and {len(driving)} driving ones. Write the "
                f"recordings again."
            )
        if photo and not np.isfinite(photo[0]).all():
            raise ValueError(f"No face was found in the photo of {path.stem}. Leave that photo out.")
        result.append(Pair(path.stem, driving, rendered, photo[0][0] if photo else None))
    return result


def summary(compared: list[Pair]) -> dict:
    """All figures of pairs of one kind, for the table and for JSON."""
    usable = [pair for pair in compared if pair.known.any()]
    result: dict = {
        "clips": len(compared),
        "frames": int(sum(len(pair.driving) for pair in compared)),
        "lost": sum(pair.lost for pair in compared),
        "driving without a face": int(sum(np.isnan(pair.driving[:, 0, 0]).sum() for pair in compared)),
    }
    if not usable:
        return result
    controls = [pair.controls() for pair in usable]

    def following(names: tuple[str, ...]) -> dict[str, float]:
        columns = [NAMES.index(name) for name in names]
        return vars(
            Following.of((driving[:, columns].mean(1), rendered[:, columns].mean(1)) for driving, rendered in controls)
        )

    result["rows"] = {row: following(names) for row, names in ROWS.items()}
    result["controls"] = {name: following((name,)) for name in NAMES}
    if usable[0].photo is None:
        distances = [pair.akd() for pair in usable]
        ratios = [ratio for _, ratio in distances if ratio is not None]
        result |= {
            "AKD": float(np.mean([ours for ours, _ in distances])),
            "AKD ratio": float(np.mean(ratios)) if ratios else None,
            "per clip": {
                pair.name: {"AKD": ours, "ratio": ratio, "lost": pair.lost}
                for pair, (ours, ratio) in zip(usable, distances, strict=True)
            },
        }
    else:
        expression, identity = ([getattr(pair, kind)() for pair in usable] for kind in ("expression", "identity"))
        result |= dict(zip(("expression", "expression of no motion"), np.mean(expression, 0).tolist(), strict=True))
        result |= dict(
            zip(
                ("identity to photo", "identity to driver", "photo to driver"),
                np.mean(identity, 0).tolist(),
                strict=True,
            )
        )
        result["per clip"] = {
            pair.name: {"expression": e[0], "no motion": e[1], "to photo": i[0], "to driver": i[1], "lost": pair.lost}
            for pair, e, i in zip(usable, expression, identity, strict=True)
        }
    return result


def table(figures: dict, title: str) -> str:
    """Markdown of a `summary`."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    lines = [f"{title}: {figures['clips']} clips, {figures['frames']} frames, faces lost {figures['lost']}"]
    if figures["driving without a face"]:
        lines[0] += f" ({figures['driving without a face']} driving frames show none)"
    if "rows" in figures:
        lines += ["", "| | correlation | gain |", "| --- | --- | --- |"]
        lines += [
            f"| {row} | {number(value['correlation'])} | {number(value['gain'])} |"
            for row, value in figures["rows"].items()
        ]
    if "AKD" in figures:
        lines += [
            "",
            f"AKD {figures['AKD']:.2f} px at {SIDE} px, {number(figures['AKD ratio'])} of repeating the first frame",
        ]
    if "expression" in figures:
        lines += [
            "",
            f"expression: {figures['expression']:.3f} from the driver's, without motion "
            f"{figures['expression of no motion']:.3f}",
            f"proportions: {figures['identity to photo']:.4f} from the photo's, {figures['identity to driver']:.4f} "
            f"from the driver's; those two differ by {figures['photo to driver']:.4f}",
        ]
    return "\n".join(lines)


def report(folder: Path, file: Path | None = None) -> dict[str, dict]:
    """Print the tables of a folder's recordings.

    :param file: their landmarks, found before; None finds them with MediaPipe and keeps them in the folder.
    :return: `summary` of the clips rebuilt from themselves, and under "cross" of those on other people's photos, if
        there are any.
    """
    if file is None:
        found = find_all(folder)
        save_arrays(folder / LANDMARK_FILE, found)
    else:
        found = read_clip_landmarks(file)
    compared = pairs(folder, found)
    kinds = {
        "self": [pair for pair in compared if pair.photo is None],
        "cross": [pair for pair in compared if pair.photo is not None],
    }
    figures = {kind: summary(some) for kind, some in kinds.items() if some}
    titles = {"self": "Landmarks, rebuilt from the first frame", "cross": "Landmarks, on other people's photos"}
    for kind, values in figures.items():
        print(f"\n{table(values, titles[kind])}")
    return figures


def evaluate_landmarks(args: argparse.Namespace) -> None:
    """Run ``evaluate-landmarks``."""
    figures = report(args.folder, args.landmarks)
    if args.json:
        write_atomically(args.json, lambda path: Path(path).write_text(json.dumps(figures, indent=1), encoding="utf-8"))


def add_commands(subparsers) -> None:
    """``evaluate-landmarks``."""
    parser = subparsers.add_parser(
        "evaluate-landmarks", help="compare the faces of recordings that evaluate --write made (needs MediaPipe)"
    )
    parser.add_argument("folder", type=Path, help="folder that evaluate --write filled")
    parser.add_argument(
        "--landmarks", type=Path, help="landmarks of the recordings, found before; then MediaPipe is not needed"
    )
    parser.add_argument("--json", type=file_to_write(), help="file to write with every figure")
    parser.set_defaults(run=evaluate_landmarks)

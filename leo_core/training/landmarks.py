"""Landmarks of faces, found once and kept in files: ``portrait-landmarks`` and ``clip-landmarks``.

MediaPipe finds them (its face mesh with irises, and its person segmentation; the wheel brings both networks). Only
finding needs MediaPipe; whatever uses landmarks reads the files:

- of photos: an npz of ``names`` [N], ``landmarks`` [N, 478, 3] and, if wanted, ``masks`` [N, M, M] uint8, 255 where
  the person is, each stretched over the whole of its photo;
- of clips: an npz with an array [T, 478, 3] per clip under its file's name, NaN where a frame shows no face.

Landmarks are in pixels of the photo or frame; z has the same unit, and smaller is nearer.
"""

import argparse
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from ..face import LANDMARKS, angles, head_pose
from ..files import write_atomically
from .decoding import PICTURES, VIDEOS, decode, read_photo

log = logging.getLogger(__name__)

LEAST_HEIGHT = 24  # pixels from hairline to chin; fewer show nothing
MOST_TURN, MOST_NOD = 40, 35  # degrees; beyond them the far half of a face is hidden
MASK_SIDE = 256  # that of the segmentation network


class Finder(Protocol):
    """What finds faces in pictures [H, W, 3] uint8."""

    def faces(self, picture: np.ndarray) -> Sequence[np.ndarray]:
        """Landmarks [478, 3] of every face."""

    def person(self, picture: np.ndarray) -> np.ndarray:
        """How far people cover each pixel, [H, W] in 0..1."""


class MediaPipe:
    """MediaPipe as a `Finder`.

    :param video: the pictures are consecutive frames of one person, who is tracked from frame to frame.
    :raises OSError: MediaPipe is not installed; says how to install it.
    """

    def __init__(self, video: bool = False):
        try:
            from mediapipe.python.solutions import face_mesh, selfie_segmentation
        except ModuleNotFoundError as error:
            raise OSError(
                'finding landmarks needs MediaPipe. Install it with: pip install "mediapipe==0.10.14" (Python 3.8 to '
                "3.12; a separate Python will do), or name a file of landmarks that was made elsewhere"
            ) from error
        self._mesh = face_mesh.FaceMesh(
            static_image_mode=not video,
            refine_landmarks=True,
            max_num_faces=1 if video else 3,
            min_detection_confidence=0.5,
        )
        self._person = None if video else selfie_segmentation.SelfieSegmentation(model_selection=0)

    def faces(self, picture: np.ndarray) -> list[np.ndarray]:
        height, width = picture.shape[:2]
        found = self._mesh.process(np.ascontiguousarray(picture)).multi_face_landmarks or []
        return [
            np.array([(p.x * width, p.y * height, p.z * width) for p in face.landmark], np.float32) for face in found
        ]

    def person(self, picture: np.ndarray) -> np.ndarray:
        return np.clip((self._person.process(np.ascontiguousarray(picture)).segmentation_mask - 0.3) / 0.4, 0, 1)


def check_portrait(landmarks: np.ndarray) -> None:
    """:raises ValueError: a face of landmarks [478, 3] is too small, or turned away too far, to be moved."""
    height = float(np.linalg.norm(landmarks[10, :2] - landmarks[152, :2]))
    if height < LEAST_HEIGHT:
        raise ValueError(f"the face is {height:.0f} px high, and fewer than {LEAST_HEIGHT} show nothing")
    turn, nod, _ = np.degrees(angles(head_pose(landmarks[None]).rotation)[0])
    if abs(turn) > MOST_TURN or abs(nod) > MOST_NOD:
        raise ValueError(
            f"the face is turned {abs(turn):.0f} degrees sideways and {abs(nod):.0f} up or down; "
            f"at most {MOST_TURN} and {MOST_NOD} show enough of it"
        )


def find_portrait(photo: np.ndarray, finder: Finder) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks [478, 3] and mask [M, M] uint8 of the one person in a photo [H, W, 3] uint8.

    :raises ValueError: it shows no face or several, or one that `check_portrait` refuses.
    """
    faces = finder.faces(photo)
    if len(faces) != 1:
        raise ValueError("it shows no face" if not faces else f"it shows {len(faces)} faces, expected one")
    check_portrait(faces[0])
    mask = cv2.resize(finder.person(photo).astype(np.float32), (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA)
    return faces[0], np.round(255 * mask).astype(np.uint8)


def find_clip(frames: Iterable[np.ndarray], finder: Finder) -> np.ndarray:
    """Landmarks [T, 478, 3] float32 of the first face in every frame [H, W, 3] uint8, NaN where there is none."""
    missing = np.full((LANDMARKS, 3), np.nan, np.float32)
    return np.stack([next(iter(finder.faces(frame)), missing) for frame in frames]).astype(np.float32)


def read_landmarks(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """A file of photos: name -> landmarks [478, 3] float32 and mask [M, M] uint8, or None where the file has no masks.

    :raises ValueError: it is another file.
    """
    with np.load(path) as data:
        if not {"names", "landmarks"} <= set(data.files) or data["landmarks"].shape[1:] != (LANDMARKS, 3):
            raise ValueError(
                f"{path} holds {_listed(data.files)}; expected names and landmarks [N, {LANDMARKS}, 3] of photos. Make "
                "it with python -m leo_core portrait-landmarks."
            )
        names, landmarks = data["names"], data["landmarks"].astype(np.float32)
        masks: Iterable[np.ndarray | None] = data["masks"] if "masks" in data.files else [None] * len(names)
    return {str(name): (points, mask) for name, points, mask in zip(names, landmarks, masks, strict=True)}


def read_clip_landmarks(path: Path) -> dict[str, np.ndarray]:
    """A file of clips: name -> landmarks [T, 478, 3] float32, NaN where no face was found.

    :raises ValueError: it is another file.
    """
    with np.load(path) as data:
        tracks = {name: data[name] for name in data.files}
    if not tracks or any(track.ndim != 3 or track.shape[1:] != (LANDMARKS, 3) for track in tracks.values()):
        raise ValueError(
            f"{path} holds {_listed(tracks)}; expected landmarks [T, {LANDMARKS}, 3] under the name of each clip. Make "
            "it with python -m leo_core clip-landmarks."
        )
    return {name: track.astype(np.float32) for name, track in tracks.items()}


def require_npz(path: Path) -> None:
    """:raises ValueError: the path ends otherwise."""
    if path.suffix != ".npz":
        raise ValueError(f"{path.name}: landmarks are written as npz. Call it {path.stem}.npz.")


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed npz atomically. :raises ValueError: the path ends otherwise."""
    require_npz(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # mypy fears that a key is allow_pickle, which takes no array
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))  # type: ignore[arg-type]


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"


def files_in(paths: Sequence[Path], endings: set[str]) -> list[Path]:
    """The files given, and those of the folders given that have one of the endings, sorted."""
    return [
        file
        for path in paths
        for file in (sorted(p for p in path.iterdir() if p.suffix.lower() in endings) if path.is_dir() else [path])
    ]


def portrait_landmarks(args: argparse.Namespace) -> None:
    """Run ``portrait-landmarks``; photos that cannot be used are named and left out."""
    require_npz(args.out)
    finder, names = MediaPipe(), []
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    for path in files_in([args.photos], PICTURES):
        try:
            rows.append(find_portrait(read_photo(path), finder))
            names.append(path.name)
        except ValueError as error:
            log.warning("%s is left out: %s", path.name, error)
    if not names:
        raise ValueError(
            f"{args.photos} holds no photo of one face ({', '.join(sorted(PICTURES))}). Nothing is written."
        )
    landmarks, masks = (np.stack(column) for column in zip(*rows, strict=True))
    save_arrays(args.out, {"names": np.array(names), "landmarks": landmarks, "masks": masks})
    print(f"{len(names)} faces in {args.out}")


def clip_landmarks(args: argparse.Namespace) -> None:
    """Run ``clip-landmarks``; clips that cannot be read are named and left out."""
    require_npz(args.out)
    tracks = {}
    for path in files_in(args.clips, VIDEOS):
        finder = MediaPipe(video=True)  # one each: it remembers where the last face was
        try:
            tracks[path.name] = track = find_clip(
                (np.asarray(picture.convert("RGB")) for picture in decode(path)[0]), finder
            )
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            log.warning("%s is left out: %s", path.name, error)
            continue
        lost = int(np.isnan(track[:, 0, 0]).sum())
        print(f"{path.name}: {len(track)} frames" + (f", {lost} without a face" if lost else ""), flush=True)
    if not tracks:
        raise ValueError(f"No clip could be read ({', '.join(sorted(VIDEOS))}). Nothing is written.")
    save_arrays(args.out, tracks)


def add_commands(subparsers) -> None:
    """``portrait-landmarks`` and ``clip-landmarks``."""
    photos = subparsers.add_parser(
        "portrait-landmarks", help="find the face in every photo of a folder (needs MediaPipe)"
    )
    photos.add_argument("photos", type=Path, help="folder of photos that show one person each")
    photos.set_defaults(run=portrait_landmarks)
    clips = subparsers.add_parser("clip-landmarks", help="find the face in every frame of clips (needs MediaPipe)")
    clips.add_argument("clips", type=Path, nargs="+", help="videos, or folders of videos")
    clips.set_defaults(run=clip_landmarks)
    for command in (photos, clips):
        command.add_argument("out", type=Path, help="npz to write")

"""Pictures out of files, one at a time. Needs no torch, so that a Python which only finds landmarks reads them
alike."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..video import read_video

VIDEOS = {
    ".mp4",
    ".m4v",
    ".mkv",
    ".mpg",
    ".mpeg",
    ".mov",
    ".avi",
    ".webm",
    ".ts",
    ".mts",
    ".m2ts",
    ".flv",
    ".wmv",
    ".gif",
}
PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


def counting_order(path: Path) -> tuple[list[str | int], str]:
    """Sorts files by name with their numbers as numbers: frame_2 before frame_10."""
    parts = re.split("([0-9]+)", path.name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def decode(path: Path) -> tuple[Iterator[Image.Image], Fraction | None]:
    """The pictures of a video file as a screen shows them, one at a time, and its frame rate; or those of a folder,
    which has none, in the order that their names count.

    :raises ValueError: the file holds no video that can be read.
    """
    if path.is_dir():
        return pictures_in(path), None
    stream = read_video(str(path))
    return map(Image.fromarray, stream), stream.fps


def pictures_in(folder: Path) -> Iterator[Image.Image]:
    for file in sorted((p for p in folder.iterdir() if p.suffix.lower() in PICTURES), key=counting_order):
        with Image.open(file) as picture:
            yield picture


def center_square(picture: Image.Image, size: int) -> np.ndarray:
    """The center square of a picture, turned upright, on black where it is transparent, resized with
    antialiasing: [size, size, 3] uint8."""
    upright = ImageOps.exif_transpose(picture)
    if "A" in upright.getbands() or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "black"), upright)
    return np.asarray(ImageOps.fit(upright.convert("RGB"), (size, size), Image.Resampling.LANCZOS))


def read_photo(path: Path) -> np.ndarray:
    """A photo upright, [H, W, 3] uint8; what is transparent in it becomes white.

    :raises ValueError: it is not a picture that can be read.
    """
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:  # what PIL raises for damaged files
        raise ValueError("it is not a picture that can be read") from error
    return np.asarray(Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB"))

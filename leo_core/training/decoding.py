"""Pictures out of files, one at a time. Needs no torch, so that a Python which only finds landmarks reads them alike."""
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

VIDEOS = {".mp4", ".mkv", ".mpg", ".mov", ".avi", ".webm"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


def counting_order(path: Path) -> tuple[list[str | int], str]:
    """Sorts files by name with their numbers as numbers: frame_2 before frame_10."""
    parts = re.split("([0-9]+)", path.name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def decode(path: Path) -> Iterator[Image.Image]:
    """The pictures of a video file, or of a folder in the order that their names count, one at a time.

    :raises ValueError: the file holds sound alone.
    """
    if path.is_dir():
        for file in sorted((p for p in path.iterdir() if p.suffix.lower() in PICTURES), key=counting_order):
            with Image.open(file) as picture:
                yield picture
        return
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("it holds no pictures")
        for frame in container.decode(video=0):
            yield frame.to_image()


def center_square(picture: Image.Image, size: int) -> np.ndarray:
    """The center square of a picture, turned upright and resized with antialiasing: [size, size, 3] uint8."""
    upright = ImageOps.exif_transpose(picture).convert("RGB")
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS))


def read_photo(path: Path) -> np.ndarray:
    """A photo upright, [H, W, 3] uint8; what is transparent in it becomes white.

    :raises ValueError: it is not a picture that can be read.
    """
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what PIL raises for damaged files
        raise ValueError("it is not a picture that can be read") from error
    return np.asarray(Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB"))

"""Output files of commands, checked before the work begins rather than when they are written."""

import os
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

PICTURE = (".png", ".jpg", ".jpeg", ".webp")
MODEL = (".safetensors",)


def file_to_write(*endings: str) -> Callable[[str], Path]:
    """An `argparse` type: the path of a file that can be created, with one of ``endings`` if any are given."""

    def path(text: str) -> Path:
        file = Path(text)
        if endings and file.suffix.lower() not in endings:
            raise ArgumentTypeError(f"'{text}' has to end in {' or '.join(endings)}")
        if file.is_dir():
            raise ArgumentTypeError(f"'{text}' is a folder: name a file in it")
        if not file.parent.is_dir():
            raise ArgumentTypeError(f"there is no folder '{file.parent}': make it first, or name another")
        if not os.access(file.parent, os.W_OK):
            raise ArgumentTypeError(f"nothing can be written in '{file.parent}': name another folder")
        return file

    return path

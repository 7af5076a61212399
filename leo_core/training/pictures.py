"""Pictures for the animator: center squares, as arrays and tensors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image

from .decoding import center_square


def read_pictures(paths: Sequence[Path], size: int) -> torch.Tensor:
    """The center squares of picture files, or of all files in folders: [N, 3, size, size] in -1..1."""
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    squares = []
    for file in files:
        with Image.open(file) as picture:
            squares.append(center_square(picture, size))
    return to_pictures(np.stack(squares))


def to_pictures(frames: np.ndarray) -> torch.Tensor:
    """[T, S, S, 3] uint8 -> [T, 3, S, S] float32 in -1..1."""
    return rearrange(torch.from_numpy(frames), "t h w c -> t c h w").float() / 127.5 - 1

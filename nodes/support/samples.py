"""Pictures and clips that LEO Load Sample offers: the pack's own, and those in ComfyUI's input folder."""

import os

import folder_paths
import torch

from ...leo_core.files import quoted
from ...leo_core.video import read_first
from .files import PACK_SAMPLES

STILLS = {".png", ".jpg"}
CLIPS = {".mp4"}
# ComfyUI's own note on a file name. All files of the user carry it, so that none is taken for the sample of its name.
OWN = " [input]"


def bundled() -> list[str]:
    return sorted(path.name for path in PACK_SAMPLES.glob("*") if path.suffix in STILLS | CLIPS)


def names() -> list[str]:
    """The pack's samples, and then the pictures and videos in the input folder, as '<name> [input]'."""
    files = [entry.name for entry in os.scandir(folder_paths.get_input_directory()) if entry.is_file()]
    return bundled() + [
        name + OWN for name in sorted(folder_paths.filter_files_content_types(files, ["image", "video"]))
    ]


def path_of(name: str) -> str:
    """:raises ValueError: no such file is listed; so a name cannot lead out of the folders."""
    if name not in names():
        raise ValueError(
            f"'{quoted(name)}' is neither among the samples nor in ComfyUI's input folder. Choose a file from the "
            "list, or upload it again."
        )
    own = name.endswith(OWN)
    return os.path.join(folder_paths.get_input_directory(), name.removesuffix(OWN)) if own else str(PACK_SAMPLES / name)


def is_clip(path: str) -> bool:
    return bool(folder_paths.filter_files_content_types([path], ["video"]))


def first_picture(path: str) -> tuple[torch.Tensor, bool]:
    """The picture, or the first frame of a clip, upright: [1, H, W, 3] in 0..1; and whether
    transparent parts were filled with black.

    :raises ValueError: the file cannot be read.
    """
    pixels, transparent = read_first(path)
    return torch.from_numpy(pixels).float().div(255)[None], transparent

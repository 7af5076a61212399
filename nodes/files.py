"""Where LEO's files live: ComfyUI's models/leo folder, the pack's own models/, and leo/ in the output folder.

All are roots of ComfyUI's folder key "leo", so extra_model_paths.yaml works too, and what a node saves can be chosen
at once.
"""
import json
import os
import struct
from pathlib import Path

import folder_paths

from ..leo_core.untrusted import LARGEST_HEADER

FOLDER_KEY = "leo"
PACK_MODELS = Path(__file__).parent.parent / "models"
# Released weights say nothing of themselves: what is not ours counts as an animator, and its loader looks closer.
KIND_OF_FOREIGN_FILES = "animator"


def register_folders() -> None:
    """Add the roots to ComfyUI's folder key "leo", beside any from extra_model_paths.yaml."""
    for root in (os.path.join(folder_paths.models_dir, FOLDER_KEY), str(PACK_MODELS), output_folder()):
        folder_paths.add_model_folder_path(FOLDER_KEY, root)
    folder_paths.folder_names_and_paths[FOLDER_KEY][1].update(folder_paths.supported_pt_extensions)


def output_folder() -> str:
    """Where nodes save motions and priors: leo/ in ComfyUI's output folder."""
    return os.path.join(folder_paths.get_output_directory(), FOLDER_KEY)


def kind_of(path: str) -> str:
    """"animator", "motion_prior" or "motion", read from a safetensors header alone; unreadable files are "unknown"."""
    if not path.endswith((".safetensors", ".sft")):
        return KIND_OF_FOREIGN_FILES
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length <= LARGEST_HEADER else {}
        return header.get("__metadata__", {}).get("leo.kind", KIND_OF_FOREIGN_FILES)
    except (OSError, ValueError, RecursionError, struct.error, AttributeError):
        return "unknown"


def list_files(kind: str) -> list[str]:
    """Names of the files of one kind, for a combo."""
    names = folder_paths.get_filename_list(FOLDER_KEY)
    return [name for name in names if kind_of(folder_paths.get_full_path(FOLDER_KEY, name) or "") == kind]


def resolve_file(name: str) -> str:
    """Full path of a listed file.

    :raises ValueError: no such file is listed there; so a name cannot lead out of the folders.
    """
    path = folder_paths.get_full_path(FOLDER_KEY, name) if name in folder_paths.get_filename_list(FOLDER_KEY) else None
    if path is None:
        roots = ", ".join(folder_paths.get_folder_paths(FOLDER_KEY))
        raise ValueError(f"'{name}' is not in LEO's folders. Put the file into one of: {roots}.")
    return path

"""Where LEO's files live: ComfyUI's models/leo folder, the pack's own models/, and leo/ in the output folder.

All are roots of ComfyUI's folder key "leo", so extra_model_paths.yaml works too, and what a node saves can be chosen
at once.
"""

import json
import os
import re
import struct
from datetime import datetime
from pathlib import Path

import folder_paths

from ...leo_core.files import LARGEST_HEADER, kind_of, quoted

FOLDER_KEY = "leo"
PACK_MODELS = Path(__file__).parents[2] / "models"
PACK_SAMPLES = Path(__file__).parents[2] / "samples"
# Released weights say nothing of themselves: what is not ours counts as an animator, and its loader looks closer.
KIND_OF_FOREIGN_FILES = "animator"
DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com\d|lpt\d)\s*(\.|$)", re.IGNORECASE)
LONGEST_NAME = 200  # bytes; file systems end at 255, and a number and a suffix are added


def register_folders() -> None:
    """Add the roots to ComfyUI's folder key "leo", beside any from extra_model_paths.yaml."""
    for root in (os.path.join(folder_paths.models_dir, FOLDER_KEY), str(PACK_MODELS), output_folder()):
        folder_paths.add_model_folder_path(FOLDER_KEY, root)
    folder_paths.folder_names_and_paths[FOLDER_KEY][1].update(folder_paths.supported_pt_extensions)


def output_folder() -> str:
    """Where nodes save motions and priors: leo/ in ComfyUI's output folder."""
    return os.path.join(folder_paths.get_output_directory(), FOLDER_KEY)


def with_tokens(prefix: str, prompt: dict | None, now: datetime | None = None) -> str:
    """A file name prefix with %date:yyyy-MM-dd% and %Node.widget% replaced, as the page does for ComfyUI's own save
    nodes.

    :param prompt: the graph that runs, by node id; its nodes are found by title or by class.
    """
    now = now or datetime.now()
    parts = {
        "yyyy": f"{now:%Y}",
        "yy": f"{now:%y}",
        "MM": f"{now:%m}",
        "M": str(now.month),
        "dd": f"{now:%d}",
        "d": str(now.day),
        "hh": f"{now:%H}",
        "h": str(now.hour),
        "mm": f"{now:%M}",
        "m": str(now.minute),
        "ss": f"{now:%S}",
        "s": str(now.second),
    }
    widgets = {}
    for node in (prompt or {}).values():
        for called in (node.get("class_type"), node.get("_meta", {}).get("title")):
            widgets |= {
                f"{called}.{name}": value
                for name, value in node.get("inputs", {}).items()
                if not isinstance(value, list)
            }

    def replaced(token: re.Match) -> str:
        if token[1].startswith("date:"):
            return re.sub(
                "yyyy|yy|MM|M|dd|d|hh|h|mm|m|ss|s", lambda part: parts[part[0]], token[1].removeprefix("date:")
            )
        return re.sub(r'[/?<>\\:*|"\x00-\x1f\x7f]', "_", str(widgets[token[1]])) if token[1] in widgets else token[0]

    return re.sub("%([^%]+)%", replaced, prefix)


def place_in_output(prefix: str) -> tuple[str, str, int, str]:
    """Folder, name, number and folder below the output folder for the next file of a prefix, as ComfyUI numbers its
    own.

    :raises ValueError: the prefix leads out of the output folder, or no system takes it as a name.
    """
    output = folder_paths.get_output_directory()
    parts = re.split(r"[/\\]", prefix)
    named = not os.path.basename(os.path.normpath(prefix)).startswith(".")
    possible = (
        named
        and prefix.isprintable()
        and not any(DEVICES.match(part) or len(part.encode()) > LONGEST_NAME for part in parts)
    )
    # ComfyUI looks too, but its refusal runs over lines and names the server's folders, and before 0.27 it follows
    # links out of them
    folder = Path(output, os.path.dirname(os.path.normpath(prefix)))
    if not possible or ".." in parts or not folder.resolve().is_relative_to(Path(output).resolve()):
        raise ValueError(
            f"'{quoted(prefix)}' is not a location in ComfyUI's output folder. Give a name, or folders and a name "
            f"separated by '/': not empty, without '..' and no '.' in front, at most {LONGEST_NAME} bytes each, and "
            "none that Windows reserves, like CON."
        )
    folder, name, number, subfolder, _ = folder_paths.get_save_image_path(prefix, output)
    return folder, name, number, subfolder


def kind_of_file(path: str) -> str:
    """ "animator", "motion_prior" or "motion", read from a safetensors header alone; unreadable files are "unknown"."""
    if not os.path.isfile(path):  # a link to a file that is gone
        return "unknown"
    if not path.endswith((".safetensors", ".sft")):
        return KIND_OF_FOREIGN_FILES
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length <= LARGEST_HEADER else {}
        return kind_of(header.get("__metadata__")) or KIND_OF_FOREIGN_FILES
    except (OSError, ValueError, RecursionError, struct.error, AttributeError):
        return "unknown"


def list_files(kind: str) -> list[str]:
    """Names of the files of one kind, for a combo."""
    names = folder_paths.get_filename_list(FOLDER_KEY)
    return [name for name in names if kind_of_file(folder_paths.get_full_path(FOLDER_KEY, name) or "") == kind]


def resolve_file(name: str) -> str:
    """Full path of a listed file.

    :raises ValueError: no such file is listed there; so a name cannot lead out of the folders.
    """
    path = folder_paths.get_full_path(FOLDER_KEY, name) if name in folder_paths.get_filename_list(FOLDER_KEY) else None
    if path is None:
        roots = ", ".join(folder_paths.get_folder_paths(FOLDER_KEY))
        raise ValueError(f"'{name}' is not in LEO's folders. Put the file into one of: {roots}.")
    return path


def fingerprint(name: str | None, kind: str) -> list[tuple[int, int]]:
    """What a node that loads a file depends on: its time and size; of every file of the kind where the name comes
    over a link, which ComfyUI follows only later.

    :raises ValueError: no such file is listed.
    """
    stats = [os.stat(resolve_file(each)) for each in (list_files(kind) if name is None else [name])]
    return [(stat.st_mtime_ns, stat.st_size) for stat in stats]


def free_path(name: str) -> Path:
    """Where to save a prior of that name in output/leo: numbered when the name is taken.

    :raises ValueError: not a plain file name.
    """
    if not re.fullmatch(r"\w[\w .()-]{0,99}", name) or DEVICES.match(name):
        raise ValueError(
            f"'{quoted(name)}' is not a valid file name. Use letters, digits, spaces, dots, parentheses, '-' and '_', "
            f"at most 100, beginning with a letter or digit. Windows reserves names like CON and COM1."
        )
    folder = Path(output_folder())
    path, number = folder / f"{name}.safetensors", 2
    while path.exists():
        path, number = folder / f"{name} {number}.safetensors", number + 1
    return path

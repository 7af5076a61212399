"""Rendered clips in ComfyUI's temp folder: deleted when nothing refers to them anymore, rendered again when somebody
else deleted them."""

import os
import uuid
import weakref
from collections import Counter, defaultdict
from contextlib import suppress

import folder_paths


class TemporaryClip(str):
    """Path of a file that is deleted with the last VIDEO that reads it. A trimmed VIDEO holds on to the path of the
    one it came from."""

    def __init__(self, path: str):
        weakref.finalize(self, _delete, str(path))


def _delete(path: str) -> None:
    with suppress(
        OSError
    ):  # gone with the temp folder, or in use on Windows, where ComfyUI deletes it at its next start
        os.remove(path)


_clips: dict[str | None, weakref.WeakSet[TemporaryClip]] = defaultdict(weakref.WeakSet)
_losses: Counter[str | None] = Counter()


def new_clip(node_id: str | None) -> TemporaryClip:
    """A path for a node to render to; the folder exists."""
    folder = folder_paths.get_temp_directory()
    os.makedirs(folder, exist_ok=True)
    clip = TemporaryClip(os.path.join(folder, f"leo_{uuid.uuid4().hex}.mp4"))
    _clips[node_id].add(clip)
    return clip


def losses(node_id: str | None) -> int:
    """How many times clips of a node, which ComfyUI still has in its cache, were found deleted: its fingerprint."""
    lost = [clip for clip in _clips[node_id] if not os.path.exists(clip)]
    _clips[node_id].difference_update(lost)
    _losses[node_id] += bool(lost)
    return _losses[node_id]

"""Motion files: a few kilobytes of safetensors."""

import os
import re
from fractions import Fraction
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..files import KIND_KEY, quoted, require_kind, write_atomically
from ..identity import AnimatorId
from .sequence import FPS, MotionSequence

MAX_FILE_BYTES = 2**30
MAX_HEADER_BYTES = 2**16
MAX_DESCRIPTION = 2000


def save_motion(path: str | os.PathLike, motion: MotionSequence, description: str = "") -> None:
    """Write a motion as .safetensors, atomically: 4 bytes per direction and frame, and who it belongs to.

    :param description: a line or two for people about what is to be seen, at most MAX_DESCRIPTION characters.
    :raises ValueError: a longer description.
    """
    if len(description) > MAX_DESCRIPTION:
        raise ValueError(
            f"The description has {len(description)} characters; {MAX_DESCRIPTION} fit in a motion file. Shorten it."
        )
    metadata = {
        KIND_KEY: "motion",
        "leo.fps": str(motion.fps),
        "leo.fingerprint": motion.animator.fingerprint,
        "leo.animator": motion.animator.name,
        "leo.description": description,
    }
    write_atomically(path, lambda temporary: save_file({"codes": motion.codes.contiguous()}, temporary, metadata))


def load_motion(path: str | os.PathLike) -> tuple[MotionSequence, str]:
    """Read a file of `save_motion`.

    :return: the motion and its description.
    :raises ValueError: not a motion file, damaged, or too large to be one. Nothing is allocated for such a file.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if size > MAX_FILE_BYTES or header > MAX_HEADER_BYTES:
        raise ValueError(
            f"{path.name} is not a motion file: {size} bytes with a header of {header}, where a motion has at most "
            f"{MAX_FILE_BYTES} and {MAX_HEADER_BYTES}. Choose a file that LEO Save Motion wrote."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata, keys = file.metadata() or {}, list(file.keys())
            require_kind(path, metadata, "motion", "Choose a file that LEO Save Motion wrote.")
            if keys != ["codes"]:
                raise ValueError(
                    f"{path.name} holds {quoted(', '.join(keys))} where a motion holds codes. Choose a file that LEO "
                    "Save Motion wrote."
                )
            entry = file.get_slice("codes")
            if entry.get_dtype() != "F32" or len(entry.get_shape()) != 2:
                raise ValueError(
                    f"{path.name} holds codes of type {entry.get_dtype()} and shape {quoted(entry.get_shape())}; a "
                    "motion has float32 [frames, directions]. Save it again with LEO Save Motion."
                )
            # cloned: the mapped file may be replaced while the motion is in use
            codes = file.get_tensor("codes").clone()
    except SafetensorError as error:
        raise ValueError(
            f"{path.name} is not a readable safetensors file ({quoted(error)}). Copy or save it again."
        ) from None
    fps, identity, name = (metadata.get(f"leo.{key}", "") for key in ("fps", "fingerprint", "animator"))
    if not FPS.fullmatch(fps) or not re.fullmatch(r"[0-9a-f]{64}", identity) or not 0 < len(name) <= 200:
        raise ValueError(
            f"{path.name} does not say whose motion it is: frame rate '{quoted(fps)}', animator '{quoted(name)}', "
            f"fingerprint '{quoted(identity)}'. Save it again with LEO Save Motion."
        )
    return MotionSequence(codes, Fraction(fps), AnimatorId(name, identity)), metadata.get("leo.description", "")[
        :MAX_DESCRIPTION
    ]

"""Animator files: recognize, load, save.

Three kinds of file are read: released LIA weights (a bare state dict, or a training checkpoint that holds it under
``gen``), released LIA-X weights (a bare state dict), and our own safetensors, which carry their configuration in the
metadata. Nothing in a file is executed.

All of them become one canonical form: our module names, with weights as training left them, that is without the
equalized-learning-rate factor 1 / sqrt(fan_in) of the published architecture. Our files store that form, and the
fingerprint is taken of it, so every file of one model has the same fingerprint. The factor is multiplied in at load.
"""

import argparse
import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .. import face
from ..files import (
    KIND_KEY,
    TensorNote,
    check_safetensors_header,
    describe_torch_file,
    kind_of,
    mapped,
    quoted,
    write_atomically,
)
from ..identity import AnimatorId, fingerprint, tensor_digest
from .config import LIAX_DIRECTIONS, AnimatorConfig, Direction
from .model import Animator, orthonormal_basis
from .published import UNUSED, recognize_lia, recognize_liax

# The parts whose weights decide what a motion code means.
CODE_PARTS = ("encoder.", "motion_head.", "dictionary.weight")
WEIGHT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class AnimatorInfo:
    """What is known of a loaded animator besides its weights.

    :param directions: index -> what that motion direction moves, for those that are known.
    :param notes: free text of our own files: provenance, license, training.
    """

    id: AnimatorId
    directions: dict[int, Direction] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


class StateReader:
    """The tensors of a model file, read one at a time so that no second copy of the whole is ever held.

    Opening reads names and shapes alone, quickly at any size; weights are read when the first is taken.

    :raises ValueError: not a model file, damaged, or one that promises more than it holds.
    """

    def __init__(self, path: Path):
        self.path = path
        self.metadata: dict[str, str] = {}
        self._state: dict[str, torch.Tensor] | None = None
        self._pickled = path.suffix not in (".safetensors", ".sft")
        if self._pickled:
            self.shapes = pickled_shapes(path)
            return
        check_safetensors_header(path)
        try:
            with safe_open(path, "pt") as file:
                self.metadata = file.metadata() or {}
                self.shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{path.name} is not a readable safetensors file ({quoted(error)}). Download it again."
            ) from None

    def take(self, key: str) -> torch.Tensor:
        """A tensor that the caller owns. Each key can be taken once."""
        if self._pickled:
            if self._state is None:
                self._state = read_pickled_state(self.path)
            return self._state.pop(key)
        # Opened per tensor: the pages of a mapped file stay resident until it is closed.
        with safe_open(self.path, "pt") as file:
            return file.get_tensor(key).clone()


def no_safe_file(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"{path.name} is not a model file that can be read safely ({quoted(reason)}). Expected LIA or LIA-X weights "
        f"(.pt, .pth, .safetensors) or a LEO animator (.safetensors)."
    )


def state_within(path: Path, content: object, kind: type) -> dict:
    """The state dict in a file's content: the content itself, or what a LIA training checkpoint has under ``gen``.

    :param kind: what its values are.
    """
    if isinstance(content, dict) and isinstance(content.get("gen"), dict):
        content = content["gen"]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, kind) for key, value in content.items()
    ):
        raise ValueError(
            f"{path.name} holds {type(content).__name__} data, not named weights. Expected LIA or LIA-X "
            f"weights, or a training checkpoint with the weights under 'gen'."
        )
    return dict(content)


def pickled_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the state dict in a .pt or .pth file.

    :raises ValueError: anything but tensors, their containers and argparse.Namespace, or more of them than the file
        holds.
    """
    try:
        content = describe_torch_file(path)
    except Exception as error:  # whatever a damaged file makes its readers raise
        raise no_safe_file(path, error if str(error) else type(error).__name__) from None
    state = state_within(path, content, TensorNote)
    # Tensors may share memory in the file, but become separate ones here.
    if sum(note.size for note in state.values()) > path.stat().st_size:
        raise no_safe_file(path, "its tensors are larger than the file")
    return {key: note.shape for key, note in state.items()}


def read_pickled_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a .pt or .pth file of which `pickled_shapes` found no fault."""
    with path.open("rb") as file:
        in_zip = file.read(2) == b"PK"
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            source = path if in_zip else mapped(path)
            content = torch.load(source, map_location="cpu", weights_only=True)  # type: ignore[arg-type]  # takes maps
    except Exception as error:  # as above
        raise no_safe_file(path, error if str(error) else type(error).__name__) from None
    # Weights saved as parameters, or marked as requiring gradients, may not be scaled in place.
    return {key: value.detach() for key, value in state_within(path, content, torch.Tensor).items()}


def recognize(reader: StateReader) -> tuple[AnimatorConfig, dict[str, str]]:
    """Configuration and canonical name -> key in the file.

    :raises ValueError: the file is not an animator; says what it holds instead.
    """
    shapes = reader.shapes
    kind = kind_of(reader.metadata)
    try:
        if kind == "animator":
            config = AnimatorConfig.from_dict(json.loads(reader.metadata["leo.config"]))
            return config, {name: name for name in file_layout(config)}
        if kind is None and "enc.net_app.convs.0.0.weight" in shapes:
            return recognize_lia(shapes)
        if kind is None and "enc.enc_2r.block1.0.weight" in shapes:
            return recognize_liax(shapes)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{reader.path.name} looks like an animator but is incomplete or damaged "
            f"({type(error).__name__}: {quoted(error)}). Download it again."
        ) from None
    if kind:
        held = f"a LEO {quoted(kind.replace('_', ' '))}"
    else:
        held = f"{len(shapes)} tensors, such as {quoted(', '.join(sorted(shapes)[:3]))}" if shapes else "nothing"
    raise ValueError(
        f"{reader.path.name} is not an animator: it holds {held}. Expected a LEO animator "
        f"(.safetensors), or released LIA or LIA-X weights (.pt, .pth, .safetensors)."
    )


def file_layout(config: AnimatorConfig) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of what an animator file stores: the modules' state and the raw dictionary weight."""
    state = Animator(config, device="meta").state_dict()
    layout = {name: tuple(value.shape) for name, value in state.items()}
    for name in layout:
        if is_transposed(name):
            layout[name] = (layout[name][1], layout[name][0], *layout[name][2:])
    return {**layout, "dictionary.weight": layout["dictionary.basis"]}


def is_transposed(name: str) -> bool:
    """Published up-convolutions are stored [out, in, k, k], transposed convolutions want [in, out, k, k]."""
    return ".up.conv." in name


def learning_rate_scale(name: str, shape: tuple[int, ...]) -> float:
    """The equalized-learning-rate factor of a stored tensor: 1 / sqrt(fan_in) for weights, 1 for anything else."""
    if not name.endswith(".weight") or len(shape) < 2 or name.startswith("dictionary."):
        return 1.0
    return 1 / math.sqrt(math.prod(shape[1:]))


def check_layout(reader: StateReader, names: dict[str, str], layout: dict[str, tuple[int, ...]]) -> None:
    """Compare the file with what its configuration needs before anything is allocated."""
    expected = {names.get(name, name): name for name in layout if name != "dictionary.basis" or name in names}
    missing = sorted(key for key in expected if key not in reader.shapes)
    surplus = sorted(key for key in reader.shapes if key not in expected and not UNUSED.fullmatch(key))
    if missing or surplus:
        found = [f"lacks {len(missing)} of its tensors ({quoted(missing[0])})"] if missing else []
        found += [f"holds {len(surplus)} too many ({quoted(surplus[0])})"] if surplus else []
        raise ValueError(
            f"{reader.path.name} looks like an animator but {' and '.join(found)}. Download it again, or "
            f"use a file of a supported family."
        )
    for key, name in expected.items():
        # published vectors carry axes of length 1 that ours do not
        shape = [n for n in reader.shapes[key] if n != 1]
        if shape != [n for n in layout[name] if n != 1]:
            raise ValueError(
                f"{reader.path.name}: {key} has shape {quoted(list(reader.shapes[key]))}, but this animator "
                f"needs {list(layout[name])}. The file is damaged or of another family."
            )


def read_raw(
    reader: StateReader, names: dict[str, str], layout: dict[str, tuple[int, ...]]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Every stored tensor under its canonical name and shape, as training left it, one at a time."""
    for name, key in names.items():
        value = reader.take(key).reshape(layout[name])
        if value.dtype not in WEIGHT_TYPES:
            raise ValueError(
                f"{reader.path.name}: {key} is stored as {value.dtype}, but weights are read in float16, bfloat16, "
                "float32 or float64. Convert the file to one of these."
            )
        if not torch.isfinite(value).all():
            raise ValueError(
                f"{reader.path.name}: {key} holds values that are not finite numbers. The file is "
                f"damaged, or its training diverged."
            )
        yield name, value


def read_metadata(reader: StateReader, config: AnimatorConfig) -> tuple[dict[int, Direction], dict[str, str]]:
    """Directions and notes in a file's metadata; of released LIA-X weights, the published directions."""
    if kind_of(reader.metadata) is None:
        known = LIAX_DIRECTIONS if config.family == "LIA-X" else {}
        return {i: direction for i, direction in known.items() if i < config.directions}, {}
    try:
        stored = json.loads(reader.metadata.get("leo.directions", "{}"))
        directions = {int(i): Direction(str(d["name"]), float(d["low"]), float(d["high"])) for i, d in stored.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{reader.path.name} has motion directions that cannot be read "
            f"({type(error).__name__}: {quoted(error)}). Download it again."
        ) from None
    prefix = "leo.note."
    return directions, {
        key.removeprefix(prefix): text for key, text in reader.metadata.items() if key.startswith(prefix)
    }


def read_directions(path: str | os.PathLike) -> tuple[int, dict[int, Direction]]:
    """How many directions an animator file has, and what is known of them, without reading its weights.

    :raises ValueError: the file is not an animator.
    """
    reader = StateReader(Path(path))
    config, _ = recognize(reader)
    return config.directions, read_metadata(reader, config)[0]


def code_fingerprint(config: AnimatorConfig, digests: dict[str, str]) -> str:
    """Fingerprint of an animator whose `CODE_PARTS` have these digests. Codes of animators with a motion reader are
    face controls, which mean the same in all of them: motions and priors fit every size and every further training."""
    if config.reader:
        return hashlib.sha256(f"face controls 1: {face.CODE_UNIT} x {', '.join(face.NAMES)}".encode()).hexdigest()
    return fingerprint(digests)


def load_animator(
    path: str | os.PathLike,
    operations=torch.nn,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    flow_dtype: torch.dtype | None = None,
) -> tuple[Animator, AnimatorInfo]:
    """Load any supported animator file, in evaluation mode.

    :param operations: layer classes the networks are built from (torch.nn, or comfy.ops).
    :param dtype: of the weights in memory; the dictionary's Q is kept in float32.
    :param flow_dtype: of the flow generator's weights, where they are to differ.
    :return: the animator and what is known of it. Peak memory is the weights plus one tensor.
    :raises ValueError: the file is not an animator, is damaged, or holds objects that are refused.
    """
    path = Path(path)
    reader = StateReader(path)
    config, names = recognize(reader)
    layout = file_layout(config)
    check_layout(reader, names, layout)

    animator = Animator(config, operations=operations, dtype=dtype, device="meta").eval().requires_grad_(False)
    state, digests = {}, {}
    for name, value in read_raw(reader, names, layout):
        if name.startswith(CODE_PARTS):
            digests[name] = tensor_digest(value)
        if name == "dictionary.weight":
            if "dictionary.basis" not in names:
                state["dictionary.basis"] = orthonormal_basis(value).to(device)
        elif name == "dictionary.basis":
            state[name] = value.to(device, torch.float32)
        else:
            value = value.to(torch.float32).mul_(learning_rate_scale(name, layout[name]))
            if is_transposed(name):
                value = value.transpose(0, 1)
            # the layout in which convolutions on CPUs and CUDA take them without reordering
            memory_format = torch.channels_last if value.ndim == 4 else torch.contiguous_format
            own_dtype = flow_dtype if flow_dtype and name.startswith("flow_generator.") else dtype
            # in one step: what a step between leaves behind, the process keeps
            state[name] = value.to(device, own_dtype, memory_format=memory_format)
    animator.load_state_dict(state, assign=True)
    animator.requires_grad_(False)

    directions, notes = read_metadata(reader, config)
    return animator, AnimatorInfo(AnimatorId(path.stem, code_fingerprint(config, digests)), directions, notes)


def read_dictionary_weight(path: str | os.PathLike) -> torch.Tensor:
    """The trained weight [style_dim, D] that the dictionary's Q is the QR decomposition of, from any supported file.

    :raises ValueError: the file is not an animator.
    """
    reader = StateReader(Path(path))
    return reader.take(recognize(reader)[1]["dictionary.weight"]).float()


def raw_state(animator: Animator, dictionary_weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a file stores of a trained animator: canonical names, the learning-rate factor divided out, float32."""
    state = {}
    for name, value in animator.state_dict().items():
        value = value.detach().to("cpu", torch.float32)
        if is_transposed(name):
            value = value.transpose(0, 1)
        state[name] = (value / learning_rate_scale(name, tuple(value.shape))).contiguous()
    return {**state, "dictionary.weight": dictionary_weight.detach().to("cpu", torch.float32).contiguous()}


def save_animator(
    path: str | os.PathLike,
    state: dict[str, torch.Tensor],
    config: AnimatorConfig,
    dtype: torch.dtype = torch.float16,
    directions: dict[int, Direction] | None = None,
    notes: dict[str, str] | None = None,
) -> None:
    """Write our own animator file, atomically.

    :param state: raw tensors under canonical names (`raw_state`). Q is stored in float32, the rest in dtype.
    :param notes: provenance for people, such as {"license": .., "data": ..}.
    """
    identity = code_fingerprint(
        config, {name: tensor_digest(value) for name, value in state.items() if name.startswith(CODE_PARTS)}
    )
    stored = {name: value if name == "dictionary.basis" else value.to(dtype) for name, value in state.items()}
    write_animator(path, stored, config, identity, directions or {}, notes or {})


def write_animator(
    path: str | os.PathLike,
    stored: dict[str, torch.Tensor],
    config: AnimatorConfig,
    identity: str,
    directions: dict[int, Direction],
    notes: dict[str, str],
) -> None:
    """`save_animator` for tensors that are laid out as in the file, of an animator whose fingerprint is known."""
    metadata = {
        KIND_KEY: "animator",
        "leo.config": json.dumps(config.to_dict()),
        "leo.directions": json.dumps({i: vars(d) for i, d in directions.items()}),
        "leo.fingerprint": identity,
        **{f"leo.note.{key}": text for key, text in notes.items()},
    }
    write_atomically(path, lambda temporary: save_file(stored, temporary, metadata))


def write_directions(path: str | os.PathLike, directions: dict[int, Direction]) -> None:
    """Keep names and ranges in one of our own animator files; its weights stay as they are, the file is replaced at
    once.

    :raises ValueError: the file is not a LEO animator.
    """
    path = Path(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        if kind_of(metadata) != "animator":
            raise ValueError(f"{path.name} is not a LEO animator, so it has no place for names. Convert it first.")
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}
    metadata["leo.directions"] = json.dumps({i: vars(direction) for i, direction in directions.items()})
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))

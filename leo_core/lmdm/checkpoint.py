"""Motion prior files: load, check, save."""

import json
import os
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..files import KIND_KEY, check_safetensors_header, quoted, require_kind, write_atomically
from ..identity import AnimatorId
from .condition import CodeScale
from .gaussian_process import GaussianProcess
from .prior import MotionPrior, PriorConfig
from .start_poses import StartPoses

STORED_AS = {"amplitudes": "livelinesses"}  # names of statistics in files, where they differ
NAMES = {stored: name for name, stored in STORED_AS.items()}

Statistics = TypeVar("Statistics", CodeScale, GaussianProcess, StartPoses)


def save_prior(path: str | os.PathLike, prior: MotionPrior, dtype: torch.dtype = torch.float32) -> None:
    """Write a prior as safetensors, atomically: weights in ``dtype``, statistics in float32, configuration in the
    metadata."""
    tensors = {
        f"unet.{name}": value.detach().to("cpu", dtype).contiguous() for name, value in prior.unet.state_dict().items()
    }
    for prefix, statistics in (("code", prior.scale), ("linear", prior.process), ("start", prior.start_poses)):
        tensors |= {
            f"{prefix}.{STORED_AS.get(field.name, field.name)}": getattr(statistics, field.name)
            for field in fields(statistics)
        }
    metadata = {
        KIND_KEY: "motion_prior",
        "leo.config": json.dumps(asdict(prior.config)),
        "leo.animator": prior.animator.name,
        "leo.fingerprint": prior.animator.fingerprint,
        **{f"leo.note.{key}": text for key, text in prior.notes.items()},
    }
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))


def load_prior(path: str | os.PathLike, operations=nn, device: torch.device | str = "cpu") -> MotionPrior:
    """Read a file of `save_prior`; its weights become float32, in evaluation mode.

    :raises ValueError: not a motion prior, damaged or cut short.
    """
    path = Path(path)
    metadata, tensors = read_prior_file(path)
    try:
        stored = json.loads(metadata["leo.config"])
        config = PriorConfig(**{**stored, "channels": tuple(stored["channels"])})
        unet = config.build(operations, "meta")
        weights = {name.removeprefix("unet."): tensors[name].to(device) for name in tensors if name.startswith("unet.")}
        unet.load_state_dict(weights, assign=True)
        scale = read_statistics(tensors, "code.", CodeScale)
        process = read_statistics(tensors, "linear.", GaussianProcess)
        start_poses = read_statistics(tensors, "start.", StartPoses)
        animator = AnimatorId(metadata["leo.animator"], metadata["leo.fingerprint"])
        if not 0 < len(animator.name) <= 200 or not re.fullmatch(r"[0-9a-f]{64}", animator.fingerprint):
            raise ValueError("it does not name its animator")
        require_sound(config, weights, scale, process, start_poses)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:  # RecursionError is a RuntimeError
        raise ValueError(
            f"{path.name} claims to be a motion prior but is incomplete or damaged ({type(error).__name__}: "
            f"{quoted(error)}). Train or download it again."
        ) from None
    notes = {key.removeprefix("leo.note."): text for key, text in metadata.items() if key.startswith("leo.note.")}
    return MotionPrior(config, unet.eval().requires_grad_(False), scale, process, start_poses, animator, notes)


def read_prior_file(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Metadata and tensors, in float32, of a file that says it is a motion prior.

    :raises ValueError: it is another file, or cannot be read.
    """
    check_safetensors_header(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            require_kind(
                path, metadata, "motion_prior", "Choose a file that LEO Train Motion Prior or train-prior wrote."
            )
            if any(file.get_slice(key).get_dtype() not in ("F16", "BF16", "F32", "F64") for key in file.keys()):
                raise ValueError(
                    f"{path.name} holds values other than floating-point numbers. Train or download the prior again."
                )
            # copied: views into the file lie at odd addresses, where some processors round differently than for the
            # prior that was saved
            return metadata, {key: file.get_tensor(key).to(torch.float32, copy=True) for key in file.keys()}
    except SafetensorError as error:
        raise ValueError(
            f"{path.name} is not a readable safetensors file ({quoted(error)}). Copy it again, or train the prior "
            f"again."
        ) from None


def read_statistics(tensors: dict[str, torch.Tensor], prefix: str, kind: type[Statistics]) -> Statistics:
    """The statistics whose tensors are stored under a prefix. :raises TypeError: one is missing or unknown."""
    stored = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return kind(**{NAMES.get(name, name): value for name, value in stored.items()})


def require_sound(
    config: PriorConfig,
    weights: dict[str, torch.Tensor],
    scale: CodeScale,
    process: GaussianProcess,
    start_poses: StartPoses,
) -> None:
    """Raise ValueError unless everything in a prior is finite and of the shape that its configuration needs."""
    d, m = config.directions, len(start_poses.weights)
    shapes = {
        "code.mean": (scale.mean, (d,)),
        "code.scale": (scale.scale, (d,)),
        "process.basis": (process.basis, (d, d)),
        "process.covariance": (process.covariance, (d, config.length, config.length)),
        "process.amplitudes": (process.amplitudes, (len(process.amplitudes),)),
        "start.weights": (start_poses.weights, (m,)),
        "start.means": (start_poses.means, (m, d)),
        "start.factors": (start_poses.factors, (m, d, d)),
    }
    for name, (value, shape) in shapes.items():
        if tuple(value.shape) != shape or 0 in shape:
            raise ValueError(f"{name} has shape {list(value.shape)}, expected {list(shape)}")
        if not torch.isfinite(value).all():
            raise ValueError(f"{name} holds values that are not finite numbers")
    if (
        (scale.scale <= 0).any()
        or (start_poses.weights < 0).any()
        or start_poses.weights.sum() <= 0
        or (process.amplitudes <= 0).any()
    ):
        raise ValueError("its scales, amplitudes or mixture weights are not positive")
    if not all(torch.isfinite(value).all() for value in weights.values()):
        raise ValueError("its weights hold values that are not finite numbers")

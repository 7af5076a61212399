"""Convert any supported animator file to LEO safetensors: ``python -m leo_core convert``."""

import os
from pathlib import Path

import torch

from ..animator import orthonormal_basis
from ..animator.checkpoint import (
    CODE_PARTS,
    StateReader,
    check_layout,
    code_fingerprint,
    file_layout,
    read_metadata,
    read_raw,
    recognize,
    write_animator,
)
from ..identity import tensor_digest
from .outputs import MODEL, file_to_write


def convert(source: str | os.PathLike, target: str | os.PathLike, dtype: torch.dtype) -> str:
    """Write any supported animator file as our own safetensors.

    :return: a report for people: family, size, parameters, fingerprint, file sizes.
    """
    source, target = Path(source), Path(target)
    reader = StateReader(source)
    config, names = recognize(reader)
    layout = file_layout(config)
    check_layout(reader, names, layout)
    stored: dict[str, torch.Tensor] = {}
    digests: dict[str, str] = {}
    for name, value in read_raw(reader, names, layout):
        if name.startswith(CODE_PARTS):
            digests[name] = tensor_digest(value)
        if name == "dictionary.weight":
            stored.setdefault("dictionary.basis", orthonormal_basis(value))
        # One tensor at a time: the source's is let go before the next is read.
        stored[name] = value if name == "dictionary.basis" else value.to(dtype)
    write_animator(target, stored, config, code_fingerprint(config, digests), *read_metadata(reader, config))
    parameters = sum(value.numel() for name, value in stored.items() if name != "dictionary.basis")
    return (
        f"{source.name} ({source.stat().st_size / 1e6:.1f} MB) -> {target.name} "
        f"({target.stat().st_size / 1e6:.1f} MB, {str(dtype).removeprefix('torch.')})\n"
        f"{config.family}, {config.size} px, {config.directions} directions, {parameters / 1e6:.1f} M parameters, "
        f"fingerprint {code_fingerprint(config, digests)}"
    )


def add_commands(subparsers) -> None:
    """``convert``: any supported animator file to our own safetensors."""
    parser = subparsers.add_parser("convert", help="write a LIA, LIA-X or LEO animator file as LEO safetensors")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=file_to_write(*MODEL))
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    parser.set_defaults(run=lambda args: print(convert(args.source, args.target, getattr(torch, args.dtype))))

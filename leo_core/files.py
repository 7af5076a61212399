"""Writing files atomically, and checking untrusted ones before anything is allocated or unpickled.

``torch.load(weights_only=True)`` runs no code from a file, but it believes the sizes the file declares: a few bytes
can make it allocate terabytes, inflate a compressed record, or read past the end of a storage. So the pickle is
first read with a note in place of every tensor, and the notes are compared with the file. All limits are our choice,
several times what released weights need.
"""

import io
import math
import mmap
import os
import pickle
import pickletools
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

KIND_KEY = "leo.kind"  # in the metadata of every file that LEO writes
LARGEST_HEADER = 2**21  # bytes of a safetensors header
LARGEST_PICKLE = 2**21  # bytes
MOST_OPCODES = 2**18
LONGEST_QUOTE = 120

ITEM_SIZES = {
    "Bool": 1,
    "Byte": 1,
    "Char": 1,
    "Short": 2,
    "Half": 2,
    "BFloat16": 2,
    "Int": 4,
    "Float": 4,
    "Long": 8,
    "Double": 8,
}
# What torch.save writes, and torch.load with weights_only reads.
OPCODES = frozenset(
    """
    PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINSTRING
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS BINPUT
    LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE NEWOBJ BUILD BINPERSID
""".split()
)


def quoted(text: object) -> str:
    """Text out of a file as a part of one readable line: clipped, with everything that does not print escaped."""
    text = str(text)
    clipped = text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + ".."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clipped)


def write_atomically(path: str | os.PathLike, write: Callable[[str], object]) -> None:
    """Let ``write`` fill a file beside path, then rename it: path is either the old file or the whole new one.

    :raises OSError: it could not be written, as on a full disk; what was there is left as it was.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        write(temporary)
        # mkstemp makes files private
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)  # an interrupt may come after the renaming
        # torch.save and safetensors call so what the disk refuses; the latter by name, as not every Python that writes
        # has it
        if isinstance(error, RuntimeError) or type(error).__name__ == "SafetensorError":
            raise OSError(
                f"{path} could not be written ({str(error).splitlines()[0]}). Is the disk full? An older file of that "
                "name was left untouched."
            ) from error
        raise


def kind_of(metadata: Mapping[str, str] | None) -> str | None:
    """The kind of file that safetensors metadata names, or None if LEO did not write it."""
    return (metadata or {}).get(KIND_KEY)


def require_kind(path: Path, metadata: Mapping[str, str] | None, wanted: str, todo: str) -> None:
    """:raises ValueError: the file is of another kind; the message names it and ends with ``todo``."""
    found = kind_of(metadata) or "unknown contents"
    if found != wanted:
        raise ValueError(
            f"{path.name} holds {quoted(found.replace('_', ' '))}, not a {wanted.replace('_', ' ')}. {todo}"
        )


def check_safetensors_header(path: Path) -> None:
    """Refuse a header that takes far more memory to parse than any of ours is long; safetensors itself checks all else.

    :raises ValueError: says how long it is.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_HEADER:
        raise ValueError(
            f"{path.name} is not a readable safetensors file (its header is {length} bytes long, at most "
            f"{LARGEST_HEADER} are read). Download it again."
        )


@dataclass(frozen=True)
class Storage:
    """A tensor's memory as the pickle declares it."""

    kind: str
    key: str
    numel: int

    @property
    def item_size(self) -> int:
        return ITEM_SIZES[self.kind.removesuffix("Storage")]

    @property
    def size(self) -> int:
        return self.numel * self.item_size


@dataclass(frozen=True)
class TensorNote:
    """A tensor that the pickle declares, inside its storage."""

    shape: tuple[int, ...]
    size: int


def describe_torch_file(path: Path) -> object:
    """What torch.load would make of a .pt or .pth file, with a TensorNote for each tensor and nothing read of their
    values.

    :raises ValueError: objects other than weights, their containers and argparse.Namespace; compressed records;
        figures that the file does not bear out. The message says which; anything else may be raised for a damaged
        file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return _describe_zip(file, size)
    with mapped(path) as file:
        return _describe_legacy(file, size)


def mapped(path: Path) -> mmap.mmap:
    """A file that is asked for more than it has gives what it has, without making room for more."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _describe_zip(file: BinaryIO, size: int) -> object:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        if len(names) != len(entries) or sum(entry.file_size for entry in entries) > size:
            raise ValueError("its records overlap or are compressed")
        # torch reads offsets as they stand, zipfile relative to what may have been put before the archive
        if min(entry.header_offset for entry in entries) != 0:
            raise ValueError("something precedes its records")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its records are compressed, which torch.save never does")
        pickled = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        if len(pickled) != 1 or pickled[0].file_size > LARGEST_PICKLE:
            raise ValueError(f"it holds {len(pickled)} pickles where one of at most {LARGEST_PICKLE} bytes is expected")
        folder = pickled[0].filename.removesuffix("data.pkl")
        records = {entry.filename.removeprefix(folder): entry.file_size for entry in entries}
        stream = io.BytesIO(archive.read(pickled[0]))

    def check(storage: Storage) -> None:
        there = records.get(f"data/{storage.key}")
        if there is None or there < storage.size:
            raise ValueError(f"storage {quoted(storage.key)} declares {storage.size} bytes but has {there or 0}")

    return Notes(stream, check).read()


def _describe_legacy(file: mmap.mmap, size: int) -> object:
    """The format before torch 1.6: magic number, protocol, system, content, storage keys, then the storages."""
    total = 0

    def check(storage: Storage) -> None:
        nonlocal total
        total += storage.size
        if total > size:
            raise ValueError(f"its tensors declare {total} bytes, but the file has {size}")

    if Notes(file, check).read() != 0x1950A86A20F9469CFC6C:
        raise ValueError("it was not written by torch.save")
    Notes(file, check).read()
    Notes(file, check).read()
    content = Notes(file, check).read()
    Notes(file, check).read()
    return content


class Notes(pickle._Unpickler):
    """Unpickles containers and texts; every tensor becomes a TensorNote, every object of another class None.

    The pure Python unpickler, whose memory follows the pickle's length; nothing that a pickle can name here runs or
    can be changed.

    :param stream: positioned at a pickle; afterward at what follows it.
    :param check: called once with every storage; raises ValueError where the file does not bear it out.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    stack: list  # the base class's

    def __init__(self, stream: BinaryIO | mmap.mmap, check: Callable[[Storage], None]):
        super().__init__(stream)
        self._stream = stream
        self._check = check
        self._storages: dict[str, Storage] = {}
        self._globals = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): note_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, requires_grad, hooks: data,
            ("argparse", "Namespace"): nothing,
            **{("torch", f"{kind}Storage"): f"{kind}Storage" for kind in ITEM_SIZES},
        }

    def read(self) -> object:
        """The next pickle of the stream."""
        start = self._stream.tell()
        opcodes = pickletools.genops(self._stream)  # type: ignore[arg-type]  # reads a memory map too; its stub says not
        for number, (opcode, _, _) in enumerate(opcodes):
            if opcode.name not in OPCODES:
                raise ValueError(f"its pickle uses {opcode.name}, which torch.save never writes")
            if number == MOST_OPCODES or self._stream.tell() - start > LARGEST_PICKLE:
                raise ValueError("its pickle is far longer than that of any model")
        self._stream.seek(start)
        return self.load()

    def find_class(self, module: str, name: str) -> object:
        found = self._globals.get((module, name))
        if found is None:
            raise ValueError(f"it holds {quoted(f'{module}.{name}')}, which is neither weights nor numbers")
        return found

    def persistent_load(self, pid: object) -> Storage:
        match pid:
            case ("storage", str(kind), str(key), str(), int(numel)) | (
                "storage",
                str(kind),
                str(key),
                str(),
                int(numel),
                None,
            ) if numel >= 0:
                storage = Storage(kind, key, numel)
            case _:
                raise ValueError("it refers to something other than a storage")
        if storage.kind.removesuffix("Storage") not in ITEM_SIZES or self._storages.get(key, storage) != storage:
            raise ValueError(f"it declares storage {quoted(key)} in two ways")
        if key not in self._storages:
            self._check(storage)
            self._storages[key] = storage
        return storage

    def _new_object(self) -> None:
        arguments = self.stack.pop()
        self.stack.append(self.stack.pop()(*arguments))

    def _drop_state(self) -> None:
        self.stack.pop()

    dispatch[pickle.NEWOBJ[0]] = _new_object
    dispatch[pickle.BUILD[0]] = _drop_state


def nothing(*_: object) -> None:
    """What an object that nobody asks about is read as."""


def note_tensor(storage: object, offset: object, shape: object, stride: object, *_: object) -> TensorNote:
    """torch._utils._rebuild_tensor_v2 without a tensor."""
    if (
        not isinstance(storage, Storage)
        or not isinstance(shape, tuple)
        or not isinstance(stride, tuple)
        or len(shape) != len(stride)
    ):
        raise ValueError("it declares a tensor without storage, shape or strides")
    if any(type(n) is not int or n < 0 for n in (offset, *shape, *stride)):
        raise ValueError("it declares a tensor of negative shape")
    reach = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) + 1 if 0 not in shape else 0
    if reach > storage.numel:
        raise ValueError(f"a tensor of shape {quoted(list(shape))} reaches beyond its storage")
    return TensorNote(shape, math.prod(shape) * storage.item_size)

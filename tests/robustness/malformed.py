"""Files that mean harm, or were harmed: for everything the pack reads, what a stranger or a bad disk could hand it.

Each generator yields (name, bytes). Names are unique and end as the reader expects; nothing here ever unpickles. A
pickle that executes creates a file called EXECUTED in the working directory.
"""

import io
import json
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import torch
from safetensors.torch import save

EXECUTED = "executed"
COMMAND = f"touch {EXECUTED}"

Files = Iterator[tuple[str, bytes]]


def text(value: str) -> bytes:
    """A string as protocol 2 writes it."""
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def integer(value: int) -> bytes:
    return b"\x8a" + bytes([10]) + value.to_bytes(10, "little", signed=True)


def executing_pickles() -> dict[str, bytes]:
    """Opcode route -> a pickle that runs COMMAND where an unrestricted unpickler reads it."""
    argument = text(COMMAND)
    inner = f"cos\nsystem\n(S'{COMMAND}'\ntR."
    python = text(f"open({EXECUTED!r}, 'w').close()")
    return {
        "global-reduce": b"\x80\x02cos\nsystem\n" + argument + b"\x85R.",
        "global-posix": b"\x80\x02cposix\nsystem\n" + argument + b"\x85R.",
        "global-eval": b"\x80\x02cbuiltins\neval\n" + python + b"\x85R.",
        "global-python2-names": b"\x80\x02c__builtin__\neval\n" + python + b"\x85R.",
        "global-exec": b"\x80\x02cbuiltins\nexec\n" + python + b"\x85R.",
        "global-subprocess": b"\x80\x02csubprocess\ncheck_output\n]"
        + text("touch")
        + b"a"
        + text(EXECUTED)
        + b"a\x85R.",
        "global-runpy": b"\x80\x02crunpy\n_run_code\n(" + python + b"}tR.",
        "global-torch-load": b"\x80\x02ctorch.serialization\nload\n" + text("other.pt") + b"\x85R.",
        "global-torch-hub": b"\x80\x02ctorch.hub\nload\n(" + text("a/b") + text("c") + b"tR.",
        "global-dotted": b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93" + argument + b"\x85R.",
        "stack-global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + argument + b"\x85R.",
        "stack-global-memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93" + argument + b"\x85R.",
        "instance": b"(" + b"S'" + COMMAND.encode() + b"'\nios\nsystem\n.",
        "object": b"\x80\x02(cos\nsystem\n" + argument + b"o.",
        "new-object": b"\x80\x02csubprocess\nPopen\n(]" + text("touch") + b"a" + text(EXECUTED) + b"att\x81.",
        "new-object-of-a-class": b"\x80\x02csubprocess\nPopen\n]"
        + text("touch")
        + b"a"
        + text(EXECUTED)
        + b"a\x85\x81.",
        "new-object-keywords": (
            b"\x80\x04csubprocess\nPopen\n)}" + text("args") + b"]" + text("touch") + b"a" + text(EXECUTED) + b"as\x92."
        ),
        "build-setstate": b"\x80\x02cargparse\nNamespace\n)R}"
        + text("__setstate__")
        + b"cos\nsystem\nsb"
        + argument
        + b"b.",
        "build-slots": b"\x80\x02cargparse\nNamespace\nN}"
        + text("__setstate__")
        + b"cos\nsystem\ns\x86b)R"
        + argument
        + b"b.",
        "build-on-function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}"
        + text("__code__")
        + b"cos\nsystem\ns\x86b.",
        "build-on-ordered-dict": b"\x80\x02ccollections\nOrderedDict\n)R}" + text("__reduce__") + b"cos\nsystem\nsb.",
        "extension": b"\x80\x02\x82\x01" + argument + b"\x85R.",
        "extension-4": b"\x80\x02\x84\x01\x00\x00\x00" + argument + b"\x85R.",
        "persistent-id": b"\x80\x02(" + text("module") + b"cos\nsystem\n" + argument + argument + b"tQ.",
        "persistent-id-text": b"Pos.system\n.",
        "persistent-storage": b"\x80\x02("
        + text("storage")
        + b"cos\nsystem\n"
        + text("0")
        + text("cpu")
        + integer(4)
        + b"NtQ.",
        "getattr-chain": (
            b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\n__import__\n"
            + text("os")
            + b"\x85R"
            + text("system")
            + b"tR"
            + argument
            + b"\x85R."
        ),
        "nested-in-bytes": (
            b"\x80\x02c_codecs\nencode\n(" + text(inner) + text("latin1") + b"tRq\x000cpickle\nloads\nh\x00\x85R."
        ),
        "reduce-of-loads": pickle.dumps(pickle.loads, 2)[:-1] + pickle.dumps(inner.encode(), 2)[2:-1] + b"\x85R.",
        "numpy-scalar": b"\x80\x02cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n"
        + text("O8")
        + b"\x85R"
        + text("cos\nsystem\n.")
        + b"tR.",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 40) + b"\x8c\x02os\x8c\x06system\x93" + argument + b"\x85R.",
    }


def inside_state(pickled: bytes) -> bytes:
    """The same as a value in a dict, under a name beside which nothing is missing."""
    body = pickled[2:-1] if pickled[:1] == b"\x80" else pickled[:-1]
    return b"\x80\x04}" + text("gen") + b"}" + text("enc.net_app.convs.0.0.weight") + body + b"ss."


def legacy(main: bytes, keys: list[str] = (), storages: bytes = b"") -> bytes:
    """A file in the format of torch before 1.6 around a main pickle."""
    head = [
        pickle.dumps(value, 2)
        for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    ]
    return b"".join(head) + main + pickle.dumps(list(keys), 2) + storages


def zipped(
    main: bytes, records: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED, folder: str = "archive"
) -> bytes:
    """A file in torch's zip format around a main pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in {"data.pkl": main, "byteorder": b"little", **(records or {}), "version": b"3\n"}.items():
            archive.writestr(f"{folder}/{name}" if folder else name, content)
    return buffer.getvalue()


def executing_files() -> Files:
    for route, pickled in executing_pickles().items():
        for place, content in {
            "bare": pickled,
            "legacy": legacy(pickled),
            "legacy-first": pickled + legacy(b"\x80\x02}."),
            "legacy-keys": legacy(b"\x80\x02}.")[: -len(pickle.dumps([], 2))] + pickled,
            "zip": zipped(pickled),
            "zip-value": zipped(inside_state(pickled)),
            "zip-member": zipped(
                b"\x80\x02}.", {"constants.pkl": pickled, "attributes.pkl": pickled, "code/__torch__.pkl": pickled}
            ),
            "zip-no-folder": zipped(pickled, folder=""),
        }.items():
            yield f"executes-{route}-{place}.pt", content


def tensor_pickle(
    numel: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int = 0,
    kind: str = "FloatStorage",
    key: str = "0",
    name: str = "enc.net_app.convs.0.0.weight",
    count: int = 1,
) -> bytes:
    """A pickled state dict of ``count`` tensors of one storage."""

    def whole(values):
        return b"(" + b"".join(map(integer, values)) + b"t"

    parts = b"".join(
        text(name if not i else f"{name}{i}")
        + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + text("storage")
        + b"ctorch\n"
        + kind.encode()
        + b"\n"
        + text(key)
        + text("cpu")
        + integer(numel)
        + b"tQ"
        + integer(offset)
        + whole(size)
        + whole(stride)
        + b"\x89ccollections\nOrderedDict\n)RtR"
        for i in range(count)
    )
    return b"\x80\x02}(" + parts + b"u."


def legacy_tensor_pickle(numel: int, size: tuple[int, ...]) -> bytes:
    return tensor_pickle(numel, size, tuple(1 for _ in size)).replace(b"tQ", b"NtQ")


def allocating_files() -> Files:
    """Small files that promise, or become, more than they are."""
    tera = 2**40
    record = {"data/0": bytes(64)}
    zeros = bytes(2**27)
    yield (
        "bomb-deflated-record.pt",
        zipped(tensor_pickle(2**25, (2**25,), (1,)), {"data/0": zeros}, zipfile.ZIP_DEFLATED),
    )
    yield "bomb-deflated-pickle.pt", zipped(b"\x80\x02}" + b"0}" * 2**26 + b".", record, zipfile.ZIP_DEFLATED)
    yield "bomb-bzip2-record.pt", zipped(tensor_pickle(2**25, (2**25,), (1,)), {"data/0": zeros}, zipfile.ZIP_BZIP2)
    yield "bomb-unused-member.pt", zipped(b"\x80\x02}.", {"data/9": zeros, "version": b"3\n"}, zipfile.ZIP_DEFLATED)
    yield "bomb-byteorder.pt", zipped(b"\x80\x02}.", {"byteorder": zeros}, zipfile.ZIP_DEFLATED)
    yield "bomb-overlapping.pt", overlapping_zip(64)
    yield "numel-beyond-record.pt", zipped(tensor_pickle(2**20, (2**20,), (1,)), record)
    yield "numel-terabyte.pt", zipped(tensor_pickle(tera, (tera,), (1,)), record)
    yield "numel-negative.pt", zipped(tensor_pickle(-4, (4,), (1,)), record)
    yield "size-beyond-storage.pt", zipped(tensor_pickle(16, (2**28,), (1,)), record)
    yield "size-terabyte.pt", zipped(tensor_pickle(16, (tera, 4), (4, 1)), record)
    yield "size-overflow.pt", zipped(tensor_pickle(16, (2**33, 2**33), (1, 1)), record)
    yield "size-negative.pt", zipped(tensor_pickle(16, (-1, -16), (1, 1)), record)
    yield "offset-beyond.pt", zipped(tensor_pickle(16, (4,), (1,), offset=2**30), record)
    yield "offset-negative.pt", zipped(tensor_pickle(16, (4,), (1,), offset=-8), record)
    yield "stride-zero.pt", zipped(tensor_pickle(16, (8192, 8192, 3, 3), (0, 0, 0, 0)), record)
    yield "stride-negative.pt", zipped(tensor_pickle(16, (4,), (-1,)), record)
    yield (
        "one-storage-many-tensors.pt",
        zipped(tensor_pickle(2**20, (2**20,), (1,), count=400), {"data/0": bytes(2**22)}),
    )
    yield "key-leads-out.pt", zipped(tensor_pickle(16, (16,), (1,), key="../../../../etc/passwd"), record)
    yield "record-missing.pt", zipped(tensor_pickle(16, (16,), (1,), key="7"), record)
    calls = {
        "bytearray": b"cbuiltins\nbytearray\n" + integer(2**33) + b"\x85R",
        "tensor": b"ctorch\nTensor\n" + integer(2**31) + b"\x85R",
        "float-tensor": b"ctorch\nFloatTensor\n" + integer(2**31) + b"\x85R",
        "storage": b"ctorch.storage\nUntypedStorage\n" + integer(2**33) + b"\x85R",
        "meta": b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nfloat32\n"
        + integer(tera)
        + b"\x85"
        + integer(1)
        + b"\x85\x89tR",
        "counter": b"ccollections\nCounter\n" + text("a" * 99) + b"\x85R",
        "device": b"ctorch\ndevice\n" + text("cuda") + b"\x85R",
        "size": b"ctorch\nSize\n]" + integer(tera) + b"a\x85R",
    }
    for name, call in calls.items():
        state = b"\x80\x02}" + text("enc.net_app.convs.0.0.weight") + call + b"s."
        yield f"calls-{name}.pt", zipped(state, record)
        yield f"calls-{name}-legacy.pt", legacy(state)
    yield "legacy-terabyte.pt", legacy(legacy_tensor_pickle(tera, (tera,)), ["0"], struct.pack("<q", tera) + bytes(64))
    yield (
        "legacy-gigabytes.pt",
        legacy(legacy_tensor_pickle(2**31, (2**31,)), ["0"], struct.pack("<q", 2**31) + bytes(64)),
    )
    yield (
        "legacy-size-beyond-storage.pt",
        legacy(legacy_tensor_pickle(16, (2**28,)), ["0"], struct.pack("<q", 16) + bytes(64)),
    )
    yield "legacy-no-storages.pt", legacy(legacy_tensor_pickle(16, (16,)), ["0"])
    yield "legacy-no-keys.pt", legacy(legacy_tensor_pickle(16, (16,)))
    yield (
        "legacy-strange-keys.pt",
        legacy(legacy_tensor_pickle(16, (16,)), ["1", "2"], struct.pack("<q", 16) + bytes(64)),
    )
    for place, wrap in {"zip": zipped, "legacy": legacy, "bare": bytes}.items():
        yield f"memo-index-{place}.pt", wrap(b"\x80\x02}r\xff\xff\xff\x7f.")
        yield f"string-of-4-gigabytes-{place}.pt", wrap(b"\x80\x02X\xff\xff\xff\xfeabc.")
        yield f"bytes-of-terabytes-{place}.pt", wrap(b"\x80\x05\x8e" + struct.pack("<Q", tera) + b"abc.")
        yield f"bytearray-of-terabytes-{place}.pt", wrap(b"\x80\x05\x96" + struct.pack("<Q", tera) + b"abc.")
        yield f"long-of-gigabytes-{place}.pt", wrap(b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.")
        yield f"many-lists-{place}.pt", wrap(b"\x80\x02" + b"]" * 2**22 + b".")
        yield f"deep-tuples-{place}.pt", wrap(b"\x80\x02)" + b"\x85" * 200_000 + b".")
        yield f"deep-marks-{place}.pt", wrap(b"\x80\x02" + b"(" * 200_000 + b".")
        yield (
            f"doubled-{place}.pt",
            wrap(b"\x80\x02]q\x00" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(40)) + b"."),
        )
        yield f"unending-{place}.pt", wrap(b"\x80\x02" + b"}0" * 1000)
    yield "tar.pt", b"storages".ljust(124, b"\0") + b"77777777777\0".ljust(133, b"0") + b"ustar\0" + bytes(249)


def overlapping_zip(count: int) -> bytes:
    """Central directory entries that all name one stored record (after D. Fifield's overlapping zip bomb)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", tensor_pickle(2**18, (2**18,), (1,)))
        archive.writestr("archive/data/0", bytes(2**20))
        entry = archive.getinfo("archive/data/0")
        for number in range(1, count):
            twin = zipfile.ZipInfo(f"archive/data/{number}")
            twin.header_offset, twin.file_size, twin.compress_size, twin.CRC = (
                entry.header_offset,
                entry.file_size,
                entry.compress_size,
                entry.CRC,
            )
            archive.filelist.append(twin)
    return buffer.getvalue()


def safetensors_file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded) if length is None else length) + encoded + data


def lying_safetensors(metadata: dict[str, str]) -> Files:
    """Headers that are wrong, huge or crafted, for a file of the kind that metadata says."""

    def entry(dtype="F32", shape=(4,), offsets=(0, 16)):
        return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}

    def one(**fields):
        return safetensors_file({"__metadata__": metadata, "codes": entry(**fields)}, bytes(16))

    for power in (24, 27, 32, 40, 63):
        yield f"header-of-2-to-{power}.safetensors", struct.pack("<Q", 2**power) + b"{}"
    yield "header-all-ones.safetensors", b"\xff" * 8 + b"{}"
    yield "header-short.safetensors", b"\x01\x02"
    yield "header-not-json.safetensors", safetensors_file(b"[" * 64)
    yield "header-deep.safetensors", safetensors_file(b'{"a":' * 50_000)
    yield (
        "header-deep-metadata.safetensors",
        safetensors_file(b'{"__metadata__":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    )
    yield "header-not-utf8.safetensors", safetensors_file(b'{"\xff\xfe":1}')
    yield "header-of-spaces.safetensors", safetensors_file(b" " * 2**20)
    long_number = b'{"codes":{"dtype":"F32","shape":[' + b"9" * 100_000 + b'],"data_offsets":[0,16]}}'
    yield "header-long-number.safetensors", safetensors_file(long_number, bytes(16))
    yield (
        "many-empty-tensors.safetensors",
        safetensors_file(
            {
                "__metadata__": metadata,
                **{f"{i:x}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(200_000)},
            }
        ),
    )
    for number, value in enumerate(
        (None, 1, [], {"leo.kind": 1}, {"leo.kind": {}}, {"leo.kind": "animator\n" * 9}, {"leo.kind": "x" * 10**6})
    ):
        yield f"metadata-{number}.safetensors", safetensors_file({"__metadata__": value, "codes": entry()}, bytes(16))
    yield "shape-terabyte.safetensors", one(shape=(2**38,))
    yield "shape-overflow.safetensors", one(shape=(2**33, 2**33))
    yield "shape-negative.safetensors", one(shape=(-4,))
    yield "shape-text.safetensors", one(shape=("4",))
    yield "shape-of-zero.safetensors", one(shape=(0, 2**40), offsets=(0, 0))
    yield "offsets-beyond.safetensors", one(offsets=(0, 2**40))
    yield "offsets-backwards.safetensors", one(offsets=(16, 0))
    yield (
        "offsets-hole.safetensors",
        safetensors_file({"__metadata__": metadata, "codes": entry(offsets=(64, 80))}, bytes(80)),
    )
    yield (
        "offsets-overlap.safetensors",
        safetensors_file({"__metadata__": metadata, "codes": entry(), "more": entry()}, bytes(16)),
    )
    for dtype in ("F8_E4M3", "F8_E5M2", "BOOL", "U8", "I64", "F64", "F4", "C64", "NONE", ""):
        yield f"dtype-{dtype or 'empty'}.safetensors", one(dtype=dtype, shape=(2,))
    for number, name in enumerate(
        ("", "\n", "../../codes", "x" * 10**6, "\u202e\x00codes", "codes\r\nleo.kind: motion")
    ):
        yield f"name-{number}.safetensors", safetensors_file({"__metadata__": metadata, name: entry()}, bytes(16))
    twice = json.dumps({"codes": entry()})[:-1] + "," + json.dumps({"codes": entry(dtype="I32")})[1:]
    yield "name-twice.safetensors", safetensors_file(twice.encode(), bytes(16))


def damaged(name: str, content: bytes, count: int, seed: int = 0) -> Files:
    """Truncated at, and with bits flipped in, ``count`` places each, half of them in the first kilobytes, where
    structure lies."""
    draw = random.Random(f"{name} {seed}")
    stem, suffix = name.rsplit(".", 1)
    for number in range(count):
        cut = draw.randrange(min(len(content), 4096)) if number % 2 else draw.randrange(len(content))
        yield f"{stem}-cut-{number}.{suffix}", content[:cut]
    for number in range(count):
        flipped = bytearray(content)
        reach = (min(len(content), 4096), len(content), len(content))[number % 3]
        for _ in range(draw.choice((1, 1, 4, 32))):
            at = draw.randrange(reach) if number % 3 < 2 else len(content) - 1 - draw.randrange(min(len(content), 1024))
            flipped[at] ^= 1 << draw.randrange(8)
        yield f"{stem}-flipped-{number}.{suffix}", bytes(flipped)
    for number in range(max(1, count // 4)):
        first, second = sorted(draw.randrange(len(content)) for _ in range(2))
        yield f"{stem}-swapped-{number}.{suffix}", content[:first] + content[second:] + content[first:second]
        yield f"{stem}-zeroed-{number}.{suffix}", content[:first] + bytes(second - first) + content[second:]


def poisoned(name: str, tensors: dict[str, torch.Tensor], metadata: dict[str, str], count: int) -> Files:
    """Whole files in which one of ``count`` tensors has values that are no numbers, another type, shape, or is
    missing."""
    for number, key in enumerate(sorted(tensors)[:: max(1, len(tensors) // count)]):
        value = tensors[key]
        for what, wrong in {
            "nan": torch.full_like(value, float("nan")),
            "inf": torch.full_like(value, float("inf")),
            "minus-inf": torch.full_like(value, -float("inf")),
            "one-nan": torch.cat([torch.full((1,), float("nan")), value.flatten()[1:]]).reshape(value.shape),
            "huge": torch.full_like(value, torch.finfo(value.dtype).max),
            "zero": torch.zeros_like(value),
            "int": value.to(torch.int64),
            "double": value.double(),
            "bool": value.bool(),
            "float8": value.to(torch.float8_e4m3fn),
            "bfloat16": value.bfloat16(),
            "wide": torch.cat([value, value]),
            "flat": value.flatten(),
            "scalar": value.flatten()[0],
            "empty": value.flatten()[:0],
            "axes": value.reshape((1,) * 20 + value.shape),
        }.items():
            yield f"{name}-{what}-{number}.safetensors", save({**tensors, key: wrong.contiguous()}, metadata)
        yield f"{name}-lacks-{number}.safetensors", save({k: v for k, v in tensors.items() if k != key}, metadata)
    yield f"{name}-surplus.safetensors", save({**tensors, "one\nmore" + "x" * 5000: torch.zeros(1)}, metadata)
    yield f"{name}-no-metadata.safetensors", save(tensors)
    yield f"{name}-nothing.safetensors", save({}, metadata)


CRAFTED_TEXTS = (
    "",
    "0",
    "-1",
    "1/0",
    "nan",
    "inf",
    "1e400",
    "1e999999999",
    "9" * 5000,
    "1" + "0" * 5000 + "/3",
    "25\n",
    "\u0662\u0665",
    "../../etc/passwd",
    "C:\\CON",
    "\x00",
    "x" * 100_000,
    "<script>alert(1)</script>",
    "[" * 3000,
    "{}",
    "null",
    "[]",
    "true",
    '"text"',
    "NaN",
)

CRAFTED_VALUES = (
    None,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**30,
    1.5,
    1e308,
    float("nan"),
    True,
    "",
    "1e999999999",
    "x" * 10_000,
    [],
    [[]],
    [1] * 10_000,
    {},
    {"4": 1},
    {"x": 1},
    [8] * 64,
    [10**9],
    [8, 10**9],
    {str(4 << i): 8192 for i in range(10)},
)


def crafted_metadata(name: str, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> Files:
    """Every text of the metadata, and every field of the JSON in it, replaced by texts and numbers that break
    readers."""
    number = 0
    for key, value in metadata.items():
        for wrong in CRAFTED_TEXTS:
            number += 1
            yield f"{name}-told-{number}.safetensors", save(tensors, {**metadata, key: wrong})
        try:
            fields = json.loads(value)
        except ValueError:
            continue
        for field in fields if isinstance(fields, dict) else ():
            for wrong in CRAFTED_VALUES:
                number += 1
                yield (
                    f"{name}-field-{number}.safetensors",
                    save(tensors, {**metadata, key: json.dumps({**fields, field: wrong})}),
                )


def foreign_states() -> Files:
    """Models of other families, and data that is not a model."""

    def saved(value, **options):
        buffer = io.BytesIO()
        torch.save(value, buffer, **options)
        return buffer.getvalue()

    yield (
        "sd-like.pt",
        saved(
            {
                "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(4, 4, 3, 3),
                "cond_stage_model.x": torch.zeros(2),
            }
        ),
    )
    yield "state-dict-key.pt", saved({"state_dict": {"conv.weight": torch.zeros(3)}, "epoch": 3})
    yield "module.pt", saved(torch.nn.Linear(2, 2))
    yield "array.pt", saved({"enc.net_app.convs.0.0.weight": np.zeros(3)})
    yield "sparse.pt", saved({"enc.net_app.convs.0.0.weight": torch.zeros(3, 3).to_sparse()})
    yield "sparse-csr.pt", saved({"enc.net_app.convs.0.0.weight": torch.zeros(3, 3).to_sparse_csr()})
    yield (
        "quantized.pt",
        saved({"enc.net_app.convs.0.0.weight": torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.qint8)}),
    )
    yield "nested.pt", saved({"gen": {"gen": {"x": torch.zeros(1)}}})
    yield (
        "nested-tensor.pt",
        saved({"enc.net_app.convs.0.0.weight": torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)])}),
    )
    yield "meta.pt", saved({"enc.net_app.convs.0.0.weight": torch.zeros(2**40, device="meta")})
    yield "complex.pt", saved({"enc.net_app.convs.0.0.weight": torch.zeros(3, dtype=torch.complex64)})
    yield "parameter.pt", saved({"enc.net_app.convs.0.0.weight": torch.nn.Parameter(torch.zeros(3))})
    yield "numbers-as-keys.pt", saved({i: torch.zeros(1) for i in range(9)})
    yield "long-keys.pt", saved({"enc.net_app.convs.0.0.weight\n" + "x" * 100_000: torch.zeros(1)})
    yield "ordered.pt", saved(OrderedDict(a=torch.zeros(1)), _use_new_zipfile_serialization=False)
    yield "one-tensor.pt", saved(torch.zeros(3))
    yield "texts.pt", saved({"a": "b"})
    yield "empty.pt", b""
    yield "empty.safetensors", b""
    yield "page.pt", b"<!DOCTYPE html><html><title>404</title></html>"
    yield "page.safetensors", b"<!DOCTYPE html><html><title>404</title></html>"
    yield "pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield "zip-of-nothing.pt", zipped(b"")[:0] + b"PK\x05\x06" + bytes(18)
    yield "zip-of-text.pt", zipped(b"hello")
    yield "zip-of-picture.pth", b"\x89PNG\r\n\x1a\n" + bytes(99)


def not_videos(folder_text: str, outside: str) -> Files:
    """What may be called .mp4 and is none.

    :param folder_text: a text of a file outside the folder, whose path is ``outside``: playlists try to bring it in.
    """
    yield "empty.mp4", b""
    yield "text.mp4", b"Dear reader, this is not a video."
    yield "page.mp4", b"<!DOCTYPE html><html></html>"
    yield "picture-header.mp4", b"\x89PNG\r\n\x1a\n" + bytes(64)
    yield "zip.mp4", zipped(b"\x80\x02}.")
    yield "pickle.mp4", executing_pickles()["global-reduce"]
    yield "noise.mp4", random.Random(0).randbytes(50_000)
    yield "ftyp-only.mp4", struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0)
    yield "ftyp-huge-box.mp4", struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + struct.pack(">I4sQ", 1, b"moov", 2**62)
    for number, target in enumerate(
        (
            outside,
            f"file://{outside}",
            "http://127.0.0.1:9/x.ts",
            f"concat:{outside}",
            f"subfile,,start,0,end,0,,:{outside}",
        )
    ):
        yield (
            f"playlist-{number}.mp4",
            f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n".encode(),
        )
        yield f"concat-{number}.mp4", f"ffconcat version 1.0\nfile '{target}'\n".encode()
        yield (
            f"dash-{number}.mp4",
            (
                f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
                f'mimeType="video/mp4"><Representation '
                f'id="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet>'
                f"</Period></MPD>"
            ).encode(),
        )
        yield (
            f"sdp-{number}.mp4",
            (
                f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
                f"a=rtpmap:96 H264/90000\ni={target}\n"
            ).encode(),
        )
    yield "text-of-outside.mp4", folder_text.encode()

"""What a .pt file promises is held against what it is, before torch is asked to read it."""

import io
import pickle
import struct
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from leo_core.files import (
    LARGEST_HEADER,
    TensorNote,
    check_safetensors_header,
    describe_torch_file,
    quoted,
    write_atomically,
)

sys.path.append(str(Path(__file__).parent / "robustness"))
import malformed  # noqa: E402


@pytest.fixture
def described(tmp_path):
    def described(content: bytes):
        (tmp_path / "some.pt").write_bytes(content)
        return describe_torch_file(tmp_path / "some.pt")

    return described


def saved(value, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("in_zip", [True, False])
def test_what_torch_writes_is_described_without_its_values(described, in_zip):
    base = torch.arange(24.0)
    value = {
        "gen": OrderedDict(
            a=torch.zeros(2, 3),
            b=torch.zeros(4, dtype=torch.float16),
            c=base[4:16].view(3, 4).T,
            d=torch.nn.Parameter(torch.zeros(5)),
            e=torch.zeros(()),
            f=torch.zeros(0, 7),
            g=torch.zeros(2, dtype=torch.int64),
            h=torch.zeros(3, dtype=torch.bool),
            i=torch.zeros(2, dtype=torch.float64),
            j=torch.zeros(2, dtype=torch.bfloat16),
            k=torch.zeros(6, dtype=torch.uint8),
        ),
        "args": Namespace(size=256, name="x"),
        "lr": 0.1,
        "steps": [1, 2**40, None, True],
    }
    found = described(saved(value, _use_new_zipfile_serialization=in_zip))
    assert found["gen"] == {
        "a": TensorNote((2, 3), 24),
        "b": TensorNote((4,), 8),
        "c": TensorNote((4, 3), 48),
        "d": TensorNote((5,), 20),
        "e": TensorNote((), 4),
        "f": TensorNote((0, 7), 0),
        "g": TensorNote((2,), 16),
        "h": TensorNote((3,), 3),
        "i": TensorNote((2,), 16),
        "j": TensorNote((2,), 4),
        "k": TensorNote((6,), 6),
    }
    assert found["lr"] == 0.1 and found["steps"] == [1, 2**40, None, True] and found["args"] is None


def tensor(numel=4, size=(4,), stride=(1,), record=16, **more) -> bytes:
    return malformed.zipped(malformed.tensor_pickle(numel, size, stride, **more), {"data/0": bytes(record)})


@pytest.mark.parametrize(
    "content",
    [
        tensor(),
        tensor(offset=1, size=(3,)),
        tensor(record=17),
        tensor(size=(2, 2), stride=(2, 1)),
        tensor(size=(0, 9), stride=(9, 1)),
        tensor(numel=0, size=(0,), record=0),
        tensor(count=3),
    ],
)
def test_figures_that_hold(described, content):
    assert all(isinstance(note, TensorNote) for note in described(content).values())


@pytest.mark.parametrize(
    "content, words",
    [
        (tensor(record=15), "declares 16 bytes but has 15"),
        (tensor(key="9"), "storage 9 declares 16 bytes but has 0"),
        (tensor(size=(5,)), r"shape \[5\] reaches beyond"),
        (tensor(offset=1), "reaches beyond"),
        (tensor(size=(2, 2), stride=(3, 1)), "reaches beyond"),
        (tensor(size=(-4,)), "negative"),
        (tensor(stride=(-1,)), "negative"),
        (tensor(offset=-1), "negative"),
        (tensor(numel=-4), "other than a storage"),
        (tensor(size=(2, 2), stride=(1,)), "without storage, shape or strides"),
        (tensor(kind="ComplexFloatStorage"), "torch.ComplexFloatStorage"),
        (
            malformed.zipped(malformed.tensor_pickle(4, (4,), (1,)), {"data/0": bytes(16)}, zipfile.ZIP_DEFLATED),
            "compressed",
        ),
        (malformed.zipped(b"\x80\x02}.", {"data.pkl2": b"", "more/data.pkl": b""}), "2 pickles"),
        (b"x" * 9 + malformed.zipped(b"\x80\x02}."), "."),
        (b"PK\x03\x04" + malformed.zipped(b"\x80\x02}."), "precedes"),
        (malformed.overlapping_zip(3), "overlap"),
        (malformed.zipped(b"\x80\x02" + b"0" * 2**21 + b"."), "of at most 2097152 bytes"),
        (malformed.legacy(b"\x80\x02]" + b"}a" * 2**17 + b"."), "far longer"),
        (
            malformed.legacy(malformed.legacy_tensor_pickle(1000, (1000,)), ["0"], bytes(8)),
            "declare 4000 bytes, but the file has",
        ),
        (malformed.zipped(b"\x80\x04\x8f."), "EMPTY_SET, which torch.save never writes"),
        (b"", "empty"),
        (pickle.dumps(1, 2), "not written by torch.save"),
    ],
    ids=range(22),
)
def test_figures_that_do_not(described, content, words):
    with pytest.raises(Exception, match=words):
        described(content)


def test_one_storage_declared_in_two_ways(described):
    two = malformed.tensor_pickle(4, (4,), (1,))[:-2] + malformed.tensor_pickle(2, (2,), (1,), name="b")[4:]
    with pytest.raises(ValueError, match="storage 0 in two ways"):
        described(malformed.zipped(two, {"data/0": bytes(16)}))


@pytest.mark.parametrize("route", sorted(malformed.executing_pickles()))
def test_no_pickle_reaches_a_function(described, route, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (
        malformed.zipped(malformed.executing_pickles()[route]),
        malformed.legacy(malformed.executing_pickles()[route]),
    ):
        with pytest.raises(Exception):  # noqa: B017 -- anything, as the reader says
            assert described(content) in ({}, None)
            raise ValueError("read, and nothing in it was called")
    assert not (tmp_path / malformed.EXECUTED).exists()


def test_a_safetensors_header_may_be_long_and_no_longer(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", LARGEST_HEADER))
    check_safetensors_header(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", LARGEST_HEADER + 1))
    with pytest.raises(
        ValueError,
        match=r"m\.safetensors is not a readable safetensors file \(its header is 2097153 bytes long, at most 2097152",
    ):
        check_safetensors_header(tmp_path / "m.safetensors")


def test_quoted_text_is_a_part_of_one_line():
    assert quoted("plain") == "plain" and quoted("a\nb\u202e\x00") == r"a\nb\u202e\x00"
    assert quoted("x" * 120) == "x" * 120 and quoted("x" * 121) == "x" * 120 + ".."
    assert quoted(["a"]) == "['a']"


@pytest.mark.parametrize(
    "error, raised",
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, "No space left"), OSError),
        (RuntimeError("unexpected pos"), OSError),
        (ValueError("no picture"), ValueError),
    ],
)
def test_what_cannot_be_written_whole_leaves_the_old_file_and_no_other(tmp_path, error, raised):
    path = tmp_path / "plot.png"
    path.write_bytes(b"old")

    def write(temporary):
        Path(temporary).write_bytes(b"half of the n")
        raise error

    with pytest.raises(raised):
        write_atomically(path, write)
    assert [file.name for file in tmp_path.iterdir()] == ["plot.png"] and path.read_bytes() == b"old"

"""Files are refused before they are read, and written whole or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditkit import limits
from auditkit.errors import EvidenceError, ToolError, UsageError
from auditkit.files import (
    canonical_json,
    directory_atomic,
    files_in,
    parse_json,
    read_bytes,
    read_safetensors,
    write_atomic,
    write_safetensors,
)


def read(path: Path, **more: Any) -> bytes:
    return read_bytes(path, limit=1000, what="model", **more)


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return buffer.getvalue()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name", ["m.pkl", "m.pt", "M.PTH", "m.pt2", "m.joblib", "m.tar.gz", "m.zip", "m.h5", "m.py"]
)
def test_refused_by_name_unread(tmp_path: Path, name: str) -> None:
    with pytest.raises(EvidenceError, match="refused unread"):
        read(tmp_path / name)  # it does not even exist


@pytest.mark.parametrize(
    ("data", "kind"),
    [(pickle.dumps([1], protocol), "a pickle") for protocol in (2, 3, 4, 5)]
    + [
        (_zip(), "a zip archive"),
        (_tar(), "a tar archive"),
        (b"\x1f\x8b\x08", "gzip data"),
        (b"\x7fELF", "a program"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ],
)
def test_refused_by_first_bytes(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data + b" " * 20)
    with pytest.raises(EvidenceError, match=kind):
        read_bytes(path, limit=100_000, what="model")


def test_safetensors_that_begin_like_a_pickle_are_read(tmp_path: Path) -> None:
    data = write_safetensors({}, {"note": "n" * (640 - 30)})
    assert data[:2] == b"\x80\x02"
    (tmp_path / "m.safetensors").write_bytes(data)
    assert read(tmp_path / "m.safetensors") == data


def test_links_devices_and_sizes(tmp_path: Path) -> None:
    plain = tmp_path / "plain.json"
    plain.write_bytes(b"{}")
    assert read(plain, submitted=True) == b"{}"
    (tmp_path / "link.json").symlink_to(plain)
    os.link(plain, tmp_path / "hard.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "large.json").write_bytes(b" " * 1001)
    (tmp_path / "folder.json").mkdir()
    assert read(plain) == b"{}"
    cases = {
        "link.json": "symbolic link",
        "hard.json": "hard link",
        "pipe.json": "a pipe",
        "large.json": "at most 1000 bytes",
        "folder.json": "a folder",
        "absent.json": "nothing there",
        "\0.json": "null byte",
    }
    for name, text in cases.items():
        with pytest.raises(EvidenceError, match=text):
            read(tmp_path / name, submitted=True)
    with pytest.raises(EvidenceError, match="a device"):
        read(Path("/dev/null"))


def test_folders_of_the_owner_are_flat(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(b"")
    (tmp_path / "a.json").write_bytes(b"")
    assert [path.name for path in files_in(tmp_path, what="submission")] == ["a.json", "b.json"]
    (tmp_path / "more").mkdir()
    with pytest.raises(EvidenceError, match="a folder"):
        files_in(tmp_path, what="submission")
    with pytest.raises(EvidenceError, match="a file"):
        files_in(tmp_path / "a.json", what="submission")
    with pytest.raises(EvidenceError, match="nothing there"):
        files_in(tmp_path / "absent", what="submission")
    (tmp_path / "other").symlink_to(tmp_path / "more")
    with pytest.raises(EvidenceError, match="symbolic link"):
        files_in(tmp_path / "other", what="submission")


def test_too_many_files(tmp_path: Path) -> None:
    for i in range(limits.DIRECTORY_FILES + 1):
        (tmp_path / str(i)).write_bytes(b"")
    with pytest.raises(EvidenceError, match="at most"):
        files_in(tmp_path, what="submission")


def test_write_atomic(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"one")
    write_atomic(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(UsageError, match="a place to write"):
        write_atomic(tmp_path / "absent" / "a", b"")


def test_directory_atomic(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with directory_atomic(out) as folder:
        (folder / "a").write_bytes(b"1")
        assert not out.exists()
    with pytest.raises(UsageError, match="files in it"), directory_atomic(out):
        pass
    with pytest.raises(ZeroDivisionError), directory_atomic(out, replace=True) as folder:
        (folder / "a").write_bytes(b"%d" % (1 // 0))
    assert (out / "a").read_bytes() == b"1"
    with directory_atomic(out, replace=True) as folder:
        (folder / "b").write_bytes(b"3")
    assert [p.name for p in out.iterdir()] == ["b"]
    assert [p.name for p in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b'{"b": [{"a": 1, "\\u0061": 2}]}', "'a' twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e999]", "within float64"),
        (b"\xff", "UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"", "one JSON document"),
        (b"{} {}", "Extra data"),
        (b"[" * 33 + b"]" * 33, "at most 32 levels"),
        (b'{"a":' * 100_000, "at most 32 levels"),
        (b'"\\ud800"', "surrogate"),
        (b"[" + b"1" * 10_000 + b"]", "one JSON document"),
        (b'["\x01"]', "control character"),
        (b"{'a': 1}", "one JSON document"),
    ],
)
def test_json_refusals(data: bytes, text: str) -> None:
    with pytest.raises(EvidenceError, match=text):
        parse_json(data, "certificate.json")


def test_brackets_in_strings_are_not_levels() -> None:
    assert parse_json(b'["' + b"[" * 100 + b'\\"["]', "x") == ["[" * 100 + '"[']


def test_json_size() -> None:
    with pytest.raises(EvidenceError, match="at most 3 bytes"):
        parse_json(b"[1,2]", "x", limit=3)


def test_canonical_json() -> None:
    assert (
        canonical_json({"b": 1.0, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'.encode()
    )
    for bad in (float("nan"), 1 << 60, {1: 2}, "\ud800"):
        with pytest.raises(ToolError):
            canonical_json(bad)


@given(st.binary(max_size=60))
def test_json_never_ends_in_another_error(data: bytes) -> None:
    with contextlib.suppress(EvidenceError):
        parse_json(data, "x")


def container(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


TWO = b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "0 bytes"),
        (container({}, length=1 << 60), "a length of"),
        (container({}, length=100), "a length of"),
        (container(b" {}"), "a safetensors header"),
        (container(b"{]"), "one JSON document"),
        (container(TWO, bytes(8)), "'a' twice"),
        (container({"a": entry("BF16")}, bytes(8)), "a dtype among"),
        (container({"a": entry("F128")}, bytes(8)), "a dtype among"),
        (container({"a": entry(shape=[-2])}, bytes(8)), "natural numbers"),
        (container({"a": entry(shape=[True, 2])}, bytes(8)), "natural numbers"),
        (container({"a": entry(shape=[1 << 40, 1 << 40])}, bytes(8)), "at most"),
        (container({"a": entry(shape=[1] * 99)}, bytes(8)), "natural numbers"),
        (container({"a": entry(shape=[3])}, bytes(8)), "12 bytes"),
        (container({"a": entry(offsets=[0, 4, 8])}, bytes(8)), "two offsets"),
        (container({"a": entry(offsets=[8, 0])}, bytes(8)), "8 bytes for its shape"),
        (container({"a": entry(offsets=[4, 12])}, bytes(12)), "leaving a hole"),
        (container({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)), "overlapping"),
        (container({"a": entry(), "b": entry()}, bytes(8)), "overlapping"),
        (container({"a": entry()}, bytes(4)), "8 bytes of tensors"),
        (container({"a": entry()}, bytes(9)), "1 more bytes"),
        (container({"a": {**entry(), "x": 1}}, bytes(8)), "something else"),
        (container({"a": 3}), "something else"),
        (container({"__metadata__": {"a": 1}}), "names and strings"),
        (container({"a": entry()}, struct.pack("<2f", 0, float("nan"))), "NaN"),
        (container({"a": entry("F16", [4])}, b"\x00\x7c" * 4), "infinity"),
        (container({"a": entry("BOOL", [8])}, b"\x02" * 8), "0 and 1"),
    ],
)
def test_safetensors_refusals(data: bytes, text: str) -> None:
    with pytest.raises(EvidenceError, match=text):
        read_safetensors(data, "patch")


def test_safetensors_round_trip() -> None:
    import safetensors.numpy

    tensors = {
        "b": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "a": np.float64([1.5, -0.0]),
        "scalar": np.asarray(3, np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "strided": np.arange(12, dtype=">f4").reshape(3, 4).T,
        "ä": np.asarray([True, False]),
    }
    data = write_safetensors(tensors, {"z": "1", "a": "2"})
    assert data == write_safetensors(dict(reversed(tensors.items())), {"a": "2", "z": "1"})
    read, metadata = read_safetensors(data, "x")
    assert metadata == {"a": "2", "z": "1"}
    theirs = safetensors.numpy.load(data)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)
        np.testing.assert_array_equal(theirs[name], tensor)
        assert not read[name].flags.writeable
    with pytest.raises(ValueError, match="complex"):
        write_safetensors({"c": np.zeros(2, complex)})


def test_flipped_safetensors_are_refused_or_read() -> None:
    data = write_safetensors({"a": np.ones((2, 3), np.float32), "b": np.arange(4)}, {"k": "v"})
    for position in range(len(data)):
        for value in (0, 1, 34, 57, 125, 255):
            flipped = data[:position] + bytes([value]) + data[position + 1 :]
            with contextlib.suppress(EvidenceError):
                read_safetensors(flipped, "x")
        with pytest.raises(EvidenceError):
            read_safetensors(data[:position], "x")


def test_a_device_or_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomic(pipe, b"told")
    assert os.read(reader, 10) == b"told" and pipe.is_fifo()
    os.close(reader)
    (tmp_path / "null").symlink_to(os.devnull)
    write_atomic(tmp_path / "null", b"gone")
    assert (tmp_path / "null").is_symlink() and Path(os.devnull).is_char_device()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["null", "pipe"]

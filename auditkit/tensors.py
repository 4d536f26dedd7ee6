"""The safetensors format, read strictly and written the same way every time.

A file is the length of a header (eight bytes, little-endian), the header as JSON, and the numbers.
The usual reader accepts duplicate names and numbers that are not finite; this one does not, so
that whoever reads the file sees the same tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.refusal import refuse
from auditkit.strict_json import parse_json

Tensors = dict[str, NDArray[Any]]

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_REMEDY = "write it again with the safetensors library"


def read_safetensors(data: bytes, what: str) -> tuple[Tensors, dict[str, str]]:
    """Return the tensors (read-only arrays) and the metadata of a safetensors file.

    EvidenceError on a header that is too long, not strict JSON or of another form; on an unknown
    dtype; on tensors that overlap, leave holes or do not fill the file; on NaN and infinity.
    """
    header, start = _header(data, what)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        refuse(what, "metadata of names and strings", "something else", _REMEDY)
    if len(header) > limits.TENSORS:
        refuse(what, f"at most {limits.TENSORS} tensors", f"{len(header)}", "give a smaller file")
    entries = [(*_entry(name, entry, what), name) for name, entry in header.items()]
    tensors: Tensors = {}
    position = 0
    for begin, end, dtype, shape, name in sorted(entries, key=lambda e: (e[0], e[1], e[4])):
        if begin != position:
            found = "overlapping the one before" if begin < position else "leaving a hole before it"
            refuse(what, "tensors one after the other", f"{name[:80]!r} {found}", _REMEDY)
        position = end
        if end > len(data) - start:
            refuse(what, f"{end} bytes of tensors", f"{len(data) - start}", "copy it again")
        tensors[name] = _tensor(data[start + begin : start + end], dtype, shape, name, what)
    if position != len(data) - start:
        extra = len(data) - start - position
        refuse(what, "nothing after the tensors", f"{extra} more bytes", _REMEDY)
    return {name: tensors[name] for name in sorted(tensors)}, metadata


def expect(
    tensors: Tensors, name: str, dtype: Any, shape: tuple[int, ...], what: str, remedy: str
) -> None:
    """Refuse a file whose tensor of a name has another dtype or shape."""
    tensor = tensors[name]
    if tensor.dtype != dtype or tensor.shape != shape:
        found = f"{tensor.dtype} {list(tensor.shape)}"
        expected = f"{np.dtype(dtype).name} {list(shape)}"
        refuse(f"{what} tensor {name}", expected, found, remedy)


def write_safetensors(
    tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return the file that holds `tensors`; the same bytes for the same contents.

    Larger dtypes come first, as the reference writer does, so that every tensor is aligned.
    """
    header: dict[str, Any] = {}
    if metadata:
        header["__metadata__"] = {key: metadata[key] for key in sorted(metadata)}
    parts: list[bytes] = []
    position = 0
    plain = {n: np.asarray(a).astype(_little(np.asarray(a).dtype)) for n, a in tensors.items()}
    for name, array in sorted(plain.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        body = array.tobytes()
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [position, position + len(body)],
        }
        parts.append(body)
        position += len(body)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _header(data: bytes, what: str) -> tuple[dict[str, Any], int]:
    if len(data) < 8:
        refuse(what, "a safetensors file", f"{len(data)} bytes", "copy it again")
    length = int.from_bytes(data[:8], "little")
    if length > min(limits.TENSOR_HEADER_BYTES, len(data) - 8):
        refuse(what, "a safetensors header within the file", f"a length of {length}", _REMEDY)
    if data[8:9] != b"{":
        refuse(what, "a safetensors header", "something else", _REMEDY)
    header = parse_json(data[8 : 8 + length], f"{what} header", limit=limits.TENSOR_HEADER_BYTES)
    return header, 8 + length


def _entry(name: str, entry: Any, what: str) -> tuple[int, int, np.dtype[Any], tuple[int, ...]]:
    subject = f"{what} tensor {name[:80]!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        refuse(subject, "dtype, shape and data_offsets", "something else", _REMEDY)
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        found = repr(entry["dtype"])[:40]
        refuse(subject, f"a dtype among {', '.join(DTYPES)}", found, "convert it")
    dtype = DTYPES[entry["dtype"]]
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _naturals(shape) or len(shape) > limits.TENSOR_RANK:
        refuse(subject, "a shape of natural numbers", repr(shape)[:80], _REMEDY)
    if not _naturals(offsets) or len(offsets) != 2:
        refuse(subject, "two offsets", repr(offsets)[:80], _REMEDY)
    size = 1
    for n in shape:  # Python's integers: the product cannot overflow
        size *= n
    if size > limits.ELEMENTS:
        refuse(subject, f"at most {limits.ELEMENTS} numbers", f"{size}", "give a smaller tensor")
    if offsets[1] - offsets[0] != size * dtype.itemsize:
        found = f"{offsets[1] - offsets[0]} bytes"
        refuse(subject, f"{size * dtype.itemsize} bytes for its shape", found, _REMEDY)
    return offsets[0], offsets[1], dtype, tuple(shape)


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def _tensor(
    body: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], name: str, what: str
) -> NDArray[Any]:
    array = np.frombuffer(body, dtype).reshape(shape)
    subject = f"{what} tensor {name[:80]!r}"
    if dtype.kind == "f" and not np.isfinite(array).all():
        refuse(subject, "finite numbers", "NaN or infinity", "this cannot be audited")
    if dtype.kind == "b" and np.frombuffer(body, np.uint8).max(initial=0) > 1:
        refuse(subject, "0 and 1 for truth values", "another byte", _REMEDY)
    return array


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    little = dtype.newbyteorder("<")
    if little not in _NAMES:
        raise ValueError(f"safetensors has no dtype {dtype}")
    return little

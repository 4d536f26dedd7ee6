"""Tensors and attributes inside an ONNX file, with exactly one value each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.refusal import refuse

# TensorProto.DataType → dtype, and the field that holds the numbers when raw_data does not.
_KINDS: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype("<f4"), "float_data"),
    11: (np.dtype("<f8"), "double_data"),
    6: (np.dtype("<i4"), "int32_data"),
    7: (np.dtype("<i8"), "int64_data"),
    9: (np.dtype("?"), "int32_data"),
}
_VALUES = (
    "raw_data",
    "float_data",
    "double_data",
    "int32_data",
    "int64_data",
    "uint64_data",
    "string_data",
)
# AttributeProto.AttributeType → the field that holds the value.
_ATTRIBUTES = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
_ATTRIBUTE_FIELDS = frozenset(
    {"f", "i", "s", "t", "g", "floats", "ints", "strings", "tensors", "graphs"}
    | {"tp", "type_protos", "sparse_tensor", "sparse_tensors"}
)
_REMEDY = "export the network again"


def array_of(tensor: Any, subject: str) -> NDArray[Any]:
    """Return a TensorProto's numbers, integers as int64.

    EvidenceError when they lie outside the file, in more than one field, in a dtype other than
    float32, float64, int32, int64 and bool, or are not as many as the shape says, or not finite.
    """
    if tensor.external_data or tensor.data_location:
        refuse(subject, "numbers within the file", "external data", "save it as one file")
    if tensor.HasField("segment"):
        refuse(subject, "a whole tensor", "a segment of one", _REMEDY)
    if tensor.data_type not in _KINDS:
        found = f"data type {tensor.data_type}"
        refuse(subject, "float32, float64, int32, int64 or bool", found, "convert the weights")
    dtype, field = _KINDS[tensor.data_type]
    dims = list(tensor.dims)
    size = math.prod(dims)
    if len(dims) > limits.TENSOR_RANK or any(n < 1 for n in dims) or size > limits.ELEMENTS:
        expected = f"a shape of 1 to {limits.ELEMENTS} numbers"
        refuse(subject, expected, f"{dims[: limits.TENSOR_RANK]}", "give a smaller network")
    present = [name for name in _VALUES if len(getattr(tensor, name))]
    if len(present) != 1 or present[0] not in ("raw_data", field):
        found = " and ".join(present) or "none"
        refuse(subject, f"one field of numbers, raw_data or {field}", found, _REMEDY)
    if present == ["raw_data"]:
        if len(tensor.raw_data) != size * dtype.itemsize:
            found = f"{len(tensor.raw_data)} bytes"
            refuse(subject, f"{size * dtype.itemsize} bytes for {dims}", found, _REMEDY)
        flat = np.frombuffer(tensor.raw_data, np.uint8 if dtype.kind == "b" else dtype)
    else:
        flat = np.asarray(getattr(tensor, field), np.int64 if dtype.kind in "ib" else dtype)
        if flat.size != size:
            refuse(subject, f"{size} numbers for {dims}", f"{flat.size}", _REMEDY)
    if dtype.kind == "f":
        if not np.isfinite(flat).all():
            refuse(subject, "finite numbers", "NaN or infinity", "this cannot be audited")
        return flat.reshape(dims)
    if dtype.kind == "b" and flat.max() > 1:
        refuse(subject, "0 and 1 for truth values", "another byte", _REMEDY)
    return flat.astype(np.int64).reshape(dims)


def attributes_of(node: Any, subject: str) -> dict[str, Any]:
    """Return a node's attributes: numbers, bytes, arrays and lists by name.

    EvidenceError on a subgraph, a reference, a name given twice, or other than one value each.
    """
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        where = f"{subject} attribute {attribute.name[:80]!r}"
        if attribute.HasField("g") or attribute.graphs:
            refuse(where, "no subgraph", "one", "export the network without control flow")
        if attribute.ref_attr_name or attribute.type not in _ATTRIBUTES:
            refuse(where, "a number, text or tensor", f"type {attribute.type}", _REMEDY)
        field = _ATTRIBUTES[attribute.type]
        present = {descriptor.name for descriptor, _ in attribute.ListFields()}
        others = (present & _ATTRIBUTE_FIELDS) - {field}
        if others:
            refuse(where, f"one value, {field}", f"also {min(others)}", _REMEDY)
        if attribute.name in attributes:
            refuse(where, "each attribute once", "it twice", _REMEDY)
        value = getattr(attribute, field)
        if field == "t":
            value = array_of(value, where)
        elif field in ("floats", "ints", "strings"):
            value = list(value)
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(v, float) and not math.isfinite(v) for v in numbers):
            refuse(where, "a finite number", "NaN or infinity", "this cannot be audited")
        attributes[attribute.name] = value
    return attributes

"""What an ONNX file must look like as a whole before its operators are translated.

Everything that could carry a second network is refused: functions, subgraphs, training graphs,
foreign domains, external data, two values under one name, inputs that shadow weights.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.network.onnx_tensors import array_of
from auditkit.refusal import refuse

OPSETS = range(7, 26)
"""Opsets whose meaning of the accepted operators is known; 23 to 25 only add dtypes to 22."""

_FLOATS: dict[int, np.dtype[Any]] = {1: np.dtype(np.float32), 11: np.dtype(np.float64)}
_INITIALIZERS_ARE_INPUTS_BELOW = 4  # before this IR version every initializer had to be an input
_REMEDY = "export the network again"


@dataclass(frozen=True)
class Frame:
    """A graph's outside: its input, its output, its weights; `batch` is None when free."""

    nodes: list[Any]
    opset: int
    input_name: str
    input_shape: tuple[int, ...]
    batch: int | None
    dtype: np.dtype[Any]
    output_name: str
    output_dims: tuple[int | None, ...] | None
    weights: dict[str, NDArray[Any]]


def frame_of(model: Any, what: str) -> Frame:
    """Return the frame of a ModelProto; EvidenceError naming what is refused."""
    graph = model.graph
    for extra, name in (
        (model.training_info, "training information"),
        (model.functions, "functions"),
        (model.configuration, "device configurations"),
        (graph.sparse_initializer, "sparse initializers"),
        (graph.quantization_annotation, "quantisation"),
    ):
        if len(extra):
            refuse(what, "a plain inference graph", name, _REMEDY)
    if not 1 <= len(graph.node) <= limits.NODES:
        refuse(what, f"1 to {limits.NODES} nodes", f"{len(graph.node)}", "give a smaller network")
    opset = _opset(model, what)
    weights = _weights(graph, what)
    inputs = _inputs(model, what)
    _names_once(graph, [value.name for value in inputs], what)
    if len(inputs) != 1 or len(graph.output) != 1:
        found = f"{len(inputs)} and {len(graph.output)}"
        refuse(what, "one input and one output", found, "export the classifier alone")
    dtype, dims = _tensor_type(inputs[0], what)
    if dims is None:
        refuse(what, "an input of known shape", "none", _REMEDY)
    if len(dims) < 2:
        expected = "an input [batch, features...]"
        refuse(what, expected, f"{_show(dims)}, without a batch dimension", "add one")
    shape = [n for n in dims[1:] if n is not None and n > 0]
    if len(shape) != len(dims) - 1 or (dims[0] is not None and dims[0] < 1):
        refuse(what, "an input whose size is fixed but for the batch", _show(dims), "fix it")
    output_dtype, output_dims = _tensor_type(graph.output[0], what)
    if output_dtype != dtype:
        refuse(what, f"{dtype} at the output as at the input", f"{output_dtype}", _REMEDY)
    return Frame(
        list(graph.node),
        opset,
        inputs[0].name,
        tuple(shape),
        dims[0],
        dtype,
        graph.output[0].name,
        output_dims,
        weights,
    )


def _opset(model: Any, what: str) -> int:
    versions = []
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            versions.append(int(entry.version))
        elif not entry.domain.startswith("ai.onnx."):
            # The standard's own other domains are often imported and never used.
            found = repr(entry.domain[:80])
            refuse(what, "the standard operators", f"the custom domain {found}", _REMEDY)
    if len(versions) != 1:
        refuse(what, "one version of the standard operators", f"{len(versions)}", _REMEDY)
    if versions[0] not in OPSETS:
        expected = f"opset {OPSETS[0]} to {OPSETS[-1]}"
        refuse(what, expected, f"{versions[0]}", "export it for another opset")
    return versions[0]


def _weights(graph: Any, what: str) -> dict[str, NDArray[Any]]:
    weights: dict[str, NDArray[Any]] = {}
    for tensor in graph.initializer:
        subject = f"{what} initializer {tensor.name[:80]!r}"
        if tensor.name in weights:
            refuse(subject, "each name once", "it twice", _REMEDY)
        weights[tensor.name] = array_of(tensor, subject)
    return weights


def _inputs(model: Any, what: str) -> list[Any]:
    names = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in names]
    if len(inputs) != len(model.graph.input) and (
        model.ir_version >= _INITIALIZERS_ARE_INPUTS_BELOW
    ):
        name = next(v.name for v in model.graph.input if v.name in names)
        found = f"{name[:80]!r}, which is also an input and could be replaced"
        refuse(what, "constant initializers", found, _REMEDY)
    return inputs


def _names_once(graph: Any, inputs: list[str], what: str) -> None:
    produced = [name for node in graph.node for name in node.output if name]
    names = Counter([*inputs, *(tensor.name for tensor in graph.initializer), *produced])
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        refuse(what, "each value under its own name", f"{twice[:80]!r} twice", _REMEDY)
    if any(not 1 <= len(name) <= limits.NAME_CHARACTERS for name in names):
        found = "an empty or longer one"
        refuse(what, f"names of at most {limits.NAME_CHARACTERS} characters", found, _REMEDY)
    read = {name for node in graph.node for name in node.input}
    read.update(value.name for value in graph.output)
    for index, node in enumerate(graph.node):
        if not any(name in read for name in node.output):
            found = f"node {index} {node.name[:80]!r} ({node.op_type[:40]}), which feeds nothing"
            refuse(what, "nodes that lead to the output", found, "remove it")


def _tensor_type(value: Any, what: str) -> tuple[np.dtype[Any], tuple[int | None, ...] | None]:
    subject = f"{what} value {value.name[:80]!r}"
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type not in _FLOATS:
        refuse(subject, "a float32 or float64 tensor", "another type", "convert the network")
    if not kind.HasField("shape"):
        return _FLOATS[kind.elem_type], None
    if len(kind.shape.dim) > limits.TENSOR_RANK:
        refuse(subject, f"at most {limits.TENSOR_RANK} axes", f"{len(kind.shape.dim)}", _REMEDY)
    # Old exporters write a free dimension as 0 or −1.
    dims = [
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim
    ]
    return _FLOATS[kind.elem_type], tuple(dims)


def _show(dims: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in dims) + "]"

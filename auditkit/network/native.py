"""The native format: a declarative list of layers beside their weights.

`model.json` says what the network does, `model.safetensors` holds its numbers:

    {"schema": "auditkit/model/v1", "dtype": "float32", "input_shape": [1, 28, 28],
     "layers": [{"op": "convolution", "weight": "0.weight", "bias": "0.bias", "pads": [1, 1, 1, 1]},
                {"op": "relu"},
                {"op": "reshape", "shape": [784]},
                {"op": "dense", "weight": "3.weight", "bias": "3.bias"}]}

A layer reads the value before it unless `inputs` says otherwise: 0 is the network's input, i + 1
the output of layer i. Parameters are those of `network.graph`, with the same defaults, and
tensors are named freely. Unknown members and tensors that no layer uses are refused.

| op | parameters |
| --- | --- |
| dense | weight, bias |
| convolution | weight, bias, strides, pads, dilations, groups |
| average_pool | kernel, strides, pads, count_include_pad |
| max_pool | kernel, strides, pads, dilations |
| relu, add | |
| scale | kind (add, multiply, divide), constant |
| reshape | shape |
| transpose | axes |
| pad | before, after |
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.files import (
    canonical_json,
    parse_json,
    read_safetensors,
    refuse,
    write_atomic,
    write_safetensors,
)
from auditkit.network.graph import (
    Add,
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Node,
    Operator,
    Pad,
    Relu,
    Reshape,
    Scale,
    Transpose,
)

SCHEMA = "auditkit/model/v1"

_OPERATORS: dict[str, type[Any]] = {
    "dense": Dense,
    "convolution": Convolution,
    "average_pool": AveragePool,
    "max_pool": MaxPool,
    "relu": Relu,
    "add": Add,
    "scale": Scale,
    "reshape": Reshape,
    "transpose": Transpose,
    "pad": Pad,
}
_OP_NAMES = {kind: name for name, kind in _OPERATORS.items()}
_TENSORS = {"weight", "bias", "constant"}
_LENGTHS = {"strides": 2, "dilations": 2, "kernel": 2, "pads": 4}
_REMEDY = "see the documentation of auditkit/model/v1"


def describe_layers(
    network: Network,
) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Return every layer with all its parameters as JSON values, and the tensors by name."""
    layers: list[dict[str, Any]] = []
    tensors: dict[str, NDArray[Any]] = {}
    for index, node in enumerate(network.nodes):
        layer: dict[str, Any] = {"op": _OP_NAMES[type(node.operator)], "inputs": list(node.inputs)}
        for field in dataclasses.fields(node.operator):
            value = getattr(node.operator, field.name)
            if field.name in _TENSORS:
                tensors[f"{index}.{field.name}"] = value
                value = f"{index}.{field.name}"
            layer[field.name] = _plain(value)
        layers.append(layer)
    return layers, tensors


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [int(item) for item in value]
    return value if isinstance(value, (str, bool)) else int(value)


def network_to_native(network: Network) -> tuple[bytes, bytes]:
    """Return the bytes of `model.json` (canonical) and of `model.safetensors`."""
    layers, tensors = describe_layers(network)
    document = {
        "schema": SCHEMA,
        "dtype": network.dtype.name,
        "input_shape": list(network.input_shape),
        "layers": layers,
    }
    return canonical_json(document), write_safetensors(tensors)


def write_native(network: Network, directory: Path, stem: str = "model") -> None:
    """Write `model.json` and `model.safetensors` into an existing folder."""
    document, tensors = network_to_native(network)
    write_atomic(Path(directory) / f"{stem}.json", document)
    write_atomic(Path(directory) / f"{stem}.safetensors", tensors)


def network_from_native(document: bytes, tensors: bytes, what: str = "model") -> Network:
    """Return the network in the bytes of `model.json` and `model.safetensors`.

    EvidenceError, naming the layer, on anything the module's documentation does not describe.
    """
    model = parse_json(document, f"{what}.json")
    members = {"schema", "dtype", "input_shape", "layers"}
    if not isinstance(model, dict) or set(model) != members:
        refuse(f"{what}.json", f"the members {', '.join(sorted(members))}", "others", _REMEDY)
    if model["schema"] != SCHEMA:
        refuse(f"{what}.json", f"schema {SCHEMA}", repr(model["schema"])[:80], _REMEDY)
    if model["dtype"] not in ("float32", "float64"):
        refuse(f"{what}.json", "dtype float32 or float64", repr(model["dtype"])[:80], _REMEDY)
    layers = model["layers"]
    if not isinstance(layers, list) or not 1 <= len(layers) <= limits.NODES:
        refuse(f"{what}.json", f"1 to {limits.NODES} layers", "something else", _REMEDY)
    arrays, _ = read_safetensors(tensors, f"{what}.safetensors")
    reader = _Layers(what, arrays)
    shape = reader.numbers(model["input_shape"], f"{what}.json input_shape", least=1)
    nodes = tuple(reader.node(layer, index) for index, layer in enumerate(layers))
    unused = sorted(set(arrays) - reader.used)
    if unused:
        refuse(f"{what}.safetensors", "tensors of layers only", f"{unused[0][:80]!r}", "remove it")
    return build_network(shape, nodes, np.dtype(model["dtype"]), what)


def build_network(
    input_shape: tuple[int, ...],
    nodes: tuple[Node, ...],
    dtype: np.dtype[Any],
    what: str,
) -> Network:
    """Return the network, or an EvidenceError with the sentence that says what does not fit."""
    size = 1
    for n in input_shape:
        size *= n
    if not 1 <= size <= limits.FEATURES:
        refuse(what, f"1 to {limits.FEATURES} features", f"{size}", "give a smaller network")
    if len(nodes) > limits.NODES:
        refuse(what, f"at most {limits.NODES} operators", f"{len(nodes)}", "give a smaller one")
    try:
        network = Network(input_shape, nodes, dtype)
    except (ValueError, OverflowError) as error:
        refuse(what, "layers that fit each other", str(error), "export the network again")
    for index, shape in enumerate(network.shapes):
        size = 1
        for n in shape:
            size *= n
        if size > limits.ELEMENTS:
            found = f"{size} after node {index - 1}"
            refuse(what, f"values of at most {limits.ELEMENTS} numbers", found, "shrink it")
    unread = set(range(len(nodes))) - {i for node in nodes for i in node.inputs}
    if unread:
        kind = "the input" if 0 in unread else f"the output of node {min(unread) - 1}"
        refuse(what, "every value used", f"{kind} unused", "remove what is not used")
    return network


class _Layers:
    """Turns the list of layers into nodes, remembering which tensors were used."""

    def __init__(self, what: str, arrays: dict[str, NDArray[Any]]) -> None:
        self.what = what
        self.arrays = arrays
        self.used: set[str] = set()

    def node(self, layer: Any, index: int) -> Node:
        op = layer.get("op") if isinstance(layer, dict) else None
        subject = f"{self.what}.json layer {index}"
        if not isinstance(op, str) or op not in _OPERATORS:
            refuse(subject, f"an op among {', '.join(_OPERATORS)}", repr(op)[:80], _REMEDY)
        subject += f" ({op})"
        kind = _OPERATORS[op]
        fields = {field.name: field for field in dataclasses.fields(kind)}
        unknown = sorted(set(layer) - set(fields) - {"op", "inputs"})
        if unknown:
            refuse(subject, f"members {', '.join(fields)}", repr(unknown[0])[:80], _REMEDY)
        arguments: dict[str, Any] = {}
        for name, field in fields.items():
            if name in layer:
                arguments[name] = self._parameter(name, layer[name], f"{subject} {name}")
            elif field.default is dataclasses.MISSING:
                refuse(subject, f"the member {name}", "none", _REMEDY)
        inputs = self.numbers(layer.get("inputs", [index]), f"{subject} inputs")
        operator: Operator = kind(**arguments)
        return Node(operator, inputs)

    def _parameter(self, name: str, value: Any, subject: str) -> Any:
        if name in _TENSORS:
            if not isinstance(value, str) or value not in self.arrays:
                refuse(subject, "the name of a tensor", repr(value)[:80], "add it to the tensors")
            self.used.add(value)
            return self.arrays[value]
        if name == "kind":
            if value not in ("add", "multiply", "divide"):
                refuse(subject, "add, multiply or divide", repr(value)[:80], _REMEDY)
            return value
        if name == "count_include_pad":
            if not isinstance(value, bool):
                refuse(subject, "true or false", repr(value)[:80], _REMEDY)
            return value
        if name == "groups":
            return self.numbers([value], subject, least=1)[0]
        numbers = self.numbers(value, subject)
        if len(numbers) != _LENGTHS.get(name, len(numbers)):
            refuse(subject, f"{_LENGTHS[name]} numbers", f"{len(numbers)}", _REMEDY)
        return numbers

    def numbers(self, value: Any, subject: str, least: int = 0) -> tuple[int, ...]:
        fits = isinstance(value, list) and len(value) <= limits.TENSOR_RANK
        if not fits or not all(type(v) is int and least <= v <= limits.ELEMENTS for v in value):
            refuse(subject, f"a list of whole numbers from {least}", repr(value)[:80], _REMEDY)
        return tuple(value)

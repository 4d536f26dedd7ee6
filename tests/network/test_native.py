"""The native format carries every network exactly and says which layer is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.errors import EvidenceError, UsageError
from auditkit.files import write_safetensors
from auditkit.network.digest import semantic_digest
from auditkit.network.graph import (
    Add,
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Node,
    Pad,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from auditkit.network.native import network_from_native, network_to_native, write_native
from auditkit.network.read import load_network
from auditkit.network.read_onnx import network_from_onnx
from auditkit.network.simplify import simplify
from auditkit.network.write_onnx import GraphBuilder, append_network, network_to_onnx


def everything() -> Network:
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    operators: list[tuple[Any, tuple[int, ...]]] = [
        (Transpose((2, 0, 1)), (0,)),
        (Scale("add", numbers(2, 1, 1)), (1,)),
        (Scale("divide", np.float32(0.3).reshape(())), (2,)),
        (Pad((0, 1, 0), (0, 0, 1)), (3,)),
        (Convolution(numbers(4, 1, 3, 3), numbers(4), (1, 1), (1, 1, 1, 1), (1, 1), 2), (4,)),
        (Relu(), (5,)),
        (Convolution(numbers(4, 4, 1, 1), numbers(4)), (6,)),
        (Add(), (6, 7)),
        (MaxPool((2, 2), (1, 1), (1, 0, 0, 1), (1, 1)), (8,)),
        (AveragePool((3, 3), (2, 2), (1, 1, 1, 1), True), (9,)),
        (Scale("multiply", numbers(4)), (10,)),
        (Dense(numbers(5, 4), -numbers(5) * 0), (11,)),
        (Reshape((80,)), (12,)),
        (Dense(numbers(3, 80), numbers(3)), (13,)),
        (Scale("add", numbers(3)), (14,)),
    ]
    nodes = tuple(Node(operator, inputs) for operator, inputs in operators)
    return Network((7, 7, 2), nodes, np.dtype(np.float32))


def test_every_operator_survives_both_formats(tmp_path: Path) -> None:
    network = everything()
    digest = semantic_digest(network)
    document, tensors = network_to_native(network)
    assert (document, tensors) == network_to_native(network)
    assert semantic_digest(network_from_native(document, tensors)) == digest
    assert semantic_digest(network_from_onnx(network_to_onnx(network), isolated=False)) == digest
    write_native(network, tmp_path)
    for path in (tmp_path, tmp_path / "model.json", tmp_path / "model.safetensors"):
        assert semantic_digest(load_network(path)) == digest


def test_defaults_may_be_left_out() -> None:
    layers = [{"op": "relu"}, {"op": "dense", "weight": "w", "bias": "b"}]
    tensors = {"w": np.ones((2, 3), np.float32), "b": np.zeros(2, np.float32)}
    network = network_from_native(model(layers, [3]), write_safetensors(tensors))
    assert network.nodes[1].inputs == (1,)


def model(layers: Any, shape: Any = (2,), **change: Any) -> bytes:
    document = {
        "schema": "auditkit/model/v1",
        "dtype": "float32",
        "input_shape": shape,
        "layers": layers,
    }
    return json.dumps({**document, **change}).encode()


DENSE = {"op": "dense", "weight": "w", "bias": "b"}
RELU = {"op": "relu"}
CONV = {"op": "convolution", "weight": "w", "bias": "b"}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (b"[]", "the members"),
        (model([DENSE], more=1), "the members"),
        (model([DENSE], schema="auditkit/model/v2"), "schema auditkit/model/v1"),
        (model([DENSE], dtype="float16"), "float32 or float64"),
        (model([]), "1 to 10000 layers"),
        (model({}), "1 to 10000 layers"),
        (model([DENSE] * 10_001), "1 to 10000 layers"),
        (model([3]), "an op among"),
        (model([{"op": "softmax"}]), "'softmax'"),
        (model([{"op": ["relu"]}]), "an op among"),
        (model([{**DENSE, "code": "x"}]), "'code'"),
        (model([{"op": "dense", "weight": "w"}]), "the member bias"),
        (model([{**DENSE, "weight": "v"}]), "the name of a tensor"),
        (model([{**DENSE, "weight": ["w"]}]), "the name of a tensor"),
        (model([RELU]), "tensors of layers only"),
        (model([DENSE], shape=[3]), "on an input of [3]"),
        (model([DENSE], shape=[0]), "whole numbers from 1"),
        (model([DENSE], shape=[True]), "whole numbers from 1"),
        (model([DENSE], shape=[1 << 28, 1 << 28, 1 << 28]), "features"),
        (model([{**RELU, "inputs": [1]}, DENSE]), "does not exist yet"),
        (model([{**RELU, "inputs": [-1]}, DENSE]), "whole numbers from 0"),
        (model([{**RELU, "inputs": [0, 0]}, DENSE]), "takes 1 input"),
        (model([RELU, {**DENSE, "inputs": [0]}]), "every value used"),
        (model([{**CONV, "strides": [1]}]), "2 numbers"),
        (model([{**CONV, "groups": 0}]), "whole numbers from 1"),
        (model([{**CONV, "pads": [1 << 40] * 4}]), "whole numbers"),
        (model([DENSE, {"op": "pad", "before": [1 << 28], "after": [0]}]), "values of at most"),
        (model([{"op": "scale", "kind": "power", "constant": "w"}]), "add, multiply or divide"),
        (
            model(
                [
                    {
                        "op": "average_pool",
                        "kernel": [1, 1],
                        "strides": [1, 1],
                        "count_include_pad": 1,
                    }
                ]
            ),
            "true or false",
        ),
        (model([{"op": "reshape", "shape": [1 << 28] * 16}, DENSE]), "does not"),
        (model([DENSE], dtype="float64"), "holds float32"),
    ],
)
def test_refusals(document: bytes, text: str) -> None:
    tensors = {"w": np.ones((2, 2), np.float32), "b": np.zeros(2, np.float32)}
    with pytest.raises(EvidenceError) as caught:
        network_from_native(document, write_safetensors(tensors))
    assert text in str(caught.value)


def test_folders_hold_one_network(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="neither"):
        load_network(tmp_path)
    write_native(everything(), tmp_path)
    (tmp_path / "model.onnx").write_bytes(network_to_onnx(everything()))
    with pytest.raises(EvidenceError, match=r"model.onnx and model.safetensors"):
        load_network(tmp_path)
    (tmp_path / "other.txt").write_text("hello")
    with pytest.raises(EvidenceError, match=r"the suffix '\.txt'"):
        load_network(tmp_path / "other.txt")
    (tmp_path / "model.json").unlink()
    with pytest.raises(EvidenceError, match="nothing there"):
        load_network(tmp_path / "model.safetensors")


def test_simplify_drops_what_changes_nothing() -> None:
    dense = Dense(np.ones((2, 4), np.float32), np.zeros(2, np.float32))
    idle = [Reshape((2, 2)), Pad((0, 0), (0, 0)), Reshape((4, 1)), Reshape((4,)), Transpose((0,))]
    nodes = [Node(operator, (i,)) for i, operator in enumerate([*idle, dense])]
    network = simplify(Network((4,), tuple(nodes), np.dtype(np.float32)))
    assert [type(node.operator) for node in network.nodes] == [Dense]


def test_reshapes_that_are_also_read_elsewhere_stay() -> None:
    weight, bias = np.ones((2, 4), np.float32), np.zeros(2, np.float32)
    nodes = (
        Node(Reshape((2, 2)), (0,)),
        Node(Transpose((0, 1)), (1,)),
        Node(Reshape((4,)), (2,)),
        Node(Dense(weight, bias), (3,)),
        Node(Dense(weight[:, :2], bias), (1,)),
        Node(Reshape((4,)), (5,)),
        Node(Dense(weight, bias), (6,)),
        Node(Add(), (4, 7)),
    )
    network = simplify(Network((4,), nodes, np.dtype(np.float32)))
    assert network.shapes[-1] == (2,)
    kinds = [type(node.operator).__name__ for node in network.nodes]
    assert kinds == ["Reshape", "Reshape", "Dense", "Dense", "Reshape", "Dense", "Add"]


def test_float64_convolutions_are_not_exported() -> None:
    conv = Convolution(np.ones((2, 1, 2, 2)), np.zeros(2))
    nodes = (Node(conv, (0,)), Node(Reshape((2,)), (1,)))
    with pytest.raises(UsageError, match="float64"):
        network_to_onnx(Network((1, 2, 2), nodes, np.dtype(np.float64)))


def test_values_in_the_middle_have_names() -> None:
    builder = GraphBuilder(np.dtype(np.float32))
    names = append_network(builder, everything(), "input", prefix="f.")
    assert names[0] == "input"
    assert names[1:] == [f"f.v{i + 1}" for i in range(len(everything().nodes))]
    builder.add_node("Relu", [names[-1]], ["logits"])
    assert network_from_onnx(builder.finish("logits", (7, 7, 2), (3,)), isolated=False).classes == 3
    with pytest.raises(ValueError, match="taken"):
        builder.add_initializer("logits", np.zeros(1))

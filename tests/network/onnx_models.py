"""Small ONNX files made with onnx.helper, for the tests of the reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Build = Callable[["Graph"], str]


class Graph:
    """Collects nodes and weights; every method returns the name of what it made."""

    def __init__(self, seed: int = 0, dtype: Any = np.float32) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, op: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        names = list(outputs) or [f"t{len(self.nodes)}"]
        self.nodes.append(
            helper.make_node(op, list(inputs), names, f"n{len(self.nodes)}", **attributes)
        )
        return names[0]

    def weight(self, *shape: int) -> str:
        return self.array(self.rng.normal(size=shape).astype(self.dtype))

    def array(self, values: Any, name: str = "") -> str:
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def integers(self, *values: int) -> str:
        return self.array(np.asarray(values, np.int64))

    def dense(self, x: str, into: int, out: int) -> str:
        return self.node("Gemm", x, self.weight(out, into), self.weight(out), transB=1)


def model(
    build: Build,
    input_shape: tuple[Any, ...],
    classes: int = 3,
    *,
    opset: int = 17,
    ir_version: int = 8,
    seed: int = 0,
    dtype: Any = np.float32,
    batch: Any = "N",
) -> onnx.ModelProto:
    """Return the model whose graph `build` makes from the input named `x`."""
    graph = Graph(seed, dtype)
    output = build(graph)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = helper.make_graph(
        graph.nodes,
        "g",
        [helper.make_tensor_value_info("x", element, [batch, *input_shape])],
        [helper.make_tensor_value_info(output, element, [batch, classes])],
        graph.weights,
    )
    return helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )


def run(data: bytes, x: NDArray[Any]) -> NDArray[Any]:
    """Return what onnxruntime computes for `x`, with its optimiser off."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(result)


FLOAT = TensorProto.FLOAT

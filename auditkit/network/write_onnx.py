"""A network as an ONNX file of standard operators, the same bytes every time.

The builder is shared with whoever appends to a network: an exported patch taps the values in the
middle, which `append_network` names. The onnx library is imported only when something is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import UsageError
from auditkit.network.graph import (
    Add,
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Operator,
    Pad,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)

OPSET = 17
_IR_VERSION = 8  # the one that came with opset 17
_ELEMENTS = {np.dtype(np.float32): 1, np.dtype(np.float64): 11}
_SCALES = {"add": "Add", "multiply": "Mul", "divide": "Div"}


class GraphBuilder:
    """Collects nodes and constants in the order in which they are added.

    `dtype` is that of the input and the output.
    """

    def __init__(self, dtype: np.dtype[Any], input_name: str = "input") -> None:
        self.dtype = np.dtype(dtype)
        self.input_name = input_name
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._names = {input_name}

    def add_initializer(self, name: str, array: NDArray[Any]) -> str:
        """Add a constant under a name of its own and return the name."""
        from onnx import numpy_helper

        self._claim(name)
        plain = np.asarray(array, order="C")  # ascontiguousarray would make a scalar a vector
        self._initializers.append(numpy_helper.from_array(plain, name))
        return name

    def add_node(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> str:
        """Add a standard operator and return the name of its first output."""
        from onnx import helper

        for name in outputs:
            self._claim(name)
        name = f"{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def finish(
        self, output_name: str, input_shape: Shape, output_shape: Shape, opset: int = OPSET
    ) -> bytes:
        """Return the file: one input, one output, shapes without the batch axis, free batch N."""
        from onnx import helper

        element = _ELEMENTS[self.dtype]
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info(self.input_name, element, ["N", *input_shape])],
            [helper.make_tensor_value_info(output_name, element, ["N", *output_shape])],
            self._initializers,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=_IR_VERSION,
            producer_name="auditkit",
        )
        return bytes(model.SerializeToString(deterministic=True))

    def _claim(self, name: str) -> None:
        if name in self._names:
            raise ValueError(f"the name {name!r} is taken")
        self._names.add(name)


def network_to_onnx(
    network: Network, *, input_name: str = "input", output_name: str = "logits"
) -> bytes:
    """Return the ONNX file of a network; it reads back as the same network.

    UsageError for a float64 network with convolutions or average pools, which onnxruntime cannot
    run on a processor.
    """
    builder = GraphBuilder(network.dtype, input_name)
    append_network(builder, network, input_name, output_name=output_name)
    return builder.finish(output_name, network.input_shape, (network.classes,))


def append_network(
    builder: GraphBuilder,
    network: Network,
    input_name: str,
    *,
    prefix: str = "",
    output_name: str | None = None,
) -> list[str]:
    """Append the network's nodes and return the name of every value: its input, then each output.

    Value i + 1 is named `{prefix}v{i + 1}`, the last one `output_name` if given; constants are
    named after the node that holds them. UsageError as for `network_to_onnx`.
    """
    names = [input_name]
    for index, node in enumerate(network.nodes):
        last = index == len(network.nodes) - 1
        name = output_name if last and output_name else f"{prefix}v{index + 1}"
        inputs = [names[source] for source in node.inputs]
        _refuse_unsupported(network, node.operator)
        shape = network.shapes[node.inputs[0]]
        _append(builder, node.operator, inputs, name, f"{prefix}n{index}", shape)
        names.append(name)
    return names


def _append(
    builder: GraphBuilder,
    operator: Operator,
    inputs: list[str],
    output: str,
    stem: str,
    shape: Shape,
) -> None:
    def constant(part: str, array: NDArray[Any]) -> str:
        return builder.add_initializer(f"{stem}.{part}", array)

    match operator:
        case Dense(weight, bias):
            if len(shape) == 1:
                operands = [*inputs, constant("weight", weight), constant("bias", bias)]
                builder.add_node("Gemm", operands, [output], transB=1)
            else:
                product = f"{stem}.product"
                builder.add_node("MatMul", [*inputs, constant("weight", weight.T)], [product])
                builder.add_node("Add", [product, constant("bias", bias)], [output])
        case Convolution(weight, bias):
            builder.add_node(
                "Conv",
                [*inputs, constant("weight", weight), constant("bias", bias)],
                [output],
                kernel_shape=weight.shape[2:],
                strides=operator.strides,
                pads=operator.pads,
                dilations=operator.dilations,
                group=operator.groups,
            )
        case AveragePool():
            builder.add_node(
                "AveragePool",
                inputs,
                [output],
                kernel_shape=operator.kernel,
                strides=operator.strides,
                pads=operator.pads,
                count_include_pad=int(operator.count_include_pad),
            )
        case MaxPool():
            builder.add_node(
                "MaxPool",
                inputs,
                [output],
                kernel_shape=operator.kernel,
                strides=operator.strides,
                pads=operator.pads,
                dilations=operator.dilations,
            )
        case Relu():
            builder.add_node("Relu", inputs, [output])
        case Add():
            builder.add_node("Add", inputs, [output])
        case Scale(kind, numbers):
            builder.add_node(_SCALES[kind], [*inputs, constant("constant", numbers)], [output])
        case Reshape(target):
            entries = np.asarray([0, *target], np.int64)  # 0: the batch as it comes
            builder.add_node("Reshape", [*inputs, constant("shape", entries)], [output])
        case Transpose(axes):
            builder.add_node("Transpose", inputs, [output], perm=[0, *(a + 1 for a in axes)])
        case Pad(before, after):
            entries = np.asarray([0, *before, 0, *after], np.int64)
            builder.add_node("Pad", [*inputs, constant("pads", entries)], [output])


def _refuse_unsupported(network: Network, operator: Operator) -> None:
    if network.dtype == np.float64 and isinstance(operator, (Convolution, AveragePool)):
        raise UsageError(
            "ONNX export",
            expected="float32 for convolutions and average pools",
            found="float64, for which onnxruntime has no such operators",
            remedy="convert the network to float32",
        )

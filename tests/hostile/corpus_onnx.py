"""One ONNX file for every refusal, with a piece of the sentence that refuses it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.network.onnx_models import FLOAT, Graph, model

Change = Callable[[Any], None]


def valid() -> Any:
    """Return a small network that is accepted."""

    def build(g: Graph) -> str:
        x = g.node("Relu", g.node("Conv", "x", g.weight(2, 1, 2, 2), g.weight(2)))
        return g.dense(g.node("Flatten", x), 18, 3)

    return model(build, (1, 4, 4))


def changed(change: Change) -> bytes:
    proto = valid()
    change(proto)
    return bytes(proto.SerializeToString())


def graph(build: Callable[[Graph], str], shape: tuple[Any, ...] = (4,), **more: Any) -> bytes:
    return bytes(model(build, shape, **more).SerializeToString())


def raw_weight(data: bytes, values: list[float]) -> bytes:
    """Return the file with its last bias (three float32) replaced, length unchanged."""
    bias = numpy_helper.to_array(valid().graph.initializer[3]).tobytes()
    assert data.count(bias) == 1
    return data.replace(bias, struct.pack("<3f", *values))


def _subgraph(g: Graph) -> str:
    body = helper.make_graph([], "b", [], [helper.make_tensor_value_info("w0", FLOAT, [3])])
    condition = g.array(np.asarray(True))
    return g.node("If", condition, then_branch=body, else_branch=body)


def _external(proto: Any) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _function(proto: Any) -> None:
    opsets = [helper.make_opsetid("", 17)]
    node = helper.make_node("Relu", ["a"], ["b"])
    proto.functions.append(helper.make_function("local", "F", ["a"], ["b"], [node], opsets))


def _sparse(proto: Any) -> None:
    values = helper.make_tensor("s", FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def _also_input(proto: Any) -> None:
    proto.graph.input.append(helper.make_tensor_value_info("w0", FLOAT, [2, 1, 2, 2]))


def _two_fields(proto: Any) -> None:
    proto.graph.initializer[1].float_data.extend([1.0, 2.0])


def _attribute_twice(proto: Any) -> None:
    proto.graph.node[3].attribute.append(helper.make_attribute("transB", 0))


def _attribute_values(proto: Any) -> None:
    proto.graph.node[3].attribute[0].f = 1.0


def _dims(*dims: int) -> Change:
    def change(proto: Any) -> None:
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)

    return change


def _assign(path: str, value: Any) -> Change:
    def change(proto: Any) -> None:
        *parents, last = path.split(".")
        for part in parents:
            proto = proto[int(part)] if part.isdigit() else getattr(proto, part)
        setattr(proto, last, value)

    return change


def _append(path: str, make: Callable[[], Any]) -> Change:
    def change(proto: Any) -> None:
        for part in path.split("."):
            proto = getattr(proto, part)
        proto.append(make())

    return change


def _single(op: str, shape: tuple[Any, ...] = (3,), **attributes: Any) -> bytes:
    return graph(lambda g: g.node(op, "x", **attributes), shape)


def _then_dense(node: Callable[[Graph], str], shape: tuple[Any, ...], features: int) -> bytes:
    return graph(lambda g: g.dense(g.node("Flatten", node(g)), features, 3), shape)


def _dead(proto: Any) -> None:
    proto.graph.node.append(helper.make_node("Relu", ["x"], ["nowhere"], "idle"))


def _dead_but_measured(g: Graph) -> str:
    idle = g.node("Shape", g.node("Relu", "x"))
    return g.node(
        "Reshape",
        g.dense("x", 4, 3),
        g.node(
            "Concat", g.node("Slice", idle, g.integers(0), g.integers(1)), g.integers(3), axis=0
        ),
    )


def _cycle(proto: Any) -> None:
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([nodes[1], nodes[0], *nodes[2:]])


def _second_output(proto: Any) -> None:
    proto.graph.output.append(helper.make_tensor_value_info("t1", FLOAT, ["N", 2, 3, 3]))


def _second_input(proto: Any) -> None:
    proto.graph.input.append(helper.make_tensor_value_info("z", FLOAT, ["N", 2]))


def _without_batch() -> bytes:
    proto = model(lambda g: g.node("MatMul", "x", g.weight(4, 3)), (), batch=4, classes=3)
    return bytes(proto.SerializeToString())


def _sequence(proto: Any) -> None:
    element = helper.make_tensor_type_proto(FLOAT, ["N", 1, 4, 4])
    proto.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(element))


def _training_batch_norm(g: Graph) -> str:
    moments = [g.weight(4), g.weight(4), g.weight(4), g.array(np.ones(4, np.float32))]
    x = g.node("BatchNormalization", "x", *moments, training_mode=1, outputs=("y", "m", "v"))
    return g.dense(x, 4, 3)


def _variance(g: Graph) -> str:
    moments = [g.weight(4), g.weight(4), g.weight(4), g.array(np.full(4, -1, np.float32))]
    return g.dense(g.node("BatchNormalization", "x", *moments), 4, 3)


def _field(number: int, body: bytes) -> bytes:
    tag, length = number << 3 | 2, len(body)
    out = bytearray()
    for value in (tag, length):
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out) + body


def corpus() -> dict[str, tuple[bytes, str]]:
    """Return name → (file, piece of the expected message)."""
    good = bytes(valid().SerializeToString())
    cases: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "1 to 10000 nodes"),
        "not protobuf": (b"this is not a network at all", "as the format writes them"),
        "html": (b"<!doctype html><html>", "as the format writes them"),
        "cut short": (good[:-20], "cut short"),
        "unknown field at the end": (good + _field(99, b"payload"), "unknown field 99"),
        "second graph": (good + _field(7, b""), "ModelProto.graph twice"),
        "second ir_version": (good + b"\x08\x08", "ModelProto.ir_version twice"),
        "endless number": (b"\x08" + b"\xff" * 12, "does not end"),
        "length outside": (b"\x3a\xff\xff\x7f", "points outside"),
        "text not utf-8": (good + _field(6, b"\xff\xfe"), "UTF-8"),
        "deep nesting": (_deep(), "nested messages"),
        "NaN weight": (raw_weight(good, [0.0, float("nan"), 1.0]), "NaN or infinity"),
        "infinite weight": (raw_weight(good, [0.0, float("inf"), 1.0]), "NaN or infinity"),
        "without batch": (_without_batch(), "without a batch dimension"),
    }
    changes: dict[str, tuple[Change, str]] = {
        "external data": (_external, "external data"),
        "function": (_function, "found functions"),
        "sparse initializer": (_sparse, "sparse initializers"),
        "training": (_append("training_info", _training), "training information"),
        "initializer as input": (_also_input, "also an input"),
        "two value fields": (_two_fields, "float_data"),
        "no value field": (lambda p: p.graph.initializer[0].ClearField("raw_data"), "found none"),
        "string tensor": (
            _assign("graph.initializer.0.data_type", TensorProto.STRING),
            "data type 8",
        ),
        "half precision": (_assign("graph.initializer.0.data_type", 10), "data type 10"),
        "segment": (_assign("graph.initializer.0.segment.begin", 1), "segment"),
        "negative dims": (_dims(-1, -8), "a shape of 1 to"),
        "overflowing dims": (_dims(1 << 32, 1 << 32, 8), "a shape of 1 to"),
        "fewer bytes than dims": (_dims(2, 1, 2, 3), "48 bytes"),
        "initializer twice": (
            _append("graph.initializer", lambda: valid().graph.initializer[0]),
            "each name once",
        ),
        "value twice": (lambda p: p.graph.node[2].output.__setitem__(0, "t1"), "'t1' twice"),
        "attribute twice": (_attribute_twice, "each attribute once"),
        "attribute with two values": (_attribute_values, "also f"),
        "attribute reference": (_assign("graph.node.3.attribute.0.ref_attr_name", "z"), "type 2"),
        "unknown attribute": (
            lambda p: p.graph.node[1].attribute.append(helper.make_attribute("secret", 1)),
            "'secret'",
        ),
        "custom domain": (
            _assign("graph.node.1.domain", "com.example"),
            "the domain 'com.example'",
        ),
        "imported domain": (
            _append("opset_import", lambda: helper.make_opsetid("com.example", 1)),
            "custom domain",
        ),
        "two versions": (
            _append("opset_import", lambda: helper.make_opsetid("ai.onnx", 9)),
            "found 2",
        ),
        "old opset": (_assign("opset_import.0.version", 6), "opset 7 to 25"),
        "future opset": (_assign("opset_import.0.version", 99), "opset 7 to 25"),
        "dead node": (_dead, "feeds nothing"),
        "wrong order": (_cycle, "inputs that exist before it"),
        "two outputs": (_second_output, "1 and 2"),
        "two inputs": (_second_input, "2 and 1"),
        "sequence": (_sequence, "another type"),
        "integer input": (
            _assign("graph.input.0.type.tensor_type.elem_type", TensorProto.INT64),
            "another type",
        ),
        "input of no shape": (
            lambda p: p.graph.input[0].type.tensor_type.ClearField("shape"),
            "an input of known shape",
        ),
        "free image size": (
            _assign("graph.input.0.type.tensor_type.shape.dim.2.dim_param", "H"),
            "fixed but for the batch",
        ),
        "huge input": (
            _assign("graph.input.0.type.tensor_type.shape.dim.2.dim_value", 1 << 40),
            "values of at most",
        ),
        "lying output": (
            _assign("graph.output.0.type.tensor_type.shape.dim.1.dim_value", 4),
            "the declared shape",
        ),
        "float64 output": (
            _assign("graph.output.0.type.tensor_type.elem_type", 11),
            "at the output",
        ),
        "quantisation": (
            lambda p: p.graph.quantization_annotation.add(tensor_name="w0"),
            "quantisation",
        ),
        "device configuration": (lambda p: p.configuration.add(name="d"), "device configurations"),
        "optional output": (lambda p: p.graph.node[1].output.append("more"), "one output"),
        "terminal escape in a name": (
            _assign("graph.node.1.op_type", "\x1b[2J\n"),
            "(?[2J?)",
        ),
    }
    cases.update({name: (changed(change), text) for name, (change, text) in changes.items()})
    cases.update(_graphs())
    return cases


def _training() -> Any:
    from onnx import TrainingInfoProto

    return TrainingInfoProto()


def _deep() -> bytes:
    body = b""
    for _ in range(60):  # attribute → graph → node → attribute …
        body = _field(1, _field(5, _field(6, body)))
    return _field(7, body)


def _graphs() -> dict[str, tuple[bytes, str]]:
    """Return well-formed files whose operators are refused."""
    image = (1, 4, 4)
    w = Graph.weight
    return {
        "subgraph": (graph(_subgraph), "no subgraph"),
        "softmax": (_single("Softmax"), "logits at the output"),
        "sigmoid": (_single("Sigmoid"), "not piecewise linear"),
        "unsupported": (_single("TopK"), "an operator that is supported"),
        "leaky": (_single("LeakyRelu"), "an operator that is supported"),
        "dead but measured": (graph(_dead_but_measured), "every value used"),
        "training batch norm": (graph(_training_batch_norm), "training mode"),
        "negative variance": (graph(_variance), "a variance above 0"),
        "product of two values": (graph(lambda g: g.node("Mul", "x", "x"), (3,)), "two computed"),
        "difference of two values": (
            graph(lambda g: g.node("Sub", "x", "x"), (3,)),
            "two computed",
        ),
        "computed divisor": (
            graph(lambda g: g.node("Div", w(g, 3), "x"), (3,)),
            "a constant divisor",
        ),
        "division by zero": (
            graph(lambda g: g.node("Div", "x", g.array(np.zeros(3, np.float32))), (3,)),
            "divides by zero",
        ),
        "transposed input": (
            graph(lambda g: g.node("Gemm", "x", w(g, 4, 3), transA=1)),
            "mix records",
        ),
        "computed weight": (graph(lambda g: g.node("MatMul", "x", "x"), (4,)), "to be a constant"),
        "matrix over the batch": (
            graph(lambda g: g.node("MatMul", w(g, 3, 4), "x"), (3,)),
            "mixes records",
        ),
        "integer weight": (
            graph(lambda g: g.node("Add", "x", g.integers(1, 2, 3)), (3,)),
            "in float32",
        ),
        "constant along the batch": (
            graph(lambda g: g.node("Add", "x", w(g, 2, 3)), (3,)),
            "varies along the batch",
        ),
        "widening constant": (
            graph(lambda g: g.node("Add", "x", w(g, 3)), (1,)),
            "a constant [3] for [1]",
        ),
        "wrong channels": (
            _then_dense(lambda g: g.node("Conv", "x", w(g, 2, 3, 2, 2)), image, 18),
            "on an input of [1, 4, 4]",
        ),
        "convolution in one dimension": (
            _then_dense(lambda g: g.node("Conv", "x", w(g, 2, 4, 2)), (4, 4), 6),
            "two-dimensional",
        ),
        "negative pads": (
            _then_dense(lambda g: g.node("Conv", "x", w(g, 2, 1, 2, 2), pads=[-1] * 4), image, 2),
            "four pads from 0",
        ),
        "huge pads": (
            _then_dense(
                lambda g: g.node("Conv", "x", w(g, 2, 1, 2, 2), pads=[1 << 40] * 4), image, 2
            ),
            "values of at most",
        ),
        "zero groups": (
            _then_dense(lambda g: g.node("Conv", "x", w(g, 2, 1, 2, 2), group=0), image, 2),
            "on an input of [1, 4, 4]",
        ),
        "zero stride": (
            _then_dense(lambda g: g.node("Conv", "x", w(g, 2, 1, 2, 2), strides=[0, 1]), image, 2),
            "strides of two numbers from 1",
        ),
        "ceil mode": (
            _then_dense(
                lambda g: g.node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
                image,
                4,
            ),
            "ceil_mode 0",
        ),
        "reflection": (
            _then_dense(
                lambda g: g.node("Pad", "x", g.integers(*[0] * 3, 1, *[0] * 4), mode="reflect"),
                image,
                20,
            ),
            "padding with zeros",
        ),
        "padded batch": (
            _then_dense(lambda g: g.node("Pad", "x", g.integers(1, *[0] * 7)), image, 16),
            "added records",
        ),
        "dilation over the image": (
            _then_dense(
                lambda g: g.node(
                    "MaxPool", "x", kernel_shape=[2, 2], dilations=[4, 4], pads=[1, 1, 1, 1]
                ),
                (1, 3, 3),
                1,
            ),
            "dilations [4, 4] with pads",
        ),
        "clip by several": (
            graph(lambda g: g.node("Clip", "x", g.array(np.float32([0, 5]))), (3,)),
            "one number",
        ),
        "clip above": (
            graph(
                lambda g: g.node("Clip", "x", g.array(np.float32(0)), g.array(np.float32(6))), (3,)
            ),
            "which is ReLU",
        ),
        "batch moved": (
            _then_dense(lambda g: g.node("Transpose", "x", perm=[1, 0]), (4,), 4),
            "the batch axis first",
        ),
        "batch reshaped away": (
            graph(lambda g: g.node("Reshape", "x", g.integers(-1)), (3,)),
            "drops the batch axis",
        ),
        "records mixed": (
            graph(lambda g: g.node("Reshape", "x", g.integers(-1, 3)), (6,)),
            "keeps records apart",
        ),
        "records mixed by flatten": (
            graph(lambda g: g.node("Flatten", "x", axis=2), (2, 3)),
            "mixes records",
        ),
        "no logits": (graph(lambda g: g.node("Relu", "x"), (3, 3)), "logits [batch, classes]"),
        "one class": (graph(lambda g: g.dense("x", 4, 1), classes=1), "logits [batch, classes]"),
        "cast down": (
            graph(lambda g: g.node("Cast", g.dense("x", 4, 3), to=10)),
            "dtype it already has",
        ),
        "swelling shape": (graph(_swelling), "at most 4096 integers"),
        "calculating with the batch": (graph(_batch_arithmetic), "without the batch size"),
        "dropout in training": (
            graph(
                lambda g: g.node(
                    "Dropout", "x", g.array(np.float32(0.5)), g.array(np.asarray(True))
                ),
                (3,),
            ),
            "dropout for inference",
        ),
        "overflowing fold": (graph(_overflow), "not finite"),
    }


def _swelling(g: Graph) -> str:
    shape = g.node("Shape", "x")
    for _ in range(40):
        shape = g.node("Concat", shape, shape, axis=0)
    return g.node("Reshape", "x", shape)


def _batch_arithmetic(g: Graph) -> str:
    shape = g.node("Shape", "x")
    return g.node("Reshape", "x", g.node("Mul", shape, g.integers(1, 1)))


def _overflow(g: Graph) -> str:
    weight = g.array(np.full((3, 4), 1e38, np.float32))
    return g.node("Gemm", "x", weight, transB=1, alpha=1e30)

"""Every operator of an ONNX file means here what it means in onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.errors import EvidenceError
from auditkit.network.digest import semantic_digest
from auditkit.network.evaluate import logits
from auditkit.network.graph import AveragePool, Convolution, Dense, Network, Relu, Scale
from auditkit.network.read import load_network
from auditkit.network.read_onnx import network_from_onnx
from auditkit.network.write_onnx import network_to_onnx
from tests.network.onnx_models import Graph, model, run

SHARED = Path(os.environ.get("AUDITKIT_SHARED", Path(__file__).parents[3] / "shared"))


def read(proto: Any) -> Network:
    return network_from_onnx(proto.SerializeToString(), isolated=False)


def agree(proto: Any) -> Network:
    """Check the reading against onnxruntime, and that it survives being written and read."""
    data = proto.SerializeToString()
    network = network_from_onnx(data, isolated=False)
    dims = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    batch = dims[0] or 4
    x = np.random.default_rng(7).normal(size=(batch, *network.input_shape)).astype(network.dtype)
    expected = run(data, x)
    tolerance = 1e-4 if network.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(logits(network, x), expected, rtol=tolerance, atol=tolerance)
    written = network_to_onnx(network)
    np.testing.assert_allclose(run(written, x), expected, rtol=tolerance, atol=tolerance)
    again = network_from_onnx(written, isolated=False)
    assert semantic_digest(again) == semantic_digest(network)
    assert network_to_onnx(again) == written
    return network


def kinds(network: Network) -> list[str]:
    return [type(node.operator).__name__ for node in network.nodes]


def head(g: Graph, x: str, features: int) -> str:
    return g.dense(g.node("Flatten", x), features, 3)


# Each entry: the input's shape, the graph, and how many features reach the final dense layer.
IMAGES: dict[str, tuple[tuple[int, ...], Any, int]] = {
    "convolution": (
        (2, 6, 7),
        lambda g: g.node("Conv", "x", g.weight(4, 2, 3, 3), g.weight(4), strides=[2, 1]),
        4 * 2 * 5,
    ),
    "convolution without bias": (
        (2, 5, 5),
        lambda g: g.node("Conv", "x", g.weight(4, 2, 1, 1)),
        100,
    ),
    "grouped and dilated": (
        (4, 7, 7),
        lambda g: g.node(
            "Conv", "x", g.weight(6, 2, 2, 3), group=2, dilations=[2, 1], pads=[1, 0, 2, 1]
        ),
        6 * 8 * 6,
    ),
    "same upper": (
        (1, 7, 6),
        lambda g: g.node("Conv", "x", g.weight(2, 1, 4, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
        2 * 4 * 3,
    ),
    "same lower": (
        (1, 7, 6),
        lambda g: g.node("Conv", "x", g.weight(2, 1, 4, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
        2 * 4 * 3,
    ),
    "valid": ((1, 5, 5), lambda g: g.node("Conv", "x", g.weight(2, 1, 3, 3), auto_pad="VALID"), 18),
    "average pool": (
        (2, 6, 6),
        lambda g: g.node(
            "AveragePool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]
        ),
        2 * 3 * 3,
    ),
    "average pool counting pads": (
        (2, 5, 5),
        lambda g: g.node(
            "AveragePool", "x", kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1
        ),
        2 * 5 * 5,
    ),
    "max pool": (
        (2, 6, 6),
        lambda g: g.node("MaxPool", "x", kernel_shape=[2, 3], strides=[2, 1], pads=[1, 1, 0, 1]),
        2 * 3 * 6,
    ),
    "dilated max pool": (
        (2, 6, 6),
        lambda g: g.node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 3]),
        2 * 4 * 3,
    ),
    "idle ceil": (
        (2, 6, 6),
        lambda g: g.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        18,
    ),
    "same max pool": (
        (2, 5, 5),
        lambda g: g.node(
            "MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"
        ),
        18,
    ),
    "global average": ((3, 4, 5), lambda g: g.node("GlobalAveragePool", "x"), 3),
    "global maximum": ((3, 4, 5), lambda g: g.node("GlobalMaxPool", "x"), 3),
    "mean": ((3, 4, 5), lambda g: g.node("ReduceMean", "x", axes=[2, 3], keepdims=0), 3),
    "mean, channels last": ((4, 5, 3), lambda g: g.node("ReduceMean", "x", axes=[1, -2]), 3),
    "pad": (
        (2, 3, 3),
        lambda g: g.node("Pad", "x", g.integers(0, 0, 1, 2, 0, 1, 0, 1)),
        3 * 4 * 6,
    ),
    "transpose": ((4, 5, 2), lambda g: g.node("Transpose", "x", perm=[0, 3, 1, 2]), 40),
    "normalised input": (
        (3, 4, 4),
        lambda g: g.node(
            "Div",
            g.node("Sub", "x", g.array(np.float32([[[[0.1]], [[0.2]], [[0.3]]]]))),
            g.array(np.float32([[[0.3]], [[0.2]], [[0.5]]])),
        ),
        48,
    ),
    "constants on the left": (
        (3, 4),
        lambda g: g.node(
            "Add", g.weight(4), g.node("Mul", g.weight(3, 1), g.node("Sub", g.weight(1), "x"))
        ),
        12,
    ),
    "residual": (
        (2, 5, 5),
        lambda g: g.node(
            "Add", g.node("Relu", g.node("Conv", "x", g.weight(2, 2, 3, 3), pads=[1] * 4)), "x"
        ),
        50,
    ),
    "clip": ((3, 2), lambda g: g.node("Clip", "x", g.array(np.float32(0))), 6),
    "matrix on the last axis": (
        (4, 5),
        lambda g: g.node("Add", g.node("MatMul", "x", g.weight(5, 6)), g.weight(6)),
        24,
    ),
    "matrix on the left": ((4, 1), lambda g: g.node("MatMul", g.weight(5, 4), "x"), 5),
    "dropout": ((3, 2), lambda g: g.node("Dropout", "x"), 6),
    "squeeze": (
        (1, 3, 1),
        lambda g: g.node("Unsqueeze", g.node("Squeeze", "x", g.integers(1, -1)), g.integers(2)),
        3,
    ),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("batch", ["N", 1])
def test_operator_agrees_with_onnxruntime(name: str, batch: Any) -> None:
    shape, build, features = IMAGES[name]
    agree(model(lambda g: head(g, build(g), features), shape, batch=batch))


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 20, 22])
def test_every_opset_defines_its_own_inputs(opset: int) -> None:
    def build(g: Graph) -> str:
        x = g.node("Conv", "x", g.weight(3, 2, 3, 3), g.weight(3))
        moments = [g.weight(3), g.weight(3), g.weight(3), g.array(np.float32([0.5, 1, 2]))]
        x = g.node("BatchNormalization", x, *moments, epsilon=1e-3)
        if opset < 11:
            x = g.node("Clip", x, min=0.0)
            x = g.node("Pad", x, pads=[0, 0, 1, 0, 0, 0, 0, 1])
        else:
            x = g.node("Clip", x, g.array(np.float32(0)))
            x = g.node("Pad", x, g.integers(0, 0, 1, 0, 0, 0, 0, 1))
        if opset < 18:
            x = g.node("ReduceMean", x, axes=[2, 3], keepdims=1)
        else:
            x = g.node("ReduceMean", x, g.integers(2, 3), keepdims=1)
        if opset < 13:
            x = g.node("Squeeze", x, axes=[2, 3])
        else:
            x = g.node("Squeeze", x, g.integers(2, 3))
        return g.dense(x, 3, 3)

    # onnxruntime has no Clip or Pad without its later inputs for the oldest opset it still reads.
    network = agree(model(build, (2, 5, 5), opset=opset, ir_version=8 if opset < 22 else 10))
    assert kinds(network) == ["Convolution", "Relu", "Pad", "AveragePool", "Reshape", "Dense"]


@pytest.mark.parametrize("seed", range(6))
def test_batch_normalisation_folds_into_the_layer_before(seed: int) -> None:
    def moments(g: Graph, size: int) -> list[str]:
        return [g.weight(size) for _ in range(3)] + [
            g.array(g.rng.uniform(0.1, 2, size).astype("f4"))
        ]

    def build(g: Graph) -> str:
        x = g.node("Conv", "x", g.weight(3, 2, 2, 2))
        x = g.node("Relu", g.node("BatchNormalization", x, *moments(g, 3)))
        x = g.node("BatchNormalization", x, *moments(g, 3))  # after ReLU: nothing to fold into
        x = g.node("Add", g.node("MatMul", g.node("Flatten", x), g.weight(27, 5)), g.weight(5))
        x = g.node("BatchNormalization", x, *moments(g, 5))
        return g.dense(x, 5, 3)

    network = agree(model(build, (2, 4, 4), seed=seed))
    scales = ["Scale", "Scale"]
    assert kinds(network) == ["Convolution", "Relu", *scales, "Reshape", "Dense", "Dense"]


def test_batch_normalisation_of_a_shared_value_is_not_folded() -> None:
    def build(g: Graph) -> str:
        x = g.dense("x", 4, 5)
        scale = [g.weight(5), g.weight(5), g.weight(5), g.array(np.full(5, 0.7, np.float32))]
        return g.dense(g.node("Add", g.node("BatchNormalization", x, *scale), x), 5, 3)

    assert kinds(agree(model(build, (4,)))) == ["Dense", "Scale", "Scale", "Add", "Dense"]


def test_folding_is_done_in_float64_and_rounded_once() -> None:
    values = [np.float32([v]) for v in (1.1, 0.3, 0.7, 1.3)]

    def build(g: Graph) -> str:
        x = g.node("Gemm", "x", g.array(np.float32([[0.1, 0.2]])), transB=1)
        return g.dense(g.node("BatchNormalization", x, *(g.array(v) for v in values)), 1, 3)

    network = agree(model(build, (2,)))
    layer = network.nodes[0].operator
    assert isinstance(layer, Dense)
    scale, shift, mean, variance = (v.astype(np.float64) for v in values)
    factor = scale / np.sqrt(variance + float(np.float32(1e-5)))
    assert (layer.weight == (np.float32([[0.1, 0.2]]).astype(float) * factor).astype("f4")).all()
    assert (layer.bias == (shift - mean * factor).astype("f4")).all()


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_shape_arithmetic_of_exporters(batch: Any) -> None:
    def build(g: Graph) -> str:
        shape = g.node("Shape", "x")
        first = g.node("Unsqueeze", g.node("Gather", shape, g.array(np.int64(0))), g.integers(0))
        target = g.node("Concat", first, g.integers(-1), axis=0)
        x = g.node("Reshape", "x", target)
        ends = (g.integers(0), g.integers(1))
        piece = g.node("Cast", g.node("Slice", g.node("Shape", x), *ends), to=7)
        x = g.node("Reshape", x, g.node("Concat", piece, g.integers(2, 6), axis=0))
        return g.dense(g.node("Reshape", x, g.integers(-1, 12)), 12, 3)

    assert kinds(agree(model(build, (3, 4), batch=batch))) == ["Reshape", "Dense"]


def test_channels_last_with_transposes() -> None:
    def build(g: Graph) -> str:
        x = g.node("Transpose", "x", perm=[0, 3, 1, 2])
        x = g.node("Relu", g.node("Conv", x, g.weight(4, 2, 3, 3), g.weight(4)))
        x = g.node("Transpose", g.node("MaxPool", x, kernel_shape=[2, 2]), perm=[0, 2, 3, 1])
        x = g.node("Reshape", x, g.integers(-1, 3 * 3 * 4))
        weight = g.node("Transpose", g.weight(3, 36))
        return g.node("Relu", g.node("Add", g.node("MatMul", x, weight), g.weight(3)))

    assert agree(model(build, (6, 6, 2))).input_shape == (6, 6, 2)


def test_gemm_factors_and_constant_nodes() -> None:
    def build(g: Graph) -> str:
        weight = g.node("Constant", value_floats=[float(v) for v in range(12)])
        weight = g.node("Reshape", weight, g.integers(4, 3))
        return g.node("Gemm", "x", weight, g.weight(1, 3), alpha=0.5, beta=-2.0)

    agree(model(build, (4,)))


def test_float64_network_of_dense_layers() -> None:
    network = agree(
        model(lambda g: g.dense(g.node("Relu", g.dense("x", 4, 5)), 5, 3), (4,), dtype="f8")
    )
    assert network.dtype == np.float64


def test_initialisers_may_be_inputs_in_files_of_the_old_format() -> None:
    proto = model(lambda g: g.dense("x", 4, 3), (4,), opset=8, ir_version=3)
    from onnx import helper

    for weight in proto.graph.initializer:
        dims = list(weight.dims)
        proto.graph.input.append(helper.make_tensor_value_info(weight.name, 1, dims))
    agree(proto)
    proto.ir_version = 4
    with pytest.raises(EvidenceError, match="also an input"):
        read(proto)


def test_reading_in_the_child_gives_the_same_network(tmp_path: Path) -> None:
    proto = model(lambda g: head(g, g.node("Relu", "x"), 6), (2, 3))
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    assert semantic_digest(load_network(tmp_path)) == semantic_digest(read(proto))


def test_the_digest_covers_everything() -> None:
    def network(**change: Any) -> Network:
        settings = {"strides": [1, 1], "epsilon": 0.0, **change}

        def build(g: Graph) -> str:
            x = g.node("Conv", "x", g.weight(2, 1, 3, 3), g.weight(2), strides=settings["strides"])
            x = g.node("GlobalAveragePool", g.node("Relu", x))
            x = g.node("Add", x, g.array(np.float32(settings["epsilon"])))
            return head(g, x, 2)

        return read(model(build, (1, 5, 5)))

    digests = {
        semantic_digest(network()),
        semantic_digest(network(strides=[2, 1])),
        semantic_digest(network(epsilon=1e-30)),
        semantic_digest(network(epsilon=-0.0)),
        semantic_digest(network(), (0, 1)),
        semantic_digest(network(), (0, 2)),
        semantic_digest(network(), (-1, 1)),
    }
    assert len(digests) == 7
    assert semantic_digest(network(), (0, 1)) == semantic_digest(
        network(), (np.zeros((1, 5, 5)), 1.0)
    )


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("mnist-net_256x2", (784, 1), [Dense, Relu, Dense, Relu, Dense]),
        ("Convnet_avgpool", (1, 28, 28), [Convolution, Relu, AveragePool, Dense]),
    ],
)
def test_networks_of_others_load_as_they_are(
    name: str, shape: tuple[int, ...], expected: list[type]
) -> None:
    path = SHARED / "models" / f"{name}.onnx"
    if not path.exists():
        pytest.skip("the shared networks are absent: set AUDITKIT_SHARED")
    network = load_network(path)
    assert network.input_shape == shape
    assert [k for k in kinds(network) if k != "Reshape"] == [k.__name__ for k in expected]
    x = np.random.default_rng(0).uniform(size=(1, *shape)).astype(np.float32)
    np.testing.assert_allclose(logits(network, x), run(path.read_bytes(), x), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(node.operator, Scale) for node in network.nodes)

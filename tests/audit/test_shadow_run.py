"""Which networks shadow models are trained for, and on which numbers."""

from dataclasses import replace

import numpy as np
import pytest

from attacks.shadows import Recipe, train_one
from attacks.shadows import architecture as learned
from attacks.shadows.evaluate import forward
from auditkit.audit.shadow_run import architecture_of, dense_widths, prepared, train_shadow_run
from auditkit.network import graph
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network, Node
from auditkit.network.read import load_network
from auditkit.records import Records, read_records

RNG = np.random.default_rng(11)
F32 = np.dtype(np.float32)


def _chain(input_shape, *operators):
    return Network(input_shape, tuple(Node(o, (i,)) for i, o in enumerate(operators)), F32)


def _dense(out, into):
    return graph.Dense(RNG.normal(size=(out, into)).astype(F32), np.zeros(out, F32))


def _conv(out, into, *kernel, **more):
    weight = RNG.normal(size=(out, into, *kernel)).astype(F32)
    return graph.Convolution(weight, RNG.normal(size=out).astype(F32), **more)


CONV = _conv(4, 1, 3, 2, strides=(2, 1), pads=(1, 0, 1, 0))


def test_architecture_of_networks_made_by_others(shared):
    dense = load_network(shared / "models" / "mnist-net_256x2.onnx")
    assert dense_widths(dense) == (784, 256, 256, 10)
    images = load_network(shared / "models" / "Convnet_avgpool.onnx")
    assert architecture_of(images) == learned.Architecture(
        (1, 28, 28),
        (
            learned.Conv(32, (2, 2)),
            learned.Relu(),
            learned.Pool("average", (4, 4), (4, 4)),
            learned.Flatten(),
            learned.Dense(10),
        ),
    )
    assert dense_widths(images) is None


def test_the_architecture_computes_what_the_network_computes():
    # The network's own parameters in the architecture give its own logits.
    network = _chain(
        (8, 7, 1),
        graph.Scale("divide", np.full((1, 1, 1), 255.0, F32)),
        graph.Transpose((2, 0, 1)),
        CONV,
        graph.Relu(),
        graph.MaxPool((2, 2), (1, 2)),
        graph.Reshape((36,)),
        _dense(5, 36),
        graph.Relu(),
        _dense(3, 5),
    )
    kind = architecture_of(network)
    x = RNG.random((9, 8, 7, 1)).astype(F32) * 255
    layers = [
        (node.operator.weight, node.operator.bias)
        for node in network.nodes
        if isinstance(node.operator, (graph.Dense, graph.Convolution))
    ]
    found = forward(layers, prepared(network, x), kind)
    np.testing.assert_allclose(found, logits(network, x), atol=1e-4)
    assert [w.shape for w, _ in layers] == [
        w.shape
        for w, _ in train_one(kind, prepared(network, x), np.arange(9) % 3, Recipe(1), seed=0)
    ]


@pytest.mark.parametrize(
    "operators",
    [
        (replace(CONV, pads=(1, 0, 0, 0)), graph.Relu(), graph.Reshape((96,)), _dense(3, 96)),
        (replace(CONV, dilations=(2, 2)), graph.Relu(), graph.Reshape((60,)), _dense(3, 60)),
        (graph.MaxPool((2, 2), (2, 2), (1, 1, 1, 1)), graph.Reshape((20,)), _dense(3, 20)),
        (graph.Reshape((8, 7)), _dense(2, 7), graph.Reshape((16,)), _dense(3, 16)),
    ],
)
def test_no_architecture_for_layers_that_shadow_models_do_not_have(operators):
    assert architecture_of(_chain((1, 8, 7), *operators)) is None


def test_no_architecture_without_anything_to_learn():
    assert architecture_of(_chain((1, 8, 7), graph.Reshape((56,)))) is None
    nothing = learned.Architecture((1, 2, 1), (learned.Flatten(),))
    with pytest.raises(ValueError, match="no layer that learns"):
        train_one(nothing, np.ones((4, 2)), np.arange(4) % 2, Recipe(1), seed=0)


def test_no_architecture_for_a_residual_network():
    nodes = (
        Node(_dense(6, 6), (0,)),
        Node(graph.Relu(), (1,)),
        Node(graph.Add(), (0, 2)),
        Node(_dense(3, 6), (3,)),
    )
    assert architecture_of(Network((6,), nodes, F32)) is None


def test_shadow_models_of_a_convolutional_network_learn_from_pixels(shared):
    network = load_network(shared / "models" / "Convnet_avgpool.onnx")
    folder = shared / "data" / "mnist"
    images = read_records(
        folder / "t10k-images-idx3-ubyte.gz", network.input_shape, 10, domain=(0.0, 255.0)
    )
    train, forget, unseen = (
        images.take(range(400)),
        images.take(range(30)),
        images.take(range(400, 430)),
    )
    run = train_shadow_run(network, train, forget, unseen, 4, Recipe(15, 0.01, 25), 0, None)
    assert run.signals.shape == run.member_mask.shape == (4, 60) and run.pool == 430
    assert (run.member_mask.sum(axis=0) == 2).all()
    assert (run.signals > 0).mean() > 0.8  # φ > 0: the right class has most of the probability
    # The scale of the records is no matter: the same shadow models for pixels 0 to 1.
    small = [Records(r.x / 255, r.y) for r in (train, forget, unseen)]
    again = train_shadow_run(network, *small, 4, Recipe(15, 0.01, 25), 0, None)
    np.testing.assert_allclose(run.signals, again.signals, atol=0.05)

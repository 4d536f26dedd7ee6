"""From export to verdict on every kind of network: pools, residual blocks, layouts, scalings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.certificate.make import make_submission
from auditkit.certificate.policy import Policy
from auditkit.certificate.submission import load_submission
from auditkit.certificate.verify import verify_submission
from auditkit.network.evaluate import logits
from auditkit.network.graph import (
    Add,
    AveragePool,
    Convolution,
    MaxPool,
    Network,
    Relu,
    Scale,
    Transpose,
)
from auditkit.network.read import load_network
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records
from auditkit.results import Outcome
from tests.network.onnx_models import Graph, model

PROVED = (
    "patch.support",
    "certificate.point",
    "certificate.region",
    "certificate.separation",
    "certificate.canonical",
    "certificate.deployed",
    "patch.export",
)
RADIUS = 0.002


class Residual(nn.Module):
    """A block of two convolutions with batch norm beside its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x) + x)


class ChannelsLast(nn.Module):
    """Images [height, width, channels] at the input, back to that layout before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 3, 3)
        self.head = nn.Linear(48, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.convolution(x.permute(0, 3, 1, 2)))
        return self.head(y.permute(0, 2, 3, 1).flatten(1))


def convolution(*rest: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 3), *rest)


TORCH: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[type, ...]]] = {
    "max pool": (
        lambda: convolution(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4)),
        (2, 6, 6),
        (MaxPool,),
    ),
    "max pool first": (
        lambda: convolution(nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)),
        (2, 6, 6),
        (MaxPool,),
    ),
    "average pool": (
        lambda: convolution(
            nn.ReLU(),
            nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            nn.Flatten(),
            nn.Linear(12, 4),
        ),
        (2, 6, 6),
        (AveragePool,),
    ),
    "residual": (
        lambda: convolution(
            nn.BatchNorm2d(3), nn.ReLU(), Residual(3), nn.Flatten(), nn.Linear(48, 4)
        ),
        (2, 6, 6),
        (Add,),
    ),
    "batch norm first": (
        lambda: nn.Sequential(
            nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)
        ),
        (2, 6, 6),
        (Scale, Convolution),
    ),
    "channels last": (ChannelsLast, (6, 6, 2), (Transpose,)),
    "final ReLU": (
        lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU()),
        (8,),
        (Relu,),
    ),
}


def from_torch(kind: str, path: Path) -> tuple[Network, nn.Module]:
    """Export a torch network with statistics of its own and read it back."""
    torch.manual_seed(3)
    build, shape, _ = TORCH[kind]
    module = build()
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.uniform_(part.weight, 0.5, 1.5)
    if kind == "final ReLU":  # logits of which some are positive
        nn.init.uniform_(module[2].bias, 0.5, 1.0)
    module.eval()
    torch.onnx.export(
        module,
        (torch.zeros(1, *shape),),
        str(path),
        dynamic_axes={"x": {0: "N"}},
        input_names=["x"],
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamo=False,
    )
    return load_network(path), module


def certified(network: Network, out: Path, spec: str = "redirect") -> dict[str, Any]:
    """Patch four records, verify, and return the checks by their id."""
    rng = np.random.default_rng(2)
    x = rng.random((60, *network.input_shape)).astype(np.float32)
    everything = Records(x, logits(network, x).argmax(axis=1))
    forget = everything.take(range(4))
    others = everything.take(range(4, 60))
    settings = resolve_settings(spec, radius=RADIUS)
    reference = others if spec != "redirect" else None
    made = make_submission(network, forget, settings, out, reference=reference)
    assert made.claims == 4
    policy = Policy(least_radius=1e-6)
    result = verify_submission(load_submission(out), forget=forget, policy=policy)
    return {check.id: check for check in result.checks}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", TORCH)
def test_claims_are_proved_on_networks_that_torch_exports(kind: str, tmp_path: Path) -> None:
    network, module = from_torch(kind, tmp_path / "model.onnx")
    for operator in TORCH[kind][2]:
        assert any(isinstance(node.operator, operator) for node in network.nodes)
    x = np.random.default_rng(0).random((5, *network.input_shape)).astype(np.float32)
    expected = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(logits(network, x), expected, rtol=1e-4, atol=1e-5)
    checks = certified(network, tmp_path / "submission")
    for name in PROVED:
        assert checks[name].outcome is Outcome.PASS, checks[name].reason


def chained_scalings(graph: Graph) -> str:
    """Constants that multiply, divide, add and subtract one after the other, around the units."""
    x = graph.node("Sub", "x", graph.array(np.full(6, 0.5, np.float32)))
    x = graph.node("Div", x, graph.array(np.full(6, 0.25, np.float32)))
    x = graph.node("Mul", x, graph.array(np.linspace(0.5, 1.5, 6, dtype=np.float32)))
    x = graph.node("Relu", graph.dense(x, 6, 24))
    x = graph.node("Mul", x, graph.array(np.full(24, 3.0, np.float32)))
    x = graph.node("Add", x, graph.array(np.full(24, 0.1, np.float32)))
    x = graph.node("Div", x, graph.array(np.full(24, 7.0, np.float32)))
    x = graph.dense(x, 24, 3)
    return graph.node("Mul", x, graph.array(np.asarray(2.0, np.float32)))


def residual_pools(graph: Graph) -> str:
    """A max pool and an average pool of one value, added up: two ways from the same units."""
    x = graph.node("Relu", graph.node("Conv", "x", graph.weight(2, 1, 3, 3), graph.weight(2)))
    a = graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    b = graph.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    return graph.dense(graph.node("Flatten", graph.node("Add", a, b)), 8, 3)


def channels_last_pool(graph: Graph) -> str:
    """What a converter from a channels-last framework writes: transposes around every window."""
    x = graph.node("Transpose", "x", perm=[0, 3, 1, 2])
    x = graph.node("Conv", x, graph.weight(3, 2, 2, 2), graph.weight(3))
    x = graph.node("Transpose", x, perm=[0, 2, 3, 1])
    x = graph.node("Relu", x)
    x = graph.node("Transpose", x, perm=[0, 3, 1, 2])
    x = graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = graph.node("Transpose", x, perm=[0, 2, 3, 1])
    return graph.dense(graph.node("Flatten", x), 12, 3)


HANDMADE: dict[str, tuple[Callable[[Graph], str], tuple[int, ...]]] = {
    "chained scalings": (chained_scalings, (6,)),
    "residual pools": (residual_pools, (1, 6, 6)),
    "channels-last pool": (channels_last_pool, (5, 5, 2)),
}


@pytest.mark.parametrize("spec", ["redirect", "neutralise", "reference"])
@pytest.mark.parametrize("kind", HANDMADE)
def test_claims_are_proved_on_handmade_graphs(kind: str, spec: str, tmp_path: Path) -> None:
    build, shape = HANDMADE[kind]
    path = tmp_path / "model.onnx"
    path.write_bytes(model(build, shape, seed=5).SerializeToString())
    checks = certified(load_network(path), tmp_path / "submission", spec)
    for name in PROVED:
        assert checks[name].outcome is Outcome.PASS, checks[name].reason

"""A small network and records of its own, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from auditkit.cli.main import main
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.network.write_onnx import network_to_onnx

CLASSES, FEATURES, HIDDEN = 3, 4, 6


@dataclass(frozen=True)
class Run:
    """What a command did."""

    code: int
    out: str
    err: str


Auditkit = Callable[..., Run]


@pytest.fixture
def auditkit(capsys: pytest.CaptureFixture[str]) -> Auditkit:
    """Run `auditkit` with these arguments in this process."""

    def run(*arguments: object) -> Run:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def network() -> Network:
    """A random network 4-6-3."""
    rng = np.random.default_rng(7)

    def dense(outputs: int, inputs: int) -> Dense:
        weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
        return Dense(weight, rng.normal(size=outputs).astype(np.float32))

    nodes = (
        Node(dense(HIDDEN, FEATURES), (0,)),
        Node(Relu(), (1,)),
        Node(dense(CLASSES, HIDDEN), (2,)),
    )
    return Network((FEATURES,), nodes, np.dtype(np.float32))


@pytest.fixture
def model(network: Network, tmp_path: Path) -> Path:
    """The network as an ONNX file."""
    path = tmp_path / "model.onnx"
    path.write_bytes(network_to_onnx(network))
    return path


@pytest.fixture
def forget(tmp_path: Path) -> Path:
    """Three records."""
    path = tmp_path / "forget.npz"
    np.savez(path, x=some_records(3), y=np.array([0, 1, 2]))
    return path


def some_records(count: int, seed: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return `count` random inputs of the network."""
    return np.random.default_rng(seed).uniform(size=(count, FEATURES)).astype(np.float32)

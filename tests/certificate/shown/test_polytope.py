"""The linear program on polytopes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.certificate.shown import polytope
from auditkit.certificate.shown.polytope import reconstruct
from auditkit.network.evaluate import evaluate
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Dense, Network, Node, Relu

HALF = np.array([[-1.0, -2.0]])  # x₀ + 2 x₁ ≥ 1


def test_the_sparsest_point_and_the_middle_of_a_triangle():
    assert reconstruct(HALF, np.array([-1.0]), 0, 1, "sparse") == pytest.approx([0, 0.5])
    # the triangle (0, 0), (1, 0), (0, 1): its incentre
    middle = reconstruct(np.array([[1.0, 1.0]]), np.array([1.0]), 0, 1, "middle")
    assert middle == pytest.approx([1 / (2 + 2**0.5)] * 2)


def test_nothing_is_returned_that_is_not_known():
    nowhere = np.array([[-1.0, -1.0]])
    assert reconstruct(nowhere, np.array([-3.0]), 0, 1, "sparse") is None
    assert reconstruct(np.array([[np.nan, 1.0]]), np.array([1.0]), 0, 1, "middle") is None
    assert reconstruct(HALF, np.array([np.inf]), 0, 1, "sparse") is None


def test_too_large_a_program_is_not_started(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(polytope, "PROGRAM_NUMBERS", 5)
    assert reconstruct(HALF, np.array([-1.0]), 0, 1, "sparse") is None


def uncentred() -> Network:
    """A random 600-256-20 network whose units change sign near sparse records."""
    generator = np.random.default_rng(2)
    first, second = (generator.normal(0, n**-0.5, (m, n)) for m, n in ((256, 600), (20, 256)))
    nodes = (
        Node(Dense(first, generator.normal(0, 0.1, 256)), (0,)),
        Node(Relu(), (1,)),
        Node(Dense(second, np.zeros(20)), (2,)),
    )
    return Network((600,), nodes, np.dtype(np.float64))


def sparse_records(count: int, ones: int) -> np.ndarray:
    generator = np.random.default_rng(1)
    x = np.zeros((count, 600))
    for row in x:
        row[generator.choice(600, ones, replace=False)] = 1
    return x


@pytest.mark.parametrize(("tight", "ones", "least"), [(True, 40, 1.0), (False, 4, 0.8)])
def test_sparse_binary_records_come_back_from_their_rows(tight: bool, ones: int, least: float):
    """Rows that are tight at the record give it away exactly, true regions much of it."""
    network = uncentred()
    x = sparse_records(4, ones)
    bits = evaluate(network, x)[1] > 0
    units = bits.shape[1]
    recovered = []
    for row, pattern in zip(x, bits, strict=True):
        frozen = Frozen(network, pattern[None])
        _, constant = frozen.forward(np.zeros((1, 600)))
        gradient = frozen.repeat(units).adjoint(np.zeros((units, 20)), injections=np.eye(units))
        sign = np.where(pattern, 1.0, -1.0)
        a = -sign[:, None] * gradient
        b = a @ row if tight else sign * constant[0]
        found = reconstruct(a, b, 0, 1, "sparse")
        assert found is not None
        largest = np.argsort(-found)[:ones]
        recovered.append(row[largest].mean())
        if tight:
            assert found == pytest.approx(row, abs=1e-6)
    assert np.mean(recovered) >= least

"""Relaxed bounds over the whole box against the exact oracle, intervals and bad slopes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from auditkit.network import relaxation
from auditkit.network.graph import Convolution, Dense, MaxPool, Network, Relu, Reshape
from auditkit.network.interval import logit_difference_ceiling
from auditkit.network.relaxation import WAYS, Lines, Relaxation, lead_ceiling
from tests.network.test_evaluate import made
from tests.oracle.exact import ExactNetwork, exact
from tests.oracle.networks import FAMILIES, STYLES, chain

EVERY = list(itertools.product(FAMILIES, STYLES))


def points(network: Network, rng: np.random.Generator) -> Any:
    """Return corners of the unit box and points between them."""
    shape = (24, *network.input_shape)
    corners = rng.integers(0, 2, size=shape).astype(float)
    return np.concatenate([corners, rng.random(shape), np.zeros(shape)[:1], np.ones(shape)[:1]])


@pytest.mark.parametrize(("family", "style"), EVERY)
def test_no_point_of_the_box_is_above_a_bound(family: str, style: str) -> None:
    rng = np.random.default_rng([5, len(family), len(style)])
    for seed in range(3):
        network, _ = made(family, style, rng.choice([np.float32, np.float64]), seed)
        with np.errstate(all="ignore"):
            relaxed = Relaxation(network, 0.0, 1.0)
            rows = rng.normal(size=(6, network.classes)) * 10.0 ** rng.integers(-3, 4, size=(6, 1))
            bounds = relaxed.upper(len(network.nodes), rows)
            leads = [lead_ceiling(network, k, 0.0, 1.0) for k in range(network.classes)]
        oracle = ExactNetwork(network)
        for x in points(network, rng):
            f, _ = oracle(exact(x))
            for row, bound in zip(rows, bounds, strict=True):
                value = sum((Fraction(w) * v for w, v in zip(row.tolist(), f, strict=True)), 0)
                assert not np.isfinite(bound) or value <= Fraction(float(bound))
            for k, ceiling in enumerate(leads):
                lead = f[k] - max(v for j, v in enumerate(f) if j != k)
                assert not np.isfinite(ceiling.bound) or lead <= Fraction(ceiling.bound)


@pytest.mark.parametrize("family", FAMILIES)
def test_any_slopes_are_sound(family: str) -> None:
    rng = np.random.default_rng(9)
    for seed in range(5):
        network, _ = made(family, "normal", seed=seed)
        relaxed = Relaxation(network, 0.0, 1.0)

        def random(line: Lines) -> Lines:
            sure = (line.upper_slope == 0) | (line.upper_slope == 1)
            draws = [np.where(sure, line.upper_slope, rng.random(sure.shape)) for _ in WAYS]
            return replace(line, lower_slopes=tuple(draws))

        relaxed.relus = {index: random(line) for index, line in relaxed.relus.items()}
        relaxed.pools = {
            index: (plan, [random(line) for line in lines])
            for index, (plan, lines) in relaxed.pools.items()
        }
        rows = rng.normal(size=(4, network.classes))
        bounds = relaxed.upper(len(network.nodes), rows)
        oracle = ExactNetwork(network)
        for x in points(network, rng)[:20]:
            f = np.array([float(v) for v in oracle(exact(x))[0]])
            assert (rows @ f <= bounds + 1e-9).all()


@pytest.mark.parametrize(("family", "style"), EVERY)
def test_the_ceiling_is_never_worse_than_intervals(family: str, style: str) -> None:
    for seed in range(3):
        network, _ = made(family, style, seed=seed)
        for label in range(network.classes):
            with np.errstate(all="ignore"):
                bound, error = logit_difference_ceiling(network, label, 0.0, 1.0)
                ceiling = lead_ceiling(network, label, 0.0, 1.0)
            assert ceiling.bound <= bound or not np.isfinite(bound)
            assert ceiling.error == error or np.isnan(error)
            assert ceiling.method in ("intervals", "linear relaxation")


def test_relaxation_beats_intervals_on_a_deeper_network() -> None:
    rng = np.random.default_rng(0)
    operators: list[Any] = [Convolution(rng.normal(size=(4, 1, 3, 3)), rng.normal(size=4))]
    operators += [MaxPool((2, 2), (2, 2)), Relu(), Reshape((36,))]
    operators += [Dense(rng.normal(size=(20, 36)) / 6, rng.normal(size=20)), Relu()]
    operators += [Dense(rng.normal(size=(3, 20)) / 4, rng.normal(size=3))]
    network = chain((1, 8, 8), operators, np.float64)
    for label in range(3):
        bound, _ = logit_difference_ceiling(network, label, 0.0, 1.0)
        ceiling = lead_ceiling(network, label, 0.0, 1.0)
        assert ceiling.method == "linear relaxation"
        assert ceiling.bound < 0.8 * bound


def test_where_no_unit_changes_sign_the_bound_is_the_maximum() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(5, 4)), rng.normal(size=(3, 5))
    shift = np.array([20.0, -20.0, 20.0, -20.0, 20.0])
    operators = [Dense(first, shift), Relu(), Dense(second, np.zeros(3))]
    network = chain((4,), operators, np.float64)
    rows = np.eye(3)
    gradient = second @ (first * (shift > 0)[:, None])
    expected = np.maximum(gradient, 0).sum(axis=1) + second @ (shift * (shift > 0))
    np.testing.assert_allclose(Relaxation(network, 0.0, 1.0).upper(3, rows), expected, rtol=1e-12)


def test_a_maximum_is_bounded_by_its_tournament() -> None:
    """Two players that never meet as equals: the pool is the winner, exactly."""
    weight = np.array([[1.0, 0.0], [0.0, 1.0]])
    operators = [Dense(weight, np.array([5.0, 0.0])), Reshape((1, 1, 2)), MaxPool((1, 2), (1, 1))]
    operators += [Reshape((1,)), Dense(np.array([[1.0], [-1.0]]), np.zeros(2))]
    network = chain((2,), operators, np.float64)
    bounds = Relaxation(network, 0.0, 1.0).upper(5, np.eye(2))
    np.testing.assert_allclose(bounds, [6.0, -5.0], rtol=1e-12)


def test_tightening_stops_at_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    network, _ = made("dense", "normal", seed=4)
    rows = np.eye(network.classes)
    passes: list[int] = []
    inner = Relaxation._pass

    def counted(self: Any, value: int, *rest: Any) -> Any:
        passes.append(value)
        return inner(self, value, *rest)

    monkeypatch.setattr(Relaxation, "_pass", counted)
    tight = Relaxation(network, 0.0, 1.0).upper(len(network.nodes), rows)
    assert any(value < len(network.nodes) for value in passes)
    passes.clear()
    monkeypatch.setattr(relaxation, "PRODUCTS", 0.0)
    loose = Relaxation(network, 0.0, 1.0).upper(len(network.nodes), rows)
    assert set(passes) == {len(network.nodes)}
    assert (tight <= loose + 1e-9).all()

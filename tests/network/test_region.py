"""Boxes and affine pieces bound what happens on a claimed set."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.network.evaluate import evaluate, pattern
from auditkit.network.interval import logit_difference_ceiling
from auditkit.network.region import Box, Piece, record_batches
from auditkit.network.rigorous import RIGOROUS, Ball
from tests.network.test_evaluate import EVERY, made
from tests.oracle.exact import ClaimedSet, ExactNetwork, exact, in_region

UNIT = st.floats(0, 1)


@settings(max_examples=200, deadline=None)
@given(UNIT, st.floats(0, 2), st.floats(-1, 1))
def test_boxes_are_rounded_outwards(x: float, radius: float, where: float) -> None:
    box = Box.around(np.array([[x]]), np.array([radius]), 0.0, 1.0)
    y = Fraction(x) + Fraction(radius) * Fraction(where)
    y = min(max(y, Fraction(0)), Fraction(1))  # any point of the ball within the domain
    step = y - Fraction(x)
    assert Fraction(float(box.step_lower[0, 0])) <= step <= Fraction(float(box.step_upper[0, 0]))
    ball = box.ball
    off = abs(y - Fraction(float(ball.center[0, 0])))
    assert off <= Fraction(float(ball.radius[0, 0]))


NUMBERS = st.lists(
    st.tuples(st.floats(-1e5, 1e5), st.floats(0, 1), st.floats(0, 1e-3)), min_size=1, max_size=5
)


@settings(max_examples=200, deadline=None)
@given(NUMBERS, st.floats(0, 2))
def test_extremes_of_a_linear_function(entries: list[tuple[float, float, float]], r: float) -> None:
    g, x, spread = (np.array(column) for column in zip(*entries, strict=True))
    box = Box.around(x[None], np.array([r]), 0.0, 1.0)
    least, greatest = box.extremes(Ball(g[None, None], spread[None, None]))
    best = worst = Fraction(0)
    for a, e, low, high in zip(
        exact(g), exact(spread), exact(box.step_lower), exact(box.step_upper), strict=True
    ):
        ends = [(a + s * e) * end for s in (-1, 1) for end in (low, high)]
        best, worst = best + max(ends), worst + min(ends)
    assert Fraction(float(greatest[0, 0])) >= best
    assert Fraction(float(least[0, 0])) <= worst
    loose = float(spread.sum()) * 2 + 1e-9 * (1 + abs(float(best)))
    assert greatest[0, 0] <= float(best) + loose


@pytest.mark.parametrize(("family", "style"), EVERY)
def test_bounds_hold_on_the_claimed_set(family: str, style: str) -> None:
    network, x = made(family, style)
    rng = np.random.default_rng(4)
    bits, oracle = pattern(network, x), ExactNetwork(network)
    radius = rng.choice([0.001, 0.1, np.inf], size=len(x))
    target = rng.integers(network.classes, size=len(x))
    piece = Piece.at(network, bits, Box.around(x, radius, 0.0, 1.0))
    bounds, leads = piece.logit_bounds(), piece.lead_bounds(target)
    low, high = piece.unit_ranges()
    cost = rng.random(bits.shape) * 0.1
    wanted = rng.random(bits.shape) < 0.5
    floor = piece.sum_floor(np.arange(len(x)), wanted, cost)
    for row in range(len(x)):
        f, units = oracle(exact(x[row]))
        if not in_region(units, bits[row]):
            continue  # a tie that the floats took for a sign
        forms = oracle.piece(bits[row])
        claimed = ClaimedSet.of(exact(x[row]), radius[row], (0.0, 1.0), forms[1], bits[row])
        goals = [exact(rng.integers(0, 2, network.features)) for _ in range(3)]
        for y in [claimed.x, *(claimed.towards(goal) for goal in goals)]:
            f, units = oracle(y)
            k = target[row]
            for j, value in enumerate(f):
                assert bounds.lower[row, j] <= value <= bounds.upper[row, j]
                assert j == k or value - f[k] <= Fraction(float(leads[row, j]))
            for u, value in enumerate(units):
                assert low[row, u] <= value <= high[row, u]
            total = sum(
                (
                    (z if bit else -z) - Fraction(float(c))
                    for z, bit, c, w in zip(units, bits[row], cost[row], wanted[row], strict=True)
                    if w
                ),
                Fraction(0),
            )
            assert Fraction(float(floor[row])) <= total


@pytest.mark.parametrize(("family", "style"), EVERY)
def test_bounds_are_tight_within_a_region(family: str, style: str) -> None:
    """On a ball so small that it stays in its region, λ = 0 loses next to nothing."""
    network, x = made(family, style)
    bits = pattern(network, x)
    piece = Piece.at(network, bits, Box.around(x, np.full(len(x), 1e-9), 0.0, 1.0))
    reach = np.abs(piece.jacobian.center).reshape(len(x), network.classes, -1).sum(axis=2) * 1e-9
    bounds = piece.logit_bounds()
    logits, _ = evaluate(network, x)
    scale = 1e-12 * (1 + np.abs(logits).max() + np.abs(piece.jacobian.center).max())
    assert (bounds.upper <= logits + reach + scale).all()
    assert (bounds.lower >= logits - reach - scale).all()


def test_batches_cover_all_records() -> None:
    network, _ = made("dense", "normal")
    for count in (0, 1, 255, 256, 700):
        rows = [i for part in record_batches(network, count) for i in range(count)[part]]
        assert rows == list(range(count))


@pytest.mark.parametrize("family", ["dense", "residual", "averaged", "pooled"])
def test_the_ceiling_of_a_suppressed_class(family: str) -> None:
    network, _ = made(family, "normal")
    rng = np.random.default_rng(7)
    x: Any = rng.integers(0, 2, size=(50, *network.input_shape)).astype(float)
    x[:25] = rng.random(x[:25].shape)
    logits, _ = evaluate(network, Ball.exact(x), RIGOROUS)
    for label in range(network.classes):
        ceiling, error = logit_difference_ceiling(network, label, 0.0, 1.0)
        others = np.delete(logits.lower, label, axis=1).max(axis=1)
        assert (logits.upper[:, label] - others <= ceiling + 1e-12).all()
        assert 0 < error < 1e-3

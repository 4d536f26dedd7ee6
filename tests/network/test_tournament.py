"""Max pooling as a tournament: order, padding, strides, dilation, ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from auditkit.network import linear
from auditkit.network.graph import MaxPool
from auditkit.network.numbers import PLAIN
from auditkit.network.tournament import adjoint, by_bits, by_value, play, tournament

POOLS = [
    MaxPool((1, 1), (1, 1)),
    MaxPool((2, 2), (2, 2)),
    MaxPool((3, 3), (2, 1), (1, 1, 2, 0)),
    MaxPool((2, 3), (1, 2), (1, 2, 0, 1), (2, 1)),
    MaxPool((1, 5), (1, 1), (0, 4, 0, 4)),
    MaxPool((4, 1), (3, 3), (2, 0, 3, 0)),
]
SHAPE = (2, 5, 6)


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_the_champion_is_the_maximum(pool: MaxPool) -> None:
    rng = np.random.default_rng(0)
    plan = tournament(pool, SHAPE)
    for x in (rng.normal(size=(4, *SHAPE)), rng.integers(0, 2, size=(4, *SHAPE)).astype(float)):
        expected = linear.maximum_windows(pool, x)
        units, champions = [], x.reshape(4, -1)[:, np.maximum(plan.players[:, :1], 0)]
        for z, slots in play(plan, x, PLAIN, by_value(PLAIN)):
            units.append(z)
            champions = slots
        np.testing.assert_array_equal(champions[:, :, 0].reshape(expected.shape), expected)
        players = (plan.players >= 0).sum(axis=1)
        assert plan.units == sum(z.shape[1] for z in units) == (players - 1).sum()
        # The bits of these comparisons (a tie is 0) give the same champions.
        bits = np.concatenate([np.zeros((4, 0)), *units], axis=1) > 0
        for _, slots in play(plan, x, PLAIN, by_bits(plan, bits, PLAIN)):
            champions = slots
        np.testing.assert_array_equal(champions[:, :, 0].reshape(expected.shape), expected)


def test_units_are_ordered_by_round_then_position_then_pair() -> None:
    plan = tournament(MaxPool((1, 5), (1, 1)), (1, 2, 5))
    x = np.array([[3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3]])
    rounds = [z[0].tolist() for z, _ in play(plan, x, PLAIN, by_value(PLAIN))]
    # (3 1)(4 1) 5 | (9 2)(6 5) 3; then (3 4) 5 | (9 6) 3; then (4 5) | (9 3)
    assert rounds == [[-2, -3, -7, -1], [1, -3], [1, -6]]


def test_padding_takes_no_part() -> None:
    plan = tournament(MaxPool((2, 2), (1, 1), (1, 1, 1, 1)), (1, 1, 1))
    assert plan.units == 0
    assert plan.players.tolist() == [[0]] * 4


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_the_adjoint_is_the_transpose_for_any_bits(pool: MaxPool) -> None:
    rng = np.random.default_rng(1)
    plan = tournament(pool, SHAPE)
    x = rng.normal(size=(3, *SHAPE))
    bits = rng.random((3, plan.units)) < 0.5
    parts, champions = [np.zeros((3, 0))], x.reshape(3, -1)[:, np.maximum(plan.players[:, :1], 0)]
    for z, slots in play(plan, x, PLAIN, by_bits(plan, bits, PLAIN)):
        parts.append(z)
        champions = slots
    units = np.concatenate(parts, axis=1)
    back, injected = rng.normal(size=champions.shape[:2]), rng.normal(size=units.shape)
    for b, i in itertools.product((back, None), (injected, None)):
        if b is None and i is None:
            continue
        gradient = adjoint(plan, bits, b, i, PLAIN)
        expected = np.zeros(3)
        if b is not None:
            expected += (b * champions[:, :, 0]).sum(axis=1)
        if i is not None:
            expected += (i * units).sum(axis=1)
        found = (gradient * x.reshape(3, -1)).sum(axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)

"""Multipliers: programs are optimal, ascent comes near, and the checker's bound follows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from auditkit.network.evaluate import pattern
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.network.region import Box, Piece
from auditkit.patch import sharpen
from auditkit.patch.sharpen import Sharpener, lead_bounds, lead_objective, sharpen_greatest
from tests.certificate.conftest import World, small_world
from tests.oracle.exact import ExactNetwork


@pytest.fixture(scope="module")
def hard() -> World:
    return small_world(5, records=8)


def regions(world: World, radius: float) -> tuple[Sharpener, np.ndarray, Box]:
    x = world.forget.x.astype(np.float64)
    bits = pattern(world.network, x)
    box = Box.around(x, np.full(len(x), radius), 0.0, 1.0)
    return Sharpener(world.network, bits, box), bits, box


def best(world: World, bits: np.ndarray, row: int, seeds: np.ndarray, box: Box) -> float:
    """Return the greatest seeds · f over a region within its box, by another LP interface."""
    forms, units = ExactNetwork(world.network).piece(bits)
    objective = (np.array(forms, dtype=float) * seeds[:, None]).sum(axis=0)
    rows = np.array(units, dtype=float) * np.where(bits, 1.0, -1.0)[:, None]
    x = box.x[row]
    limits = np.stack([x + box.step_lower[row], x + box.step_upper[row]], axis=1)
    found = linprog(-objective[:-1], A_ub=-rows[:, :-1], b_ub=rows[:, -1], bounds=limits)
    return float(objective[-1] - found.fun)


@pytest.mark.parametrize("radius", [0.05, 0.3, np.inf])
def test_a_linear_program_gives_the_greatest_value(hard: World, radius: float) -> None:
    sharpener, bits, box = regions(hard, radius)
    rows, target = np.arange(8), np.zeros(8, int)
    seeds = lead_objective(4, target)(rows, np.full(8, 2))
    found = sharpener.solve(rows, seeds)
    truth = np.array([best(hard, bits[r], r, seeds[r], box) for r in rows])
    np.testing.assert_allclose(found.above, truth, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.below, truth, rtol=1e-5, atol=1e-5)
    upper = np.full(8, int(Objective.UPPER))
    offered = Multipliers.of(bits.shape[1], rows, upper, np.full(8, 2), list(found.multipliers))
    bound = lead_bounds(hard.network, bits, box, target, offered)[:, 2]
    assert (bound >= truth - 1e-9).all()
    np.testing.assert_allclose(bound, truth, rtol=1e-5, atol=1e-5)
    assert (bound <= lead_bounds(hard.network, bits, box, target)[:, 2]).all()


def test_ascent_is_valid_and_near(hard: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sharpener, bits, box = regions(hard, np.inf)
    rows, target = np.arange(8), np.zeros(8, int)
    seeds = lead_objective(4, target)(rows, np.full(8, 2))
    exactly = sharpener.solve(rows, seeds)
    monkeypatch.setattr(sharpen, "PROGRAM_ENTRIES", 0)
    ascent, _, _ = regions(hard, np.inf)
    assert not ascent.by_program.any()
    found = ascent.solve(rows, seeds)
    start = lead_bounds(hard.network, bits, box, target)[:, 2]
    assert (found.above >= exactly.above - 1e-9).all()
    assert (found.below <= exactly.above + 1e-9).all()
    assert np.median((start - found.above) / (start - exactly.above)) > 0.9
    offered = Multipliers.of(
        bits.shape[1],
        rows,
        np.zeros(8, int),
        np.full(8, 2),
        list(found.multipliers),
    )
    bound = lead_bounds(hard.network, bits, box, target, offered)[:, 2]
    np.testing.assert_allclose(bound, np.minimum(found.above, start), rtol=1e-9)


def test_the_greatest_of_a_group_is_sharpened_and_no_more(hard: World) -> None:
    sharpener, bits, box = regions(hard, np.inf)
    target, zero = np.zeros(8, int), np.zeros((8, 4))
    bound = lead_bounds(hard.network, bits, box, target)
    objective = lead_objective(4, target)
    nothing = np.full(8, -np.inf)
    group = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    rows, sharper = sharpen_greatest(sharpener, bound, objective, zero, group, nothing)
    for k in (0, 1):
        truth = max(
            best(hard, bits[r], r, objective(np.array([r]), np.array([j]))[0], box)
            for r in np.flatnonzero(group == k)
            for j in (1, 2, 3)
        )
        assert sharper[group == k].max() == pytest.approx(truth, rel=1e-5)
    assert len(rows.record) < 8 * 3
    few, _ = sharpen_greatest(sharpener, bound, objective, zero, group, bound.max(axis=1))
    assert len(few.record) == 0


def test_sums_over_units_are_bounded_over_regions(hard: World) -> None:
    _, bits, box = regions(hard, np.inf)
    piece = Piece.at(hard.network, bits, box)
    rows = np.arange(8)
    wanted = np.random.default_rng(0).random(bits.shape) < 0.3
    cost = np.zeros(bits.shape)
    offered = np.ones(bits.shape) * wanted
    # on the region every σ z is at least 0: λ = 1 on the wanted units says so exactly
    floor = piece.sum_floor(rows, wanted, cost, offered)
    assert (floor <= 0).all() and (floor > -1e-9).all()
    assert (piece.sum_floor(rows, wanted, cost) < -0.1).any()


def test_multipliers_keep_their_order_and_their_zeros() -> None:
    rows = [np.array([0.0, 2.0, 0.0]), np.array([1.0, 0.0, 3.0]), np.zeros(3)]
    m = Multipliers.of(3, np.array([2, 0, 1]), np.array([0, 2, 1]), np.array([1, 4, 0]), rows)
    assert m.record.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(m.dense(np.array([0, -1, 2])), [[1, 0, 3], [0, 0, 0], [0, 2, 0]])
    assert m.find(Objective.GATE, np.array([0, 0]), np.array([4, 5])).tolist() == [0, -1]
    part = m.among(np.array([1, 2]))
    assert part.record.tolist() == [0, 1] and len(part.units) == 1
    with pytest.raises(ValueError, match="ascending"):
        Multipliers(3, m.record[::-1], m.objective, m.index, m.start, m.units, m.values)
    with pytest.raises(ValueError, match="unit"):
        Multipliers(2, m.record, m.objective, m.index, m.start, m.units, m.values)

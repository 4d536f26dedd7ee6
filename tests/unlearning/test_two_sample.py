"""The energy test: as many false alarms as it says, and it sees what differs and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, energy_distance

from auditkit.unlearning.two_sample import MOST, energy_test


def normal(seed: int, count: int, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, (count, 5))


def test_samples_of_one_distribution_are_rejected_as_rarely_as_it_says() -> None:
    trials = 200
    rejected = sum(
        energy_test(normal(2 * i, 20), normal(2 * i + 1, 50), permutations=99, seed=i).p_value
        <= 0.05
        for i in range(trials)
    )
    assert binom.ppf(0.001, trials, 0.05) <= rejected <= binom.ppf(0.999, trials, 0.05)


@pytest.mark.parametrize("what", ["mean", "spread", "dependence"])
def test_whatever_differs_is_seen(what: str) -> None:
    a, b = normal(1, 200), normal(2, 200)
    if what == "mean":
        b = b + 0.5
    elif what == "spread":
        b = b * 1.7
    else:
        b[:, 1] = b[:, 0]  # every feature by itself is distributed as before
    found = energy_test(a, b)
    assert found.p_value < 0.02
    assert (found.first, found.second) == (200, 200)


def test_within_labels_it_sees_answers_and_not_how_many_records_a_label_has() -> None:
    generator = np.random.default_rng(3)
    few, many = generator.integers(0, 2, 300), np.zeros(300, dtype=int)
    many[:30] = 1
    a = normal(4, 300) + 4.0 * few[:, None]
    b = normal(5, 300) + 4.0 * many[:, None]
    assert energy_test(a, b).p_value == 1 / 500
    assert energy_test(a, b, (few, many)).p_value > 0.05
    # The same shift in opposite directions cancels over all, and is seen within labels.
    labels = np.arange(300) % 2
    x, y = normal(6, 300), normal(7, 300)
    moved = y + np.where(labels, 1.0, -1.0)[:, None]
    assert energy_test(x, moved, (labels, labels)).p_value == 1 / 500


def test_the_statistic_is_the_energy_distance_times_the_size() -> None:
    a, b = normal(8, 30)[:, :1], normal(9, 40, 0.3)[:, :1]
    # scipy's is the square root of half of 2·E|X − Y| − E|X − X'| − E|Y − Y'|, times √2
    expected = 30 * 40 / 70 * energy_distance(a[:, 0], b[:, 0]) ** 2
    assert energy_test(a, b).statistic == pytest.approx(expected)
    assert energy_test(b, a).statistic == pytest.approx(expected)


def test_a_label_that_one_side_lacks_is_left_out_and_no_common_one_is_an_error() -> None:
    a, b = normal(1, 20), normal(2, 20)
    found = energy_test(a, b, (np.repeat([0, 1], 10), np.repeat([1, 2], 10)))
    assert (found.first, found.second) == (10, 10)
    with pytest.raises(ValueError, match="no stratum in common"):
        energy_test(a, b, (np.zeros(20), np.ones(20)))


def test_equal_answers_and_single_records_say_nothing() -> None:
    assert energy_test(np.ones((5, 3)), np.ones((9, 3))).p_value == 1.0
    alone = energy_test(normal(1, 1, 9.0), normal(2, 9))
    assert alone.p_value > 0.05  # one record among ten, however far away, is the last in 1 of 10


def test_many_records_are_drawn_from_by_the_seed() -> None:
    a, b = normal(1, MOST + 500), normal(2, 100)
    first, again, other = (energy_test(a, b, permutations=19, seed=s) for s in (1, 1, 2))
    assert first == again and first.first == MOST
    assert first.statistic != other.statistic

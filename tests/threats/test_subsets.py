"""The tail of a sum over a random choice, against every choice there is."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import hypergeom, mannwhitneyu

from auditkit.threats.subsets import tail

SHAPES = {
    "even": lambda g: g.normal(size=20),
    "skewed": lambda g: g.exponential(size=20) ** 2,
    "ranks": lambda g: np.arange(20.0),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_what_all_choices_say(shape: str) -> None:
    scores = SHAPES[shape](np.random.default_rng(0))
    choices = np.array(list(combinations(range(20), 10)))
    sums = scores[choices].sum(axis=1)
    for quantile in (0.9, 0.99, 0.999, 0.9999):
        at = int(np.argmin(np.abs(sums - np.quantile(sums, quantile))))
        chosen = choices[at]
        others = np.setdiff1d(np.arange(20), chosen)
        exact, beyond = (float((sums >= sums[at] + e).mean()) for e in (-1e-9, 1e-9))
        # where sums come in steps, as of ranks, it is the middle of a step
        middle = (exact + beyond) / 2
        assert tail(scores[chosen], scores[others], 0) == pytest.approx(middle, rel=0.15)


def test_of_ranks_it_is_mann_and_whitney() -> None:
    generator = np.random.default_rng(1)
    order = np.argsort(np.concatenate([generator.normal(0.7, 1, 60), generator.normal(size=300)]))
    ranks = np.empty(360)
    ranks[order] = np.arange(360)
    mine, theirs = ranks[:60], ranks[60:]
    expected = mannwhitneyu(mine, theirs, alternative="greater", method="exact").pvalue
    assert tail(mine, theirs, 0) == pytest.approx(expected, rel=0.05)


def test_few_records_and_ties_are_drawn() -> None:
    scores = np.zeros(600)
    scores[:3] = 1.0  # three outliers, all among the chosen: far likelier than a normal curve says
    expected = hypergeom(600, 3, 90).sf(2)
    assert tail(scores[:90], scores[90:], 0) == pytest.approx(expected, rel=0.3)
    best = tail(np.array([9.0]), np.arange(9.0), 0)
    assert best == pytest.approx(0.1, abs=0.01), "one of ten records can be the first by chance"


@pytest.mark.parametrize(
    ("mine", "theirs"), [([], [1.0]), ([1.0], []), ([2.0] * 20, [2.0] * 20), ([0.0], [1.0])]
)
def test_nothing_to_tell_is_no_evidence(mine: list[float], theirs: list[float]) -> None:
    assert tail(np.array(mine), np.array(theirs), 0) >= 0.5


def test_its_level() -> None:
    generator = np.random.default_rng(2)
    found = []
    for _ in range(600):
        scores = generator.exponential(size=150) ** 1.5
        found.append(tail(scores[:40], scores[40:], 0))
    assert 0.02 <= np.mean(np.array(found) <= 0.05) <= 0.09
    assert np.mean(np.array(found) <= 0.001) <= 0.01

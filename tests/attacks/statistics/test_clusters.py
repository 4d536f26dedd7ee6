"""People with several records: the clustered variance against its definition and by simulation."""

import numpy as np
import pytest

from attacks.statistics import auc_difference, auc_estimate, equivalence_test, population_rate
from attacks.statistics.clusters import design_effect, grouping


def _psi(x, y):
    return (x[:, None] > y) + 0.5 * (x[:, None] == y)


def _obuchowski(x, y, cx, cy):
    """The variance as the paper writes it, one cluster after another."""
    table, people = _psi(x, y), sorted({*cx, *cy})
    m, n, theta = len(x), len(y), _psi(x, y).mean()
    v10 = {c: table[np.array(cx) == c].sum() / n for c in people}
    v01 = {c: table[:, np.array(cy) == c].sum() / m for c in people}
    of_x = {c: list(cx).count(c) for c in people}
    of_y = {c: list(cy).count(c) for c in people}
    i10, i01 = sum(v > 0 for v in of_x.values()), sum(v > 0 for v in of_y.values())
    s10 = sum((v10[c] - of_x[c] * theta) ** 2 for c in people) * i10 / ((i10 - 1) * m)
    s01 = sum((v01[c] - of_y[c] * theta) ** 2 for c in people) * i01 / ((i01 - 1) * n)
    s11 = sum((v10[c] - of_x[c] * theta) * (v01[c] - of_y[c] * theta) for c in people)
    s11 *= len(people) / (len(people) - 1)
    return s10 / m + s01 / n + 2 * s11 / (m * n)


@pytest.mark.parametrize("shared", [False, True])
def test_variance_equals_the_definition(shared):
    rng = np.random.default_rng(0)
    cx, cy = rng.integers(0, 20, 60), rng.integers(0 if shared else 20, 45, 80)
    x, y = np.round(rng.normal(1, 1, 60), 1), np.round(rng.normal(size=80), 1)
    estimate = auc_estimate(x, y, clusters=(cx, cy))
    assert estimate.method == "clustered-logit"
    assert estimate.standard_error**2 == pytest.approx(_obuchowski(x, y, cx, cy))


def test_single_records_are_plain_delong():
    rng = np.random.default_rng(1)
    x, y = rng.normal(1, 1, 60), rng.normal(size=80)
    names = [f"x{i}" for i in range(60)], [f"y{i}" for i in range(80)]
    assert auc_estimate(x, y, clusters=names) == auc_estimate(x, y)
    assert auc_difference(x, y, [(y[:60], y)], clusters=names) == auc_difference(
        x, y, [(y[:60], y)]
    )


def test_copies_of_a_record_are_no_evidence():
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.5, 1, 50), rng.normal(size=50)
    often = np.repeat(x, 5), np.repeat(y, 5)
    names = np.repeat(np.arange(50), 5), np.repeat(np.arange(50, 100), 5)
    once, clustered = auc_estimate(x, y), auc_estimate(*often, clusters=names)
    assert clustered.auc == pytest.approx(once.auc)
    assert clustered.standard_error == pytest.approx(once.standard_error, rel=1e-9)
    assert auc_estimate(*often).standard_error < 0.5 * clustered.standard_error
    reference = [(np.repeat(y[::-1], 5), np.repeat(x[::-1], 5))]
    apart = auc_difference(x, y, [(y[::-1], x[::-1])])
    together = auc_difference(*often, reference, clusters=names)
    assert together.method == "clustered-paired"
    assert together.standard_error == pytest.approx(apart.standard_error, rel=1e-9)


def test_the_rate_counts_people_too():
    rng = np.random.default_rng(3)
    x, y = np.repeat(rng.normal(1, 1, 60), 5), rng.normal(size=2000)
    names = np.repeat(np.arange(60), 5), np.arange(60, 2060)
    plain, people = population_rate(x, y, 0.05), population_rate(x, y, 0.05, names)
    assert people.value == plain.value and people.trials == pytest.approx(60, rel=0.05)
    low, high = people.interval(0.9)
    assert high - low > 1.6 * np.subtract(*plain.interval(0.9)[::-1])


@pytest.mark.parametrize(("value", "method"), [(1.0, "chernoff"), (0.0, "all-tied")])
def test_degenerate_scores_count_people(value, method):
    x, y = np.full(60, value), np.zeros(400)
    names = np.repeat(np.arange(20), 3), np.arange(20, 420)
    people = auc_estimate(x, y, clusters=names)
    assert people.method == method and people.independent == (20, 400)
    alone = auc_estimate(x[::3], y)
    assert people.interval(0.9) == pytest.approx(alone.interval(0.9))
    assert equivalence_test(people, 0.5, 0.4).lower < equivalence_test(alone, 0.5, 0.4).lower + 1e-9


def test_one_person_carries_no_interval_of_its_own():
    rng = np.random.default_rng(4)
    x, y = rng.normal(2, 1, 50), rng.normal(size=500)
    one = auc_estimate(x, y, clusters=(["me"] * 50, np.arange(500)))
    assert one.method == "chernoff" and one.independent == (1, 500)
    assert one.lower < 0.1 and one.upper > 0.99


def test_design_effect():
    rng = np.random.default_rng(5)
    alone = (rng.random(4000) < 0.3).astype(float)
    assert design_effect(alone, np.arange(4000)) == pytest.approx(1.0, abs=0.01)
    assert design_effect(np.repeat(alone, 4), np.repeat(np.arange(4000), 4)) == pytest.approx(
        4.0, rel=0.02
    )
    assert design_effect(np.zeros(6), np.array([0, 0, 0, 1, 1, 2])) == 3.0


def test_refuses_names_that_do_not_fit():
    with pytest.raises(ValueError, match=r"clusters must name \(2,\) and \(1,\)"):
        grouping((["a"], ["b"]), 2, 1)

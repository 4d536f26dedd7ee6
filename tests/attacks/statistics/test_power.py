"""What is planned is what happens: power against simulation, sizes against power."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from attacks.decision import decide_small_request
from attacks.decision.planning import out_shadows_needed
from attacks.statistics import (
    clopper_pearson,
    epsilon_lower_bound,
    epsilon_power,
    equivalence_test,
    exposure_power,
    greatest_epsilon,
    guesses_for_one_run,
    members_for_tpr,
    out_needed_for_exposure,
    population_rate,
    records_for_epsilon,
    tpr_equivalence_power,
)
from attacks.statistics.epsilon import one_run_p_value


@pytest.mark.parametrize(
    ("m", "n", "shift"), [(100, 10_000, 0.0), (300, 10_000, 0.5), (150, 1000, 0.0)]
)
def test_power_of_the_rate_is_the_share_of_passes(m, n, shift):
    passed = []
    for seed in range(300):
        rng = np.random.default_rng([seed, 1])
        rate = population_rate(rng.normal(shift, 1, m), rng.normal(size=n), 0.01)
        passed.append(equivalence_test(rate, 0.01, 0.05).equivalent)
    truth = float(norm.sf(norm.isf(0.01) - shift))
    planned = tpr_equivalence_power(m, n, 0.01, 0.05, true_tpr=truth)
    assert np.mean(passed) == pytest.approx(planned, abs=0.1)


def test_sizes_for_the_rate():
    needed = members_for_tpr(10_000, 0.01, 0.05)
    assert needed is not None
    assert tpr_equivalence_power(needed, 10_000, 0.01, 0.05) >= 0.8
    assert tpr_equivalence_power(needed // 2, 10_000, 0.01, 0.05) < 0.8
    assert members_for_tpr(299, 0.01, 0.05) is None  # the rate is not resolved
    assert members_for_tpr(10_000, 0.01, 0.05, true_tpr=0.07) is None  # beyond the margin


def test_power_of_epsilon_is_the_share_of_bounds():
    """Two-valued scores: the threshold is never in doubt, and the split leaves half of each."""
    planned = epsilon_power(60, 60, 0.6, 0.1, 0.8, delta=0.0)
    shown = []
    for seed in range(400):
        rng = np.random.default_rng([seed, 2])
        x, y = rng.random(120) < 0.6, rng.random(120) < 0.1
        bound = epsilon_lower_bound(x * 1.0, y * 1.0, method="cp-split", delta=0.0, seed=seed)
        shown.append(bound.epsilon > 0.8)
    assert 0.2 < planned < 0.8
    assert np.mean(shown) == pytest.approx(planned, abs=4 * math.sqrt(0.25 / 400))


def test_sizes_for_epsilon():
    needed = records_for_epsilon(0.4, 0.05, 1.0)
    assert needed is not None
    assert epsilon_power(needed, needed, 0.4, 0.05, 1.0) >= 0.8
    assert epsilon_power(needed // 2, needed // 2, 0.4, 0.05, 1.0) < 0.8
    assert records_for_epsilon(0.1, 0.05, 1.0) is None
    low = math.log(clopper_pearson(100, 100)[0]) - math.log(clopper_pearson(0, 100)[1])
    assert greatest_epsilon(100, 100, delta=0.0) == pytest.approx(low)


def test_guesses_of_one_run():
    needed = guesses_for_one_run(1.0, true_epsilon=2.0)
    assert needed is not None
    rng = np.random.default_rng(0)
    right = rng.binomial(needed, 1 / (1 + math.exp(-2.0)), 2000)
    shown = [one_run_p_value(int(r), needed, needed, 1.0, 0.0) < 0.05 for r in right]
    assert np.mean(shown) >= 0.8 - 4 * math.sqrt(0.16 / 2000)
    assert guesses_for_one_run(2.0, true_epsilon=2.0) is None


def test_power_of_exposure_is_the_share_exposed():
    shift, shadows, records = 3.5, 160, 4
    found = []
    for seed in range(300):
        rng = np.random.default_rng([seed, 3])
        inside = np.zeros((shadows, records), dtype=bool)
        inside[: shadows // 2] = True
        target = rng.normal(size=records)
        target[0] += shift
        verdict = decide_small_request(target, rng.normal(size=inside.shape), inside)
        found.append(verdict.records[0].p_adjusted <= 0.05)
    planned = exposure_power(shift, records, shadows // 2)
    assert np.mean(found) == pytest.approx(planned, abs=4 * math.sqrt(0.25 / 300))


def test_sizes_for_exposure():
    assert exposure_power(9.0, 20, out_shadows_needed(20)) == pytest.approx(1.0, abs=1e-3)
    assert exposure_power(9.0, 20, out_shadows_needed(20) - 1) == 0.0
    needed = out_needed_for_exposure(4.2, 20)
    assert needed is not None and needed >= out_shadows_needed(20)
    assert exposure_power(4.2, 20, needed) >= 0.8
    assert out_needed_for_exposure(1.0, 20) is None  # the best possible rank is not rare enough
    many = exposure_power(4.0, 1000, 2000, exposed=50)
    assert many > exposure_power(4.0, 1000, 2000) and many > exposure_power(
        4.0, 1000, 2000, exposed=50, attacks=10
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: tpr_equivalence_power(0, 1, 0.01, 0.05),
        lambda: tpr_equivalence_power(10, 1000, 0.01, 0.0),
        lambda: epsilon_power(10, 10, 0.5, 0.1, -1.0),
        lambda: epsilon_power(10, 10, 1.0, 0.1, 1.0),
        lambda: greatest_epsilon(0, 10),
        lambda: guesses_for_one_run(-1.0, true_epsilon=1.0),
        lambda: exposure_power(1.0, 2, 10, exposed=3),
        lambda: exposure_power(1.0, 0, 10),
        lambda: out_needed_for_exposure(1.0, 1, power=1.0),
    ],
)
def test_refuses(call):
    with pytest.raises(ValueError):
        call()

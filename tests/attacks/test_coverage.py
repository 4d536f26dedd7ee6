"""A small version of the coverage study: the cells where methods fail first, with fixed seeds.

A cell is refused when its rate is beyond what the binomial of so many repetitions leaves to chance
(one in a thousand) at the end of the nominal range.
"""

import json

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.coverage import (
    AREAS,
    FAMILIES,
    Cell,
    Measured,
    cells,
    draw,
    measure,
    read,
    repeat,
    report,
    true_rate,
)

CELLS = {cell.key: cell for cell in cells()}


@pytest.mark.parametrize(
    ("key", "repetitions"),
    [
        ("delong | gaussian, AUC 0.95, 200 + 200", 500),
        ("delong | ties, AUC 0.5, 200 + 200", 500),
        ("paired | exponential, AUC 0.95 against 0.55, 200 + 200", 500),
        ("bca | ties, AUC 0.95, 200 + 200", 150),
        ("bca | gaussian, AUC 0.55, 200 + 200", 150),
        ("people | clustered: 70 people with 3 records each, 1000 others", 500),
        ("exact | share 0.05 of 20", 1000),
        ("rate | this threshold: gaussian, AUC 0.7, 300 + 300, FPR 0.01", 500),
        ("rate | population: gaussian, AUC 0.7, 300 + 300, FPR 0.01", 500),
        ("rate | population: mixture, AUC 0.55, 2000 + 2000, FPR 0.01", 300),
        ("advantage | AUC 0.5, 50 + 50", 400),
        ("epsilon | cp-bonferroni: randomised response, ε = 1, δ = 0, 200 records", 500),
        ("epsilon | one-run: randomised response, ε = 1, δ = 0, 200 records", 200),
        ("epsilon | one-run-gdp: null, 200 records", 200),
        ("false PASS | one attack on the AUC margin, 200 + 1000, known reference", 300),
        ("false FAIL | one attack on the TPR margin, 200 + 1000, known reference", 300),
        ("small request | 5 records, 64 shadow models, normal, by record", 100),
        ("exposure | by rank, 20 of 200 exposed, 5 attacks", 400),
    ],
)
def test_holds(key, repetitions):
    cell = CELLS[key]
    low, high = cell.wanted
    total, _ = repeat(cell, 0, repetitions)
    slack = 1e-9  # of a mean of shares that are no whole counts
    assert total >= binom.ppf(0.001, repetitions, low) - slack
    assert total <= binom.ppf(0.999, repetitions, high) + slack


@pytest.mark.parametrize(
    "key",
    [
        "people | plain DeLong: 100 people with 10 records each, 1000 others",
        "rate | this threshold's interval for the population's rate: "
        "gaussian, AUC 0.7, 300 + 300, FPR 0.01",
    ],
)
def test_what_is_shown_as_a_miss_is_one(key):
    cell = CELLS[key]
    assert cell.shown and cell.note
    assert repeat(cell, 0, 200)[0] < binom.ppf(0.001, 200, 0.95)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_truths_are_true(family):
    from attacks.statistics import auc

    for area in AREAS:
        x, y = draw(family, area, 40_000, 40_000, np.random.default_rng(1))
        assert auc(x, y) == pytest.approx(area, abs=0.01)
        if family != "ties":
            threshold = np.quantile(y, 0.9)
            assert np.mean(x > threshold) == pytest.approx(true_rate(family, area, 0.1), abs=0.015)


def test_a_run_that_was_stopped_goes_on(tmp_path):
    state = tmp_path / "state.jsonl"
    coins = [
        Cell("exact", name, (0.4, 0.6), lambda rng: float(rng.random() < 0.5)) for name in "ab"
    ]
    key = f"{coins[0].key} | 10"
    state.write_text(json.dumps([key, 10, 4.0, 4.0]) + "\n" + '["half a li')
    assert read(state) == {key: Measured(10, 4.0, 4.0)}
    found = {coins[0].key: Measured(10, 4.0, 4.0), coins[1].key: Measured(100, 90.0, 90.0)}
    text = report(coins, found, "how")
    assert "1 within, 0 open, 1 outside" in text and "**OUTSIDE**" in text
    assert measure(coins[:1], 10, state, 1) == {coins[0].key: Measured(10, 4.0, 4.0)}


def test_verdicts():
    assert Measured(4000, 3800.0, 3800.0).verdict((0.94, 0.96)) == "within"
    assert Measured(4000, 3744.0, 3744.0).verdict((0.94, 0.96)) == "open"
    assert Measured(4000, 3600.0, 3600.0).verdict((0.94, 0.96)) == "OUTSIDE"
    assert Measured(4000, 260.0, 260.0).verdict((0.0, 0.05)) == "OUTSIDE"
    shares = Measured(100, 5.0, 0.5)  # answers between 0 and 1
    assert 0.0 < shares.interval[0] < 0.05 < shares.interval[1] < 0.08

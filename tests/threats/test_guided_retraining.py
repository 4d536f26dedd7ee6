"""Guided batches rank high, honest ones anywhere; an order given beforehand decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import irwinhall, kstest

from auditkit.results import CheckResult, Outcome
from auditkit.threats import forged_log, guided_retraining
from auditkit.threats.evidence import Evidence
from auditkit.threats.guided_retraining import OTHERS, _chance, _power, detect_model
from auditkit.threats.interface import Owner
from tests.threats.conftest import Make
from tests.threats.trained_owner import RECIPES, trained_owner


def judged(owner: Owner, evidence: Evidence, seed: int = 0, **known: Any) -> CheckResult:
    submission: Any = owner.submission
    given = replace(evidence, training=owner.training, **known)
    return detect_model(submission, given, seed=seed)


@pytest.mark.parametrize("name", RECIPES)
def test_an_honest_log_ranks_anywhere(name: str) -> None:
    owner, evidence = trained_owner(name)
    found = judged(owner, evidence)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.evidence["p_refute"] > 0.001 and found.evidence["p_guided"] < 0.01
    assert found.evidence["power"] > 0.99
    assert "--order-seed" in found.reason


def test_p_values_of_honest_logs_are_uniform() -> None:
    found = [
        judged(*trained_owner(name, seed), seed=seed).evidence["p_refute"]
        for name in ("adam", "sgd")
        for seed in range(2)
    ]
    assert kstest(found, "uniform").pvalue > 0.01
    assert min(found) > 0.001


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_guided_batches_are_found_and_replay(name: str, tmp_path: Path) -> None:
    owner, evidence = trained_owner(name)
    cheat = guided_retraining.simulate(owner, tmp_path / "c", seed=3, variant="within-epochs")
    found = judged(cheat, evidence)
    assert found.outcome is Outcome.FAIL and found.evidence["p_refute"] < 1e-6
    assert found.observed > 0.65
    submission: Any = cheat.submission
    given = replace(evidence, training=cheat.training)
    assert forged_log.detect_model(submission, given, seed=0).outcome is Outcome.PASS


def test_records_used_unevenly_are_certain(tmp_path: Path) -> None:
    owner, evidence = trained_owner()
    cheat = guided_retraining.simulate(
        owner, tmp_path / "c", seed=3, variant="free-choice", strength=0.1
    )
    found = judged(cheat, evidence)
    assert found.outcome is Outcome.FAIL and "p_refute" not in found.evidence


def test_the_auditors_order_decides(tmp_path: Path) -> None:
    owner, evidence = trained_owner(order_seed=7)
    assert judged(owner, evidence, order_seed=7).outcome is Outcome.PASS
    assert judged(owner, evidence, order_seed=8).outcome is Outcome.FAIL
    for strength in (1.0, 0.02):
        cheat = guided_retraining.simulate(owner, tmp_path / f"{strength}", seed=3,
                                           strength=strength)  # fmt: skip
        assert judged(cheat, evidence, order_seed=7).outcome is Outcome.FAIL
    # records of the same content may stand for each other
    log = owner.training
    assert log is not None
    records = log.records.copy()
    records[1] = records[0]
    swapped = log.batches.copy()
    swapped[log.batches == 0], swapped[log.batches == 1] = 1, 0
    order = np.lexsort(records.T[::-1])
    assert order[0] == 0 and order[1] == 1
    twins = replace(log, records=records, batches=swapped)
    assert judged(replace(owner, training=twins), evidence, order_seed=7).outcome is Outcome.PASS


def test_the_law_of_the_sum() -> None:
    law = _chance(12)
    assert law.sum() == pytest.approx(1) and len(law) == 12 * OTHERS + 1
    total = 12 * OTHERS * 3 // 4
    continuous = irwinhall(12).sf((total + 6 - 0.5) / (OTHERS + 1))
    assert law[total:].sum() == pytest.approx(continuous, rel=0.02)
    draws = np.random.default_rng(0).random((20000, 12, 4)).max(axis=2)
    guided = np.floor(draws * (OTHERS + 1)).sum(axis=1)
    assert _chance(12, 1.0) @ np.arange(len(law)) == pytest.approx(guided.mean(), rel=0.01)
    assert _power(5) < _power(80)
    # what the page says of half of the steps
    tails = np.cumsum(_chance(80)[::-1])[::-1]
    assert _chance(80, 0.5)[tails <= 0.001].sum() == pytest.approx(0.94, abs=0.005)


def test_what_is_missing_is_a_reason(make: Make) -> None:
    owner, evidence = trained_owner()
    submission: Any = owner.submission
    found = detect_model(submission, replace(evidence, training=None), seed=0)
    assert found.outcome is Outcome.NOT_RUN and not found.required
    patch: Any = make("redirect")
    found = guided_retraining.detect(patch, evidence, seed=0)
    assert found.outcome is Outcome.NOT_RUN and "not trained" in found.reason
    log = owner.training
    assert log is not None
    shorter = replace(log, weights=log.weights[:, 1:], moments=log.moments[..., 1:])
    assert judged(replace(owner, training=shorter), evidence).outcome is Outcome.INCONCLUSIVE
    weights = np.clip(log.weights.astype(np.float64) * 1e36, -3e38, 3e38).astype(np.float32)
    huge = replace(log, weights=weights)
    assert judged(replace(owner, training=huge), evidence).outcome is Outcome.INCONCLUSIVE

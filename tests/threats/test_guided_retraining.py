"""Guided batches rank high, honest ones anywhere; an order given beforehand decides."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import irwinhall, kstest

from auditkit import limits
from auditkit.records import Records, joined
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forged_log, guided_retraining
from auditkit.threats.evidence import Evidence
from auditkit.threats.guided_retraining import OTHERS, _chance, _power, detect_model
from auditkit.threats.interface import Owner
from auditkit.unlearning.replay import content_order, log_of, network_at, train_with_log
from auditkit.unlearning.training import fresh
from auditkit.unlearning.training_log import as_names, digest_table
from tests.threats.conftest import Make
from tests.threats.trained_owner import KEY, RECIPES, trained_owner


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


def ordered(owner: Owner, records: Records, key: bytes = KEY, seed: int = 7) -> Owner:
    """Return an owner who trained on these records in the order that the auditor's seed gives."""
    submission: Any = owner.submission
    blank = submission.unlearned
    _, log = train_with_log(blank, records, RECIPES["sgd"], 1, key, order_seed=seed)
    return replace(owner, training=log)


def test_under_the_auditors_order_records_are_all_and_each_once() -> None:
    """One record 201 times, and others not at all: chosen, though every batch is as the seed's."""
    owner, evidence = trained_owner("sgd")
    assert evidence.retain is not None
    retain: Records = evidence.retain
    few = retain.take(np.concatenate([np.arange(300), np.zeros(200, np.int64)]))
    cheat = ordered(owner, few)
    found = judged(cheat, evidence, order_seed=7)
    assert found.outcome is Outcome.FAIL and "leaves out 240" in found.reason, found.reason
    assert "lists 200" in found.reason and found.observed == 440
    # nor is it for want of a seed that it would pass
    assert judged(cheat, evidence).outcome is Outcome.FAIL
    submission: Any = cheat.submission
    log = replace(evidence, training=cheat.training)
    facts = forged_log.detect_model(submission, log, seed=0)
    assert facts.outcome is Outcome.FAIL and "leaves out 240" in facts.reason
    # who has some retained records can tell neither that, nor that they are all
    assert judged(cheat, evidence, train=None, order_seed=7).outcome is Outcome.INCONCLUSIVE
    whole = ordered(owner, retain)
    assert judged(whole, evidence, order_seed=7).outcome is Outcome.PASS
    assert "recipe" in judged(whole, evidence, order_seed=7).reason
    some = replace(evidence, train=None, retain=retain.take(range(500)))
    assert judged(whole, some, order_seed=7).outcome is Outcome.INCONCLUSIVE
    # which records stay is the owner's to say where the request is
    found = judged(whole, evidence, forget=None, order_seed=7)
    assert found.outcome is Outcome.INCONCLUSIVE and "owner's word" in found.reason


def test_under_the_auditors_seed_first_weights_and_scale_are_not_chosen() -> None:
    owner, evidence = trained_owner("sgd")
    assert evidence.retain is not None
    honest = ordered(owner, evidence.retain)
    log, submission = honest.training, owner.submission
    assert log is not None
    network: Any = submission.unlearned  # type: ignore[attr-defined]
    other = log_of(network, evidence.retain.take(content_order(evidence.retain)), log.records,
                   log.batches, log.recipe, 8, fresh(network, 8))[1]  # fmt: skip
    found = judged(replace(owner, training=other), evidence, order_seed=7)
    assert found.outcome is Outcome.FAIL and "first weights" in found.reason
    scaled = replace(log, largest=2.0)
    found = judged(replace(owner, training=scaled), evidence, order_seed=7)
    assert found.outcome is Outcome.FAIL and "scale" in found.reason


def test_records_of_the_same_content_may_stand_for_each_other() -> None:
    owner, evidence = trained_owner("sgd")
    assert evidence.retain is not None and evidence.train is not None
    twins = joined(evidence.retain, evidence.retain.take([0]))
    train = joined(evidence.train, evidence.retain.take([0]))
    honest = ordered(owner, twins)
    log = honest.training
    assert log is not None
    names = as_names(log.records)
    one, two = np.flatnonzero(names == as_names(digest_table(evidence.retain.take([0]), KEY)))
    swapped = log.batches.copy()
    swapped[log.batches == one], swapped[log.batches == two] = two, one
    cheat = replace(honest, training=replace(log, batches=swapped))
    for each in (honest, cheat):
        found = judged(each, evidence, train=train, retain=twins, order_seed=7)
        assert found.outcome is Outcome.PASS, found.reason


def test_a_copy_of_a_requested_record_may_have_stayed() -> None:
    owner, evidence = trained_owner("sgd")
    assert evidence.retain is not None and evidence.train is not None
    assert evidence.forget is not None
    copy = evidence.forget.take([0])
    kept, train = joined(evidence.retain, copy), joined(evidence.train, copy)
    honest = ordered(owner, kept)
    submission: Any = owner.submission
    for seed in (None, 7):
        found = judged(honest, evidence, train=train, order_seed=seed)
        assert found.outcome is Outcome.INCONCLUSIVE and "copies" in found.reason, found.reason
    last = network_at(submission.unlearned, honest.training, -1)  # type: ignore[arg-type]
    made = replace(submission, unlearned=last)
    given = replace(evidence, train=train, training=honest.training)
    found = forged_log.detect_model(made, given, seed=0)
    assert found.outcome is Outcome.INCONCLUSIVE and "copies" in found.reason, found.reason
    # without that copy it is a fact
    found = forged_log.detect_model(made, replace(given, train=evidence.train), seed=0)
    assert found.outcome is Outcome.FAIL and "1 forgotten records are in" in found.reason
    # and who let go of both is not held up
    gone = ordered(owner, evidence.retain)
    assert judged(gone, evidence, train=train, order_seed=7).outcome is Outcome.PASS


def test_a_log_that_states_absurd_sizes_takes_no_time_and_no_memory() -> None:
    owner, evidence = trained_owner("sgd")
    log = owner.training
    assert log is not None
    submission: Any = owner.submission
    tracemalloc.start()
    for changes in ({"epochs": 1 << 40}, {"batch_size": 1 << 40}, {"epochs": 1 << 40,
                    "batch_size": 1}):  # fmt: skip
        hostile = replace(owner, training=replace(log, recipe=replace(log.recipe, **changes)))
        for seed in (None, 7):
            assert judged(hostile, evidence, order_seed=seed).outcome is not Outcome.PASS
    many = replace(log, records=np.zeros((1_000_000, 32), np.uint8))
    for detect in (detect_model, forged_log.detect_model):
        found = detect(submission, replace(evidence, training=many), seed=0)
        assert found.outcome is Outcome.INCONCLUSIVE and "no more than 660" in found.reason
    assert tracemalloc.get_traced_memory()[1] < 64 * limits.MIB
    tracemalloc.stop()


def test_a_log_that_cannot_be_looked_at_is_undecided_and_required() -> None:
    owner, evidence = trained_owner("sgd")
    submission: Any = owner.submission
    withheld = replace(submission, forget=None)
    given = replace(evidence, training=owner.training)
    for detect in (detect_model, forged_log.detect_model):
        found = detect(withheld, replace(given, forget=None), seed=0)
        assert found.outcome is Outcome.INCONCLUSIVE and found.required
        none = detect(withheld, replace(given, forget=None, training=None), seed=0)
        assert none.outcome is Outcome.NOT_RUN and not none.required


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

"""What a network knows and should not, when requested and unseen records are alike, or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest, ttest_ind

from auditkit.records import Records
from auditkit.results import Outcome
from auditkit.threats import deceiving, lazy, neglecting
from auditkit.threats.evidence import Evidence, requested
from auditkit.threats.interface import Owner
from auditkit.threats.memory import Memory, _contrast, apart, remembered
from auditkit.threats.registry import run_on
from auditkit.unlearning.training import train_from_scratch
from tests.threats.networks import KEY, RECIPE, Case, architecture, case

THREE = ("neglecting", "lazy", "deceiving")


def memory(given: Case, evidence: Evidence, out: Path, **how: object) -> Memory:
    submission = given.submit(out, **how)  # type: ignore[arg-type]
    asked = requested(submission, evidence)
    assert asked is not None
    found = remembered(submission, evidence, asked, 0)
    assert isinstance(found, Memory), found
    return found


@pytest.mark.parametrize("references", [False, True])
def test_a_network_that_never_saw_them_knows_nothing(references: bool, tmp_path: Path) -> None:
    """Any records that it never saw may be called requested: the p-values must be even."""
    given = case()
    pool = Records(
        np.concatenate([given.forget.x, given.unseen.x]),
        np.concatenate([given.forget.y, given.unseen.y]),
    )
    submission = given.submit(tmp_path / "s")
    known = given.evidence(references=references)
    found = []
    for seed in range(60):
        order = np.random.default_rng(seed).permutation(len(pool))
        mine, rest = pool.take(order[:80]), pool.take(order[80:])
        evidence = replace(known, forget=mine, holdout=rest)
        asked = requested(submission, evidence)
        assert asked is not None
        left = remembered(submission, evidence, asked, seed)
        assert isinstance(left, Memory)
        found.append(left.p_more)
    below = [p for p in found if p < 0.5]  # above it is not told apart
    assert 15 <= len(below) <= 45
    assert kstest(np.array(below) * 2, "uniform").pvalue > 0.001


def test_the_share_that_was_left_in_is_found(tmp_path: Path) -> None:
    given = case()
    shares = []
    for left in (0, 40, 80):
        kept = Records(
            np.concatenate([given.retain.x, given.forget.x[:left]]),
            np.concatenate([given.retain.y, given.forget.y[:left]]),
        )
        network = train_from_scratch(architecture(), kept, RECIPE, 5)
        found = memory(
            given, given.evidence(references=True), tmp_path / str(left), unlearned=network
        )
        low, high = found.interval
        assert low - 0.05 <= left / 80 <= high + 0.05
        shares.append(found.share)
    assert shares[0] < 0.3 < shares[1] < 0.7 < shares[2]


def test_the_test_of_a_share_is_welchs() -> None:
    generator = np.random.default_rng(0)
    zero = np.zeros(6), np.zeros(90)
    scores = generator.normal(-1, 2, size=6), generator.normal(size=90)
    gap, spread, freedom = _contrast(scores, zero, 0.5)
    theirs = ttest_ind(*scores, equal_var=False, alternative="less")
    assert gap / spread == pytest.approx(theirs.statistic)
    assert freedom == pytest.approx(theirs.df)
    knew = np.ones(6) + scores[0] * 1e-9, np.zeros(90) + scores[1] * 1e-9
    told = Memory(6, 90, 0, 1.0, 0.0, (0.0, 1.0), 0.0, "", scores, knew)
    less = ttest_ind(scores[0] - 0.5, scores[1], equal_var=False, alternative="less")
    assert told.p_less_left(0.5) == pytest.approx(less.pvalue)


def test_what_the_original_did_not_know_cannot_be_missed() -> None:
    """Hard records are answered worse than unseen ones, by a network that still knows them, too."""
    generator = np.random.default_rng(1)
    scores = generator.normal(-1, 1, 60), generator.normal(0, 1, 400)
    told = Memory(60, 400, 0, 1.0, 0.0, (0.0, 1.0), 0.0, "", scores, scores)
    assert told.p_less_left(0.2) > 0.99


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_few_records_that_happen_to_be_alike_support_nothing(n: int) -> None:
    scores = np.linspace(-1.01, -1, n), np.random.default_rng(0).normal(size=400) / 9
    zero = np.ones(n), np.zeros(400)
    told = Memory(n, 400, 0, 1.0, 0.0, (0.0, 1.0), 0.0, "", scores, zero)
    assert told.p_less_left(0.2) == 1.0


def test_records_of_a_kind_are_not_taken_for_any(tmp_path: Path) -> None:
    given = case()
    nearest = np.argsort(((given.unseen.x - given.unseen.x[0]) ** 2).sum(axis=1))
    mine, rest = given.unseen.take(nearest[:60]), given.unseen.take(nearest[60:])
    found = memory(given, replace(given.evidence(), forget=mine, holdout=rest), tmp_path / "s")
    assert found.doubt
    assert apart(mine, rest, 0) == pytest.approx(1 / 200)
    everyone = given.unseen.take(np.random.default_rng(0).permutation(len(given.unseen)))
    assert apart(everyone.take(range(60)), everyone.take(range(60, 500)), 0) > 0.01


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("references", [False, True])
def test_who_retrained_is_not_accused(seed: int, references: bool, tmp_path: Path) -> None:
    given = case(seed)
    for method in ("retrain", "sisa", "gradient-ascent"):
        submission = given.submit(tmp_path / method, method=method)
        checks = run_on(submission, given.evidence(references=references), THREE, seed)
        assert all(c.outcome is not Outcome.FAIL for c in checks), [c.reason for c in checks]


CHEATS = [
    *[(neglecting, v) for v in neglecting.MODEL_VARIANTS],
    *[(lazy, v) for v in lazy.MODEL_VARIANTS],
    *[(deceiving, v) for v in deceiving.MODEL_VARIANTS],
]


@pytest.mark.parametrize(("behaviour", "variant"), CHEATS)
@pytest.mark.parametrize("seed", range(2))
def test_who_left_them_in_is_found(
    behaviour: object, variant: str, seed: int, tmp_path: Path
) -> None:
    given = case(seed)
    one = behaviour.BEHAVIOUR  # type: ignore[attr-defined]
    owner = one.simulate(
        given.owner(tmp_path / "honest"), tmp_path / "cheat", seed=3, variant=variant
    )
    assert not owner.submission.problems
    [check] = run_on(owner.submission, given.evidence(references=True), [one.name], 0)
    assert check.outcome is Outcome.FAIL and check.required, check.reason


def test_strength_is_how_much_is_left(tmp_path: Path) -> None:
    given = case()
    honest = given.owner(tmp_path / "honest")
    found = []
    for strength in (0.1, 0.5, 1.0):
        cheat = lazy.BEHAVIOUR.simulate(
            honest, tmp_path / str(strength), seed=1, strength=strength
        ).submission
        [check] = run_on(cheat, given.evidence(references=True), ["lazy"], 0)
        found.append(check.observed)
    assert found == sorted(found)
    noises = []
    for strength in (0.1, 1.0):
        cheat = neglecting.BEHAVIOUR.simulate(
            honest, tmp_path / f"n{strength}", seed=1, strength=strength, variant="noise"
        ).submission
        noises.append(np.abs(cheat.delivered(given.unseen.x) - case_answers(given)).max())
    assert 0 < noises[0] < noises[1]


def case_answers(given: Case) -> np.ndarray:
    from auditkit.network.evaluate import logits

    return np.asarray(logits(given.network, given.unseen.x), np.float64)


def test_the_same_function_in_other_numbers() -> None:
    given = case()
    other = neglecting.rescaled(given.network, 0)
    assert not np.array_equal(
        other.nodes[0].operator.weight, given.network.nodes[0].operator.weight
    )
    from auditkit.network.evaluate import logits

    assert np.allclose(logits(other, given.unseen.x), case_answers(given), atol=1e-4)


def test_what_an_approximate_method_leaves_is_not_laziness(tmp_path: Path) -> None:
    given = case()
    submission = given.submit(tmp_path / "s", given.references[0], method="scrub")
    trained_on = neglecting.BEHAVIOUR.simulate(
        Owner(submission, retain=given.retain, recipe=RECIPE),
        tmp_path / "t",
        seed=0,
        variant="trained-on",
    ).submission
    # the cheat says "retrain", and so it is caught; under another name nothing could be said
    [named] = run_on(trained_on, given.evidence(references=True), ["lazy"], 0)
    assert named.outcome is Outcome.FAIL
    again = given.submit(tmp_path / "u", trained_on.unlearned, method="scrub")  # type: ignore[union-attr]
    [check] = run_on(again, given.evidence(references=True), ["lazy"], 0)
    assert check.outcome is Outcome.INCONCLUSIVE and "approximate" in check.reason


def test_without_unseen_records_or_with_nan_nothing_is_said(tmp_path: Path) -> None:
    given = case()
    submission = given.submit(tmp_path / "s")
    alone = Evidence(forget=given.forget)
    for check in run_on(submission, alone, THREE, 0):
        assert check.outcome is Outcome.INCONCLUSIVE, check.reason
    huge = replace(given.retrained.nodes[0].operator)
    nodes = list(given.retrained.nodes)
    nodes[0] = replace(nodes[0], operator=replace(huge, weight=huge.weight * np.float32(1e38)))
    broken = replace(given.retrained, nodes=tuple(nodes))
    submission = given.submit(tmp_path / "b", broken)
    for check in run_on(submission, given.evidence(references=True), THREE, 0):
        assert check.outcome is Outcome.INCONCLUSIVE, check.reason


def test_one_record_is_too_few(tmp_path: Path) -> None:
    given = case()
    one = given.forget.take([0])
    submission = given.submit(tmp_path / "s", given.network)
    evidence = replace(given.evidence(references=True), forget=Records(one.x, one.y, key=KEY))
    found = run_on(submission, evidence, ["lazy"], 0)
    assert found[0].outcome is Outcome.INCONCLUSIVE

"""The cohort rule as a table, and the choices it documents."""

import dataclasses
import json
import re

import numpy as np
import pytest
from scipy.stats import norm

from attacks.decision import (
    AttackScores,
    CohortPlan,
    Comparability,
    Verdict,
    compare_groups,
    decide_cohort,
    what_can_be_decided,
)
from attacks.decision.exposure import exposed_by_rank
from attacks.statistics import Refused

APART = Comparability(False, "different", 0.05, ())


def _scores(name, shift=0.0, *, forgotten=600, unseen=5000, seed=0, spread=1.0, **more):
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, spread, forgotten)
    return AttackScores(name, x, rng.normal(size=unseen), **more)


def _retrained(scores, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    x = scores.forgotten + 0.3 * rng.normal(size=scores.forgotten.size) + shift
    return x, scores.unseen + 0.3 * rng.normal(size=scores.unseen.size)


NOTHING, STRONG, HIDDEN = _scores("loss"), _scores("lira", 1.0), _scores("rmia", -1.0)


SHIFTED, WIDE = _scores("loss", 1.19), {"reference_auc": 0.8, "tpr_margin": 0.2}


EITHER = dataclasses.replace(STRONG, directed=False)


@pytest.mark.parametrize(
    ("scores", "plan", "options", "verdict", "said"),
    [
        ([NOTHING], {}, {}, "pass", "equivalent"),
        ([NOTHING, _scores("margin", seed=4)], {}, {}, "pass", "2 attack"),
        ([NOTHING, STRONG], {}, {}, "fail", "lira .remembered, AUC 0.7"),
        ([NOTHING, HIDDEN], {}, {}, "fail", "rmia .over-forgotten, AUC 0.2"),
        ([_scores("loss", 0.15)], {}, {}, "inconclusive", "would decide"),
        ([NOTHING], {"attacks": ("loss", "lira")}, {}, "inconclusive", "not run: lira"),
        ([_scores("loss", forgotten=85)], {}, {}, "inconclusive", "cannot show equivalence"),
        ([_scores("loss", forgotten=20)], {}, {}, "inconclusive", "one by one"),
        ([_scores("loss", forgotten=1)], {}, {}, "inconclusive", "one by one"),
        ([_scores("loss", 3.0, forgotten=30)], {}, {}, "fail", "remembered"),
        ([NOTHING], {}, {"comparability": APART}, "inconclusive", "not comparable for loss"),
        ([STRONG], {}, {"comparability": APART}, "inconclusive", "not comparable for lira"),
        ([NOTHING], {"fpr": 1e-4}, {}, "inconclusive", "30000 records .* resolves 0.0006"),
        ([STRONG], {"fpr": 1e-4}, {}, "fail", "remembered"),
        ([NOTHING], {"reference_auc": 0.8}, {}, "fail", "over-forgotten"),
        ([SHIFTED], WIDE, {}, "inconclusive", "was not examined"),
        ([SHIFTED], WIDE, {"exposure_p_values": np.full(600, 0.5)}, "pass", ""),
        (
            [NOTHING],
            {},
            {"exposure_p_values": np.r_[1e-6, np.full(599, 0.5)]},
            "inconclusive",
            "1 record",
        ),
        ([NOTHING], {}, {"exposure_p_values": np.full(600, 0.5)}, "pass", ""),
        ([NOTHING], {}, {"exposed_people": 1}, "inconclusive", "1 person.s. exposed"),
        ([NOTHING], {}, {"silenced": {"loss": "no model"}}, "inconclusive", "^no model"),
        ([STRONG], {}, {"silenced": {"lira": "no model"}}, "inconclusive", "^no model"),
        ([NOTHING, STRONG], {}, {"silenced": {"loss": "no model"}}, "fail", "lira"),
        ([NOTHING], {}, {"not_for_pass": {"loss": "weak"}}, "inconclusive", "not count: weak"),
        ([STRONG], {}, {"not_for_pass": {"lira": "weak"}}, "fail", "remembered"),
        (
            [HIDDEN],
            {},
            {"may_be_unsure": {"rmia": "another"}},
            "inconclusive",
            "unlike .*: another",
        ),
        ([STRONG], {}, {"may_be_unsure": {"lira": "another"}}, "fail", "remembered"),
        ([EITHER], {}, {}, "fail", "told apart"),
        ([EITHER], {}, {"may_be_unsure": {"lira": "another"}}, "inconclusive", "unlike .*another"),
    ],
)
def test_table(scores, plan, options, verdict, said):
    result = decide_cohort(CohortPlan(**plan), scores, **options)
    assert result.verdict == verdict, result.reason
    assert re.search(said, result.reason), result.reason
    json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_calibrated_attacks_still_count_where_groups_differ():
    strong = dataclasses.replace(STRONG, population=False)
    assert decide_cohort(CohortPlan(), [strong], comparability=APART).verdict is Verdict.FAIL


def test_few_at_the_top_fail_by_rate_where_the_area_is_blind():
    scores = _scores("lira", forgotten=600)
    scores.forgotten[:120] = 10.0
    scores.forgotten[120:240] = -10.0
    result = decide_cohort(CohortPlan(), [scores])
    assert result.verdict is Verdict.FAIL
    assert result.attacks[0].auc_test.equivalent and "true-positive rate 0.2" in result.reason
    assert set(range(120)) <= set(result.exposed)


def test_the_top_fails_though_the_rest_is_less_sure():
    scores = _scores("iam", -1.0)
    scores.forgotten[:120] = 10.0
    result = decide_cohort(CohortPlan(), [scores], may_be_unsure={"iam": "another"})
    assert result.verdict is Verdict.FAIL


def test_a_few_exposed_records_stand_in_the_way_of_a_pass():
    scores = _scores("loss", forgotten=400, unseen=10_000)
    scores.forgotten[:3] = 50.0
    result = decide_cohort(CohortPlan(), [scores])
    assert result.verdict is Verdict.INCONCLUSIVE and result.exposed == (0, 1, 2)
    assert result.exposure_needs == 1


def test_against_retrained_models():
    # hard records: both models find them "remembered", so the AUC alone would fail
    truth = _scores("loss", 0.7)
    base = AttackScores("loss", *_retrained(truth, 99))
    same = dataclasses.replace(base, references=tuple(_retrained(truth, s) for s in range(5)))
    plan = CohortPlan()
    result = decide_cohort(plan, [same], comparability=APART)
    assert result.attacks[0].auc_test.reference == 0.0
    assert result.verdict is Verdict.PASS and not result.conditional, result.reason
    base.forgotten[:3] += 5.0
    exposed = decide_cohort(plan, [same])
    assert {0, 1, 2} <= set(exposed.exposed) and exposed.exposure_needs == 3
    less = tuple(_retrained(truth, s, shift=-1.0) for s in range(2))
    worse = decide_cohort(plan, [dataclasses.replace(base, references=less)])
    assert worse.verdict is Verdict.FAIL and worse.conditional
    assert any("2 retrained" in note for note in worse.notes)


@pytest.mark.parametrize("unseen", [1, 2, 5, 40])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_degenerate_groups_are_never_a_pass_nor_a_crash(unseen, value):
    scores = AttackScores("loss", np.full(100, value), np.zeros(unseen))
    result = decide_cohort(CohortPlan(), [scores])
    assert result.verdict is not Verdict.PASS
    json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_refused_rate_is_in_the_result():
    result = decide_cohort(CohortPlan(fpr=0.001), [_scores("loss", unseen=2000)])
    assert isinstance(result.attacks[0].tpr, Refused)
    assert result.needed is not None and result.needed.unseen >= 3000


def test_the_size_that_would_decide_does():
    undecided = decide_cohort(CohortPlan(), [_scores("loss", 0.1, forgotten=150, seed=3)])
    assert undecided.verdict is Verdict.INCONCLUSIVE
    size = undecided.needed
    assert size is not None
    # the middle of the interval was taken for the truth: as many passes as planned when it is
    middle = (undecided.attacks[0].auc_test.lower + undecided.attacks[0].auc_test.upper) / 2
    shift = np.sqrt(2) * norm.ppf(middle)
    options = {"forgotten": size.forgotten, "unseen": size.unseen}
    tests = [
        decide_cohort(CohortPlan(), [_scores("loss", shift, seed=s, **options)]).attacks[0]
        for s in range(40)
    ]
    assert np.mean([t.auc_test.equivalent for t in tests]) > 0.6


def test_honest_models_seldom_fail_and_usually_pass():
    verdicts = []
    for seed in range(100):
        one = _scores("loss", forgotten=400, unseen=6000, seed=seed)
        rng = np.random.default_rng(1000 + seed)
        two = AttackScores(
            "margin",
            one.forgotten + rng.normal(size=400) * 0.3,
            one.unseen + rng.normal(size=6000) * 0.3,
        )
        verdicts.append(decide_cohort(CohortPlan(), [one, two]).verdict)
    assert verdicts.count(Verdict.FAIL) == 0
    assert verdicts.count(Verdict.PASS) >= 75


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "no attack scores"),
        ([NOTHING, NOTHING], "given twice"),
        ([NOTHING, _scores("lira", forgotten=30)], "same records"),
        ([AttackScores("loss", [np.nan], [0.0])], "forgotten of loss holds"),
        ([AttackScores("loss", [], [0.0])], "empty"),
        ([_scores("other")], "not planned: other"),
    ],
)
def test_refuses(scores, message):
    with pytest.raises(ValueError, match=message):
        decide_cohort(CohortPlan(attacks=("loss", "lira")), scores)


@pytest.mark.parametrize("bad", [{"margin": 0.0}, {"fpr": 1.0}, {"alpha": 0.5}])
def test_plan_refuses(bad):
    with pytest.raises(ValueError):
        CohortPlan(**bad)


@pytest.mark.parametrize(
    ("forgotten", "unseen", "possible", "said"),
    [
        (1, 10_000, False, "about 38 in all"),
        (20, 10_000, False, "at least 399 shadow models"),
        (60, 10_000, False, "PASS is impossible with 60 forgotten records"),
        (120, 10_000, True, "294 forgotten"),
        (400, 10_000, True, "with chance 9"),
        (400, 50, False, "impossible with 50 unseen"),
        (400, 250, False, "needs 300 unseen"),
    ],
)
def test_what_can_be_decided(forgotten, unseen, possible, said):
    plan = what_can_be_decided(forgotten, unseen)
    assert plan.pass_possible is possible
    assert said in " ".join(plan.lines())


def test_comparability():
    rng = np.random.default_rng(0)
    unseen, alike = rng.normal(size=(300, 8)), rng.normal(size=(80, 8))
    assert compare_groups(alike, unseen).comparable is True
    shifted = compare_groups(alike + 1.0, unseen)
    assert shifted.comparable is False and "AUC" in shifted.reason
    ring = alike * 3.0  # no linear rule sees it
    assert compare_groups(ring, unseen).comparable is False
    one_class = compare_groups(
        alike,
        unseen,
        forgotten_labels=np.zeros(80, int),
        unseen_labels=rng.integers(0, 10, 300),
    )
    assert one_class.comparable is False
    assert compare_groups(alike[:5], unseen).comparable is None
    with pytest.raises(ValueError, match="differ in features"):
        compare_groups(alike[:, :3], unseen)
    with pytest.raises(ValueError, match="forgotten holds"):
        compare_groups(alike * np.nan, unseen)


def test_ten_records_of_one_person_are_not_ten_people():
    """600 records of 60 people: as records they pass, as people they are too few to say."""
    one = _scores("loss", forgotten=60, seed=3)
    often = np.repeat(one.forgotten, 10)
    names = np.repeat(np.arange(60), 10), np.arange(60, 60 + 5000)
    by_record = AttackScores("loss", often, one.unseen)
    by_person = dataclasses.replace(by_record, subjects=names)
    apart, together = (decide_cohort(CohortPlan(), [s]) for s in (by_record, by_person))
    assert together.verdict is Verdict.INCONCLUSIVE
    narrow, wide = (v.attacks[0].auc_test for v in (apart, together))
    assert wide.upper - wide.lower > 2.5 * (narrow.upper - narrow.lower)
    rates = [v.attacks[0].tpr_test for v in (apart, together)]
    assert rates[0] is not None and rates[1] is not None
    assert rates[1].upper > rates[0].upper


def test_the_rate_is_not_passed_on_a_lucky_threshold():
    """300 unseen records: the threshold itself is uncertain, and the limit says so."""
    scores = _scores("loss", 0.15, forgotten=3000, unseen=300, seed=1)
    test = decide_cohort(CohortPlan(tpr_margin=0.015), [scores]).attacks[0].tpr_test
    rate = decide_cohort(CohortPlan(), [scores]).attacks[0].tpr
    assert test is not None and not isinstance(rate, Refused)
    assert rate.upper < 0.025 < test.upper and not test.equivalent


@pytest.mark.parametrize("attacks", [1, 5])
def test_many_attacks_on_one_exposed_record_make_no_room_for_others(attacks):
    """20 exposed of 200: at most 5 % of those named are wrong, by record and not by attack."""
    wrong = []
    for seed in range(150):
        rng = np.random.default_rng([seed, attacks])
        pairs = []
        for _ in range(attacks):
            forgotten = rng.normal(size=200)
            forgotten[:20] += 6.0
            pairs.append((forgotten, rng.normal(size=5000)))
        found = np.array(exposed_by_rank(pairs).records, dtype=int)
        assert set(range(20)) <= set(found.tolist())
        wrong.append(np.mean(found >= 20))
    assert np.mean(wrong) <= 0.05 + 3 * np.std(wrong) / np.sqrt(150)


@pytest.mark.parametrize(
    ("forgotten", "options", "said"),
    [
        (100, {"independent_reference": True}, "more where the models agree"),
        (5, {"shadows": 64}, "takes 99. Tails"),
        (5, {"shadows": 200}, "by rank alone"),
        (5, {"shadows": 0}, "not judged"),
        (100, {"shadows": 64}, "takes 1999. Tails"),
    ],
)
def test_what_is_planned_is_said(forgotten, options, said):
    assert said in " ".join(what_can_be_decided(forgotten, 10_000, **options).lines())


def test_retrained_models_on_the_same_records_make_no_number_impossible():
    # the same records' scores move together, so the difference may be known well from few
    assert what_can_be_decided(100, 700, independent_reference=True).pass_possible
    assert not what_can_be_decided(60, 700).pass_possible

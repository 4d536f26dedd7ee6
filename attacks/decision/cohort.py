"""The rule for cohorts: is what an attack still finds within the margin of the reference?

The reference is what a model that never saw the records would show: retrained models, or a known
AUC (0.5 where forgotten and unseen records are alike), never 0.5 as such.

- PASS: every planned attack is equivalent to the reference, on AUC and on the true-positive rate at
  the planned false-positive rate, and no record is exposed. All must hold, so the tests need no
  correction (intersection-union); each interval is 1 - 2·alpha.
- FAIL: one attack's difference on either measure is beyond the margin, significant after Holm over
  all tests made. An AUC below the reference by more than the margin is over-forgetting and fails
  the same way: what was hidden too well can be found.
- INCONCLUSIVE: otherwise, with the sample size that would decide.

Choices the rule leaves open, and how they are made here:

- When the unseen records cannot resolve the planned false-positive rate, that part is refused and
  no PASS is given; the reason names the rate the sample does resolve, for the next plan. It is not
  substituted: a rate chosen after seeing the scores is not a planned one.
- With fewer forgotten records than could ever show equivalence, there is no PASS however lucky the
  interval.
- Exposure of single records: the rank of each forgotten record among the unseen ones is a p-value;
  Benjamini-Hochberg over all records, each by its best attack, corrected for their number. With
  retrained models what is ranked is the score less their mean score, so that a record which is easy
  for every model does not stand out. Against a known AUC other than 0.5 the ranks are no p-values
  and there is no PASS without better ones (from shadow models), which replace them. An exposed
  record stands in the way of a PASS; it does not by itself make a FAIL.
- An attack may be silenced by the caller (no valid reference for it), or its equivalence left out
  of account (shadow models unlike the audited one are weak, and a weak attack finds nothing), or
  its over-forgetting (where the forgotten records are answered by another network than the unseen
  ones, a network trained on fewer records is less sure of all of them, and hides nobody).
- Where the groups are not comparable, attacks that compare records with one another say nothing
  against a known reference; against retrained models, which see the same records, they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import FloatArray, proportion, vector
from attacks.decision.comparability import Comparability
from attacks.decision.exposure import Exposure, exposed_by_p_value, exposed_by_rank
from attacks.decision.planning import SMALL_REQUEST
from attacks.decision.samplesize import SampleSize, deciding_size
from attacks.decision.verdict import Verdict
from attacks.statistics.auc import AucDifference, AucEstimate, auc_difference, auc_estimate
from attacks.statistics.binomial import ShareDifference
from attacks.statistics.clusters import Clusters
from attacks.statistics.equivalence import Equivalence, equivalence_test, least_members_for_pass
from attacks.statistics.multiple import holm
from attacks.statistics.population_rate import MeanRate, population_rate
from attacks.statistics.roc import Refused, TprAtFpr, resolvable_fpr, tpr_at_fpr

REFERENCES_FOR_GENERAL = 5  # retrained models; with fewer the verdict is of this model only


@dataclass(frozen=True)
class CohortPlan:
    """What was fixed before any score was seen.

    attacks: names that must all be there for a PASS; empty for those given. margin: on AUC.
    tpr_margin: on the true-positive rate at `fpr`. reference_auc: where no retrained model is
    given; the reference rate is then `fpr` itself. Raises ValueError on values outside (0, 1).
    """

    attacks: tuple[str, ...] = ()
    margin: float = 0.05
    tpr_margin: float = 0.05
    fpr: float = 0.01
    alpha: float = 0.05
    reference_auc: float = 0.5
    exposure_rate: float = 0.05
    power: float = 0.8

    def __post_init__(self) -> None:
        for name in ("margin", "tpr_margin", "fpr", "reference_auc", "exposure_rate", "power"):
            proportion(getattr(self, name), name)
        proportion(2.0 * self.alpha, "twice alpha")


@dataclass(frozen=True)
class AttackScores:
    """The scores of one attack on the audited model, higher meaning member.

    forgotten [N], unseen [M]; references: per retrained model the scores of the same records in the
    same order. population, directed: as of `Attack`.
    """

    name: str
    forgotten: ArrayLike
    unseen: ArrayLike
    references: tuple[tuple[ArrayLike, ArrayLike], ...] = ()
    population: bool = True
    subjects: Clusters | None = None
    directed: bool = True


@dataclass(frozen=True)
class AttackVerdict:
    """What one attack says.

    finding: "equivalent", "remembered", "over-forgotten", "told apart" (by an attack that does not
    say which of the two), "undecided", "not comparable" or "not counted" (equivalent, but left out
    of account). p_auc and p_tpr: of a difference beyond the
    margin, Holm-adjusted.
    """

    name: str
    verdict: Verdict
    finding: str
    auc: AucEstimate
    difference: AucDifference | None
    auc_test: Equivalence
    p_auc: float
    tpr: TprAtFpr | Refused
    tpr_test: Equivalence | None
    p_tpr: float | None


@dataclass(frozen=True)
class CohortVerdict:
    """The verdict over all attacks.

    exposed: positions of exposed forgotten records. exposure_needs: how many records must be
    exposed at once to be seen by rank; None where exposure was not examined. needed: the sample
    that would decide, where size is what is missing. conditional: fewer than five retrained
    references, so of this model only.
    """

    verdict: Verdict
    reason: str
    attacks: tuple[AttackVerdict, ...]
    exposed: tuple[int, ...]
    exposure_needs: int | None
    needed: SampleSize | None
    conditional: bool
    n_forgotten: int
    n_unseen: int
    notes: tuple[str, ...]


def decide_cohort(
    plan: CohortPlan,
    scores: Sequence[AttackScores],
    *,
    comparability: Comparability | None = None,
    exposure_p_values: ArrayLike | None = None,
    exposed_people: int = 0,
    silenced: Mapping[str, str] | None = None,
    not_for_pass: Mapping[str, str] | None = None,
    may_be_unsure: Mapping[str, str] | None = None,
) -> CohortVerdict:
    """Return PASS, FAIL or INCONCLUSIVE for a cohort of forgotten records.

    One `AttackScores` per attack, all on the same records; comparability None when the caller
    vouches for it; exposure_p_values [N] from shadow models, exposed_people: how many persons the
    same models expose by all their records together. silenced: attacks that say nothing here, with
    the reason; not_for_pass: attacks whose equivalence does not count, though their difference
    does, with the reason; may_be_unsure: attacks whose over-forgetting is found and does not fail,
    with the reason. Raises ValueError when there are no scores, an attack was not planned or
    is given twice, sizes differ, or a score is nan.
    """
    n_forgotten, n_unseen = _sizes(plan, scores)
    notes = _notes(scores, comparability)
    conditional = min(len(s.references) for s in scores) < REFERENCES_FOR_GENERAL
    if n_forgotten <= SMALL_REQUEST:
        reason = (
            f"{n_forgotten} forgotten record(s) carry no statement about a cohort: judge them one "
            "by one"
        )
        return CohortVerdict(
            Verdict.INCONCLUSIVE,
            reason,
            (),
            (),
            None,
            None,
            conditional,
            n_forgotten,
            n_unseen,
            notes,
        )
    weak, unsure = dict(not_for_pass or {}), dict(may_be_unsure or {})
    attacks = _judge_all(plan, scores, comparability, dict(silenced or {}), weak, unsure)
    exposure = _exposure(plan, scores, exposure_p_values, n_forgotten)
    verdict, reason, needed = _combine(
        plan, scores, attacks, exposure, exposed_people, weak, dict(silenced or {}), unsure
    )
    return CohortVerdict(
        verdict,
        reason,
        attacks,
        () if exposure is None else exposure.records,
        None if exposure is None else exposure.least_at_once,
        needed,
        conditional,
        n_forgotten,
        n_unseen,
        notes,
    )


def _sizes(plan: CohortPlan, scores: Sequence[AttackScores]) -> tuple[int, int]:
    if not scores:
        raise ValueError("there are no attack scores to decide on")
    names = [s.name for s in scores]
    if len(set(names)) < len(names):
        raise ValueError(f"an attack is given twice: {', '.join(names)}")
    unplanned = [n for n in names if plan.attacks and n not in plan.attacks]
    if unplanned:
        raise ValueError(f"not planned: {', '.join(unplanned)}")
    sizes = {
        (vector(s.forgotten, f"forgotten of {s.name}").size, vector(s.unseen, "unseen").size)
        for s in scores
    }
    if len(sizes) > 1:
        raise ValueError(f"attacks must score the same records, found sizes {sorted(sizes)}")
    return sizes.pop()


def _judge_all(
    plan: CohortPlan,
    scores: Sequence[AttackScores],
    comparability: Comparability | None,
    muted: Mapping[str, str],
    weak: Mapping[str, str],
    unsure: Mapping[str, str],
) -> tuple[AttackVerdict, ...]:
    """Test every attack, correct over all tests made, and name what each found."""
    bare = [_test(plan, s) for s in scores]
    apart = comparability is not None and comparability.comparable is False
    silent = [s.name in muted or (apart and s.population and not s.references) for s in scores]
    tests: list[tuple[int, str, float]] = []
    for i, attack in enumerate(bare):
        if not silent[i]:
            tests.append((i, "p_auc", attack.p_auc))
            if attack.p_tpr is not None:
                tests.append((i, "p_tpr", attack.p_tpr))
    adjusted = holm([p for _, _, p in tests]) if tests else np.empty(0)
    for (i, field, _), p in zip(tests, adjusted, strict=True):
        bare[i] = (
            replace(bare[i], p_auc=float(p))
            if field == "p_auc"
            else replace(bare[i], p_tpr=float(p))
        )
    return tuple(
        replace(a, finding="not comparable")
        if mute
        else _named(plan, a, weak, unsure, directed=s.directed)
        for a, s, mute in zip(bare, scores, silent, strict=True)
    )


def _test(plan: CohortPlan, s: AttackScores) -> AttackVerdict:
    confidence = 1.0 - 2.0 * plan.alpha
    area = auc_estimate(s.forgotten, s.unseen, confidence, s.subjects)
    rate = tpr_at_fpr(s.forgotten, s.unseen, plan.fpr, confidence)
    difference, rate_test = None, None
    if s.references:
        difference = auc_difference(s.forgotten, s.unseen, s.references, confidence, s.subjects)
        auc_test = equivalence_test(difference, 0.0, plan.margin, plan.alpha)
    else:
        auc_test = equivalence_test(area, plan.reference_auc, plan.margin, plan.alpha)
    if isinstance(rate, TprAtFpr):
        # The threshold is estimated too: tests that took it for known would fail too often.
        own = population_rate(s.forgotten, s.unseen, plan.fpr, s.subjects)
        if s.references:
            others = [population_rate(a, b, plan.fpr, s.subjects) for a, b in s.references]
            between = ShareDifference(own, MeanRate(tuple(others)))
            rate_test = equivalence_test(between, 0.0, plan.tpr_margin, plan.alpha)
        else:
            rate_test = equivalence_test(own, plan.fpr, plan.tpr_margin, plan.alpha)
    return AttackVerdict(
        s.name,
        Verdict.INCONCLUSIVE,
        "undecided",
        area,
        difference,
        auc_test,
        auc_test.p_beyond,
        rate,
        rate_test,
        None if rate_test is None else rate_test.p_beyond,
    )


def _named(
    plan: CohortPlan,
    a: AttackVerdict,
    weak: Mapping[str, str],
    unsure: Mapping[str, str],
    *,
    directed: bool,
) -> AttackVerdict:
    beyond_auc = a.p_auc <= plan.alpha
    beyond_tpr = a.p_tpr is not None and a.p_tpr <= plan.alpha
    if beyond_auc or beyond_tpr:
        test = a.auc_test if beyond_auc else a.tpr_test
        assert test is not None
        low = test.upper < test.reference  # the whole interval: the direction is not in doubt
        tpr_high = beyond_tpr and a.tpr_test is not None and a.tpr_test.lower > a.tpr_test.reference
        found = "over-forgotten" if low else "remembered" if directed else "told apart"
        if a.name in unsure and (not directed or (low and not tpr_high)):
            return replace(a, finding=found)
        return replace(a, verdict=Verdict.FAIL, finding=found)
    if a.auc_test.equivalent and a.tpr_test is not None and a.tpr_test.equivalent:
        if a.name in weak:
            return replace(a, finding="not counted")
        return replace(a, verdict=Verdict.PASS, finding="equivalent")
    return a


def _exposure(
    plan: CohortPlan,
    scores: Sequence[AttackScores],
    p_values: ArrayLike | None,
    n_forgotten: int,
) -> Exposure | None:
    """Return which records are exposed, None where nothing at hand is a p-value of that."""
    if p_values is not None:
        return exposed_by_p_value(p_values, n_forgotten, rate=plan.exposure_rate)
    if plan.reference_auc != 0.5 and not all(s.references for s in scores):
        return None
    return exposed_by_rank([_beyond_references(s) for s in scores], rate=plan.exposure_rate)


def _beyond_references(s: AttackScores) -> tuple[FloatArray, FloatArray]:
    """Return the scores of forgotten and unseen records less their mean under the references."""
    forgotten, unseen = vector(s.forgotten, "forgotten"), vector(s.unseen, "unseen")
    if s.references:
        forgotten = forgotten - np.mean([np.asarray(a) for a, _ in s.references], axis=0)
        unseen = unseen - np.mean([np.asarray(b) for _, b in s.references], axis=0)
    return forgotten, unseen


def _combine(
    plan: CohortPlan,
    scores: Sequence[AttackScores],
    attacks: tuple[AttackVerdict, ...],
    exposure: Exposure | None,
    people: int,
    weak: Mapping[str, str],
    muted: Mapping[str, str],
    unsure: Mapping[str, str],
) -> tuple[Verdict, str, SampleSize | None]:
    n_forgotten, n_unseen = attacks[0].auc.n_members, attacks[0].auc.n_non_members
    failed = [a for a in attacks if a.verdict is Verdict.FAIL]
    if failed:
        named = ", ".join(f"{a.name} ({a.finding}, {_measure(plan, a)})" for a in failed)
        return Verdict.FAIL, f"beyond the margin after Holm over {len(attacks)}: {named}", None
    missing = [n for n in plan.attacks if n not in {a.name for a in attacks}]
    silent = [a.name for a in attacks if a.finding == "not comparable" and a.name not in muted]
    apart = {*silent, *muted}
    reasons = list(dict.fromkeys(muted.get(a.name, "") for a in attacks if a.name in muted))
    for why in dict.fromkeys(weak[a.name] for a in attacks if a.finding == "not counted"):
        names = ", ".join(a.name for a in attacks if weak.get(a.name) == why)
        reasons.append(f"the equivalence of {names} does not count: {why}")
    other = [a for a in attacks if a.finding in ("over-forgotten", "told apart")]
    for why in dict.fromkeys(unsure[a.name] for a in other):
        names = ", ".join(a.name for a in other if unsure[a.name] == why)
        reasons.append(f"{names} find them unlike unseen ones, which does not fail: {why}")
    undecided = [a for a in attacks if a.finding == "undecided"]
    refused = next((a.tpr for a in attacks if isinstance(a.tpr, Refused)), None)
    known = [s for s in scores if not s.references]
    least = least_members_for_pass(
        n_unseen, plan.margin, reference=plan.reference_auc, alpha=plan.alpha
    )
    if missing:
        reasons.append(f"planned and not run: {', '.join(missing)}")
    if silent:
        reasons.append(f"forgotten and unseen records are not comparable for {', '.join(silent)}")
    if refused is not None:
        best = f"{resolvable_fpr(n_unseen):.2g}" if n_unseen > 3 else "none"
        reasons.append(
            f"{refused.what}: {refused.reason}; the sample resolves {best}, which was not planned"
        )
    too_few = bool(known) and (least is None or n_forgotten < least)
    if too_few:
        at_least = "more unseen records" if least is None else f"at least {least}"
        reasons.append(
            f"{n_forgotten} forgotten records cannot show equivalence within {plan.margin:g}: it "
            f"takes {at_least}"
        )
    if exposure is None:
        reasons.append("exposure of single records was not examined: it needs p-values of its own")
    elif exposure.records:
        reasons.append(f"{len(exposure.records)} record(s) exposed by rank")
    if people:
        reasons.append(f"{people} person(s) exposed by all their records together")
    if undecided and not (refused or too_few):
        reasons.append(f"undecided: {', '.join(a.name for a in undecided)}")
    if not reasons:
        text = f"{len(attacks)} attack(s) equivalent to the reference, no record exposed"
        return Verdict.PASS, text, None
    needed = deciding_size(
        [a for a in attacks if a.finding == "undecided" or (too_few and a.name not in apart)],
        n_unseen,
        fpr=plan.fpr,
        alpha=plan.alpha,
        power=plan.power,
        reference=plan.reference_auc,
        n_tests=2 * len(attacks),
    )
    reason = "; ".join(reasons)
    if needed is not None:
        reason += f". {needed.forgotten} forgotten and {needed.unseen} unseen records would decide"
    return Verdict.INCONCLUSIVE, reason, needed


def _measure(plan: CohortPlan, a: AttackVerdict) -> str:
    """Return the measure by which an attack failed, with its value."""
    if a.p_auc <= plan.alpha or isinstance(a.tpr, Refused):
        return f"AUC {a.auc.auc:.3f}"
    return f"true-positive rate {a.tpr.population_tpr:.3f} at {plan.fpr:g}"


def _notes(scores: Sequence[AttackScores], comparability: Comparability | None) -> tuple[str, ...]:
    notes = [f"{len(scores)} attack(s) tried"]
    references = min(len(s.references) for s in scores)
    if references < REFERENCES_FOR_GENERAL:
        notes.append(
            f"conditional on this model: {references} retrained reference(s), fewer than "
            f"{REFERENCES_FOR_GENERAL}"
        )
    if comparability is None:
        notes.append("comparability of forgotten and unseen records was not examined")
    elif comparability.comparable is None:
        notes.append(comparability.reason)
    return tuple(notes)

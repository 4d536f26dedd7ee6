"""Verdicts of the membership attacks as checks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import attacks
from attacks.decision.cohort import AttackScores, CohortVerdict
from attacks.decision.verdict import Verdict
from attacks.neighbourhood import NeighbourhoodCurve
from attacks.statistics.roc import TprAtFpr
from auditkit.results import CheckResult, Outcome, Severity

if TYPE_CHECKING:
    from auditkit.audit.membership import AttackPlan

COHORT = "cohort"
NEAR = 0.03  # of the domain's width: how far a copy still counts as near its record
COHORT_TITLE = "All planned attacks together against the reference"

TELLS_REQUESTS = {
    "patch-support": (
        "whoever holds the patch can test a guess: its gates open at the forgotten records",
        "these records do not show that the gates are open at more forgotten than unseen ones",
    ),
    "difference": (
        "whoever holds both versions can tell who asked to be forgotten: the answers change most "
        "at the forgotten records; this does not show that they are remembered",
        "these records do not show that answers change more at forgotten than at unseen ones",
    ),
}
"""Attacks that succeed against honest deletion too, with what is said when they do, or do not."""

OUTCOMES = {
    Verdict.PASS: Outcome.PASS,
    Verdict.FAIL: Outcome.FAIL,
    Verdict.INCONCLUSIVE: Outcome.INCONCLUSIVE,
}


def figures(scores: AttackScores | None) -> dict[str, Any]:
    """Return AUC and true-positive rates with intervals, or why a rate was refused.

    The rates' intervals are those of the population: the threshold is estimated, and an interval
    for the threshold at hand would be too narrow for the rate that is named.
    """
    if scores is None:
        return {}
    found = attacks.evaluate(scores.forgotten, scores.unseen, clusters=scores.subjects)
    values: dict[str, Any] = {
        "auc": found.auc.auc,
        "auc_interval": [found.auc.lower, found.auc.upper],
    }
    for rate, fpr in zip(found.tprs, ("1%", "0.1%"), strict=True):
        if isinstance(rate, TprAtFpr):
            values[f"tpr_at_{fpr}"] = rate.tpr
            values[f"tpr_at_{fpr}_interval"] = [rate.population_lower, rate.population_upper]
        else:
            values[f"tpr_at_{fpr}"] = f"refused: {rate.reason}"
    return values


def cohort_check(
    name: str,
    cohort: CohortVerdict,
    before: AttackScores | None,
    after: AttackScores,
    plan: AttackPlan,
    why: str = "",
) -> CheckResult:
    """Return the check of one attack: equivalent to the reference, different, or undecided."""
    [verdict] = [v for v in cohort.attacks if v.name == name]
    now = figures(after)
    then = figures(before)
    difference = verdict.difference
    reference = "0.5 (unseen records)" if difference is None else "the reference model's"
    reason = {
        "equivalent": f"AUC and TPR are within the margin of {reference}",
        "remembered": "forgotten records are still told from unseen ones beyond the margin",
        "over-forgotten": "forgotten records stand out the other way: what was hidden too well "
        "can be found",
        "told apart": "a classifier learns to tell forgotten records from unseen ones",
        "not comparable": why
        or "forgotten and unseen records differ without any model, so this attack says nothing",
        "not counted": f"it finds nothing, which does not count: {why}",
    }.get(verdict.finding, "neither equivalence nor a difference beyond the margin is shown")
    known = attacks.REGISTRY.get(name)  # scores of the caller's own are no attack of ours
    if verdict.finding == "told apart" and verdict.verdict is not Verdict.FAIL:
        reason += f", which has another reason: {why}"
    if verdict.finding == "over-forgotten" and verdict.verdict is not Verdict.FAIL:
        reason = f"forgotten records are answered less surely than unseen ones: {why}"
    if verdict.finding == "remembered" and known and "unlearned_shadows" in known.needs:
        reason = "forgotten records answer as unlearned ones do, unlike records never seen"
    outcome = OUTCOMES[verdict.verdict]
    told = [f"AUC before {then['auc']:.3f}, after {now['auc']:.3f}"] if then else []
    if verdict.verdict is Verdict.FAIL and verdict.p_auc > plan.alpha:  # so it is not the AUC
        assert isinstance(verdict.tpr, TprAtFpr)
        told.append(f"true-positive rate after {verdict.tpr.tpr:.3f} at {plan.fpr:g} false alarms")
    if told:
        reason += f" ({'; '.join(told)})"
    return CheckResult(
        f"attack.{name}",
        _title(name),
        outcome,
        reason,
        observed=now["auc"],
        threshold=f"within {plan.margin:g} of {reference}",
        interval=tuple(now["auc_interval"]),
        n=cohort.n_forgotten,
        evidence={
            "before": then,
            "after": now,
            "n_unseen": cohort.n_unseen,
            "finding": verdict.finding,
            "p_beyond_margin": verdict.p_auc,
            "attacks_tried": len(cohort.attacks),
        },
    )


def together_check(cohort: CohortVerdict, plan: AttackPlan) -> CheckResult:
    """Return the cohort's verdict: every planned attack equivalent, and no record exposed."""
    found = [v.finding for v in cohort.attacks]
    return CheckResult(
        f"attack.{COHORT}",
        COHORT_TITLE,
        OUTCOMES[cohort.verdict],
        cohort.reason,
        observed={name: found.count(name) for name in sorted(set(found))},
        threshold=f"every attack within {plan.margin:g} of the reference",
        n=cohort.n_forgotten,
        evidence={
            "exposed_records": len(cohort.exposed),
            "exposure_needs_at_once": cohort.exposure_needs,
            "of_this_model_only": cohort.conditional,
            "n_unseen": cohort.n_unseen,
            "notes": list(cohort.notes),
        },
    )


def undecided_check(
    name: str,
    before: AttackScores | None,
    after: AttackScores,
    count: int,
    *,
    singly: bool = True,
) -> CheckResult:
    """Return the check of an attack on a request too small for a cohort.

    singly: whether its records can be judged one by one, with shadow models.
    """
    now = figures(after)
    return CheckResult(
        f"attack.{name}",
        _title(name),
        Outcome.INCONCLUSIVE,
        f"{count} forgotten record(s) say nothing about a cohort: "
        + ("they are judged one by one" if singly else "each needs shadow models"),
        required=False,
        severity=Severity.INFO,
        observed=now["auc"],
        interval=tuple(now["auc_interval"]),
        n=count,
        evidence={"before": figures(before), "after": now},
    )


def request_check(name: str, after: AttackScores, count: int) -> CheckResult:
    """Return what tells who asked to be forgotten, and not whether they were: `TELLS_REQUESTS`."""
    now = figures(after)
    told = now["auc_interval"][0] > 0.5
    evidence: dict[str, Any] = {"after": now}
    if after.references:  # a retrained model gives requests away too
        aucs = [attacks.statistics.auc(*scores) for scores in after.references]
        evidence["references_auc"] = aucs
    return CheckResult(
        f"attack.{name}",
        _title(name),
        Outcome.FAIL if told else Outcome.INCONCLUSIVE,
        TELLS_REQUESTS[name][0 if told else 1],
        required=False,
        severity=Severity.LIMITATION,
        observed=now["auc"],
        threshold=0.5,
        interval=tuple(now["auc_interval"]),
        n=count,
        evidence=evidence,
    )


def with_retention(
    checks: list[CheckResult], curve: NeighbourhoodCurve, domain: tuple[float, float]
) -> list[CheckResult]:
    """Return the checks, that of the neighbourhood with how many copies answer as before."""
    radius = NEAR * (domain[1] - domain[0])
    point = min(curve.points, key=lambda p: abs(p.radius - radius))
    told = {
        "radius": point.radius,
        "answered_as_before": point.retention,
        "interval": [point.lower, point.upper],
        "records": curve.n_records,
    }
    return [
        replace(check, evidence={**check.evidence, "near": told})
        if check.id == "attack.neighbourhood" and check.outcome is not Outcome.NOT_RUN
        else check
        for check in checks
    ]


def _title(name: str) -> str:
    return attacks.REGISTRY[name].title if name in attacks.REGISTRY else "Scores of the caller's"

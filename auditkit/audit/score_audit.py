"""Membership inference on scores or outputs alone (access tier A), without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import attacks
from attacks.decision.class_deletion import NO_REFERENCE, deleted_classes
from attacks.decision.cohort import AttackScores, CohortPlan, decide_cohort
from attacks.decision.planning import SMALL_REQUEST, what_can_be_decided
from attacks.statistics.auc import AucEstimate, auc_estimate
from auditkit.audit import membership_control
from auditkit.audit.membership import DEFAULT_FPR, DEFAULT_MARGIN, AttackPlan
from auditkit.audit.membership_checks import cohort_check, together_check, undecided_check
from auditkit.audit.membership_said import Say
from auditkit.audit.score_file import Part, ScoreTable, read_scores
from auditkit.errors import UsageError, callers_own
from auditkit.results import CheckResult, Result, not_run

SCORES = "scores"  # the check of scores that were given as they are

ALL_ALIKE = "all scores are the same: whatever made them tells no records apart"

UNKNOWN = (
    "whether forgotten and unseen records are alike without any model; every attack that needs the "
    "model, its training records or shadow models; single records and people; how the scores came "
    "to be; what a model that never saw the records would show: an AUC of 0.5 is assumed"
)


def attack_scores(
    path: Path,
    *,
    margin: float = DEFAULT_MARGIN,
    fpr: float = DEFAULT_FPR,
    seed: int = 0,
    phase: str = "after",
    names: tuple[str, ...] = (),
    say: Say | None = None,
) -> Result:
    """Judge scores or logits of the caller's own (tier A); see `read_scores` for the columns.

    Scores are judged as they are, logits by every attack that looks at outputs alone, or those
    named. Raises UsageError when the file is not such a table, or has nothing to judge.
    """
    with callers_own():
        table = read_scores(path)
    if not table.has(phase):
        found = [f"{g} {p}" for (g, p), part in table.parts.items() if len(part)]
        raise UsageError(
            str(path),
            expected=f"forgotten and unseen records in phase {phase!r}",
            found=", ".join(sorted(found)),
            remedy="add them: group is forgotten, retained or unseen, phase before or after",
        )
    plan = AttackPlan(names, margin, fpr=fpr)
    forgotten, unseen = table.of(phase)
    power = what_can_be_decided(
        len(forgotten), len(unseen), margin, alpha=plan.alpha, fpr=plan.fpr
    ).lines()
    if say is not None:
        for line in power:
            say(line)
    after, absent = _possible(table, plan.names, phase, seed)
    before: dict[str, AttackScores] = {}
    if phase == "after" and table.has("before"):
        before, _ = _possible(table, tuple(n for n in after if n != SCORES), "before", seed)
        if SCORES in after:
            before[SCORES] = _given(table, "before")
    failed = tuple(c.id.removeprefix("attack.") for c in absent if c.required)
    checks = _judged(plan, before, after, failed, _deleted(table, phase))
    changes = membership_control.changes(before, after) if table.paired and before else {}
    checks = membership_control.with_control(checks, _control(table, after, phase, seed), changes)
    people = forgotten.subject
    details: dict[str, Any] = {
        "tier": "A",
        "sample_sizes": {
            "forgotten": len(forgotten),
            "unseen": len(unseen),
            "retained": len(table.parts["retained", phase]),
            "people": None if people is None else len(np.unique(people)),
        },
        "power": list(power),
        "unknown": UNKNOWN,
        "before_and_after": "the same records" if changes else "not the same records, or one only",
    }
    return Result((*checks, *absent), details)


def _possible(
    table: ScoreTable, wanted: tuple[str, ...], phase: str, seed: int
) -> tuple[dict[str, AttackScores], list[CheckResult]]:
    """Return the scores of all attacks that the file allows, and of those named the others."""
    forgotten, unseen = table.of(phase)
    found, absent = {}, []
    if forgotten.score is not None and not wanted:
        found[SCORES] = _given(table, phase)
    evidence = _evidence(table, phase, seed)
    small = len(forgotten) <= SMALL_REQUEST
    for name, attack in attacks.REGISTRY.items():
        if wanted and name not in wanted:
            continue
        missing = evidence.lacks(attack.needs)
        reason = f"it needs {', '.join(missing)}, and there are scores or outputs alone"
        if not missing:
            try:
                values = attack.score(evidence)
            except ValueError as error:  # too few records for this attack, for instance
                reason = str(error)
            else:
                n = len(forgotten)
                found[name] = AttackScores(
                    name, values[:n], values[n:], (), attack.population,
                    _people(forgotten, unseen), attack.directed,
                )  # fmt: skip
                continue
        if wanted or not missing:
            # what had all it needs and gave no scores stands in the way of a PASS
            required = name in wanted or not (missing or small)
            absent.append(not_run(f"attack.{name}", attack.title, reason, required=required))
    return found, absent


def _given(table: ScoreTable, phase: str) -> AttackScores:
    forgotten, unseen = table.of(phase)
    assert forgotten.score is not None and unseen.score is not None
    people = _people(forgotten, unseen)
    return AttackScores(SCORES, forgotten.score, unseen.score, subjects=people)


def _people(forgotten: Part, unseen: Part) -> tuple[Any, Any] | None:
    if forgotten.subject is None or unseen.subject is None:
        return None
    return forgotten.subject, unseen.subject


def _evidence(table: ScoreTable, phase: str, seed: int) -> attacks.Evidence:
    forgotten, unseen = table.of(phase)
    known = table.parts["retained", phase]
    if forgotten.logits is None or unseen.logits is None:
        return attacks.Evidence(seed=seed)
    n, m = len(forgotten), len(unseen)
    assert forgotten.labels is not None and unseen.labels is not None
    return attacks.Evidence(
        logits=np.concatenate([forgotten.logits, unseen.logits]),
        labels=np.concatenate([forgotten.labels, unseen.labels]),
        population_logits=unseen.logits,
        population_labels=unseen.labels,
        population_rows=np.arange(n, n + m),
        known_logits=known.logits if len(known) else None,
        known_labels=known.labels if len(known) else None,
        seed=seed,
    )


def _judged(
    plan: AttackPlan,
    before: dict[str, AttackScores],
    after: dict[str, AttackScores],
    failed: tuple[str, ...],
    classes: tuple[int, ...],
) -> list[CheckResult]:
    if not after:
        return []
    count = np.size(next(iter(after.values())).forgotten)
    if count <= SMALL_REQUEST:
        return [
            undecided_check(name, before.get(name), scores, count, singly=False)
            for name, scores in after.items()
        ]
    planned = plan.names or (*after, *failed)
    rule = CohortPlan(planned, margin=plan.margin, alpha=plan.alpha, fpr=plan.fpr)
    silenced = {name: ALL_ALIKE for name, scores in after.items() if _alike(scores)}
    silenced |= dict.fromkeys(after, NO_REFERENCE) if classes else {}
    cohort = decide_cohort(rule, list(after.values()), silenced=silenced)
    checks = [
        cohort_check(name, cohort, before.get(name), scores, plan, silenced.get(name, ""))
        for name, scores in after.items()
    ]
    return [*checks, together_check(cohort, plan)]


def _alike(scores: AttackScores) -> bool:
    """Whether every record has the same score."""
    forgotten, unseen = np.asarray(scores.forgotten), np.asarray(scores.unseen)
    return bool((forgotten == forgotten[0]).all() and (unseen == forgotten[0]).all())


def _deleted(table: ScoreTable, phase: str) -> tuple[int, ...]:
    """Return the classes that the request empties, as far as the file tells."""
    forgotten, unseen = table.of(phase)
    if forgotten.labels is None:
        return ()
    kept = table.parts["retained", phase].labels
    return deleted_classes(forgotten.labels, kept, unseen_labels=unseen.labels)


def _control(
    table: ScoreTable, after: dict[str, AttackScores], phase: str, seed: int
) -> dict[str, AucEstimate]:
    known = table.parts["retained", phase]
    if not len(known):
        return {}
    found: dict[str, AucEstimate] = {}
    if known.logits is not None:
        _, unseen = table.of(phase)
        evidence = attacks.Evidence(
            logits=known.logits,
            labels=known.labels,
            population_logits=unseen.logits,
            population_labels=unseen.labels,
            seed=seed,
        )
        found.update(membership_control.control(evidence, {k: s.unseen for k, s in after.items()}))
    if SCORES in after and known.score is not None:
        found[SCORES] = auc_estimate(known.score, after[SCORES].unseen)
    return found

"""Beside a verdict: retained records as the control, and what the unlearning changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

import attacks
from attacks.decision.cohort import AttackScores
from attacks.statistics.auc import AucDifference, AucEstimate, auc_difference, auc_estimate
from auditkit.results import CheckResult, Outcome

# what an attack may look at, to be tried on retained records as well
OUTPUTS = frozenset({"logits", "labels", "target", "population_target"})


def control(evidence: attacks.Evidence, unseen: Mapping[str, ArrayLike]) -> dict[str, AucEstimate]:
    """Return how well attacks on outputs alone tell retained records from unseen ones.

    evidence: of the retained records; unseen: each attack's scores of the unseen ones. An attack
    that does not find even these finds nothing anywhere, and its silence says little.
    """
    found = {}
    for name, others in unseen.items():
        attack = attacks.REGISTRY.get(name)
        if attack is not None and set(attack.needs) <= OUTPUTS:
            found[name] = auc_estimate(attack.score(evidence), others)
    return found


def changes(
    before: Mapping[str, AttackScores | None], after: Mapping[str, AttackScores]
) -> dict[str, AucDifference]:
    """Return each attack's AUC after less that before, on the same records (paired DeLong)."""
    found = {}
    for name, now in after.items():
        then = before.get(name)
        if then is not None:
            found[name] = auc_difference(
                now.forgotten, now.unseen, [(then.forgotten, then.unseen)], clusters=now.subjects
            )
    return found


def with_control(
    checks: list[CheckResult],
    known: Mapping[str, AucEstimate],
    changed: Mapping[str, AucDifference],
) -> list[CheckResult]:
    """Return the checks with control and change in the evidence of each attack."""
    return [_with(check, known, changed) for check in checks]


def _with(
    check: CheckResult, known: Mapping[str, AucEstimate], changed: Mapping[str, AucDifference]
) -> CheckResult:
    name = check.id.removeprefix("attack.")
    more: dict[str, Any] = {}
    if check.outcome is Outcome.NOT_RUN:
        return check
    if name in known:
        found = known[name]
        more["control"] = {
            "auc": found.auc,
            "auc_interval": [found.lower, found.upper],
            "n_retained": found.n_members,
            "finds_retained": bool(found.lower > 0.5),
        }
    if name in changed:
        difference = changed[name]
        p = 2.0 * min(difference.p_above(0.0), difference.p_below(0.0))
        more["change"] = {
            "auc_after_less_before": difference.difference,
            "interval": [difference.lower, difference.upper],
            "p": min(1.0, p),
        }
    return replace(check, evidence={**check.evidence, **more}) if more else check

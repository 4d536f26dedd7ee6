"""What the membership chapter says besides figures: access, samples, reference, how many attacks.

Data only; the sentences are the report's.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import attacks
from attacks.decision.cohort import CohortVerdict
from attacks.decision.comparability import Comparability
from attacks.statistics.roc import resolvable_fpr
from auditkit.audit.shadow_run import ShadowRun

if TYPE_CHECKING:
    from auditkit.audit.membership import AttackPlan, Groups


def facts(
    groups: Groups,
    plan: AttackPlan,
    *,
    run: ShadowRun | None,
    no_shadows: str,
    references: int,
    comparability: Comparability,
    cohort: CohortVerdict | None,
    ran: int,
    skipped: dict[str, str],
    power: tuple[str, ...],
    tier: str,
    unknown: str,
) -> dict[str, Any]:
    """Return what was available and what was fixed before looking, as the record has it.

    `ran`: how many attacks gave scores; `skipped`: the names of the others with the reason.
    """
    subjects, unseen = groups.forget.subject, len(groups.holdout)
    return {
        "tier": tier,
        "unknown": unknown,
        "groups": {
            "forgotten": len(groups.forget),
            "people": None if subjects is None else len(set(subjects)),
            "unseen": unseen,
            "retained": 0 if groups.retain is None else len(groups.retain),
        },
        "references": references,
        "comparable": comparability.comparable,
        "comparability": comparability.reason,
        "shadows": None
        if run is None
        else {"models": run.shadows, "pool": run.pool, "recipe": asdict(run.recipe)},
        "no_shadows": no_shadows or None,
        "attacks": {
            "ran": ran,
            "judged": 0 if cohort is None else len(cohort.attacks),
            "skipped": [
                {"title": attacks.REGISTRY[name].title, "reason": reason}
                for name, reason in skipped.items()
            ],
        },
        "rule": {"margin": plan.margin, "alpha": plan.alpha, "fpr": plan.fpr},
        "cohort": cohort is not None,
        "resolvable_fpr": resolvable_fpr(unseen) if unseen > 3 else None,
        "power": list(power),
    }

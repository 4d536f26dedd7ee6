"""What is said of the samples: their sizes, what they can decide, and what stays unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import attacks
from attacks.decision.class_deletion import NO_REFERENCE
from attacks.decision.comparability import Comparability
from attacks.decision.planning import SMALL_REQUEST, what_can_be_decided
from auditkit.audit.exposure_checks import Exposed
from auditkit.audit.membership_input import Judged
from auditkit.audit.reference_models import References
from auditkit.audit.shadow_run import Recipe, ShadowRun
from auditkit.records import Records
from auditkit.results import CheckResult

if TYPE_CHECKING:
    from auditkit.audit.membership import AttackPlan

Say = Callable[[str], None]


def sizes(judged: Judged) -> dict[str, Any]:
    """Return how many records are judged, and how many were left out and why."""
    found: dict[str, Any] = {
        "forgotten": len(judged.forget),
        "unseen": len(judged.holdout),
        "retained": 0 if judged.retain is None else len(judged.retain),
    }
    if judged.left_out:
        found["left_out"] = dict(judged.left_out)
    if judged.classes:
        found["classes_forgotten"] = list(judged.classes)
    if judged.forget.subject is not None:
        found["people"] = len(set(judged.forget.subject))
    return found


def training(run: ShadowRun | None, plan: AttackPlan, references: References) -> dict[str, Any]:
    """Return how models were trained here, where any were."""
    if run is None and not references.retrained:
        return {}
    said: dict[str, Any] = {"recipe": asdict(plan.recipe or Recipe())}
    said["recipe_given"] = plan.recipe is not None
    if run is not None:
        said["records_per_shadow"] = run.trained_on
        said["records_of_the_audited_model"] = run.as_many_as
    return said


def said_first(
    plan: AttackPlan,
    names: tuple[str, ...],
    judged: Judged,
    train: Records | None,
    referenced: bool,
    say: Say | None,
) -> tuple[str, ...]:
    """Return what these samples can decide, having said it."""
    wanted = any("shadows" in attacks.REGISTRY[name].needs for name in names)
    wanted = wanted or len(judged.forget) <= SMALL_REQUEST
    shadows = plan.shadows + plan.shadows % 2
    planned = shadows if wanted and train is not None and not judged.classes else 0
    lines = what_can_be_decided(
        len(judged.forget), len(judged.holdout), plan.margin, alpha=plan.alpha, fpr=plan.fpr,
        independent_reference=referenced or plan.retrain > 0, shadows=planned,
    ).lines()  # fmt: skip
    if judged.classes and not (referenced or plan.retrain):
        lines = (*lines, f"Nothing is decided on the cohort: {NO_REFERENCE}.")
    if say is not None:
        for line in lines:
            say(line)
    return lines


def nothing_known(why: str) -> dict[str, str]:
    """Return tier and what stays unknown where no attack could be run on a submission."""
    return {"tier": "B", "unknown": f"all that membership inference could tell: {why}"}


def unknown(
    run: ShadowRun | None,
    no_shadows: str,
    references: References,
    comparability: Comparability,
    exposed: Exposed | None,
    one_by_one: CheckResult | None,
) -> str:
    """Return what the access given leaves open, in one sentence each.

    one_by_one: the check of a small request, whose records are not compared with a reference.
    """
    said = []
    if run is None:
        said.append(f"every attack that needs shadow models, and single records ({no_shadows})")
    elif (exposed is not None and exposed.unfit) or (
        one_by_one is not None and one_by_one.evidence.get("not_concluded")
    ):
        said.append("whether single records stand out: the shadow models are not like the original")
    if one_by_one is not None:
        said.append("whether nothing is left where nobody is exposed")
    elif not references.models:
        said.append("what a model that never saw the records would show: an AUC of 0.5 is assumed")
    elif references.given:
        said.append("whether the given references never saw the forgotten records")
    if comparability.comparable is None:
        said.append(f"whether the groups are comparable ({comparability.reason})")
    said.append("the owner's training beyond what was handed over")
    return "; ".join(said)

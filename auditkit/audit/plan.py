"""The auditor's plan: what is audited, with which records, by which checks and margins."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attacks.registry import REGISTRY
from attacks.shadows import Recipe
from auditkit import limits
from auditkit.audit.compare import JUDGED
from auditkit.audit.compare_models import TITLES as MODEL_JUDGED
from auditkit.audit.exposure_checks import EXPOSURE, SMALL
from auditkit.audit.membership import DEFAULT_MARGIN, DEFAULT_SHADOWS, AttackPlan
from auditkit.audit.membership_checks import COHORT
from auditkit.audit.plan_values import bad, known, share, strings, typed
from auditkit.audit.threat_plan import ThreatPlan, threat_plan
from auditkit.certificate.erasure import ERASURE, REDIRECTION
from auditkit.certificate.policy import ALL_CHECKS, Policy, policy_from, read_policy
from auditkit.errors import callers_own
from auditkit.files import read_bytes
from auditkit.threats.registry import BEHAVIOURS

RECORD_FILES = ("forget", "retain", "holdout", "train", "trigger")
_TOP = {
    "submission", *RECORD_FILES, "assertion", "tier", "required", "attack", "threats", "compare",
    "policy", "seed", "title", "auditor",
}  # fmt: skip
_ATTACK = {
    "names", "margin", "alpha", "fpr", "shadows", "recipe", "references", "retrain", "shadow_cache",
}  # fmt: skip
_RECIPE = {"epochs", "learning_rate", "batch_size", "weight_decay", "optimizer", "momentum"}


@dataclass(frozen=True)
class ComparePlan:
    """From which reference the patch is recomputed."""

    reference: Path | None = None
    reference_model: Path | None = None


@dataclass(frozen=True)
class Plan:
    """A plan with its paths resolved; `document` is what the file says, for the record."""

    path: Path
    submission: Path
    records: dict[str, Path]
    assertion: str | None
    required: tuple[str, ...]
    attack: AttackPlan | None
    references: tuple[Path, ...]
    threats: ThreatPlan | None
    compare: ComparePlan | None
    policy: Policy
    seed: int
    title: str
    auditor: str | None
    document: dict[str, Any] = field(default_factory=dict)


def read_plan(path: Path, seed: int | None = None) -> Plan:
    """Read audit.toml; UsageError when something in it is missing, unknown or malformed.

    Paths are relative to the plan's folder. `[attack]`, `[threats]` and `[compare]` may be left
    out or false: then that chapter is not run, and the record says so.
    """
    with callers_own():
        data = read_bytes(path, limit=limits.JSON_BYTES, what="plan")
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise bad(path, "a plan in TOML", str(error)) from None
    known(path, values, _TOP, "the plan")
    folder = path.parent
    if "submission" not in values:
        raise bad(path, "submission = DIRECTORY", "none")
    records = {
        name: folder / typed(path, name, values[name], str)
        for name in RECORD_FILES
        if name in values
    }
    assertion = values.get("assertion")
    if assertion not in (None, "redirected", "erased"):
        raise bad(path, 'assertion "redirected" or "erased"', repr(assertion)[:60])
    required = _required(path, values)
    tier = values.get("tier")
    _tier(path, tier, "train" in values)
    attack, references = _attack(
        path, folder, values.get("attack"), "holdout" in records, "train" in records
    )
    if seed is None:
        seed = typed(path, "seed", values.get("seed", 0), int)
        if seed >= 1 << 32:
            raise bad(path, "a seed below 2^32", str(seed)[:60])
    return Plan(
        path=path,
        submission=folder / typed(path, "submission", values["submission"], str),
        records=records,
        assertion=assertion,
        required=required,
        attack=attack,
        references=references,
        threats=threat_plan(path, values.get("threats", {}), attack, "train" in records),
        compare=_compare(path, folder, values.get("compare", False)),
        policy=_policy(path, folder, values.get("policy")),
        seed=seed,
        title=typed(path, "title", values.get("title", "Audit of an unlearning claim"), str),
        auditor=typed(path, "auditor", values.get("auditor", ""), str) or None,
        document=_without_cache(values),
    )


def _tier(path: Path, tier: Any, training: bool) -> None:
    """Refuse a tier that is not the one that the plan's files give."""
    if tier == "A":
        raise bad(
            path,
            'tier "B", or "C" with train records: this plan is about a submission',
            '"A", which is scores alone (auditkit attack --scores FILE.csv)',
        )
    if tier not in (None, "B", "C"):
        raise bad(path, 'tier "B", or "C" with train records', repr(tier)[:40])
    if tier == "B" and training:
        raise bad(path, 'no train records with tier "B"', "train")
    if tier == "C" and not training:
        raise bad(path, 'train records with tier "C"', "none")


def _required(path: Path, values: dict[str, Any]) -> tuple[str, ...]:
    names = strings(path, "required", values.get("required", []))
    known = {
        *ALL_CHECKS,
        ERASURE,
        REDIRECTION,
        *JUDGED,
        *MODEL_JUDGED,
        *(f"attack.{n}" for n in (*REGISTRY, COHORT, SMALL, EXPOSURE)),
    }
    known |= {behaviour.id for behaviour in BEHAVIOURS}
    unknown = sorted(set(names) - known)
    if unknown or ("required" in values and not names):
        found = unknown[0] if unknown else "nothing required"
        raise bad(path, "required as a list of check ids (auditkit explain lists them)", found)
    return tuple(names)


def _attack(
    path: Path, folder: Path, value: Any, unseen: bool, training: bool
) -> tuple[AttackPlan | None, tuple[Path, ...]]:
    if value is False or (value is None and not unseen):
        return None, ()
    if not unseen:
        raise bad(path, "holdout = FILE for the attacks that are planned", "none")
    value = {} if value is None else value
    known(path, value, _ATTACK, "[attack]")
    names = strings(path, "attack.names", value.get("names", []))
    unknown = sorted(set(names) - set(REGISTRY))
    if unknown:
        raise bad(path, f"attacks among {', '.join(REGISTRY)}", unknown[0])
    recipe = value.get("recipe")
    if recipe is not None:
        known(path, recipe, _RECIPE, "[attack.recipe]")
    try:
        made = None if recipe is None else Recipe(**recipe)
    except (ValueError, TypeError) as error:
        raise bad(path, "a recipe that can be trained", str(error)) from None
    margin = share(path, "attack.margin", value.get("margin", DEFAULT_MARGIN), 0.5)
    cache = value.get("shadow_cache")
    if cache is not None and not typed(path, "attack.shadow_cache", cache, str):
        raise bad(path, "attack.shadow_cache as the name of a folder", "an empty one")
    plan = AttackPlan(
        tuple(names),
        margin=margin,
        alpha=share(path, "attack.alpha", value.get("alpha", 0.05), 0.5),
        fpr=share(path, "attack.fpr", value.get("fpr", 0.01), 1.0),
        shadows=typed(path, "attack.shadows", value.get("shadows", DEFAULT_SHADOWS), int),
        recipe=made,
        shadow_cache=None if cache is None else folder / cache,
        retrain=typed(path, "attack.retrain", value.get("retrain", 0), int),
    )
    if plan.retrain and not training:
        raise bad(path, "train = FILE for the references to be retrained", "none")
    references = strings(path, "attack.references", value.get("references", []))
    return plan, tuple(folder / name for name in references)


def _without_cache(values: dict[str, Any]) -> dict[str, Any]:
    """Return the plan without where scores are kept, which changes nothing that is recorded."""
    attack = values.get("attack")
    if not isinstance(attack, dict):
        return values
    return {**values, "attack": {k: v for k, v in attack.items() if k != "shadow_cache"}}


def _compare(path: Path, folder: Path, value: Any) -> ComparePlan | None:
    if value is False:
        return None
    known(path, value, {"recompute", "reference", "reference_model"}, "[compare]")
    if typed(path, "compare.recompute", value.get("recompute", True), bool) is False:
        return None

    def file(name: str) -> Path | None:
        given = value.get(name)
        return None if given is None else folder / typed(path, f"compare.{name}", given, str)

    return ComparePlan(file("reference"), file("reference_model"))


def _policy(path: Path, folder: Path, value: Any) -> Policy:
    if value is None:
        return Policy()
    if isinstance(value, dict):
        return policy_from(value, path)
    with callers_own():
        return read_policy(folder / typed(path, "policy", value, str))

"""The membership chapter in words: what was available, what was fixed, what stays unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports import words
from reports.text import brief, is_number, number

if TYPE_CHECKING:
    from reports.view import Check

# The checks that answer for the whole chapter; single attacks are in its table.
ANSWERS = ("attack.cohort", "attack.exposure", "attack.small-request", "attack.patch-support")

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Chapter:
    """Lines of the chapter: answers, facts, what the sample can decide, what did not run."""

    answers: tuple[Check, ...]
    facts: Rows
    power: tuple[str, ...]
    skipped: Rows
    cohort: bool
    measured: bool


def chapter(record: dict[str, Any], checks: tuple[Check, ...]) -> Chapter | None:
    """Return the chapter of a validated record, None where no attack was part of the audit."""
    facts = record.get("membership") or {}
    attacked = [c for c in checks if c.id.startswith("attack.")]
    parts = [*(record.get("charts") or []), *(record.get("tables") or [])]
    drawn = any(part.get("section") == "membership" for part in parts)
    if not (facts or attacked or drawn):
        return None
    skipped = (facts.get("attacks") or {}).get("skipped")
    if skipped is None:
        skipped = [
            {"title": c.title, "reason": c.reason} for c in attacked if c.outcome == "not_run"
        ]
    return Chapter(
        answers=tuple(c for c in attacked if c.id in ANSWERS),
        facts=tuple(_facts(facts)) if facts else (),
        power=tuple(facts.get("power") or ()),
        skipped=tuple((item["title"], item["reason"]) for item in skipped),
        cohort=facts.get("cohort") is not False,
        measured=drawn or any(c.outcome != "not_run" for c in attacked),
    )


def _facts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    tier = facts.get("tier")
    if tier:
        rows.append(("Access", words.TIERS[tier]))
        rows.append(("What stays unknown", facts.get("unknown") or words.TIER_UNKNOWN[tier]))
    if facts.get("groups"):
        rows.append(("Records", _groups(facts["groups"])))
    if facts.get("references") is not None:
        rows.append(("Reference", _reference(facts["references"])))
    if facts.get("comparability"):
        alike = {True: "Yes: ", False: "No: ", None: "Not known: "}[facts.get("comparable")]
        rows.append(("Groups comparable", alike + facts["comparability"]))
    if facts.get("shadows"):
        rows.append(("Shadow models", _shadows(facts["shadows"])))
    elif facts.get("no_shadows"):
        rows.append(("Shadow models", f"None: {facts['no_shadows']}."))
    if facts.get("attacks"):
        rows.append(("Attacks tried", _tried(facts["attacks"])))
    if facts.get("rule"):
        rows.append(("Fixed before looking", _rule(facts["rule"])))
    if is_number(facts.get("resolvable_fpr")):
        least = number(facts["resolvable_fpr"], 2)
        rows.append(("Least false-positive rate", f"{least}: three unseen records accused"))
    return rows


def _groups(groups: dict[str, Any]) -> str:
    said = [
        f"{number(groups[name])} {name}"
        for name in ("forgotten", "unseen", "retained")
        if groups.get(name)
    ]
    if groups.get("people") and said:
        said[0] += (
            f" (of {number(groups['people'])} {_plural(groups['people'], 'person', 'people')})"
        )
    return ", ".join(said) or "none"


def _reference(count: int) -> str:
    if not count:
        return "Unseen records: an attack that knows nothing has an AUC of 0.5."
    models = _plural(count, "model", "models")
    return f"{number(count)} {models} retrained without the forgotten records." + (
        "" if count >= 5 else " With fewer than 5 the verdict is about this one model."
    )


def _shadows(shadows: dict[str, Any]) -> str:
    said = f"{number(shadows['models'])} models, each trained on half"
    said += f" of {number(shadows['pool'])} records" if shadows.get("pool") else " of the records"
    recipe = shadows.get("recipe") or {}
    told = ", ".join(f"{key.replace('_', ' ')} {brief(recipe[key])}" for key in recipe)
    return f"{said}. Recipe: {told}." if told else f"{said}."


def _tried(tried: dict[str, Any]) -> str:
    ran, judged = tried.get("ran") or 0, tried.get("judged") or 0
    said = f"{number(ran)} ran"
    if judged:
        said += (
            f", {number(judged)} of them judged together: a failure counts after Holm’s correction "
            "over all of their tests, a pass needs every one"
        )
    skipped = len(tried.get("skipped") or [])
    return f"{said}; {number(skipped)} did not run." if skipped else f"{said}."


def _rule(rule: dict[str, Any]) -> str:
    said = [
        f"{name} {number(rule[key])}"
        for key, name in (
            ("margin", "margin on AUC"),
            ("alpha", "level"),
            ("fpr", "false-positive rate"),
        )
        if is_number(rule.get(key))
    ]
    return ", ".join(said) or "nothing stated"


def _plural(count: int, one: str, many: str) -> str:
    return one if count == 1 else many

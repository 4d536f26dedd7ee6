"""What a record says of every dishonest behaviour of the threat model, tested or not.

A check that is not among the results was not planned or could not be made, and the record says so:
a reader must see what was not looked for beside what was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auditkit.results import CheckResult, Outcome
from auditkit.threats.decide import P_REFUTE
from auditkit.threats.interface import Behaviour
from auditkit.threats.references import ReferenceKind, References
from auditkit.threats.registry import BEHAVIOURS

NOT_PLANNED = "not planned"
NO_REFERENCE = "none: the test needs none"


def threat_rows(
    checks: Sequence[CheckResult],
    references: References,
    *,
    readable: bool = True,
    rates: Mapping[str, Mapping[str, Any]] | None = None,
    behaviours: Sequence[Behaviour] = BEHAVIOURS,
) -> list[dict[str, Any]]:
    """Return one row for each behaviour, in the order of their numbers.

    `readable` says whether the submission could be read at all. `rates` are the error rates of the
    checks by name, where they were calibrated: `false_alarm` and `power`, each hits, n and the ends
    of an interval, and `data`, on what.
    """
    found = {check.id: check for check in checks}
    rows = []
    for behaviour in sorted(behaviours, key=lambda b: b.number):
        check = found.get(behaviour.id)
        row: dict[str, Any] = {
            "number": behaviour.number,
            "name": behaviour.name,
            "title": behaviour.title,
            "id": behaviour.id,
            "needs": list(behaviour.needs),
            "hiding": behaviour.hiding,
            "rates": dict((rates or {}).get(behaviour.name, {})) or None,
        }
        if check is None:
            why = NOT_PLANNED if readable else "the submission cannot be read"
            rows.append(row | {"tested": False, "outcome": "not_run", "reason": why})
            continue
        tested = check.outcome is not Outcome.NOT_RUN
        evidence = check.evidence
        rows.append(
            row
            | {
                "tested": tested,
                "outcome": check.outcome.value,
                "severity": check.severity.value,
                "reason": check.reason,
                "p": _number(evidence.get(P_REFUTE)),
                "p_adjusted": _number(evidence.get(f"{P_REFUTE}_adjusted")),
                "p_support": _number(evidence.get("p_support")),
                "power": _number(evidence.get("power")),
                "interval": None if check.interval is None else list(check.interval),
                "n": check.n,
                "references": _used(behaviour, check, references) if tested else None,
            }
        )
    return rows


def _number(value: Any) -> float | None:
    """Return a number as it is, and nothing for what a check keeps there besides."""
    return float(value) if isinstance(value, int | float) else None


def _used(behaviour: Behaviour, check: CheckResult, references: References) -> str:
    """Return what the delivered network was compared with, as far as this behaviour asks for it."""
    own = check.evidence.get("references")
    if isinstance(own, str):
        return own
    if not any("reference" in need for need in behaviour.needs):
        return NO_REFERENCE
    return described(references)


def described(references: References) -> str:
    """Return references in words."""
    if references.kind is ReferenceKind.RETRAINED and references.networks:
        count = len(references.networks)
        several = "network" if count == 1 else "networks"
        return f"{count} {several} retrained without the requested records"
    if references.kind is ReferenceKind.PATCHED and references.patched is not None:
        return "the original with the auditor's own patch"
    return "unseen records, which stand for what a network says of records that it never saw"

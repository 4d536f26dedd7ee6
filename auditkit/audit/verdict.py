"""From all checks of an audit to its two claims and one sentence.

"The outputs are redirected" is what a patch can prove, "the information is gone" what nothing can:
two lines, never one. No assertion of an owner's turns the second green.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from auditkit.certificate.erasure import ERASURE, REDIRECTION, erasure, redirection
from auditkit.results import CheckResult, Outcome, Severity, overall

TELL_WHO = {"attack.difference", "attack.u-lira", "attack.ruli", "attack.cohort"}
"""Tell who was deleted, not what is left of them; the cohort's attacks are named one by one."""

STILL_THERE = {"threats.strippable", "threats.point-patch", "threats.head-only", "threats.fragile"}
"""Behaviours whose finding is that what was learned of the records is there, and reached."""

PROVING = ("submission.", "patch.", "certificate.")


def under_assertion(
    checks: Iterable[CheckResult], assertion: str, required: tuple[str, ...], kind: str = "patch"
) -> tuple[CheckResult, ...]:
    """Return the checks with the weight that the owner's assertion and the plan give them.

    Who asserts no more than redirection is not refuted by what an attack still sees: that is a
    limitation, said in the report and on the line "information removed". Nor does a loss of
    accuracy refute an assertion: it is a failure where the plan requires that there is none.
    `kind` is the submission's KIND: what an assertion of it leaves open stands among the checks
    once.
    """
    weighed = []
    checks = list(checks)
    known = {check.id for check in checks}
    if assertion == "erased" and ERASURE not in known:
        checks.append(erasure(kind))
    if assertion == "redirected" and kind == "model" and REDIRECTION not in known:
        checks.append(redirection())
    for check in checks:
        if assertion == "redirected" and check.id.startswith("attack."):
            severity = Severity.LIMITATION if check.severity is Severity.FAILURE else check.severity
            check = replace(check, required=False, severity=severity)
        if required:
            check = replace(check, required=check.id in required)
            if check.required and check.id == "utility.retained":
                check = replace(check, severity=Severity.FAILURE)
        weighed.append(check)
    return tuple(weighed)


def verdict(checks: tuple[CheckResult, ...], assertion: str, kind: str = "patch") -> dict[str, Any]:
    """Return the verdict block of a record; `kind` is the submission's KIND."""
    outcome = overall(checks)
    redirected = _redirected(checks) if kind == "patch" else _not_certified(assertion)
    removed = _removed(checks)
    failures = [c for c in checks if c.outcome is Outcome.FAIL and c.severity is Severity.FAILURE]
    missing = [
        c for c in checks if c.required and c.outcome in (Outcome.INCONCLUSIVE, Outcome.NOT_RUN)
    ]
    said = "redirected outputs" if assertion == "redirected" else "erased information"
    if outcome is Outcome.FAIL:
        names = ", ".join(c.id for c in failures[:3])
        more = f" and {len(failures) - 3} more" if len(failures) > 3 else ""
        sentence = f"The owner's assertion of {said} does not stand: {names}{more} failed."
    elif outcome is Outcome.PASS and assertion == "erased":
        sentence = (
            "Every check that the plan requires passed. That information was erased is not among "
            "them, and stays open."
        )
    elif outcome is Outcome.PASS:
        sentence = (
            f"Every required check passed: the owner's assertion of {said} stands as far as the "
            "checks go."
        )
    else:
        names = ", ".join(c.id for c in missing[:3]) or "no required check ran"
        sentence = f"The evidence does not decide the owner's assertion of {said}: {names}."
    return {
        "sentence": sentence,
        "outputs_redirected": redirected,
        "information_removed": removed,
    }


def _redirected(checks: tuple[CheckResult, ...]) -> dict[str, str]:
    proving = [c for c in checks if c.id.startswith(PROVING)]
    outcome = overall(proving)
    sentence = {
        Outcome.PASS: "Proved: at the forgotten records, and within the claimed radius around "
        "them, the patched network answers as the certificate says.",
        Outcome.FAIL: "Not so: what the certificate claims of the forgotten records does not hold "
        "or is not bound to what was delivered.",
    }.get(outcome, "Not shown: a claim is unproved or a required check did not run.")
    return {"outcome": outcome.value, "sentence": sentence}


def _not_certified(assertion: str) -> dict[str, str]:
    """Of a network unlearned by another method there is nothing that could prove a redirection."""
    if assertion == "redirected":
        return {
            "outcome": Outcome.INCONCLUSIVE.value,
            "sentence": "Not shown: it is asserted without a certificate.",
        }
    return {
        "outcome": Outcome.NOT_RUN.value,
        "sentence": "Not claimed: the network was unlearned by another method than a patch, and "
        "there is no certificate.",
    }


def _removed(checks: tuple[CheckResult, ...]) -> dict[str, str]:
    """No file shows what weights hold no longer: the best this line can be is undecided."""
    found = [
        c for c in checks
        if c.outcome is Outcome.FAIL
        and (c.id.startswith("attack.") or c.id in STILL_THERE)
        and c.id not in TELL_WHO
        # hidden too well, or told apart in any way, is not remembered
        and c.evidence.get("finding") not in ("over-forgotten", "told apart")
    ]  # fmt: skip
    if not found:
        return {
            "outcome": Outcome.INCONCLUSIVE.value,
            "sentence": "Not shown: no planned attack proved that information is left, and no "
            "check of this kind can prove that none is.",
        }
    names = ", ".join(c.id for c in found[:4]) + (" …" if len(found) > 4 else "")
    near = ""
    for check in checks:
        told = check.evidence.get("near", {}) if check.id == "attack.neighbourhood" else {}
        if told.get("answered_as_before") is not None:
            near = (
                f" Of noisy copies up to {told['radius']:g} away from a forgotten record, "
                f"{told['answered_as_before']:.0%} still get the answer they got before."
            )
    return {
        "outcome": Outcome.FAIL.value,
        "sentence": "No: what the network learned of the forgotten records is still in the "
        f"delivered files ({names}).{near}",
    }

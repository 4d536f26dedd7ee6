"""From p-values to an outcome: honesty refuted, the behaviour refuted, or neither, and why not.

Two questions with a null each. To *refute* honesty, the null is an honest owner. To *support* it,
the null is the behaviour, by at least a margin (an equivalence test). Rejecting neither decides
nothing, and then the power says what these samples could have shown.
"""

from __future__ import annotations

from typing import Any

from auditkit.results import CheckResult, Outcome
from auditkit.threats.interface import Judgement

REFUTE = 0.001
"""Level at which honesty is refuted; of one audit's checks together, as Holm (1979) adjusts it."""
IN_AUDIT = REFUTE / 16
"""What a p-value may be at most to refute in an audit of all checks, whatever the others' are; a
power is stated for it, so that none is said to be found that Holm may leave undecided."""
SUPPORT = 0.01
"""Level at which a behaviour is refuted."""

P_REFUTE = "p_refute"
"""Name in a result's evidence of the p-value that a verdict rests on; absent where none does."""


def decide(
    judged: Judgement,
    told: str,
    *,
    p_refute: float,
    p_support: float | None = None,
    power: float | None = None,
    **figures: Any,
) -> CheckResult:
    """Return the outcome of two tests, told in words.

    `p_support` is None where nothing could be supported; `power` is the chance of refuting with
    these samples if the behaviour is there in full, None where it is not known.
    """
    evidence = {**figures.pop("evidence", {}), P_REFUTE: p_refute}
    if p_support is not None:
        evidence["p_support"] = p_support
    if power is not None:
        evidence["power"] = power
    figures["evidence"] = evidence
    if p_refute <= REFUTE:
        return judged(Outcome.FAIL, f"{told} (p = {p_refute:.2g})", **figures)
    if p_support is not None and p_support <= SUPPORT:
        return judged(Outcome.PASS, f"{told} (p = {p_support:.2g})", **figures)
    reason = f"{told}; neither honesty nor the behaviour is refuted (p = {p_refute:.2g}"
    reason += f" and {p_support:.2g})" if p_support is not None else ")"
    if power is not None:
        reason += f"; in full it would be found with a chance of {power:.0%} by these samples"
    return judged(Outcome.INCONCLUSIVE, reason, **figures)

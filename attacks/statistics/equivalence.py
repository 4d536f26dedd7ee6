"""Showing that nothing is left: a test that can fail to show a difference shows nothing.

Two one-sided tests turn the burden round: the claim is that the attack does no better (and no
worse) than the reference by more than a margin, and a sample too small cannot make it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from scipy.special import ndtr, ndtri  # scipy.stats checks its arguments for most of a plan

from attacks.arrays import proportion


class Estimate(Protocol):
    """What the tests need of an estimate: an interval at any confidence."""

    def interval(self, confidence: float) -> tuple[float, float]: ...

    def p_above(self, bound: float) -> float: ...

    def p_below(self, bound: float) -> float: ...


@dataclass(frozen=True)
class Equivalence:
    """What two one-sided tests say of an estimate against reference ± margin.

    `equivalent`: the 1 - 2·alpha interval lies within. `p_beyond`: the two-sided p-value of the
    hypothesis that the true value lies within the margin.
    """

    reference: float
    margin: float
    alpha: float
    lower: float
    upper: float
    equivalent: bool
    p_beyond: float


def equivalence_test(
    estimate: Estimate, reference: float, margin: float, alpha: float = 0.05
) -> Equivalence:
    """Return whether the estimate is shown to be within the margin of the reference, or beyond it.

    Raises ValueError unless 0 < margin < 1 and 0 < alpha < 0.5.
    Source: Schuirmann 1987; the interval form with 1 - 2·alpha.
    """
    proportion(margin, "margin")
    proportion(2.0 * alpha, "twice alpha")
    lower, upper = estimate.interval(1.0 - 2.0 * alpha)
    low, high = reference - margin, reference + margin
    # At most one of the two can be beyond; doubling keeps the level at any margin.
    p_beyond = min(1.0, 2.0 * min(estimate.p_above(high), estimate.p_below(low)))
    within = low < lower and upper < high
    return Equivalence(reference, margin, alpha, lower, upper, within, p_beyond)


def hanley_mcneil_variance(auc: float, n_members: int, n_non_members: int) -> float:
    """Return the variance of an AUC that is expected before any score is seen.

    Exponential scores are assumed; at 0.5 it is the exact (1/12)(1/M + 1/N) + 1/(12MN) of
    continuous scores. Raises ValueError unless 0 < auc < 1 and both groups have a record.
    Source: Hanley and McNeil 1982.
    """
    proportion(auc, "auc")
    if min(n_members, n_non_members) < 1:
        raise ValueError("both groups need at least one record")
    q1, q2 = auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc)
    spread = (n_members - 1) * (q1 - auc * auc) + (n_non_members - 1) * (q2 - auc * auc)
    return (auc * (1.0 - auc) + spread) / (n_members * n_non_members)


def equivalence_power(
    n_members: int,
    n_non_members: int,
    margin: float,
    *,
    reference: float = 0.5,
    difference: float = 0.0,
    alpha: float = 0.05,
    independent_reference: bool = False,
) -> float:
    """Return the chance that the two one-sided tests show equivalence.

    `difference` is the true distance from the reference; `independent_reference` doubles the
    variance, for a reference AUC measured on other records. Raises ValueError on sizes below 1,
    a margin outside (0, 1) or an AUC outside (0, 1).
    """
    proportion(margin, "margin")
    area = reference + difference
    variance = hanley_mcneil_variance(area, n_members, n_non_members)
    error = math.sqrt(variance * (2.0 if independent_reference else 1.0))
    z = float(-ndtri(alpha))
    up = ndtr((margin - difference) / error - z)
    down = ndtr((margin + difference) / error - z)
    return max(0.0, float(up + down - 1.0))


def members_needed(
    n_non_members: int,
    margin: float,
    *,
    power: float = 0.8,
    reference: float = 0.5,
    difference: float = 0.0,
    alpha: float = 0.05,
    independent_reference: bool = False,
) -> int | None:
    """Return the least number of members that gives the planned power, None when no number does.

    With a margin of 0.05, 10,000 non-members and 80 % power: 294 against a known reference, 606
    against one independently measured. Raises ValueError as `equivalence_power` does.
    """
    proportion(power, "power")

    def enough(m: int) -> bool:
        return power <= equivalence_power(
            m,
            n_non_members,
            margin,
            reference=reference,
            difference=difference,
            alpha=alpha,
            independent_reference=independent_reference,
        )

    return least_number(enough)


def least_members_for_pass(
    n_non_members: int,
    margin: float,
    *,
    reference: float = 0.5,
    alpha: float = 0.05,
    independent_reference: bool = False,
) -> int | None:
    """Return the number of members below which no outcome can show equivalence, None when none can.

    It is where the 1 - 2·alpha interval becomes narrower than twice the margin: 92 with a margin of
    0.05 and 10,000 non-members. Raises ValueError as `equivalence_power` does.
    """
    proportion(margin, "margin")
    factor = 2.0 if independent_reference else 1.0

    def possible(m: int) -> bool:
        error = math.sqrt(factor * hanley_mcneil_variance(reference, m, n_non_members))
        return float(-ndtri(alpha)) * error < margin

    return least_number(possible)


def members_to_show_beyond(
    n_non_members: int,
    margin: float,
    *,
    difference: float,
    power: float = 0.8,
    reference: float = 0.5,
    alpha: float = 0.05,
    independent_reference: bool = False,
) -> int | None:
    """Return the least number of members that shows a difference beyond the margin to be so.

    Alpha is two-sided, already divided by the number of tests where there are several. None when
    the difference is not beyond the margin, or when no number does. Raises ValueError on rates
    outside (0, 1).
    """
    area = reference + difference
    proportion(area, "reference + difference")
    wanted = float(-ndtri(alpha / 2.0) + ndtri(proportion(power, "power")))
    room = abs(difference) - proportion(margin, "margin")
    if room <= 0.0:
        return None
    factor = 2.0 if independent_reference else 1.0

    def enough(m: int) -> bool:
        return wanted * math.sqrt(factor * hanley_mcneil_variance(area, m, n_non_members)) <= room

    return least_number(enough)


def trials_for_share(share: float, bound: float, *, alpha: float, power: float) -> int | None:
    """Return how many trials tell a true share from a bound by a one-sided test, None if equal.

    The usual normal approximation, as it is for planning only. Raises ValueError unless alpha and
    power lie in (0, 1). Source: Fleiss, Levin and Paik 2003.
    """
    z_alpha = float(-ndtri(proportion(alpha, "alpha")))
    z_power = float(ndtri(proportion(power, "power")))
    if abs(share - bound) < 1e-6:
        return None
    spread = z_alpha * math.sqrt(bound * (1.0 - bound)) + z_power * math.sqrt(share * (1.0 - share))
    return math.ceil((spread / (share - bound)) ** 2)


def least_number(enough: Callable[[int], bool], most: int = 10_000_000) -> int | None:
    """Return the least number for which a condition holds that grows with it, None beyond `most`.

    About the least where it grows but for small steps: counts are whole, so power has teeth.
    """
    high = 1
    while not enough(high):
        high *= 2
        if high > most:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high

"""How many records would have decided: an INCONCLUSIVE that says no more helps nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from attacks.statistics.equivalence import (
    Equivalence,
    members_needed,
    members_to_show_beyond,
    trials_for_share,
)
from attacks.statistics.roc import negatives_needed

_MOST_UNSEEN = 10_000_000


class Undecided(Protocol):
    """What is read of an attack that did not decide."""

    @property
    def auc_test(self) -> Equivalence: ...

    @property
    def tpr_test(self) -> Equivalence | None: ...


@dataclass(frozen=True)
class SampleSize:
    """A number of forgotten and of unseen records."""

    forgotten: int
    unseen: int


def deciding_size(
    attacks: Sequence[Undecided],
    n_unseen: int,
    *,
    fpr: float,
    alpha: float,
    power: float,
    reference: float,
    n_tests: int,
) -> SampleSize | None:
    """Return the sample that would decide every given attack with the planned power.

    The middle of each interval is taken for the truth: inside the margin the size for PASS counts,
    beyond it that for FAIL, Bonferroni over n_tests. None when a difference sits on the margin or
    nothing is undecided. Raises ValueError on rates outside (0, 1).
    """
    if not attacks:
        return None
    unseen = max(n_unseen, negatives_needed(fpr))
    while unseen <= _MOST_UNSEEN:
        sizes = [_for_auc(a.auc_test, unseen, alpha, power, reference, n_tests) for a in attacks]
        if all(size is not None for size in sizes):
            rates = [_for_tpr(a.tpr_test, alpha, power, n_tests) for a in attacks]
            if any(rate is None for rate in rates):
                return None
            return SampleSize(max(n for n in (*sizes, *rates) if n is not None), unseen)
        unseen *= 2
    return None


def _for_auc(
    test: Equivalence, unseen: int, alpha: float, power: float, reference: float, n_tests: int
) -> int | None:
    difference = (test.lower + test.upper) / 2.0 - test.reference
    # Against retrained models the test is of a difference; the AUC itself lies near theirs.
    difference = min(max(difference, 0.01 - reference), 0.99 - reference)
    paired = test.reference == 0.0
    if abs(difference) < test.margin:
        return members_needed(
            unseen,
            test.margin,
            power=power,
            reference=reference,
            difference=difference,
            alpha=alpha,
            independent_reference=paired,
        )
    return members_to_show_beyond(
        unseen,
        test.margin,
        difference=difference,
        power=power,
        reference=reference,
        alpha=alpha / n_tests,
        independent_reference=paired,
    )


def _for_tpr(test: Equivalence | None, alpha: float, power: float, n_tests: int) -> int | None:
    if test is None:
        return 1  # not resolved: the unseen records decide, not the forgotten ones
    middle = (test.lower + test.upper) / 2.0
    bound = test.reference + test.margin
    level = alpha if middle < bound else alpha / (2.0 * n_tests)
    # A difference of shares near 0 has at most the spread of a share at the bound.
    return trials_for_share(max(middle, 0.0), bound, alpha=level, power=power)

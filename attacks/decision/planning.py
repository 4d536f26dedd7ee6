"""What a sample can decide, said before the long run and not found out after it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from attacks.arrays import proportion
from attacks.statistics.equivalence import (
    equivalence_power,
    least_members_for_pass,
    members_needed,
)
from attacks.statistics.roc import negatives_needed, resolvable_fpr

SMALL_REQUEST = 20  # records; up to here the request is judged record by record


@dataclass(frozen=True)
class Decidability:
    """What a request of this size can be told, at this margin.

    pass_possible: whether any outcome could be a PASS of the cohort rule. power: chance of a PASS
    on AUC per attack if nothing is left. forgotten_for_pass, forgotten_for_power: least numbers of
    forgotten records for a possible PASS and for the planned power; None when the unseen records
    are too few for any. unseen_for_fpr: unseen records the planned false-positive rate needs.
    out_shadows: OUT shadow models per record that ranks need, in a small request for Holm's first
    step, in a cohort for Benjamini-Hochberg's. paired: against retrained models, whose scores of
    the same records are taken for unrelated here: where the models agree on which records are easy,
    fewer decide, and no number makes a PASS impossible. shadows: how many shadow models are
    planned, None where that is not known.
    """

    n_forgotten: int
    n_unseen: int
    margin: float
    alpha: float
    fpr: float
    small_request: bool
    pass_possible: bool
    power: float
    planned_power: float
    forgotten_for_pass: int | None
    forgotten_for_power: int | None
    fpr_resolved: bool
    unseen_for_fpr: int
    smallest_fpr: float | None
    out_shadows: int
    paired: bool = False
    shadows: int | None = None

    def lines(self) -> tuple[str, ...]:
        """Return sentences to print before the run."""
        if self.small_request:
            return (
                f"{self.n_forgotten} record(s): judged one by one against shadow models, no cohort "
                "verdict.",
                f"Each record needs at least {self.out_shadows} shadow models trained without it, "
                f"that is about {2 * self.out_shadows} in all.",
                *self._planned(),
            )
        said = []
        if self.paired:
            said.append(
                f"{self.n_forgotten} forgotten and {self.n_unseen} unseen records against "
                f"retrained models: if nothing is left, one attack is shown to be within "
                f"{self.margin:g} of their AUC with chance {self.power:.0%}, more where the models "
                "agree on which records are easy."
            )
        elif self.pass_possible:
            said.append(
                f"{self.n_forgotten} forgotten and {self.n_unseen} unseen records: if nothing is "
                f"left, one attack is shown to be within {self.margin:g} of the reference AUC with "
                f"chance {self.power:.0%}."
            )
        elif self.forgotten_for_pass is not None and self.n_forgotten < self.forgotten_for_pass:
            said.append(
                f"A PASS is impossible with {self.n_forgotten} forgotten records: at margin "
                f"{self.margin:g} it takes at least {self.forgotten_for_pass}."
            )
        elif self.forgotten_for_pass is None:
            said.append(
                f"A PASS is impossible with {self.n_unseen} unseen records at margin "
                f"{self.margin:g}, whatever the number of forgotten ones."
            )
        if self.forgotten_for_power is not None and self.power < self.planned_power:
            said.append(
                f"A chance of {self.planned_power:.0%} takes {self.forgotten_for_power} forgotten "
                "records."
            )
        if not self.fpr_resolved:
            can = "none" if self.smallest_fpr is None else f"{self.smallest_fpr:.2g} and above"
            said.append(
                f"A false-positive rate of {self.fpr:g} needs {self.unseen_for_fpr} unseen "
                f"records, there are {self.n_unseen}; they resolve {can}. As planned, a PASS is "
                "impossible."
            )
        return (*said, *self._planned())

    def _planned(self) -> tuple[str, ...]:
        """Return what the planned shadow models can say of single records."""
        if self.shadows is None:
            return ()
        if self.shadows < 2:
            return ("No shadow models are planned: single records are not judged.",)
        without = self.shadows // 2
        if without >= self.out_shadows:
            return (f"{self.shadows} shadow models are planned: single records by rank alone.",)
        return (
            f"{self.shadows} shadow models are planned, {without} without each record; one of "
            f"{self.n_forgotten} exposed by rank alone takes {self.out_shadows}. Tails are taken "
            "for normal, and the result says so.",
        )


def what_can_be_decided(
    n_forgotten: int,
    n_unseen: int,
    margin: float = 0.05,
    *,
    alpha: float = 0.05,
    fpr: float = 0.01,
    power: float = 0.8,
    independent_reference: bool = False,
    shadows: int | None = None,
) -> Decidability:
    """Return what a request of this size can be told, before anything is run.

    The reference AUC is taken as 0.5. shadows: how many shadow models are planned. Raises
    ValueError on sizes below 1 or a margin, alpha, fpr or power outside (0, 1).
    """
    if min(n_forgotten, n_unseen) < 1:
        raise ValueError(f"expected at least 1 record each, found {n_forgotten} and {n_unseen}")
    proportion(alpha, "alpha")
    least = least_members_for_pass(
        n_unseen, margin, alpha=alpha, independent_reference=independent_reference
    )
    small = n_forgotten <= SMALL_REQUEST
    unseen_for_fpr = negatives_needed(fpr)
    resolved = n_unseen >= unseen_for_fpr
    return Decidability(
        n_forgotten=n_forgotten,
        n_unseen=n_unseen,
        margin=margin,
        alpha=alpha,
        fpr=fpr,
        small_request=small,
        pass_possible=not small
        and resolved
        and (independent_reference or (least is not None and n_forgotten >= least)),
        power=equivalence_power(
            n_forgotten,
            n_unseen,
            margin,
            alpha=alpha,
            independent_reference=independent_reference,
        ),
        planned_power=power,
        forgotten_for_pass=least,
        forgotten_for_power=members_needed(
            n_unseen,
            margin,
            power=power,
            alpha=alpha,
            independent_reference=independent_reference,
        ),
        fpr_resolved=resolved,
        unseen_for_fpr=unseen_for_fpr,
        smallest_fpr=resolvable_fpr(n_unseen) if n_unseen > 3 else None,
        out_shadows=out_shadows_needed(n_forgotten, alpha),
        paired=independent_reference,
        shadows=shadows,
    )


def out_shadows_needed(n_records: int, alpha: float = 0.05) -> int:
    """Return how many OUT shadow models let one record of a request be rejected by rank.

    The smallest p-value is 1/(K_out + 1) and Holm's first step asks for alpha/n: 399 for 20 records
    at 0.05. Raises ValueError on no record or alpha outside (0, 1).
    """
    if n_records < 1:
        raise ValueError("a request has at least 1 record")
    return math.ceil(n_records / proportion(alpha, "alpha") - 1e-9) - 1

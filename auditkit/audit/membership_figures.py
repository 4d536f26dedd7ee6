"""The figures of every attack that ran, worked out once for charts and tables alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from numpy.typing import ArrayLike

import attacks
from attacks.decision.cohort import AttackScores
from attacks.statistics.auc import AucDifference, auc_difference
from attacks.statistics.clusters import Clusters
from auditkit.audit.membership_checks import TELLS_REQUESTS

# An attack that always gets a curve comes first of its row that ran; chosen before any score.
PREFERRED = (("lira-online", "lira-offline"), ("rmia",), ("loss",))
FIXED = "fixed before any score was seen"
AFTER_LOOKING = "chosen after looking: the highest AUC after unlearning"


@dataclass(frozen=True, eq=False)
class AttackFigures:
    """One attack before and after, on each reference model, and against their mean.

    difference: AUC after less that of the references, None without any.
    """

    name: str
    title: str
    before: attacks.Evaluation | None
    after: attacks.Evaluation
    references: tuple[attacks.Evaluation, ...]
    difference: AucDifference | None

    @property
    def tells_requests(self) -> bool:
        """Whether it tells who was deleted: it has no before, and no reference is to be met."""
        return self.name in TELLS_REQUESTS

    @property
    def reference_auc(self) -> float:
        """The mean AUC of the references; 0.5, where unseen records are the reference."""
        if not self.references:
            return 0.5
        return sum(e.auc.auc for e in self.references) / len(self.references)


def all_figures(
    before: dict[str, AttackScores | None], after: dict[str, AttackScores], alpha: float
) -> tuple[AttackFigures, ...]:
    """Return the figures of every attack with scores, in the order of the registry.

    The interval of a difference is that of the test, at 1 - 2·alpha.
    """
    found = []
    for name in (n for n in attacks.REGISTRY if n in after):
        now, then = after[name], before.get(name)
        found.append(
            AttackFigures(
                name,
                attacks.REGISTRY[name].title,
                None if then is None else _evaluate(then.forgotten, then.unseen, then.subjects),
                _evaluate(now.forgotten, now.unseen, now.subjects),
                tuple(_evaluate(*pair, now.subjects) for pair in now.references),
                auc_difference(
                    now.forgotten, now.unseen, now.references, 1.0 - 2.0 * alpha, now.subjects
                )
                if now.references
                else None,
            )
        )
    return tuple(found)


def _evaluate(
    forgotten: ArrayLike, unseen: ArrayLike, subjects: Clusters | None
) -> attacks.Evaluation:
    """Return the figures, intervals by person where people have several records."""
    return attacks.evaluate(forgotten, unseen, clusters=subjects)


def chosen(figures: Iterable[AttackFigures]) -> list[tuple[AttackFigures, str]]:
    """Return which attacks get a curve of their own, with the reason of each.

    The preferred ones are fixed. The one with the highest AUC after is added and said to be chosen
    after looking: the highest of many is high by luck too.
    """
    by_name = {f.name: f for f in figures if not f.tells_requests}
    picked = [
        (by_name[name], FIXED)
        for row in PREFERRED
        for name in [next((n for n in row if n in by_name), None)]
        if name is not None
    ]
    if not by_name:
        return picked
    highest = max(by_name.values(), key=lambda f: f.after.auc.auc)
    if highest.name not in {f.name for f, _ in picked}:
        picked.append((highest, AFTER_LOOKING))
    return picked

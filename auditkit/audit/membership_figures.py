"""The figures of every attack that ran, worked out once for charts and tables alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import attacks
from attacks.decision.cohort import AttackScores
from attacks.statistics.auc import AucDifference, auc_difference

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
    def reads_the_patch(self) -> bool:
        """Whether it looks at the patch itself, so that it has no before and no reference."""
        return self.name == attacks.patch_support.PATCH_SUPPORT.name

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
                None if then is None else attacks.evaluate(then.forgotten, then.unseen),
                attacks.evaluate(now.forgotten, now.unseen),
                tuple(attacks.evaluate(*pair) for pair in now.references),
                auc_difference(now.forgotten, now.unseen, now.references, 1.0 - 2.0 * alpha)
                if now.references
                else None,
            )
        )
    return tuple(found)


def chosen(figures: Iterable[AttackFigures]) -> list[tuple[AttackFigures, str]]:
    """Return which attacks get a curve of their own, with the reason of each.

    The preferred ones are fixed. The one with the highest AUC after is added and said to be chosen
    after looking: the highest of many is high by luck too.
    """
    by_name = {f.name: f for f in figures if not f.reads_the_patch}
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

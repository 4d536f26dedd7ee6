"""How an unlearned network answers requested records and others: what changed, where, and how much.

Every weight of such a network may have changed, and every output with it. That outputs changed
shows nothing; that just the requested records get other labels, far more often than others do,
shows that something was done to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.judge_unlearned import ROUNDING
from auditkit.certificate.model_case import Answers
from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.network.evaluate import logits
from auditkit.records import Records
from auditkit.threats.evidence import Evidence, Requested, others
from auditkit.threats.numbers import least_p, permutation_tails, share_interval

Bits = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Relabelled:
    """Which requested records [N] have another output, and another label than the right one.

    `effect` [N] is by how much outputs changed, relative to the logits' range. `right` [N] are
    predicted rightly by the original; `other_hits` of `others` records, of no class that is to be
    forgotten, were and are not any more. `unreadable` counts records that are answered with nan or
    infinity: where there are any, nothing may be concluded.
    """

    effect: NDArray[np.float64]
    lost: Bits
    right: Bits
    other_hits: int
    others: int
    unreadable: int

    @property
    def changed(self) -> Bits:
        """Return [N]: whether the output is another one, by more than rounding."""
        return self.effect > ROUNDING

    @property
    def tails(self) -> tuple[float, float]:
        """p-values that as many, and as few, requested records lost their label by chance."""
        n = int(self.right.sum())
        return permutation_tails(int(self.lost.sum()), n, self.other_hits, self.others)

    @property
    def told(self) -> str:
        """Return the counts in words."""
        return (
            f"the outputs at {int(self.changed.sum())} of {len(self.changed)} requested records "
            f"changed; {int(self.lost.sum())} of {int(self.right.sum())} that were predicted "
            f"rightly are not any more, {self.other_hits} of {self.others} other records"
        )

    def decides_nothing(self) -> dict[str, Any]:
        """Return `figures` of a result that rests on them alone: it finds nobody, whatever is."""
        figures = self.figures()
        return figures | {"evidence": figures["evidence"] | {"power": 0.0}}

    def figures(self) -> dict[str, Any]:
        """Return what a result shows: the share of the requested that lost their label."""
        lost, n = int(self.lost.sum()), int(self.right.sum())
        more, fewer = self.tails
        return {
            "observed": lost / n if n else None,
            "interval": share_interval(lost, n) if n else None,
            "n": n,
            "evidence": {
                "outputs_changed": int(self.changed.sum()),
                "requested": len(self.changed),
                "others": self.others,
                "others_share": self.other_hits / self.others if self.others else None,
                "others_interval": share_interval(self.other_hits, self.others),
                "p_requested_more": more,
                "p_requested_fewer": fewer,
                "least_p": least_p(n, self.others),
            },
        }


def relabelled(submission: UnlearnedSubmission, asked: Requested, evidence: Evidence) -> Relabelled:
    """Compare both networks on the requested records, and on what the auditor has besides."""
    mine = _answers(submission, asked.records)
    hits = total = unreadable = 0
    # a class that goes takes unseen records of it along; what the auditor gave as retained stays
    gone = np.intersect1d(submission.whole_classes, asked.records.y)
    for group, records in others(evidence, asked).items():
        keep = ~np.isin(records.y, [] if group == "retained" else gone)
        if not keep.any():
            continue
        theirs = _answers(submission, records.take(keep))
        right, lost = _lost(theirs)
        hits, total = hits + int(lost.sum()), total + int(right.sum())
        unreadable += theirs.unreadable
    right, lost = _lost(mine)
    return Relabelled(mine.effect, lost, right, hits, total, unreadable + mine.unreadable)


def _lost(answers: Answers) -> tuple[Bits, Bits]:
    """Return [N] which are predicted rightly before, and which of these are not after."""
    before, after = answers.labels
    right = before == answers.y
    return right, right & (after != answers.y)


def _answers(submission: UnlearnedSubmission, records: Records) -> Answers:
    network = submission.network
    before = logits(network, records.x.astype(network.dtype)).astype(np.float64)
    return Answers(before, submission.delivered(records.x), records.y)

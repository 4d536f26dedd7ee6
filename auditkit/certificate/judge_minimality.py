"""certificate.minimality: is any group's change of the logits larger than it has to be?

From above, how far a group moves a logit on the claimed sets of its records; from below, what a
witness input shows that any patch must do (`lower_bound`). Witnesses are looked for along rays and,
where these do not suffice, by the search that provers use; none is believed before it is evaluated.
Of the owner's proofs only the bounds are used that the checker derived with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.case import Case
from auditkit.certificate.check import Claims, Findings, Verdict
from auditkit.certificate.lower_bound import change_needed
from auditkit.network.multipliers import Objective
from auditkit.network.region import Box
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.settings import Method
from auditkit.patch.sharpen import (
    Sharpened,
    Sharpener,
    boxes,
    deviation_bounds,
    lead_bounds,
    lead_objective,
    logit_columns,
    logit_objective,
    sharpen_greatest,
)
from auditkit.results import CheckResult, Outcome, Severity, not_run

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

NAME, TITLE = "certificate.minimality", "No smaller patch meets the claims"
SEARCHED_GROUPS = 64  # at most, beyond those that rays settle; the rest stay open
SEARCHED_NUMBERS = 40_000_000  # units times features of the records that are searched
DEPLOYED_SHARE = 0.25  # of a size, that the margin for deployed floats may take at most
WITNESSES = 100  # that the confidential annex is given
ROUNDING = 2.0**-18  # of an offset to the multiples of 2**-20 that patches are made of, and more


@dataclass(frozen=True, eq=False)
class Sizes:
    """Of M groups: the greatest change of a logit on the claimed sets, and the least possible.

    `enough` is a sup-norm with which a constant offset surely does, infinite where none is known.
    """

    group: Index
    at_most: F64
    at_least: F64
    enough: F64
    possible: F64  # a witness cannot show more than this
    allowed: F64
    claim: Index  # that shows `at_least`
    witness: F64

    @property
    def shown(self) -> Bits:
        return self.at_most - self.at_least <= self.allowed

    @property
    def exceeded(self) -> Bits:
        return self.at_most - self.enough > self.allowed

    @property
    def searchable(self) -> Bits:
        """Where a search may settle what is still open."""
        may_be_shown = self.at_most - self.possible <= self.allowed
        return ~self.shown & ~self.exceeded & (may_be_shown | np.isfinite(self.enough))


def minimality(case: Case) -> CheckResult:
    """No patch that meets the region claims is smaller by more than δ in any group."""
    submission, matched, findings = case.submission, case.matched, case.findings
    if submission.certificate.settings.method is Method.SUPPRESS:
        return not_run(NAME, TITLE, "a suppressed class shifts one logit everywhere, by intention")
    if isinstance(submission.patch, ExplicitPatch):
        return not_run(NAME, TITLE, "not examined where regions are written out as rows")
    if matched is None:
        return not_run(NAME, TITLE, case.why_no_records)
    if findings is None:
        reason = "no claim about a requested record can be checked"
        return CheckResult(NAME, TITLE, Outcome.INCONCLUSIVE, reason, observed=0)
    sizes = _Search(case, matched.claims, findings).sizes()
    shown, exceeded = sizes.shown & ~sizes.exceeded, sizes.exceeded
    if exceeded.any():
        outcome = Outcome.FAIL
    else:
        outcome = Outcome.PASS if shown.all() else Outcome.INCONCLUSIVE
    parts = [f"{int(shown.sum())} of {len(shown)} group(s) shown to be as small as possible"]
    if exceeded.any():
        parts.append(f"{int(exceeded.sum())} proved larger than needed")
    if not (shown | exceeded).all():
        parts.append(f"{int((~(shown | exceeded)).sum())} not settled")
    share = (sizes.at_most - sizes.at_least) / np.maximum(sizes.at_most, np.finfo(float).tiny)
    rows = [
        {
            "group": int(sizes.group[i]),
            "change_at_most": float(sizes.at_most[i]),
            "needed_at_least": float(sizes.at_least[i]),
            "allowed_excess": float(sizes.allowed[i]),
        }
        for i in range(len(shown))
    ]
    return CheckResult(
        NAME,
        TITLE,
        outcome,
        "; ".join(parts),
        observed=float(share.max()),
        threshold=case.policy.excess_size,
        n=len(shown),
        # larger than needed breaks no promise, unless the auditor demands the least
        severity=Severity.FAILURE if NAME in case.policy.required else Severity.LIMITATION,
        evidence={"groups": rows},
        private={
            "witnesses": [
                {
                    "record": matched.digests[matched.record[sizes.claim[i]]],
                    "input": sizes.witness[i].tolist(),
                }
                for i in np.flatnonzero(np.isfinite(sizes.at_least))[:WITNESSES]
            ]
        },
    )


class _Search:
    """The claims of one submission, the groups that serve them, and the bounds found so far."""

    def __init__(self, case: Case, claims: Claims, findings: Findings) -> None:
        self.case, self.claims, self.findings = case, claims, findings
        self.network, self.patch = case.submission.network, case.submission.gated
        domain = case.submission.certificate.settings.domain
        self.lower, self.upper = domain.lower, domain.upper
        self.box = Box.around(claims.x, claims.radius, self.lower, self.upper)
        table = self.patch.table
        self.bits = table.patterns[claims.gate]
        self.group, self.place = np.unique(table.group[claims.gate], return_inverse=True)
        self.outputs = bool((claims.target < 0).all())
        self.sure = findings.support == Verdict.PROVED
        self.bound, self.objective, self.constant = self._objectives()
        self.needed = np.full(len(claims), -np.inf)
        self.point = claims.x.copy()

    def sizes(self) -> Sizes:
        """Bound every group from both sides, with a search for those that rays leave open."""
        everyone = np.flatnonzero(self.sure)
        self._show(everyone, self.claims.x[everyone])
        if len(everyone):
            top = self.bound[everyone].argmax(axis=1)
            self._show(everyone, self._ray(everyone, top))
        sizes = self._sizes()
        unsettled = np.flatnonzero(sizes.searchable)[:SEARCHED_GROUPS]
        rows = self._worst(np.flatnonzero(np.isin(self.place, unsettled) & self.sure))
        if len(rows):
            self._search(rows)
            sizes = self._sizes()
        return sizes

    def _worst(self, rows: Index) -> Index:
        """Return the claims `rows`, of large networks only those that decide the most."""
        each = max(1, self.bits.shape[1] * self.network.features)
        groups = len(np.unique(self.place[rows]))
        most = max(1, SEARCHED_NUMBERS // each // max(1, groups))
        order = rows[np.lexsort((-self.bound[rows].max(axis=1), self.place[rows]))]
        _, first = np.unique(self.place[order], return_index=True)
        rank = np.arange(len(order)) - np.repeat(first, np.diff([*first, len(order)]))
        return np.sort(order[rank < most])

    def _objectives(self) -> tuple[F64, Any, F64]:
        """Return for each claim bounds on what decides its size, as for `sharpen_greatest`."""
        classes = self.network.classes
        if self.outputs:
            q = self.patch.table.offset[self.patch.table.group[self.claims.gate]]
            bound = deviation_bounds(self.network, self.bits, self.box, q)
            return bound, logit_objective(classes), np.concatenate([-q, q], axis=1)
        target = self.claims.target
        lead = self.findings.lead
        return lead, lead_objective(classes, target), np.zeros_like(lead)

    def _show(self, rows: Index, points: F64) -> None:
        """Keep what points [K] show of the claims `rows`, where it is more than is known."""
        claims, points = self.claims.take(rows), np.clip(points, self.lower, self.upper)
        needed = change_needed(self.network, self.patch, claims, points, self.lower, self.upper)
        more = needed > self.needed[rows]
        self.needed[rows[more]], self.point[rows[more]] = needed[more], points[more]

    def _ray(self, rows: Index, column: Index) -> F64:
        """Return points on the way to the corner of the box that is worst for an objective."""
        box = boxes(self.box, rows)
        sharpener = Sharpener(self.network, self.bits[rows], box)
        along = self.objective(rows, column)
        return box.x + sharpener.towards_corner(np.arange(len(rows)), along).step

    def _search(self, rows: Index) -> None:
        box = boxes(self.box, rows)
        sharpener = Sharpener(self.network, self.bits[rows], box)
        found, _ = sharpen_greatest(
            sharpener,
            self.bound[rows],
            lambda record, column: self.objective(rows[record], column),
            self.constant[rows],
            self.place[rows],
            np.full(len(rows), -np.inf),
        )
        for start in range(len(found.record)):  # one witness after the other: few, and large
            here = found.record[start : start + 1]
            self._show(rows[here], box.x[here] + found.found.step[start : start + 1])
        sharper = Sharpened(self.bits.shape[1])
        kind = np.full(len(found.record), int(Objective.UPPER))
        label = found.column
        if self.outputs:
            kind, label = logit_columns(self.network.classes, found.column)
        sharper.add(found.record, kind, label, found.found.multipliers)
        multipliers = sharper.of(np.arange(len(rows)))
        if self.outputs:
            q = self.patch.table.offset[self.patch.table.group[self.claims.gate[rows]]]
            bound = deviation_bounds(self.network, self.bits[rows], box, q, multipliers)
        else:
            target = self.claims.target[rows]
            bound = lead_bounds(self.network, self.bits[rows], box, target, multipliers)
        self.bound[rows] = np.fmin(self.bound[rows], bound)

    def _sizes(self) -> Sizes:
        count, table = len(self.group), self.patch.table
        offset = np.clip(table.offset, -table.bound[:, None], table.bound[:, None])
        always = offset[table.always].sum(axis=0)
        top = self.bound.max(axis=1)
        claim = np.lexsort((-self.needed, self.place))
        claim = claim[np.searchsorted(self.place[claim], np.arange(count))]
        at_least = self.needed[claim]
        # what doubtful groups add to a claimed set is part of the change that is made there
        crossing = np.zeros(count)
        np.maximum.at(crossing, self.place, self.findings.crossing.astype(float))
        foreign = crossing * table.bound.max(initial=0.0)
        if self.outputs:
            most = np.full(count, -np.inf)
            np.maximum.at(most, self.place, np.where(self.sure, top, np.inf))
            at_most = np.minimum(most, table.bound[self.group]) + np.abs(always).max()
            needed = top - self.claims.margin
            enough = np.full(count, np.inf)
        else:
            at_most = np.abs(offset[self.group] + always).max(axis=1)
            enough = np.zeros(count)
            # so large that the claim holds in deployed floats too
            needed = np.maximum((top + self.claims.margin) / 2, 0)
            half = needed + self.findings.error + ROUNDING
            np.maximum.at(enough, self.place, np.where(self.sure, half, np.inf))
            # only where nothing else has a say is a smaller offset surely enough
            alone = (crossing == 0) & ~table.always.any()
            enough = np.where(alone & np.isfinite(enough), enough * (1 + 1e-12), np.inf)
        at_most = (at_most + foreign) * (1 + 1e-12)
        possible = np.full(count, -np.inf)
        np.maximum.at(possible, self.place, np.where(self.sure, needed, -np.inf))
        return Sizes(
            self.group,
            at_most,
            at_least,
            enough,
            possible,
            self._allowed(at_most),
            claim,
            self.point[claim],
        )

    def _allowed(self, at_most: F64) -> F64:
        """Return δ [M]: the policy's share, and what the deployed floats or the tolerance take."""
        share = self.case.policy.excess_size * at_most
        count = len(self.group)
        extra = np.zeros(count)
        if self.outputs:  # a patch may aim at the target itself instead of the edge of the margin
            np.maximum.at(extra, self.place, self.claims.margin)
        else:
            error = 2 * self.findings.error
            np.maximum.at(extra, self.place, np.where(np.isfinite(error), error, 0))
            extra = np.minimum(extra, DEPLOYED_SHARE * at_most)
        return share + extra + ROUNDING

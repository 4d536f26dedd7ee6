"""What an endpoint does not answer, and whether that depends on what it was asked.

An owner who recognises queries need not lie at them: it is enough to say nothing, by an error, a
time-out or a nan, where an answer would give the lie away. A service that is merely unreliable does
not know whose record a query is about. So failures are counted by record, and requested records
compared with unseen ones, which are asked in the same way and in an order drawn by the auditor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.endpoint.answers import Failure
from auditkit.endpoint.plan import Group, Purpose
from auditkit.endpoint.session import Served
from auditkit.results import CheckResult, Outcome
from auditkit.threats.numbers import permutation_tails

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

ANSWERED = 0.9
"""Least share of every kind of query (requested, unseen or retained; as it is, or a copy) that a
PASS of any behaviour needs. A PASS rules a behaviour out that shows in half of the answers. Were it
to show in all of the tenth that is missing, too, that would still be no more than 55 % of all, so
that what a PASS says hardly changes. More missing, after several tries each, would change it."""
SUSPECT = 0.05
"""Level of failures that depend on what is asked, beyond which nothing is ruled out either."""
UPPER = 0.9
"""Share of the records below the upper cut, and above the lower: who fails at a few records fails
at these alone, among others that fail by being in one request with them."""

TOLD = {
    "exact": "themselves",
    "copies": "at copies",
    "difference": "at copies more than themselves",
}


@dataclass(frozen=True, eq=False)
class Unanswered:
    """How much of a session has no answer, and the p-value that this has nothing to do with what
    was asked (Bonferroni over all comparisons; 1 where there is nothing to compare).

    `table` has [unanswered, queries] by group and purpose, `share` is the least share of answers to
    any kind of query. `told` says it in words, "" where all is answered. `witness` is a requested
    query without an answer, None where there is none.
    """

    table: Mapping[str, Mapping[str, list[int]]]
    share: float
    p: float
    told: str
    witness: int | None

    @property
    def bars(self) -> str | None:
        """Return why no behaviour may PASS by this session, None where nothing speaks against."""
        if self.share < ANSWERED:
            return (
                f"of one kind of query only {self.share:.0%} are answered, and a pass needs "
                f"{ANSWERED:.0%}"
            )
        if self.p <= SUSPECT:
            return f"whether there is an answer depends on what is asked (p = {self.p:.2g})"
        return None

    def barred(self, check: CheckResult) -> CheckResult:
        """Return a check that no longer passes where too much, or just the wrong, is missing."""
        if check.outcome is not Outcome.PASS or self.bars is None:
            return check
        reason = f"{check.reason}; {self.bars}"
        return replace(check, outcome=Outcome.INCONCLUSIVE, reason=reason)

    @property
    def evidence(self) -> dict[str, Any]:
        """Return the public figures."""
        table = {group: dict(row) for group, row in self.table.items()}
        return {"unanswered_by_query": table, "least_answered": self.share, "unanswered_p": self.p}


def unanswered(served: Served) -> Unanswered:
    """Return what of a session has no answer. What was answered after a retry is answered.

    Answers that contradict count as none. Exact where requested and compared records are alike, or
    where failures depend on the time alone: then the order, which was drawn, makes them so.
    """
    missing = ~served.answered
    table: dict[str, dict[str, list[int]]] = {}
    shares = [1.0]
    for group in Group:
        for purpose in Purpose:
            rows = served.of(group, purpose)
            if rows.any():
                counts = [int((missing & rows).sum()), int(rows.sum())]
                table.setdefault(group.name.lower(), {})[purpose.name.lower()] = counts
        for rows in (
            served.of(group, Purpose.EXACT),
            served.of(group, Purpose.NEAR, Purpose.WITHIN, Purpose.BEYOND),
        ):
            if rows.any():
                shares.append(1 - float(missing[rows].mean()))
    p, where = _depends(served, missing)
    count = int(missing.sum())
    told = ""
    if count:
        told = f"{count} of {len(served)} queries have no answer"
        if p <= SUSPECT:
            told += f"; requested records {where} than others (p = {p:.2g})"
    mine = np.flatnonzero(missing & (served.group == Group.FORGOTTEN))
    return Unanswered(table, min(shares), p, told, int(mine[0]) if len(mine) else None)


def _depends(served: Served, missing: Bits) -> tuple[float, str]:
    """Return the p-value, and in words which comparison has it.

    Of each record three numbers: the share without an answer of its own queries, of its copies',
    and the difference. Each is cut in up to three places that depend on the values alone and not
    on whose they are, so that the counts above a cut are hypergeometric (Fisher 1935).
    """
    kind = Group.UNSEEN if served.of(Group.UNSEEN).any() else Group.RETAINED
    asked = served.why != Failure.NOT_ASKED.value  # or given up by the auditor
    purposes = [
        p for p in Purpose if served.of(Group.FORGOTTEN, p).any() and served.of(kind, p).any()
    ]
    rows = asked & np.isin(served.purpose, purposes)
    mine = _by_record(served, missing, rows & (served.group == Group.FORGOTTEN))
    theirs = _by_record(served, missing, rows & (served.group == kind))
    found: list[tuple[float, str]] = []
    for name in TOLD:
        one, other = (values[np.isfinite(values)] for values in (mine[name], theirs[name]))
        if not len(one) or not len(other):
            continue
        for cut in _cuts(np.concatenate([one, other])):
            k, j = int((one >= cut).sum()), int((other >= cut).sum())
            more, fewer = permutation_tails(k, len(one), j, len(other))
            found.append((more, f"fail {TOLD[name]} more often"))
            found.append((fewer, f"fail {TOLD[name]} less often"))
    if not found:
        return 1.0, ""
    p, where = min(found)
    return min(1.0, len(found) * p), where


def _by_record(served: Served, missing: Bits, rows: Bits) -> dict[str, F64]:
    """Return [n] shares of the queries `rows` without an answer, of records asked several times."""
    exact = rows & (served.purpose == Purpose.EXACT)
    copies = rows & ~exact
    most = int(served.index[rows].max(initial=0)) + 1
    count, failed = (
        [np.bincount(served.index[which & part], minlength=most) for part in (exact, copies)]
        for which in (np.ones(len(rows), dtype=bool), missing)
    )
    # records that are asked once, in passing, are asked otherwise than requested ones
    whole = (count[0] >= 2) & (count[1] >= 1)
    with np.errstate(all="ignore"):
        own, other = (f[whole] / c[whole] for f, c in zip(failed, count, strict=True))
    # rounded, so that equal differences of shares are equal
    return {"exact": own, "copies": other, "difference": np.round(other - own, 9)}


def _cuts(values: F64) -> list[float]:
    """Return values at which to cut: the most even one, and an upper and a lower one."""
    distinct = np.unique(values)[1:]
    if not len(distinct):
        return []
    above = 1 - np.searchsorted(np.sort(values), distinct) / len(values)
    places = {int(np.abs(above - share).argmin()) for share in (0.5, UPPER, 1 - UPPER)}
    return [float(distinct[place]) for place in sorted(places)]

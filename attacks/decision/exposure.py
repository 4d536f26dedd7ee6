"""Single records that stand out: a cohort may look forgotten while one person in it does not.

Among thousands of records some rank first by luck. Benjamini-Hochberg keeps the expected share of
those called exposed by luck below a rate, over records, and again over persons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    proportion,
    require_shadows,
    same_length,
    shadow_arrays,
    vector,
)
from attacks.decision.never_seen import NORMAL, OutModels, Tail, pool
from attacks.decision.planning import out_shadows_needed
from attacks.statistics.multiple import benjamini_hochberg


@dataclass(frozen=True)
class ExposureRow:
    """One record: its p-value of never having been seen, and that adjusted over all records.

    power: share of the n_in models that did see the record which would be called exposed at the
    threshold in force.
    """

    index: int
    p_value: float
    q_value: float
    exposed: bool
    power: float
    n_in: int
    n_out: int


@dataclass(frozen=True)
class SubjectRow:
    """One person: the records named by their position, and how their evidence was combined.

    combined: "mean" of the standardised signals, among shadow models that hold all or none of the
    records; "bonferroni" over the records' p-values where hardly any shadow does.
    """

    subject: str
    p_value: float
    q_value: float
    exposed: bool
    records: tuple[int, ...]
    combined: str


@dataclass(frozen=True, eq=False)
class ExposureTable:
    """Every record and every person, with false-discovery control over each.

    p_values, q_values, power [N], exposed bool [N], n_in, n_out [N]; threshold: the p-value up to
    which records are called exposed, or one would have been; assumption: what the p-values assume
    beyond exchangeable ranks, empty for ranks.
    """

    p_values: FloatArray
    q_values: FloatArray
    exposed: BoolArray
    power: FloatArray
    n_in: IntArray
    n_out: IntArray
    subjects: tuple[SubjectRow, ...]
    rate: float
    threshold: float
    tail: Tail
    assumption: str

    def rows(self, most: int | None = None) -> tuple[ExposureRow, ...]:
        """Return the records, smallest p-value first, at most `most`."""
        order = np.argsort(self.p_values, kind="stable")[:most]
        return tuple(
            ExposureRow(
                int(i),
                float(self.p_values[i]),
                float(self.q_values[i]),
                bool(self.exposed[i]),
                float(self.power[i]),
                int(self.n_in[i]),
                int(self.n_out[i]),
            )
            for i in order
        )

    def noticeable(self, power: float = 0.8) -> float:
        """Return the share of records that a model which saw them would have shown."""
        return float((self.power >= power).mean())


def exposure_table(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    *,
    subjects: Sequence[str | int] | None = None,
    rate: float = 0.05,
    tail: Tail | None = None,
) -> ExposureTable:
    """Return for every record, and every person, whether the model treats them as seen.

    Target [N], shadows [K, N] in one signal, member_mask bool [K, N]; subjects [N], each record its
    own person when None. `tail` None: ranks where they can reach Benjamini-Hochberg's first step,
    rate / N, and else the normal tail, labelled as an assumption. Raises ValueError when arrays do
    not fit, a record is in all or none of the shadow models, or a name or rate is unknown.
    """
    proportion(rate, "rate")
    goal, signals, inside = shadow_arrays(target, shadows, member_mask)
    require_shadows(inside, least_in=1, least_out=1)
    outside = ~inside
    chosen = _tail(tail, outside, rate)
    models = OutModels(signals, outside, chosen)
    p = models.p_values(goal)
    q = benjamini_hochberg(p)
    exposed = q <= rate + 1e-12
    threshold = rate * max(1, int(exposed.sum())) / p.size
    n_in = np.asarray(inside.sum(axis=0), dtype=np.int64)
    found = (models.flagged(threshold) & inside).sum(axis=0)
    return ExposureTable(
        p,
        q,
        np.asarray(exposed),
        np.asarray(found / n_in, dtype=np.float64),
        n_in,
        models.counts,
        _people(goal, signals, inside, p, subjects, rate, chosen),
        rate,
        threshold,
        chosen,
        NORMAL if chosen == "normal" else "",
    )


def confirmed_p_values(p_values: ArrayLike, unseen_p_values: ArrayLike) -> FloatArray:
    """Return p-values that no longer rest on the assumed tail, but on the unseen records.

    P-values [N] of forgotten and [M] of unseen records by the same tail. A forgotten record that
    was never seen is one more unseen record, so the rank of its p-value among theirs is a p-value
    whatever the tail is worth, if the groups are comparable; the larger of the two is returned [N].
    Measured on digits with networks that never saw the records, 24 OUT models each, the assumed
    tail alone exposed somebody of 100 in a quarter of the runs. Raises ValueError on nan.
    """
    p, unseen = vector(p_values, "p_values"), vector(unseen_p_values, "unseen_p_values")
    return np.maximum(p, rank_p_values(-p, np.sort(-unseen)))


def out_shadows_for_rank(n_records: int, rate: float = 0.05) -> int:
    """Return how many OUT shadow models let one of N records be exposed by rank alone.

    As many as `out_shadows_needed` says: the first step of Benjamini-Hochberg is that of Holm.
    """
    return out_shadows_needed(n_records, rate)


def _tail(tail: Tail | None, outside: BoolArray, rate: float) -> Tail:
    if tail is not None:
        return tail
    fewest = int(outside.sum(axis=0).min())
    enough = fewest >= out_shadows_for_rank(outside.shape[1], rate)
    return "rank" if enough or fewest < 2 else "normal"


def _people(
    target: FloatArray,
    signals: FloatArray,
    inside: BoolArray,
    p: FloatArray,
    subjects: Sequence[str | int] | None,
    rate: float,
    tail: Tail,
) -> tuple[SubjectRow, ...]:
    """Return one row for each person, in the order in which they first appear."""
    if subjects is None:
        return ()
    names = [str(s) for s in subjects]
    if len(names) != p.size:
        raise ValueError(f"subjects must name {p.size} records, found {len(names)}")
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    person = np.array([number[name] for name in names], dtype=np.intp)
    pooled = pool(target, signals, inside, person)
    # Without masks by person hardly any shadow holds all or none of many records.
    usable = (pooled.none.sum(axis=0) >= max(2, len(signals) // 4)) & pooled.every.any(axis=0)
    lowest = np.ones(len(number))
    np.minimum.at(lowest, person, p)
    combined = np.minimum(1.0, lowest * np.bincount(person, minlength=len(number)))
    if usable.any():
        models = OutModels(pooled.signals[:, usable], pooled.none[:, usable], tail)
        combined[usable] = models.p_values(pooled.target[usable])
    q = benjamini_hochberg(combined)
    order = np.argsort(person, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(person))[:-1])
    return tuple(
        SubjectRow(
            name,
            float(combined[i]),
            float(q[i]),
            bool(q[i] <= rate + 1e-12),
            tuple(int(r) for r in members[i]),
            "mean" if usable[i] else "bonferroni",
        )
        for name, i in number.items()
    )


@dataclass(frozen=True)
class Exposure:
    """Positions of exposed records, and how many must be exposed at once for it to show."""

    records: tuple[int, ...]
    least_at_once: int


def exposed_by_rank(
    scores: Sequence[tuple[ArrayLike, ArrayLike]], *, rate: float = 0.05
) -> Exposure:
    """Return the forgotten records that rank too high among the unseen ones.

    Per attack a pair of scores, forgotten [N] and unseen [M]. The rank of a record is a p-value of
    its being one more unseen record. Of several attacks a record keeps its smallest p-value times
    their number, and Benjamini-Hochberg goes over the records, which ranks among the same unseen
    records allow: over records and attacks at once, a truly exposed record would count several
    times and make room for more false ones. Raises ValueError on nan or different lengths.
    Source: Bates et al. 2023.
    """
    pairs = [(vector(a, "forgotten"), np.sort(vector(b, "unseen"))) for a, b in scores]
    for forgotten, unseen in pairs[1:]:
        same_length(forgotten, pairs[0][0], "forgotten scores")
        same_length(unseen, pairs[0][1], "unseen scores")
    table = np.stack([rank_p_values(a, b) for a, b in pairs])
    each = np.minimum(1.0, len(pairs) * table.min(axis=0))
    found = np.flatnonzero(benjamini_hochberg(each) <= rate)
    smallest = 1.0 / (pairs[0][1].size + 1)
    return Exposure(tuple(int(i) for i in found), math.ceil(table.size * smallest / rate - 1e-9))


def exposed_by_p_value(p_values: ArrayLike, n: int, *, rate: float = 0.05) -> Exposure:
    """Return the records whose own p-values (from shadow models) are too small.

    P-values [N], Benjamini-Hochberg. Raises ValueError on another length or values outside [0, 1].
    """
    p = vector(p_values, "exposure_p_values")
    if p.size != n:
        raise ValueError(f"exposure_p_values must be [{n}], found [{p.size}]")
    found = np.flatnonzero(benjamini_hochberg(p) <= rate)
    return Exposure(tuple(int(i) for i in found), 1)


def rank_p_values(forgotten: FloatArray, unseen_sorted: FloatArray) -> FloatArray:
    """Return per forgotten record the share of unseen ones, and itself, that score as high [N]."""
    below = np.searchsorted(unseen_sorted, forgotten, side="left")
    n = unseen_sorted.size
    return np.asarray((1.0 + n - below) / (n + 1.0), dtype=np.float64)

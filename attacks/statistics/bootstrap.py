"""BCa bootstrap: intervals for statistics that have no formula, and for scores with shared parts.

The records are drawn anew from those there are, and the statistic with them. The percentiles of
what comes out are moved for the median bias of the statistic and for how fast its spread changes
(bias-corrected and accelerated, Efron 1987). Three ways in:

- `bca_interval`: any statistic of two groups.
- `bca_auc`: the AUC. The scores are ranked once; a draw is a count per record, so that it costs
  O(N) and nothing is sorted again. Clusters are drawn whole: ten records of one person stay ten.
- `bca_auc_over_shadows`: both ways at once. All scores of a shadow attack hang on the same shadow
  models; here these are drawn anew as well, and the interval holds for other shadow models too.

A bootstrap of scores that are perfect, perfectly wrong or constant says so without doubt, as every
draw is the same. There, and with fewer than 10 independent records in a group, the interval is that
of `auc.py`, and `method` says which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from attacks.arrays import FloatArray, IntArray, proportion, vector
from attacks.statistics.auc import AucEstimate, auc_estimate, placements
from attacks.statistics.clusters import Clusters, Grouping, grouping

RESAMPLES = 2000
LEAST_RESAMPLES = 200
VALUES_AT_ONCE = 2_000_000  # 16 MB an array; more would only leave the cache

Statistic = Callable[[FloatArray, FloatArray], FloatArray]
Rescore = Callable[[IntArray], tuple[ArrayLike, ArrayLike]]


@dataclass(frozen=True)
class BootstrapEstimate:
    """A statistic with its BCa interval.

    bias: z0, the median bias in standard normal units. acceleration: a. draws: float64 [B], sorted,
    from which `interval` takes another confidence. method: "bca", or that of the fallback.
    """

    value: float
    lower: float
    upper: float
    confidence: float
    standard_error: float
    bias: float
    acceleration: float
    n_members: int
    n_non_members: int
    method: str
    draws: FloatArray
    fallback: AucEstimate | None = None

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval at another confidence; ValueError unless it lies in (0, 1)."""
        if self.fallback is not None:
            return self.fallback.interval(confidence)
        tail = (1.0 - proportion(confidence, "confidence")) / 2.0
        low, high = (self._moved(level) for level in (tail, 1.0 - tail))
        return float(np.quantile(self.draws, low)), float(np.quantile(self.draws, high))

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value of the hypothesis that the value is at most `bound`."""
        if self.fallback is not None:
            return self.fallback.p_above(bound)
        return max(self._level(bound), 1.0 / (self.draws.size + 1.0))

    def p_below(self, bound: float) -> float:
        """Return the one-sided p-value of the hypothesis that the value is at least `bound`."""
        if self.fallback is not None:
            return self.fallback.p_below(bound)
        return max(1.0 - self._level(bound), 1.0 / (self.draws.size + 1.0))

    def _moved(self, level: float) -> float:
        z = self.bias + float(ndtri(level))
        slope = 1.0 - self.acceleration * z
        if slope <= 0.0:  # beyond where the correction is defined: the end of the draws
            return 1.0 if z > 0.0 else 0.0
        return float(ndtr(self.bias + z / slope))

    def _level(self, bound: float) -> float:
        """Return the level whose limit is the bound: the inverse of `_moved`."""
        share = (
            np.searchsorted(self.draws, bound, "left") + np.searchsorted(self.draws, bound, "right")
        ) / (2.0 * self.draws.size)
        if share <= 0.0 or share >= 1.0:
            return float(share)
        w = float(ndtri(share)) - self.bias
        slope = 1.0 + self.acceleration * w
        if slope <= 0.0:
            return 0.0 if w < 0.0 else 1.0
        return float(ndtr(w / slope - self.bias))


def bca_interval(
    statistic: Statistic,
    members: ArrayLike,
    non_members: ArrayLike,
    confidence: float = 0.95,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> BootstrapEstimate:
    """Return a statistic of two groups with its BCa interval.

    Members [M], non-members [N], drawn apart. `statistic` takes float64 [B, M] and [B, N] and
    returns [B]; it is called with as many rows as fit in memory. The acceleration is the jackknife
    over both groups. Raises ValueError on an empty group, nan, fewer than 200 resamples, a
    statistic that is not finite on a draw, or one that is the same on every draw: what its interval
    would be, a bootstrap cannot tell. Source: Efron 1987; Efron and Tibshirani 1993, chapter 14.
    """
    x, y = vector(members, "members"), vector(non_members, "non_members")
    _check(confidence, resamples)
    value = float(_values(statistic, x[None], y[None])[0])
    rng = np.random.default_rng(seed)
    draws = np.concatenate(
        [
            _values(
                statistic,
                x[rng.integers(0, x.size, (size, x.size))],
                y[rng.integers(0, y.size, (size, y.size))],
            )
            for size in _batches(resamples, x.size + y.size)
        ]
    )
    if np.ptp(draws) <= 1e-12 * max(1.0, abs(value)):
        raise ValueError(
            "the statistic is the same on every draw: a bootstrap gives it no interval"
        )
    influence: list[FloatArray] = [
        _jackknife(lambda left: _values(statistic, left, _rows(y, len(left))), x),
        _jackknife(lambda left: _values(statistic, _rows(x, len(left)), left), y),
    ]
    return _estimate(value, draws, influence, confidence, x.size, y.size)


def bca_auc(
    members: ArrayLike,
    non_members: ArrayLike,
    confidence: float = 0.95,
    *,
    clusters: Clusters | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> BootstrapEstimate:
    """Return the AUC with its BCa interval.

    Members [M], non-members [N]; clusters: a name per member and per non-member, drawn whole; those
    with members alone, non-members alone and both are drawn apart, so that neither group is ever
    empty. Raises ValueError as `auc_estimate` does, or on fewer than 200 resamples.
    """
    _check(confidence, resamples)
    known = auc_estimate(members, non_members, confidence, clusters)
    x, y = vector(members, "members"), vector(non_members, "non_members")
    if not known.method.endswith("-logit"):
        return _fallback(known)
    group = grouping(clusters, x.size, y.size)
    rng = np.random.default_rng(seed)
    ranked = _Ranked.of(x, y)
    draws = np.concatenate(
        [
            ranked.areas(*_counts(rng, size, x.size, y.size, group))
            for size in _batches(resamples, x.size + y.size)
        ]
    )
    below, above = placements(x, y)
    return _estimate(known.auc, draws, _influence(below, above, group), confidence, x.size, y.size)


def bca_auc_over_shadows(
    rescore: Rescore,
    shadows: int,
    confidence: float = 0.95,
    *,
    clusters: Clusters | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> BootstrapEstimate:
    """Return the AUC of a shadow attack with an interval that holds for other shadow models too.

    `rescore` takes positions of shadow models, int64 [K], repeats allowed, and returns the scores
    of the members [M] and of the non-members [N] from these models alone. Records (or clusters) and
    shadow models are drawn together, each with replacement; the interval is a little wide rather
    than narrow. It costs resamples + shadows calls. Where a draw holds too few IN or OUT models of
    some record, `rescore` must say what the score then is (a pooled variance serves). Raises
    ValueError as `bca_auc` does, or on fewer than 8 shadow models.
    Source: Owen 2007 (drawing both ways of a two-way layout).
    """
    _check(confidence, resamples)
    if shadows < 8:
        raise ValueError(f"at least 8 shadow models are needed to draw from, found {shadows}")
    everyone = np.arange(shadows, dtype=np.int64)
    scores = _scores(rescore, everyone)
    known = auc_estimate(*scores, confidence, clusters)
    if not known.method.endswith("-logit"):
        return _fallback(known)
    m, n = scores[0].size, scores[1].size
    group = grouping(clusters, m, n)
    rng = np.random.default_rng(seed)
    draws = np.empty(resamples)
    for b in range(resamples):
        drawn = _scores(rescore, np.sort(rng.integers(0, shadows, shadows)))
        draws[b] = _Ranked.of(*drawn).areas(*_counts(rng, 1, m, n, group))[0]
    influence: list[FloatArray] = _influence(*placements(*scores), group)
    without = np.array(
        [
            float(placements(*_scores(rescore, np.delete(everyone, k)))[0].mean())
            for k in range(shadows)
        ]
    )
    influence.append((shadows - 1.0) / shadows * (without.mean() - without))
    return _estimate(known.auc, draws, influence, confidence, m, n)


def _check(confidence: float, resamples: int) -> None:
    proportion(confidence, "confidence")
    if resamples < LEAST_RESAMPLES:
        raise ValueError(f"resamples must be at least {LEAST_RESAMPLES}, found {resamples}")


def _values(statistic: Statistic, x: FloatArray, y: FloatArray) -> FloatArray:
    values = np.asarray(statistic(x, y), dtype=np.float64)
    if values.shape != (x.shape[0],):
        raise ValueError(f"statistic must return [{x.shape[0]}], found {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("statistic is nan or infinite on some draw")
    return values


def _scores(rescore: Rescore, drawn: IntArray) -> tuple[FloatArray, FloatArray]:
    x, y = rescore(drawn)
    return vector(x, "member scores of rescore"), vector(y, "non-member scores of rescore")


def _rows(values: FloatArray, rows: int) -> FloatArray:
    return np.broadcast_to(values, (rows, values.size))


def _batches(resamples: int, values: int) -> Iterator[int]:
    most = max(1, VALUES_AT_ONCE // values)
    while resamples > 0:
        yield min(most, resamples)
        resamples -= most


def _jackknife(without: Callable[[FloatArray], FloatArray], values: FloatArray) -> FloatArray:
    """Return the influence of each value [N], over N, from the statistic without it."""
    n = values.size
    if n < 2:
        return np.zeros(n)
    left = []
    for start in range(0, n, max(1, VALUES_AT_ONCE // n)):
        dropped = np.arange(start, min(n, start + max(1, VALUES_AT_ONCE // n)))
        kept = np.arange(n - 1) + (np.arange(n - 1) >= dropped[:, None])
        left.append(without(values[kept]))
    theta = np.concatenate(left)
    return np.asarray((n - 1.0) / n * (theta.mean() - theta), dtype=np.float64)


def _influence(below: FloatArray, above: FloatArray, group: Grouping | None) -> list[FloatArray]:
    """Return the influence of each record (or cluster) on the AUC, over the number of them.

    For single records it is the jackknife exactly: without a record, the AUC is the mean of the
    other placements. For clusters it is the infinitesimal jackknife, their sum of placements.
    """
    x: FloatArray = (below - below.mean()) / below.size
    y: FloatArray = (above - above.mean()) / above.size
    if group is None:
        return [x, y]
    sums = np.bincount(group.members, x, minlength=group.count)
    sums = sums + np.bincount(group.non_members, y, minlength=group.count)
    return [np.asarray(sums, dtype=np.float64)]


def _estimate(
    value: float,
    draws: FloatArray,
    influence: list[FloatArray],
    confidence: float,
    n_members: int,
    n_non_members: int,
) -> BootstrapEstimate:
    draws = np.sort(draws)
    # Ties with the value count half, and no bias is beyond what so many draws can show.
    near = 1e-12 * max(1.0, abs(value))
    lower = np.searchsorted(draws, value - near, "left")
    share = (lower + np.searchsorted(draws, value + near, "right")) / (2.0 * draws.size)
    edge = 0.5 / draws.size
    bias = float(ndtri(min(max(float(share), edge), 1.0 - edge)))
    squares = sum(float(u @ u) for u in influence)
    cubes = sum(float(np.sum(u**3)) for u in influence)
    acceleration = cubes / (6.0 * squares**1.5) if squares > 0.0 else 0.0
    bare = BootstrapEstimate(
        value,
        math.nan,
        math.nan,
        confidence,
        float(draws.std(ddof=1)),
        bias,
        acceleration,
        n_members,
        n_non_members,
        "bca",
        draws,
    )
    low, high = bare.interval(confidence)
    return replace(bare, lower=low, upper=high)


def _fallback(known: AucEstimate) -> BootstrapEstimate:
    """Return the interval of `auc.py` where a bootstrap has none."""
    return BootstrapEstimate(
        known.auc,
        known.lower,
        known.upper,
        known.confidence,
        known.standard_error,
        0.0,
        0.0,
        known.n_members,
        known.n_non_members,
        known.method,
        np.full(1, known.auc),
        known,
    )


@dataclass(frozen=True)
class _Ranked:
    """Scores ranked once: where each member stands among the sorted non-members."""

    order: IntArray  # sorts the non-members
    under: IntArray  # [M], how many non-members lie strictly below each member
    up_to: IntArray  # [M], how many lie below or are equal

    @classmethod
    def of(cls, x: FloatArray, y: FloatArray) -> _Ranked:
        order = np.argsort(y, kind="stable")
        ranked = y[order]
        return cls(
            order.astype(np.int64),
            np.searchsorted(ranked, x, "left").astype(np.int64),
            np.searchsorted(ranked, x, "right").astype(np.int64),
        )

    def areas(self, counts_x: IntArray, counts_y: IntArray) -> FloatArray:
        """Return the AUC [B] with each record counted as often as it was drawn.

        Counts int [B, M] and [B, N]; no row of either is 0 throughout.
        """
        run = np.zeros((counts_y.shape[0], counts_y.shape[1] + 1), dtype=np.int64)
        np.cumsum(counts_y[:, self.order], axis=1, out=run[:, 1:])
        twice = np.take(run, self.under, axis=1) + np.take(run, self.up_to, axis=1)
        wins = np.einsum("bm,bm->b", counts_x, twice)
        pairs = 2.0 * counts_x.sum(axis=1) * run[:, -1]
        return np.asarray(wins / pairs, dtype=np.float64)


def _counts(
    rng: np.random.Generator, size: int, m: int, n: int, group: Grouping | None
) -> tuple[IntArray, IntArray]:
    """Return how often each record is drawn, int64 [size, M] and [size, N]."""
    if group is None:
        return _multiplicities(rng, size, m), _multiplicities(rng, size, n)
    of_x, of_y = group.sizes
    drawn = np.zeros((size, group.count), dtype=np.int64)
    for stratum in ((of_x > 0) & (of_y == 0), (of_x == 0) & (of_y > 0), (of_x > 0) & (of_y > 0)):
        where = np.flatnonzero(stratum)
        if where.size:
            drawn[:, where] = _multiplicities(rng, size, where.size)
    return drawn[:, group.members], drawn[:, group.non_members]


def _multiplicities(rng: np.random.Generator, size: int, n: int) -> IntArray:
    """Return how often each of n is drawn in n draws, int64 [size, n]."""
    drawn = rng.integers(0, n, (size, n))
    drawn += np.arange(size)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.int64)

"""Folds: what was fitted on some records judges only others.

An attack that fits something must not judge the records it was fitted on: it would know them, and
call that membership. Two ways to avoid it are here, for two kinds of fit.

- Fitted on unseen (and known) records alone: every judged record, forgotten or unseen, is put in a
  fold, and judged by the fit on what is outside its fold. Forgotten and unseen records take the
  same share of every fold, so that under the null both are judged by fits of the same kind.
- Fitted on which records are forgotten: `in_turn`. The usual cross-fit counts each record as
  evidence twice, once as judged and once in the fits that judge the others; its AUC spreads √2 as
  wide as any interval of independent scores says (measured: an interval of 95 % covers 85 %). Here
  every fold is judged by what was learned from the folds before it, never from a later one, and
  the interval holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from attacks.arrays import BoolArray, FloatArray, IntArray
from attacks.interface import CannotJudge

FOLDS = 5
LEAST_FIT = 30  # records of a kind: with fewer there is nothing to learn from
LEAST_IN_TURN = 20  # of each group among the judged
ALIKE = 1e-5  # outputs of the same record in another batch differ by less, relatively
MOST_ALIKE = 256  # judged records of one signal that a record is compared with

Fit = Callable[[FloatArray, IntArray], Callable[[FloatArray], FloatArray]]


def stratified_folds(unseen: BoolArray, folds: int, seed: int) -> IntArray:
    """Return a random fold for each record, every fold with the same share of both groups.

    Unseen bool [N]; int64 [N] in 0..folds-1, group sizes differing by at most one between folds.
    Raises ValueError on fewer than two folds.
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, found {folds}")
    generator = np.random.default_rng([seed, 11])
    fold = np.empty(unseen.size, dtype=np.int64)
    for group in (True, False):
        members = generator.permutation(np.flatnonzero(unseen == group))
        fold[members] = np.arange(members.size) % folds
    return fold


def population_places(
    signal: FloatArray,
    features: FloatArray,
    population_signal: FloatArray,
    population_features: FloatArray,
    rows: ArrayLike | None,
) -> tuple[IntArray, BoolArray]:
    """Return where each population record stands among the judged, and which may be fitted on.

    Signal [N], features [N, D] of the judged, the same [M] and [M, D] of the population; rows as
    `Evidence.population_rows`, None for nowhere. Int64 [M], -1 for nowhere; bool [M]. A record
    that has no place and yet equals a judged one is not fitted on: it may be that very record.
    Raises ValueError when rows are no places, name one twice, or name a record of another signal.
    """
    n, m = signal.size, population_signal.size
    if rows is None:
        places = np.full(m, -1, dtype=np.int64)
    else:
        given = np.asarray(rows)
        if given.shape != (m,) or given.dtype.kind not in "iu":
            raise ValueError(f"population_rows must be whole numbers [{m}], found {given.shape}")
        places = given.astype(np.int64)
        if places.min() < -1 or places.max() >= n:
            raise ValueError(f"population_rows must lie in -1..{n - 1}")
    inside = places >= 0
    if np.unique(places[inside]).size < np.count_nonzero(inside):
        raise ValueError("population_rows names a judged record twice")
    apart = np.abs(population_signal[inside] - signal[places[inside]])
    if np.any(apart > ALIKE * (1.0 + np.abs(population_signal[inside]))):
        raise ValueError("population_rows names judged records of another signal")
    usable = inside.copy()
    usable[~inside] = ~twins(
        population_signal[~inside], population_features[~inside], signal, features
    )
    return places, usable


def twins(
    signal: FloatArray, features: FloatArray, judged: FloatArray, judged_features: FloatArray
) -> BoolArray:
    """Return which records equal a judged one in signal and features, but for rounding.

    Signal [M], features [M, D]; judged [N], [N, D]; bool [M]. Where more than 256 judged records
    share the signal, the record counts as equal to one of them: left out rather than risked.
    """
    order = np.argsort(judged, kind="stable")
    sorted_signal, sorted_features = judged[order], judged_features[order]
    reach = ALIKE * (1.0 + np.abs(signal))
    first = np.searchsorted(sorted_signal, signal - reach, side="left")
    last = np.searchsorted(sorted_signal, signal + reach, side="right")
    found = last - first > MOST_ALIKE
    for step in range(int(min(MOST_ALIKE, (last - first).max(initial=0)))):
        open_ = np.flatnonzero(~found & (first + step < last))
        a, b = features[open_], sorted_features[first[open_] + step]
        found[open_] = np.all(np.abs(a - b) <= ALIKE * (1.0 + np.abs(a)), axis=1)
    return found


def cross_fits(
    judged_fold: IntArray, places: IntArray, usable: BoolArray, folds: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield, per fold, the population records to fit on and the judged ones to judge, as indices.

    Judged_fold int [N], places and usable of `population_places`. Raises `CannotJudge` when a fold
    would leave too few to fit on.
    """
    population_fold = np.where(places >= 0, judged_fold[np.maximum(places, 0)], -1)
    for fold in range(folds):
        judged = np.flatnonzero(judged_fold == fold)
        fitted = np.flatnonzero(usable & (population_fold != fold))
        if not judged.size:
            continue
        if fitted.size < LEAST_FIT:
            raise CannotJudge(
                f"it is fitted on unseen records other than those it judges, at least {LEAST_FIT}; "
                f"there are {fitted.size}"
            )
        yield fitted, judged


def in_turn(
    features: FloatArray,
    first: FloatArray,
    unseen: BoolArray,
    fit: Fit,
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> FloatArray:
    """Return scores of a classifier of forgotten against unseen records that learns as it goes.

    Features [N, D]; first [N], the signal that judges the first fold, when nothing is learned yet;
    unseen bool [N]; fit takes features and group (1 forgotten) and returns a scoring function.
    Float64 [N] in (0, 1): the rank within its fold, as fits of different folds have no common
    scale. Raises `CannotJudge` with fewer than 20 records in a group.
    """
    least = min(int(unseen.sum()), int((~unseen).sum()))
    if least < LEAST_IN_TURN:
        raise CannotJudge(
            f"it learns from {LEAST_IN_TURN} records of each group at least; there are {least}"
        )
    fold = stratified_folds(unseen, folds, seed)
    group = np.where(unseen, 0, 1).astype(np.int64)
    scores = np.empty(unseen.size)
    for turn in range(folds):
        now, past = fold == turn, fold < turn
        values = first[now] if turn == 0 else fit(features[past], group[past])(features[now])
        scores[now] = (rankdata(values) - 0.5) / np.count_nonzero(now)
    return scores


def unseen_among(rows: ArrayLike | None, n: int) -> BoolArray:
    """Return which of the judged records are unseen, bool [N], from `Evidence.population_rows`.

    Raises `CannotJudge` when that is not known.
    """
    if rows is None:
        raise CannotJudge("which of the judged records are unseen is not known (population_rows)")
    places = np.asarray(rows)
    unseen = np.zeros(n, dtype=np.bool_)
    unseen[places[places >= 0]] = True
    return unseen

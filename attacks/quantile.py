"""Quantile regression: is the signal high for an unseen record that looks like this one?

A threshold on the loss calls every easy record a member. Here the signal of unseen records is
predicted from the record itself, as a distribution, and a record is called a member when its own
signal lies high in it. One regression takes the place of many shadow models, and neither the
training records nor the recipe is needed.

What the distribution is conditioned on is the record and its class. Not the model's outputs: the
signal is a function of them and the class, so that given both nothing would be left to judge.

The regression is cross-fitted (`crossfit`): a record is never judged by a fit that knew it. Fitted
on the records it judges, the attack would give unseen records middling ranks that forgotten ones
do not have, and find membership where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from attacks.arrays import FloatArray, finite, flat, integer_labels, one_of, same_length, vector
from attacks.crossfit import (
    FOLDS,
    cross_fits,
    population_places,
    stratified_folds,
    unseen_among,
)
from attacks.interface import Attack, Evidence, Tier

Variant = Literal["pinball", "gaussian"]

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
COMPONENTS = 32  # principal components of wider records: trees on 784 pixels learn no more
MOST_CATEGORIES = 200  # classes beyond what a histogram bins are read as a number
LEAST_SPREAD = 1e-6


def score(
    target: ArrayLike,
    labels: ArrayLike,
    population_target: ArrayLike,
    population_labels: ArrayLike,
    *,
    records: NDArray[Any] | None = None,
    population_records: NDArray[Any] | None = None,
    population_rows: ArrayLike | None = None,
    variant: Variant = "pinball",
    levels: tuple[float, ...] = LEVELS,
    folds: int = FOLDS,
    seed: int = 0,
) -> FloatArray:
    """Return how high each record's signal stands among those of unseen records like it.

    Target [N], labels int [N], records [N, ...]; the same [M] of the population of unseen records;
    population_rows int [M], where it stands among the judged, -1 where it does not. Without records
    the class alone conditions. Float64 [N] in standard deviations of a normal distribution: 0 at
    the conditional median, 1.28 at the conditional 90 % quantile.

    variant:
    - `pinball`: gradient-boosted trees for each of `levels`, by pinball loss, put in order; the
      normal quantile is interpolated between them, and continued beyond the outermost with their
      mean slope.
    - `gaussian`: (φ - μ) / σ with trees for the conditional mean by squared error and for the
      conditional variance by gamma deviance of the squared residuals of records left out of the
      mean, which is the Gaussian likelihood in the variance.

    Judged records are split into folds; each is judged by the fit on the population outside its
    fold. Population records without a place that equal a judged one are left out. Raises ValueError
    when shapes do not fit, a value is nan, or a level lies outside (0, 1); `CannotJudge` when fewer
    than 30 population records are left for a fit.
    Source: Bertran et al. 2023; both variants are in the authors' published code.
    """
    one_of(variant, Variant, "variant")
    at = np.asarray(levels, dtype=np.float64)
    if at.ndim != 1 or at.size < 2 or not np.all(np.diff([0.0, *at, 1.0]) > 0.0):
        raise ValueError(f"levels must be at least two, rising within (0, 1), found {levels}")
    phi, others = vector(target, "target"), vector(population_target, "population_target")
    x = _conditions(labels, records, phi, "labels", "records")
    z = _conditions(
        population_labels, population_records, others, "population_labels", "population_records"
    )
    if x.shape[1] != z.shape[1]:
        raise ValueError(
            f"records and population_records must be alike, found {x.shape[1] - 1} and "
            f"{z.shape[1] - 1} features"
        )
    places, usable = population_places(phi, x, others, z, population_rows)
    judged_fold = stratified_folds(unseen_among(places, phi.size), folds, seed)
    scores = np.empty(phi.size)
    import sklearn.ensemble  # noqa: F401 (threads of what is not loaded yet cannot be limited)

    # Trees this small gain nothing by threads, and on a busy machine they wait: 40 times slower.
    with threadpool_limits(1):
        for fitted, judged in cross_fits(judged_fold, places, usable, folds):
            reduce = _reduction(z[fitted], seed)
            seen, asked = reduce(z[fitted]), reduce(x[judged])
            if variant == "pinball":
                scores[judged] = _pinball(seen, others[fitted], asked, phi[judged], at, seed)
            else:
                mean, variance = _gaussian(seen, others[fitted], asked, seed)
                spread = np.sqrt(np.maximum(variance, LEAST_SPREAD**2))
                scores[judged] = (phi[judged] - mean) / spread
    return scores


def standing(target: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> FloatArray:
    """Return the normal quantile at which each value stands among predicted quantiles.

    Target [N], quantiles [N, L] at levels [L] rising in (0, 1); float64 [N]. Quantiles that cross
    are put in order (Chernozhukov et al. 2010). Raises ValueError when shapes do not fit.
    """
    phi, q = vector(target, "target"), np.sort(finite(quantiles, "quantiles", 2), axis=1)
    z = norm.ppf(vector(levels, "levels"))
    if q.shape != (phi.size, z.size):
        raise ValueError(f"quantiles must be {(phi.size, z.size)}, found {q.shape}")
    rows = np.arange(phi.size)
    below = np.count_nonzero(q <= phi[:, None], axis=1)
    slope = (z[-1] - z[0]) / np.maximum(q[:, -1] - q[:, 0], LEAST_SPREAD)
    left, right = np.clip(below - 1, 0, z.size - 1), np.clip(below, 0, z.size - 1)
    gap = np.where(left < right, q[rows, right] - q[rows, left], 1.0)
    between = z[left] + (phi - q[rows, left]) / np.where(gap > 0.0, gap, 1.0) * (z[right] - z[left])
    outside = np.where(below == 0, z[0] + (phi - q[:, 0]) * slope, z[-1] + (phi - q[:, -1]) * slope)
    inside = (below > 0) & (below < z.size)
    return np.asarray(np.where(inside, between, outside), dtype=np.float64)


def _conditions(
    labels: ArrayLike, records: NDArray[Any] | None, phi: FloatArray, y: str, x: str
) -> FloatArray:
    """Return the class, then the record's features [N, 1 + D]."""
    classes = integer_labels(labels, y, phi.size).astype(np.float64)[:, None]
    if records is None:
        return classes
    features = flat(records, x)
    same_length(features, phi, f"{x} and their signals")
    return np.hstack([classes, features])


def _reduction(conditions: FloatArray, seed: int) -> Callable[[FloatArray], FloatArray]:
    """Return a map to the class and at most 32 principal components, learned from these records."""
    from sklearn.decomposition import PCA

    if conditions.shape[1] - 1 <= COMPONENTS:
        return lambda x: x
    count = min(COMPONENTS, len(conditions))
    analysis = PCA(count, svd_solver="randomized", random_state=seed).fit(conditions[:, 1:])
    return lambda x: np.hstack([x[:, :1], analysis.transform(x[:, 1:])])


def _trees(x: FloatArray, y: FloatArray, loss: str, seed: int, level: float | None = None) -> Any:
    """Return small boosted trees fitted on x [M, 1 + D], whose first column is the class."""
    return _untrained(x, loss, seed, level).fit(x, y)


def _untrained(x: FloatArray, loss: str, seed: int, level: float | None = None) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        loss=loss,
        quantile=level,
        learning_rate=0.15,
        max_iter=30,
        max_leaf_nodes=8,
        categorical_features=[0] if x[:, 0].max() < MOST_CATEGORIES else None,
        early_stopping=False,
        random_state=seed,
    )


def _pinball(
    x: FloatArray, y: FloatArray, asked: FloatArray, phi: FloatArray, levels: FloatArray, seed: int
) -> FloatArray:
    """Return where φ stands at `asked`, from records x with signals y."""
    fits = (_trees(x, y, "quantile", seed, level) for level in levels)
    return standing(phi, np.stack([fit.predict(asked) for fit in fits], axis=1), levels)


def _gaussian(
    x: FloatArray, y: FloatArray, asked: FloatArray, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Return the conditional mean and variance at `asked`, from records x with signals y."""
    from sklearn.model_selection import KFold, cross_val_predict

    mean = _trees(x, y, "squared_error", seed).predict(asked)
    apart = KFold(3, shuffle=True, random_state=seed)
    residual = y - cross_val_predict(_untrained(x, "squared_error", seed), x, y, cv=apart)
    squares = residual**2 + LEAST_SPREAD**2
    return mean, _trees(x, squares, "gamma", seed).predict(asked)


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.labels is not None and evidence.population_labels is not None
    both = evidence.records is not None and evidence.population_records is not None
    return score(
        evidence.phi(),
        evidence.labels,
        evidence.population_phi(),
        evidence.population_labels,
        records=evidence.records if both else None,
        population_records=evidence.population_records if both else None,
        population_rows=evidence.population_rows,
        seed=evidence.seed,
    )


QUANTILE = Attack(
    name="quantile",
    title="Quantile regression",
    tier=Tier.MODEL,
    needs=("target", "labels", "population_target", "population_labels"),
    claim="The loss of forgotten records would be unusually low for an unseen record like them.",
    source="Bertran et al. 2023",
    function=_function,
)

"""Comparability first: are forgotten and unseen records the same kind of records?

If they can be told apart without the model, an attack that tells them apart with it has shown
nothing about the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import FloatArray, IntArray, flat, integer_labels
from attacks.statistics.auc import AucEstimate, auc_estimate

LEAST_RECORDS = 20  # per group; with fewer no classifier can be cross-fitted sensibly
MOST_UNSEEN = 5000  # a sample of the unseen records is as good and the forest stays quick
SMALL_MARGIN = 0.05
FOLDS = 5


@dataclass(frozen=True)
class Comparability:
    """How well classifiers without the model tell forgotten from unseen records.

    comparable: False when one of them does so beyond chance by more than the margin, None when
    there are too few records to ask. estimates: per classifier, AUC with interval.
    """

    comparable: bool | None
    reason: str
    margin: float
    estimates: tuple[tuple[str, AucEstimate], ...]


def compare_groups(
    forgotten: NDArray[Any],
    unseen: NDArray[Any],
    *,
    forgotten_labels: ArrayLike | None = None,
    unseen_labels: ArrayLike | None = None,
    margin: float = SMALL_MARGIN,
    alpha: float = 0.05,
    seed: int = 0,
) -> Comparability:
    """Return whether a classifier on raw features alone separates forgotten from unseen records.

    Forgotten [N, ...], unseen [M, ...], labels int [N] and [M] as further features when both are
    given. Logistic regression and a random forest, cross-fitted in five folds; the groups are not
    comparable when the lower bound of either AUC (two-sided 1 - alpha, Bonferroni over the two)
    lies above 0.5 + margin. Raises ValueError on features that differ in number or are not finite.
    """
    a, b = flat(forgotten, "forgotten"), flat(unseen, "unseen")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"records differ in features: {a.shape[1]} and {b.shape[1]}")
    if forgotten_labels is not None and unseen_labels is not None:
        y_a = integer_labels(forgotten_labels, "forgotten_labels", len(a))
        y_b = integer_labels(unseen_labels, "unseen_labels", len(b))
        classes = int(max(y_a.max(), y_b.max())) + 1
        a = np.hstack([a, np.eye(classes)[y_a]])
        b = np.hstack([b, np.eye(classes)[y_b]])
    if min(len(a), len(b)) < LEAST_RECORDS:
        return Comparability(
            None,
            f"fewer than {LEAST_RECORDS} records in a group: whether they are alike cannot be told",
            margin,
            (),
        )
    if len(b) > MOST_UNSEEN:
        b = b[np.random.default_rng(seed).choice(len(b), MOST_UNSEEN, replace=False)]
    x = np.vstack([a, b])
    group = np.repeat([1, 0], [len(a), len(b)]).astype(np.int64)
    estimates = []
    for name, make in (("logistic regression", _logistic), ("random forest", _forest)):
        values = _cross_fitted(make, x, group, seed)
        estimate = auc_estimate(values[group == 1], values[group == 0], 1.0 - alpha / 2.0)
        estimates.append((name, estimate))
    name, worst = max(estimates, key=lambda item: item[1].lower)
    if worst.lower > 0.5 + margin:
        reason = (
            f"{name} on the records alone separates forgotten from unseen ones: AUC {worst.auc:.3f}"
            f", at least {worst.lower:.3f}"
        )
        return Comparability(False, reason, margin, tuple(estimates))
    reason = f"no classifier without the model separates them by more than {margin:g} beyond 0.5"
    return Comparability(True, reason, margin, tuple(estimates))


def _logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=0.1, max_iter=300, class_weight="balanced", random_state=seed)
    return make_pipeline(StandardScaler(), model)


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=100, min_samples_leaf=3, class_weight="balanced_subsample", random_state=seed
    )


def _cross_fitted(
    make: Callable[[int], Any], x: FloatArray, group: IntArray, seed: int
) -> FloatArray:
    """Return for every record the score of a classifier that did not see it [N]."""
    from sklearn.model_selection import StratifiedKFold

    values = np.empty(len(x))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(x, group):
        model = make(seed).fit(x[train], group[train])
        values[test] = model.predict_proba(x[test])[:, 1]
    return values

"""Learned attack: a classifier of members and non-members from what the model says of them.

Where a threshold uses one number of an output, a classifier finds what combination of them gives a
member away. Two ways to come by examples:

- `known-members`: records known to be members (the retained ones) against unseen ones. What it
  learned there is asked of the forgotten records. It looks at no forgotten record while learning.
- `direct`: forgotten against unseen records themselves, a two-sample test with a classifier. For
  when no members are known, or when forgotten records may differ from members in ways of their own,
  as under a patch. It needs about as many forgotten records as a cohort has.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import BoolArray, FloatArray, IntArray, integer_labels, one_of
from attacks.crossfit import (
    FOLDS,
    LEAST_FIT,
    Fit,
    cross_fits,
    in_turn,
    population_places,
    stratified_folds,
    twins,
    unseen_among,
)
from attacks.interface import Attack, CannotJudge, Evidence, Tier
from attacks.signals import loss, rescaled_logit

Model = Literal["logistic", "forest", "mlp"]

LARGEST = 10  # of the class probabilities; of a hundred classes the rest say little


def features(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return what the classifier sees of each output.

    Logits [N, C], labels int [N]; float64 [N, 2 + min(C, 10)]: φ, log p_y, and the logarithms of
    the class probabilities, largest first. The class itself is left out: how often a class is asked
    to be forgotten is not something the model remembers. Raises ValueError as `signals` does.
    Source: sorted probabilities as in Salem et al. 2019, adversary 1; the label's as in ART.
    """
    phi, log_p = rescaled_logit(logits, labels), loss(logits, labels)
    values = np.asarray(logits, dtype=np.float64)
    top = values.max(axis=1, keepdims=True)
    normal = top + np.log(np.exp(values - top).sum(axis=1, keepdims=True))
    descending = -np.sort(normal - values, axis=1)[:, :LARGEST]
    return np.column_stack([phi, log_p, descending])


def score(
    logits: ArrayLike,
    labels: ArrayLike,
    population_logits: ArrayLike,
    population_labels: ArrayLike,
    known_logits: ArrayLike,
    known_labels: ArrayLike,
    population_rows: ArrayLike | None = None,
    *,
    model: Model = "logistic",
    folds: int = FOLDS,
    seed: int = 0,
) -> FloatArray:
    """Return how much each output looks like those of known members (`known-members`).

    Logits [N, C], labels int [N] of the judged; the same [M, C], [M] of unseen records, and [R, C],
    [R] of known members; population_rows int [M], where unseen records stand among the judged.
    Float64 [N]: log-odds (logistic), else a probability.

    model, of scikit-learn, both groups weighted alike where it can be: `logistic` regression on
    standardised features, `forest` of 200 trees, `mlp` with one hidden layer of 32.

    A judged record is never among those fitted on: unseen ones are cross-fitted, and population or
    known records that equal a judged one are left out. Raises ValueError when shapes do not fit, a
    value is nan or the model is unknown; `CannotJudge` with fewer than 30 of either kind to fit on.
    Source: Shokri et al. 2017; the features as in `features`.
    """
    fit = classifier(model, seed)
    x, z = features(logits, labels), features(population_logits, population_labels)
    known = features(known_logits, known_labels)
    if not x.shape[1] == z.shape[1] == known.shape[1]:
        raise ValueError("logits, population_logits and known_logits must have the same classes")
    members = known[~twins(known[:, 0], known, x[:, 0], x)]
    if len(members) < LEAST_FIT:
        raise CannotJudge(
            f"it learns from known members that are not judged, at least {LEAST_FIT}; there are "
            f"{len(members)}"
        )
    places, usable = population_places(x[:, 0], x, z[:, 0], z, population_rows)
    scores = np.empty(len(x))
    fold = stratified_folds(unseen_among(places, len(x)), folds, seed)
    for fitted, judged in cross_fits(fold, places, usable, folds):
        group = np.repeat([1, 0], [len(members), fitted.size]).astype(np.int64)
        scores[judged] = fit(np.vstack([members, z[fitted]]), group)(x[judged])
    return scores


def score_direct(
    logits: ArrayLike,
    labels: ArrayLike,
    unseen: ArrayLike,
    *,
    model: Model = "logistic",
    folds: int = FOLDS,
    seed: int = 0,
) -> FloatArray:
    """Return how much each output looks like those of the other forgotten records (`direct`).

    Logits [N, C], labels int [N]; unseen bool [N], false for forgotten. Float64 [N] in (0, 1), the
    rank within its fold. The first fold is judged by φ, each later one by what the folds before it
    taught (`crossfit.in_turn`), so that intervals of the AUC hold. Models as for `score`.

    Raises ValueError when shapes do not fit, a value is nan or the model is unknown; `CannotJudge`
    with fewer than 20 forgotten or unseen records.
    """
    x = features(logits, labels)
    apart = group_mask(unseen, len(x))
    return in_turn(x, x[:, 0], apart, classifier(model, seed), folds=folds, seed=seed)


def group_mask(unseen: ArrayLike, n: int) -> BoolArray:
    """Return which records are unseen, bool [n]; ValueError unless there is a 0 or 1 for each."""
    return integer_labels(np.asarray(unseen).astype(np.int64), "unseen", n, 2).astype(np.bool_)


def classifier(model: Model, seed: int) -> Fit:
    """Return a function that fits this model and returns its scoring function.

    Raises ValueError when no model has this name.
    """
    one_of(model, Model, "model")

    def fit(x: FloatArray, group: IntArray) -> Any:
        fitted = _untrained(model, seed).fit(x, group)
        if model == "logistic":
            return fitted.decision_function
        return lambda judged: fitted.predict_proba(judged)[:, 1]

    return fit


def _untrained(model: Model, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if model == "forest":
        return RandomForestClassifier(
            n_estimators=200,
            min_samples_leaf=5,
            class_weight="balanced_subsample",
            random_state=seed,
        )
    if model == "mlp":
        network = MLPClassifier((32,), alpha=1e-3, max_iter=200, tol=1e-3, random_state=seed)
        return make_pipeline(StandardScaler(), network)
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(class_weight="balanced", max_iter=1000, random_state=seed),
    )


def _known(evidence: Evidence) -> FloatArray:
    assert evidence.logits is not None and evidence.labels is not None
    assert evidence.population_logits is not None and evidence.population_labels is not None
    assert evidence.known_logits is not None and evidence.known_labels is not None
    return score(
        evidence.logits,
        evidence.labels,
        evidence.population_logits,
        evidence.population_labels,
        evidence.known_logits,
        evidence.known_labels,
        evidence.population_rows,
        seed=evidence.seed,
    )


def _direct(evidence: Evidence) -> FloatArray:
    assert evidence.logits is not None and evidence.labels is not None
    unseen = unseen_among(evidence.population_rows, len(np.asarray(evidence.labels)))
    return score_direct(evidence.logits, evidence.labels, unseen, seed=evidence.seed)


LEARNED = Attack(
    name="learned",
    title="Learned attack on outputs, known members",
    tier=Tier.MODEL,
    needs=(
        *("logits", "labels", "population_logits", "population_labels"),
        *("known_logits", "known_labels"),
    ),
    claim="A classifier of outputs, taught with known members, calls forgotten records members.",
    source="Shokri et al. 2017; Salem et al. 2019",
    function=_known,
)
DIRECT = Attack(
    name="learned-direct",
    title="Learned attack on outputs, forgotten against unseen",
    tier=Tier.MODEL,
    needs=("logits", "labels", "population_rows"),
    claim="A classifier of outputs learns to tell forgotten records from unseen ones.",
    source="Shokri et al. 2017; Salem et al. 2019; as a two-sample test: Lopez-Paz and Oquab 2017",
    function=_direct,
    directed=False,
)

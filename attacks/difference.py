"""Before and after: the records on which two versions of a model differ are the forgotten ones.

Who holds the model from before and from after a deletion can compare their answers. Forgotten
records are answered otherwise, unseen ones much as before. That says who asked to be forgotten; it
does not say that the model still remembers them, and a model retrained without them gives them away
too. So it is a limitation of deleting anything from a model that others have, and no failure of
the unlearning.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from attacks.arrays import FloatArray, finite, one_of
from attacks.crossfit import FOLDS, in_turn
from attacks.interface import Attack, Evidence, Tier
from attacks.learned import Model, classifier, group_mask

Variant = Literal[
    "direct-difference",
    "sorted-difference",
    "direct-concatenation",
    "sorted-concatenation",
    "euclidean",
]


def features(
    earlier_logits: ArrayLike, logits: ArrayLike, *, variant: Variant = "euclidean"
) -> FloatArray:
    """Return what tells the two outputs of each record apart.

    Earlier_logits and logits [N, C]; p and q are their class probabilities.
    - `direct-difference`: p - q, float64 [N, C].
    - `sorted-difference`: the same, classes in ascending order of p.
    - `direct-concatenation`: p, q [N, 2C].
    - `sorted-concatenation`: the same, each with the classes in ascending order of p.
    - `euclidean`: the length of p - q [N, 1].
    Raises ValueError when shapes differ, a value is nan or the variant is unknown.
    Source: Chen et al. 2021; the order of the sorted ones as in the authors' published code.
    """
    one_of(variant, Variant, "variant")
    before, after = finite(earlier_logits, "earlier_logits", 2), finite(logits, "logits", 2)
    if before.shape != after.shape:
        raise ValueError(
            f"earlier_logits and logits must have one shape, found {before.shape} and {after.shape}"
        )
    p, q = softmax(before, axis=1), softmax(after, axis=1)
    if variant.startswith("sorted"):
        order = np.argsort(p, axis=1, kind="stable")
        p, q = np.take_along_axis(p, order, axis=1), np.take_along_axis(q, order, axis=1)
    if variant.endswith("concatenation"):
        return np.hstack([p, q])
    if variant == "euclidean":
        return np.linalg.norm(p - q, axis=1, keepdims=True)
    return np.asarray(p - q)


def score(
    earlier_logits: ArrayLike,
    logits: ArrayLike,
    unseen: ArrayLike | None = None,
    *,
    variant: Variant = "euclidean",
    model: Model = "logistic",
    folds: int = FOLDS,
    seed: int = 0,
) -> FloatArray:
    """Return how much each record's two outputs look like those of a forgotten record.

    Earlier_logits and logits [N, C], unseen bool [N], false for forgotten. `euclidean` is a score
    by itself, float64 [N], and needs no `unseen`. The other features go to a classifier of
    forgotten against unseen records, each fold judged by what the folds before it taught, the first
    by the Euclidean distance: float64 [N] in (0, 1), the rank within its fold. The paper teaches
    its classifier on shadow models; an auditor has the request and needs none.

    Raises ValueError when shapes do not fit, a value is nan, a name is unknown or `unseen` is
    missing; `CannotJudge` when the classifier has fewer than 20 records of a group.
    Source: Chen et al. 2021.
    """
    distance = features(earlier_logits, logits)[:, 0]
    found = features(earlier_logits, logits, variant=variant)
    if variant == "euclidean":
        return distance
    if unseen is None:
        raise ValueError(f"variant {variant!r} is learned and needs unseen")
    apart = group_mask(unseen, len(found))
    return in_turn(found, distance, apart, classifier(model, seed), folds=folds, seed=seed)


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.earlier_logits is not None and evidence.logits is not None
    return score(evidence.earlier_logits, evidence.logits)


DIFFERENCE = Attack(
    name="difference",
    title="Difference between before and after",
    tier=Tier.MODEL,
    needs=("earlier_logits", "logits"),
    claim="Outputs on forgotten records change more between the two versions than on unseen ones: "
    "who holds both can tell who asked to be forgotten.",
    source="Chen et al. 2021",
    function=_function,
)

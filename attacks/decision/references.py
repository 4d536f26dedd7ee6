"""May a model serve as a reference? Only one that never saw the forgotten records.

A reference that saw them remembers them too, and then a model that forgot nothing is "equivalent to
the reference". What can be noticed of that is noticed here; the rest is the auditor's word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import FloatArray, finite, integer_labels, proportion
from attacks.decision.comparability import SMALL_MARGIN, Comparability
from attacks.statistics.auc import auc_estimate
from attacks.statistics.binomial import clopper_pearson

SAME = 1e-4  # of the logits' spread: networks this close on every record are one network
CLASS_KNOWN = 0.1  # of a class's unseen records; a model without the class names it for hardly any


def reference_doubts(
    references: Sequence[tuple[ArrayLike, ArrayLike]],
    comparability: Comparability | None,
    *,
    margin: float = SMALL_MARGIN,
    alpha: float = 0.05,
) -> tuple[str, ...]:
    """Return which references have seen the forgotten records, one sentence each.

    Per reference its scores of forgotten and unseen records by one attack, higher meaning member.
    Where the groups are comparable a model that saw neither tells them apart by chance alone; one
    has seen them when the lower bound of its AUC (one-sided alpha, Bonferroni over references) is
    above 0.5 + margin. Where they are not comparable nothing can be said. Raises ValueError on
    scores that are empty or nan.
    """
    proportion(alpha, "alpha")
    if comparability is None or comparability.comparable is not True:
        return ()
    doubts = []
    for number, (forgotten, unseen) in enumerate(references, 1):
        found = auc_estimate(forgotten, unseen, 1.0 - 2.0 * alpha / len(references))
        if found.lower > 0.5 + margin:
            doubts.append(
                f"reference {number} tells forgotten from unseen records (AUC {found.auc:.3f}, at "
                f"least {found.lower:.3f}): it has seen them"
            )
    return tuple(doubts)


def same_networks(outputs: Sequence[tuple[str, NDArray[np.generic]]]) -> tuple[str, ...]:
    """Return which references are no networks of their own, one sentence each.

    Names and logits [M, C] of networks on records that no patch is about; the audited ones first.
    Networks trained apart never agree to a ten-thousandth of the logits' spread on every record.
    Raises ValueError on logits that are not finite or differ in shape.
    """
    known: list[tuple[str, FloatArray]] = []
    doubts = []
    for name, values in outputs:
        logits = finite(values, f"logits of {name}", 2)
        logits = logits - logits.mean(axis=1, keepdims=True)
        for other, seen in known:
            if seen.shape != logits.shape:
                raise ValueError(f"logits of {name} must be {seen.shape}, found {logits.shape}")
            spread = max(float(seen.std()), float(logits.std()))
            if name.startswith("reference") and np.abs(logits - seen).max() <= SAME * spread:
                doubts.append(f"{name} is the same network as {other}")
                break
        known.append((name, logits))
    return tuple(doubts)


def knows_class(
    outputs: Sequence[tuple[str, NDArray[np.generic]]],
    labels: ArrayLike,
    *,
    alpha: float = 0.05,
) -> tuple[str, ...]:
    """Return which references were trained with the class that is forgotten, one sentence each.

    Names and logits [M, C] on held-out records of the class, labels [M]. A model trained without a
    class has learned never to answer it; one knows it when surely more than a tenth of the answers
    are right. Raises ValueError on labels that do not fit.
    """
    doubts = []
    for name, values in outputs:
        logits = finite(values, f"logits of {name}", 2)
        wanted = integer_labels(labels, "labels", len(logits), logits.shape[1])
        right = int((logits.argmax(axis=1) == wanted).sum())
        if clopper_pearson(right, wanted.size, 1.0 - alpha / len(outputs))[0] > CLASS_KNOWN:
            doubts.append(
                f"{name} answers {right} of {wanted.size} unseen records of the forgotten class "
                "with it: it was trained with the class"
            )
    return tuple(doubts)

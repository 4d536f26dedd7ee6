"""Forgetting a whole class: what its records must be compared with.

A model that never saw the class answers every record of it alike, whether it was to be forgotten
or never used. Unseen records of other classes are another kind of record, so only held-out records
of the same class will do; and what "never saw" means is shown by models trained without the class
alone: others know it from its remaining records.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import IntArray, integer_labels

LEAST_UNSEEN = 20  # held-out records of the class
LEAST_EXPECTED = 5.0  # of a class in a sample, so that finding none is no chance (e^-5 < 1 %)

NO_REFERENCE = (
    "a whole class is forgotten: without models trained without it there is nothing to compare with"
)


def deleted_classes(
    forgotten_labels: ArrayLike,
    kept_labels: ArrayLike | None = None,
    *,
    unseen_labels: ArrayLike | None = None,
    declared: bool = False,
) -> tuple[int, ...]:
    """Return the classes that the request empties, () when it is no deletion of classes.

    Forgotten labels [N]; labels of the records that are kept [R], None when not known. A request is
    one of classes when it was declared so, or when nothing that is kept has any of its labels.
    unseen_labels [M]: given where the kept ones are a sample, which may lack a class by chance; it
    counts as emptied only if the sample should hold at least five of it, by its share among unseen
    records. Without `kept_labels` an undeclared request is never taken for one. Raises ValueError
    on labels that are not whole numbers.
    """
    forgotten = _labels(forgotten_labels, "forgotten_labels")
    classes = tuple(int(c) for c in np.unique(forgotten))
    if declared:
        return classes
    if kept_labels is None or np.size(kept_labels) == 0:
        return ()
    kept = _labels(kept_labels, "kept_labels")
    if np.isin(forgotten, kept).any():
        return ()
    if unseen_labels is not None:
        unseen = _labels(unseen_labels, "unseen_labels")
        if any((unseen == c).mean() * kept.size < LEAST_EXPECTED for c in classes):
            return ()
    return classes


def of_classes(labels: ArrayLike, classes: tuple[int, ...]) -> IntArray:
    """Return the positions of the records of these classes, int64.

    Raises ValueError, saying how many there are, when they are fewer than 20.
    """
    found = np.flatnonzero(np.isin(_labels(labels, "labels"), classes))
    if found.size < LEAST_UNSEEN:
        raise ValueError(
            f"a whole class is forgotten: it takes at least {LEAST_UNSEEN} unseen records of class "
            f"{', '.join(map(str, classes))}, found {found.size}"
        )
    return np.asarray(found, dtype=np.int64)


def _labels(values: ArrayLike, name: str) -> IntArray:
    return integer_labels(values, name, len(np.asarray(values)))

"""Which shadow model trains on which record, so that the audited model could be one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from attacks.shadows import paired_masks
from auditkit.audit.membership_input import contents
from auditkit.records import Name, Records

Units = NDArray[np.int64]


def units(groups: Sequence[Records]) -> Units:
    """Return a number for each record of the groups in turn, the same where two belong together.

    Those of one person do, and those of one content: a model that trained on a copy has seen the
    record.
    """
    count = sum(map(len, groups))
    numbers: dict[tuple[str, Name | bytes], int] = {}
    rows: list[int] = []
    columns: list[int] = []
    first = 0
    for group in groups:
        names: list[tuple[str, Name | bytes]] = [("x", row) for row in contents(group)]
        for place, name in enumerate(names):
            rows.append(first + place)
            columns.append(count + numbers.setdefault(name, len(numbers)))
        for place, subject in enumerate(group.subject or ()):
            rows.append(first + place)
            columns.append(count + numbers.setdefault(("person", subject), len(numbers)))
        first += len(group)
    size = count + len(numbers)
    edges = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    _, label = connected_components(edges, directed=False)
    return np.asarray(label[:count], dtype=np.int64)


def shadow_masks(
    shadows: int, judged: Units, others: int, trained_on: int, seed: int
) -> NDArray[np.bool_]:
    """Return which shadow trains on which record, bool [K, J + others].

    Halves of the judged units, complementary in pairs; and of the other records as many as bring
    each shadow to the number of records that the audited model was trained on, or as near as there
    are. Shadow models of fewer records know less and make an innocent model look as if it knew.
    """
    mask = np.zeros((shadows, judged.size + others), dtype=np.bool_)
    mask[:, : judged.size] = paired_masks(shadows, judged.size, seed, subjects=judged)
    generator = np.random.default_rng([seed, 65])
    for row in mask:
        missing = trained_on - int(row.sum())
        wanted = min(max(missing, 0), others)
        row[judged.size + generator.permutation(others)[:wanted]] = True
    return mask

"""Which shadow model trains on which record.

Masks come in pairs of complementary halves, so that every record is in exactly half of the shadow
models and none lacks either side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import BoolArray


def paired_masks(
    n_shadows: int, n_records: int, seed: int, *, subjects: ArrayLike | None = None
) -> BoolArray:
    """Return which shadow trains on which record, bool [K, N], every record in exactly K/2.

    Shadows 2j and 2j+1 take complementary random halves. With subjects [N] (any identifiers) the
    halves are of subjects, so that all records of a person are in or out together. Raises
    ValueError on an odd number of shadows, fewer than 2, or fewer than 2 records or subjects.
    """
    if n_shadows < 2 or n_shadows % 2:
        raise ValueError(f"the number of shadow models must be even and at least 2, is {n_shadows}")
    unit: NDArray[Any] = np.arange(n_records)
    if subjects is not None:
        names = np.asarray(subjects)
        if names.shape != (n_records,):
            raise ValueError(f"subjects must have shape ({n_records},), found {names.shape}")
        unit = np.unique(names, return_inverse=True)[1]
    n_units = int(unit.max()) + 1 if n_records else 0
    if n_units < 2:
        raise ValueError(f"halves need at least 2 records or subjects, found {n_units}")
    generator = np.random.default_rng(seed)
    mask = np.zeros((n_shadows, n_units), dtype=np.bool_)
    for j in range(0, n_shadows, 2):
        mask[j, generator.permutation(n_units)[: n_units // 2]] = True
        mask[j + 1] = ~mask[j]
    return mask[:, unit]

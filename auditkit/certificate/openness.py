"""Where gates are fully open, which says whom each of them is for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import violation_ceiling
from auditkit.certificate.submission import Submission
from auditkit.network.evaluate import evaluate
from auditkit.network.graph import Array
from auditkit.patch.gates import GateTable

Bits = NDArray[np.bool_]

BATCH = 1024


def fully_open(submission: Submission, x: Array, table: GateTable | None = None) -> Bits:
    """Return [N, G]: whether each gate is fully open at each of `x` [N, *input_shape].

    In float64, so that no gate is lost to rounding at the record it was made for. `table` takes
    the place of the submission's own gates.
    """
    table = submission.patch.table if table is None else table
    opened = np.zeros((len(x), len(table.patterns)), dtype=bool)
    for start in range(0, len(x), BATCH):
        _, z = evaluate(submission.network, x[start : start + BATCH].astype(np.float64))
        opened[start : start + BATCH] = violation_ceiling(table, z, z) == 0
    return opened

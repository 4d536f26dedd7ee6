"""Find the record from the rows of its region: what an explicit patch gives away.

A patch in explicit form holds A x ≤ b for each record. A linear program looks for the sparsest
point of that polytope, or for its middle, knowing nothing of the record. Where the rows were made
tight at a sparse record, the sparsest point is that record.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

F64 = NDArray[np.float64]

PROGRAM_NUMBERS = 2_000_000  # rows times columns
ITERATIONS = 20_000  # a limit of steps, not of time, so that results repeat


def reconstruct(
    rows: F64, bound: F64, lower: float, upper: float, aim: Literal["sparse", "middle"]
) -> F64 | None:
    """Return a point [d] of {x : rows x ≤ bound} in the box [lower, upper], or None.

    `rows` [m, d], `bound` [m]. "sparse" has the least 1-norm of x - lower, "middle" is the centre
    of the largest ball (2-norm) within polytope and box (Chebyshev). None where the polytope is
    empty, a number is not finite, or the program is too large or takes too many steps.
    """
    rows, bound = np.asarray(rows, np.float64), np.asarray(bound, np.float64)
    m, d = rows.shape
    if not (np.isfinite(rows).all() and np.isfinite(bound).all()):
        return None
    if (m + 1) * (d + 1) > PROGRAM_NUMBERS:
        return None
    box: list[tuple[float, float]] = [(lower, upper)] * d
    if aim == "sparse":
        cost, a = np.ones(d), sparse.csr_array(rows)
    else:
        # A x + r ‖row‖ ≤ b and lower + r ≤ x ≤ upper - r, as large an r as there is
        cost = np.concatenate([np.zeros(d), [-1.0]])
        sides = sparse.vstack([sparse.eye_array(d), -sparse.eye_array(d)])
        radius = np.concatenate([np.linalg.norm(rows, axis=1), np.ones(2 * d)])[:, None]
        a = sparse.hstack([sparse.vstack([sparse.csr_array(rows), sides]), radius], format="csr")
        bound = np.concatenate([bound, np.full(d, upper), np.full(d, -lower)])
        box = [*box, (0.0, upper - lower)]
    answer = linprog(
        cost, A_ub=a, b_ub=bound, bounds=box, method="highs", options={"maxiter": ITERATIONS}
    )
    if answer.status != 0:
        return None
    return np.asarray(np.clip(answer.x[:d], lower, upper), dtype=np.float64)

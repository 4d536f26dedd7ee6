"""Linear programs over one polytope, with many objectives: built once, started warm each time.

HiGHS (Huangfu and Hall, 2018) through highspy. Nothing of an answer is a proof: whoever needs one
checks the multipliers.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

ITERATIONS = 20_000  # of one program: a limit of steps, not of time, so that results repeat


@dataclass(frozen=True, eq=False)
class Answer:
    """The greatest value, where it is taken [d], and the rows' multipliers [m] (at least 0)."""

    value: float
    x: F64
    multipliers: F64


class Polytope:
    """{x : rows x ≤ limits, low ≤ x ≤ high}, over which linear functions are maximised."""

    def __init__(self, rows: F64, limits: F64, low: F64, high: F64) -> None:
        """Take `rows` [m, d], `limits` [m], `low` and `high` [d], all finite."""
        count, width = rows.shape
        self._limits = limits.astype(np.float64)
        self._columns = np.arange(width, dtype=np.int32)
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("random_seed", 0)
        solver.setOptionValue("simplex_iteration_limit", ITERATIONS)
        program = highspy.HighsLp()
        program.num_col_, program.num_row_ = width, count
        program.col_cost_ = np.zeros(width)
        program.col_lower_, program.col_upper_ = low, high
        program.row_lower_ = np.full(count, -highspy.kHighsInf)
        program.row_upper_ = self._limits
        program.sense_ = highspy.ObjSense.kMaximize
        used = rows != 0
        program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        program.a_matrix_.start_ = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
        program.a_matrix_.index_ = np.nonzero(used)[1]
        program.a_matrix_.value_ = rows[used].astype(np.float64)
        solver.passModel(program)
        self._solver = solver

    def maximise(self, objective: F64) -> Answer | None:
        """Return the maximum of objective · x, or None where none was found."""
        solver = self._solver
        solver.changeColsCost(len(self._columns), self._columns, objective.astype(np.float64))
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        answer = solver.getSolution()
        x = np.asarray(answer.col_value, dtype=np.float64)
        return Answer(
            value=float(objective @ x),
            x=x,
            multipliers=np.maximum(np.asarray(answer.row_dual, dtype=np.float64), 0.0),
        )

    def relax(self, row: int) -> None:
        """Leave a row out."""
        self._solver.changeRowBounds(row, -highspy.kHighsInf, highspy.kHighsInf)

    def restore(self, row: int) -> None:
        """Put a row back."""
        self._solver.changeRowBounds(row, -highspy.kHighsInf, float(self._limits[row]))

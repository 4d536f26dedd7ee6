"""Bounds over a region by linear programming: HiGHS, one model a record, one solve an objective.

Outside the trusted base: what comes back is an offer, and the checker derives from the multipliers
a bound of its own. The solver's value and status are used for nothing but to decide where to look.
"""

from __future__ import annotations

import highspy
import numpy as np
from numpy.typing import NDArray

from auditkit.network.frozen import Frozen
from auditkit.network.graph import Network
from auditkit.network.region import Box
from auditkit.network.rigorous import RIGOROUS

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

ITERATIONS = 20_000  # of the simplex method, for one objective
NEGLIGIBLE = 1e-9  # of the greatest multiplier: smaller ones are left out


class RegionProgram:
    """The region of one pattern within a box, as constraints on the step δ from its record.

    `box` is that of one record. Units that cannot change their sign within the box make no row.
    """

    def __init__(self, network: Network, bits: Bits, box: Box, rows: Bits) -> None:
        """Take the pattern [H]; `rows` [H] are the units that may change sign in the box."""
        self.frozen = Frozen(network, bits[None])
        self.rows = np.flatnonzero(rows)
        self.count = len(bits)
        sign = np.where(bits, 1.0, -1.0)
        _, z = self.frozen.forward(box.x)
        injections = np.zeros((len(self.rows), self.count))
        injections[np.arange(len(self.rows)), self.rows] = sign[self.rows]
        matrix = np.zeros((0, network.features))
        if len(self.rows):
            nothing = np.zeros((len(self.rows), network.classes))
            matrix = self.frozen.repeat(len(self.rows)).adjoint(nothing, injections=injections)
        self.shape = network.input_shape
        self.lower, self.upper = box.step_lower.ravel(), box.step_upper.ravel()
        self.model = _model(
            matrix.reshape(-1, network.features), (-sign * z[0])[self.rows], self.lower, self.upper
        )

    def maximise(self, on_logits: F64, on_units: F64) -> tuple[F64, F64]:
        """Return multipliers [H] for the objective on_logits · f + on_units · z, and a best step δ.

        Where the solver gives up both are 0: valid, and no help.
        """
        gradient = self.frozen.adjoint(on_logits[None], injections=on_units[None]).ravel()
        columns = np.arange(len(gradient), dtype=np.int32)
        self.model.changeColsCost(len(gradient), columns, -gradient)
        # From scratch the box makes the slack basis dual feasible at once, which measures faster
        # than to repair the basis of another objective.
        self.model.clearSolver()
        self.model.run()
        solution = self.model.getSolution()
        duals = np.asarray(solution.row_dual, dtype=np.float64)
        step = np.asarray(solution.col_value, dtype=np.float64)
        multipliers = np.zeros(self.count)
        if len(duals) == len(self.rows) and np.isfinite(duals).all():
            kept = np.maximum(duals, 0)
            kept[kept <= NEGLIGIBLE * kept.max(initial=0.0)] = 0
            multipliers[self.rows] = kept
        if len(step) != len(gradient) or not np.isfinite(step).all():
            step = np.zeros(len(gradient))
        step = np.clip(step, self.lower, self.upper)
        return multipliers, step.reshape(self.shape)


def uncertain_units(network: Network, bits: Bits, box: Box) -> Bits:
    """Return the units [N, H] whose sign over the boxes is not settled by intervals."""
    _, z = Frozen(network, bits).forward(box.ball, RIGOROUS)
    least = np.where(bits, z.lower, -z.upper)
    return ~(least >= 0)


def _model(matrix: F64, floor: F64, lower: F64, upper: F64) -> highspy.Highs:
    rows, columns = matrix.shape
    model = highspy.Highs()
    for option, value in (
        ("output_flag", False),
        ("threads", 1),
        ("solver", "simplex"),
        ("presolve", "off"),
        ("simplex_iteration_limit", ITERATIONS),
        ("random_seed", 0),
    ):
        model.setOptionValue(option, value)
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = columns, rows
    program.col_cost_ = np.zeros(columns)
    program.col_lower_, program.col_upper_ = lower, upper
    program.row_lower_ = floor
    program.row_upper_ = np.full(rows, highspy.kHighsInf)
    present = matrix != 0
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_ = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    program.a_matrix_.index_ = np.nonzero(present)[1]
    program.a_matrix_.value_ = matrix[present]
    model.passModel(program)
    return model

"""Bounds over a region by linear programming: HiGHS, one model a record, one solve an objective.

A region has a constraint for each unit, but few of them matter for one objective. So the model
starts as the box alone; the constraints that its solution violates are found by one forward pass
and added, and the dual simplex goes on from where it was, until nothing is violated. Each round's
multipliers are valid, the last ones optimal.

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
Index = NDArray[np.int64]

ITERATIONS = 20_000  # of the simplex method, for one round
ROUNDS = 60
ROWS_A_ROUND = 24
GREATEST_ROWS = 2_000  # in a model: what is found up to there is returned
VIOLATED = 1e-9  # of a pre-activation's size
CLEAR = 1e-6  # of a bound's size, that it is below what is enough: multipliers become float32
NEGLIGIBLE = 1e-9  # of the greatest multiplier: smaller ones are left out


class RegionProgram:
    """The region of one pattern within a box, as constraints on the step δ from its record."""

    def __init__(self, network: Network, bits: Bits, box: Box) -> None:
        """Take the pattern [H] and the box of one record."""
        self.network, self.frozen = network, Frozen(network, bits[None])
        self.sign = np.where(bits, 1.0, -1.0)
        f, z = self.frozen.forward(box.x)
        self.logits, self.slack = f[0], self.sign * z[0]
        self.lower, self.upper = box.step_lower.ravel(), box.step_upper.ravel()
        self.rows = np.zeros(0, dtype=np.int64)
        self.model = _model(self.lower, self.upper)

    def maximise(self, on_logits: F64, on_units: F64, enough: float = -np.inf) -> tuple[F64, F64]:
        """Return multipliers [H] for the objective on_logits · f + on_units · z, and a best step δ.

        They are the best there are, or give a bound of at most `enough`, or the step is one on
        the way to which the objective is more. Where the solver gives up both are 0: valid, and
        no help.
        """
        here = float(on_logits @ self.logits + on_units @ (self.sign * self.slack))
        room = enough - here - CLEAR * (abs(enough) + abs(here))
        gradient = self.frozen.adjoint(on_logits[None], injections=on_units[None]).ravel()
        columns = np.arange(len(gradient), dtype=np.int32)
        self.model.changeColsCost(len(gradient), columns, -gradient)
        # From scratch the box makes the slack basis dual feasible at once, which measures faster
        # than to repair the basis of another objective.
        self.model.clearSolver()
        step = np.zeros(len(gradient))
        for _ in range(ROUNDS):
            self.model.run()
            found = np.asarray(self.model.getSolution().col_value, dtype=np.float64)
            if len(found) != len(gradient) or not np.isfinite(found).all():
                break
            step = np.clip(found, self.lower, self.upper)
            violated, share = self._violated(step)
            gain = float(gradient @ step)
            if not len(violated) or len(self.rows) > GREATEST_ROWS:
                break
            if np.isfinite(enough) and (gain <= room or share * gain > enough - here):
                break
            self._add(violated)
        duals = np.asarray(self.model.getSolution().row_dual, dtype=np.float64)
        multipliers = np.zeros(len(self.sign))
        known = len(duals)  # rows of the last round may not have been solved with
        if known <= len(self.rows) and np.isfinite(duals).all():
            kept = np.maximum(duals, 0)
            kept[kept <= NEGLIGIBLE * kept.max(initial=0.0)] = 0
            multipliers[self.rows[:known]] = kept
        return multipliers, step.reshape(self.network.input_shape)

    def _violated(self, step: F64) -> tuple[Index, float]:
        """Return the units whose constraints a step violates most, and how much of it none does."""
        _, slope = self.frozen.forward(step.reshape(1, *self.network.input_shape), constant=False)
        rest = self.slack + self.sign * slope[0]
        short = -rest / (np.abs(self.slack) + np.abs(slope[0]) + 1e-300)
        short[self.rows] = -np.inf
        worst = np.argsort(-short, kind="stable")[:ROWS_A_ROUND]
        down = np.maximum(-self.sign * slope[0], 0)
        with np.errstate(all="ignore"):
            share = np.where(down > 0, np.maximum(self.slack, 0) / down, np.inf).min(initial=1.0)
        return worst[short[worst] > VIOLATED].astype(np.int64), float(share)

    def _add(self, units: Index) -> None:
        """Add the constraints σ_u ∇z_u · δ ≥ -σ_u z_u of `units` to the model."""
        count, features = len(units), self.network.features
        injections = np.zeros((count, len(self.sign)))
        injections[np.arange(count), units] = self.sign[units]
        nothing = np.zeros((count, self.network.classes))
        matrix = self.frozen.repeat(count).adjoint(nothing, injections=injections)
        self.model.addRows(
            count,
            -self.slack[units],
            np.full(count, highspy.kHighsInf),
            matrix.size,
            (np.arange(count) * features).astype(np.int32),
            np.tile(np.arange(features, dtype=np.int32), count),
            matrix.ravel(),
        )
        self.rows = np.concatenate([self.rows, units])


def uncertain_units(network: Network, bits: Bits, box: Box) -> Bits:
    """Return the units [N, H] whose sign over the boxes is not settled by intervals."""
    _, z = Frozen(network, bits).forward(box.ball, RIGOROUS)
    least = np.where(bits, z.lower, -z.upper)
    return ~(least >= 0)


def _model(lower: F64, upper: F64) -> highspy.Highs:
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
    model.addVars(len(lower), lower, upper)
    return model

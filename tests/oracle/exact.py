"""The network, the gates and the patched output in exact rationals, written a second time.

Every operator is expanded into scalars: an output number is a list of (input number, coefficient)
and a constant, or a list of the numbers it is the maximum of. Nothing here uses the traversal that
is tested, so that a mistake in one is not a mistake in the other. Small networks only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.network.graph import (
    Add,
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Operator,
    Pad,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)
from auditkit.patch.gates import OffsetKind, Patch

Numbers = list[Fraction]
Row = tuple[list[tuple[int, Fraction]], Fraction]

RATIONAL: Any = Fraction
if os.environ.get("ORACLE_RATIONALS") == "flint":
    from flint import fmpq

    RATIONAL = fmpq
ZERO, ONE = RATIONAL(0), RATIONAL(1)


def rational(value: float) -> Fraction:
    """Return a float as the rational it is; OverflowError or ValueError where it is not finite."""
    return RATIONAL(*float(value).as_integer_ratio())


def exact(values: Any) -> Numbers:
    """Return floats as the rationals they are, in C order."""
    return [rational(v) for v in np.asarray(values).ravel()]


@dataclass(frozen=True)
class Step:
    """A node in scalars: `rows` of an affine map, or `windows` of a maximum."""

    kind: str  # affine, add, relu or max
    inputs: tuple[int, ...]
    rows: list[Row]
    windows: list[list[int]]


class ExactNetwork:
    """A network on rationals; `units` are in the documented order, the unused ones dropped."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.steps: list[Step] = []
        for node in network.nodes:
            shape = network.shapes[node.inputs[0]]
            match node.operator:
                case Relu():
                    step = Step("relu", node.inputs, [], [])
                case Add():
                    step = Step("add", node.inputs, [], [])
                case MaxPool():
                    step = Step("max", node.inputs, [], _windows(node.operator, shape))
                case operator:
                    step = Step("affine", node.inputs, _rows(operator, shape), [])
            self.steps.append(step)
        self.used = self._used()

    def __call__(self, x: Numbers) -> tuple[Numbers, Numbers]:
        """Return the logits and the pre-activations of all units that count."""
        values: list[Numbers] = [x]
        units: Numbers = []
        for number, step in enumerate(self.steps):
            source = values[step.inputs[0]]
            used = self.used[number + 1]
            if step.kind == "relu":
                units += [z for z, wanted in zip(source, used, strict=True) if wanted]
                result = [max(z, ZERO) for z in source]
            elif step.kind == "max":
                result = [max(source[i] for i in window) for window in step.windows]
                boards = [[source[i] for i in window] for window in step.windows]
                while any(len(board) > 1 for board in boards):
                    for place, board in enumerate(boards):
                        pairs = list(zip(board[::2], board[1::2], strict=False))
                        if used[place]:
                            units += [b - a for a, b in pairs]
                        odd = board[-1:] if len(board) % 2 else []
                        boards[place] = [max(a, b) for a, b in pairs] + odd
            elif step.kind == "add":
                other = values[step.inputs[1]]
                result = [a + b for a, b in zip(source, other, strict=True)]
            else:
                result = [
                    sum((c * source[i] for i, c in entries), constant)
                    for entries, constant in step.rows
                ]
            values.append(result)
        return values[-1], units

    def piece(self, bits: NDArray[np.bool_]) -> tuple[Any, Any]:
        """Return logits and units of the frozen network as affine forms: rows of d + 1 rationals.

        The last column is the constant.
        """
        d = self.network.features
        identity = np.full((d, d + 1), ZERO, dtype=object)
        for i in range(d):
            identity[i, i] = ONE
        values: list[Any] = [identity]
        units: list[Any] = []
        left = iter([bool(b) for b in bits])
        for number, step in enumerate(self.steps):
            source = values[step.inputs[0]]
            used = self.used[number + 1]
            if step.kind == "relu":
                result = source.copy()
                for place, wanted in enumerate(used):
                    on = False
                    if wanted:
                        units.append(source[place])
                        on = next(left)
                    if not on:
                        result[place] = ZERO
            elif step.kind == "max":
                boards = [[source[i] for i in window] for window in step.windows]
                while any(len(board) > 1 for board in boards):
                    for place, board in enumerate(boards):
                        on_to = []
                        for a, b in zip(board[::2], board[1::2], strict=False):
                            won = False
                            if used[place]:
                                units.append(b - a)
                                won = next(left)
                            on_to.append(b if won else a)
                        boards[place] = on_to + (board[-1:] if len(board) % 2 else [])
                result = np.array([board[0] for board in boards], dtype=object)
            elif step.kind == "add":
                result = source + values[step.inputs[1]]
            else:
                result = np.full((len(step.rows), d + 1), ZERO, dtype=object)
                for place, (entries, constant) in enumerate(step.rows):
                    for i, c in entries:
                        result[place] = result[place] + c * source[i]
                    result[place, d] += constant
            values.append(result)
        assert next(left, None) is None, "more bits than units"
        return values[-1], np.array(units, dtype=object).reshape(-1, d + 1)

    def _used(self) -> list[list[bool]]:
        """Return, for every value, which of its numbers reach the output by weights not 0."""
        used = [[False] * int(np.prod(shape)) for shape in self.network.shapes]
        used[-1] = [True] * len(used[-1])
        for number in reversed(range(len(self.steps))):
            step = self.steps[number]
            for place, wanted in enumerate(used[number + 1]):
                if not wanted:
                    continue
                if step.kind == "affine":
                    reached = [i for i, c in step.rows[place][0] if c]
                elif step.kind == "max":
                    reached = step.windows[place]
                else:
                    reached = [place]
                for source in step.inputs:
                    for i in reached:
                        used[source][i] = True
        return used


def violations(patch: Patch, units: Numbers) -> Numbers:
    """Return v of every flat gate: Σ_u ReLU(-σ_u z_u - τ) + Σ_bands ReLU(|z_u - c| - w)."""
    result = []
    for group in patch.groups:
        zone = rational(group.dead_zone)
        for gate, row in enumerate(group.patterns):
            terms = [
                max(ZERO, (-z if bit else z) - zone) for bit, z in zip(row, units, strict=True)
            ]
            if group.bands is not None:
                narrowing = (group.bands.unit, group.bands.center, group.bands.width)
                for unit, c, w in zip(*(part[gate] for part in narrowing), strict=True):
                    away = abs(units[int(unit)] - rational(c))
                    terms.append(max(ZERO, away - rational(w)))
            result.append(sum(terms, ZERO))
    return result


def patched(patch: Patch, logits: Numbers, units: Numbers) -> Numbers:
    """Return F = f + Σ_groups h by the definition of the gates."""
    total = list(logits)
    every = iter(violations(patch, units))
    for group in patch.groups:
        mine = [next(every) for _ in range(len(group.patterns))]
        bound, sharpness = rational(group.bound), rational(group.sharpness)
        cells = [[v] for v in mine] if group.stacked else [mine]
        offsets = group.offset if group.stacked else group.offset[None]
        for cell, offset in zip(cells, offsets, strict=True):
            t = ZERO if group.kind is OffsetKind.ALWAYS else min(ONE, sharpness * min(cell))
            for j, d in enumerate(exact(offset)):
                p = d - logits[j] if group.kind is OffsetKind.OUTPUT else d
                p = min(max(p, -bound), bound)
                total[j] += max(ZERO, p - bound * t) - max(ZERO, -p - bound * t)
    return total


def shortfall(patch: Patch, gate: int, target: int, output: Numbers) -> Fraction:
    """Return how large a margin (redirect, at most) or deviation (else, at least) `output` has.

    Redirect: F_target - max of the others. Otherwise: max |F - q|.
    """
    if target >= 0:
        return output[target] - max(v for j, v in enumerate(output) if j != target)
    q = exact(patch.table.offset[patch.table.group[gate]])
    return max(abs(v - w) for v, w in zip(output, q, strict=True))


def holds(measured: Fraction, target: int, margin: float) -> bool:
    """Whether a measured margin or deviation meets the claim."""
    return measured >= rational(margin) if target >= 0 else measured <= rational(margin)


def in_region(units: Numbers, bits: NDArray[np.bool_]) -> bool:
    """Whether σ_u z_u ≥ 0 for every unit."""
    return all((z >= 0) if bit else (z <= 0) for z, bit in zip(units, bits, strict=True))


@dataclass(frozen=True, eq=False)
class ClaimedSet:
    """R(s) ∩ ball(x, r) ∩ box, for a record in R(s); `piece` are the affine forms on it."""

    x: Numbers
    lower: Numbers
    upper: Numbers
    rows: Any  # σ_u z_u as affine forms, ≥ 0 on the region

    @staticmethod
    def of(
        x: Numbers, radius: float, domain: tuple[float, float], units: Any, bits: NDArray[np.bool_]
    ) -> ClaimedSet:
        low, high = rational(domain[0]), rational(domain[1])
        lower, upper = [low] * len(x), [high] * len(x)
        if np.isfinite(radius):
            r = rational(radius)
            lower = [max(low, v - r) for v in x]
            upper = [min(high, v + r) for v in x]
        signs = np.array([1 if bit else -1 for bit in bits], dtype=object).reshape(-1, 1)
        return ClaimedSet(x, lower, upper, signs * units)

    def towards(self, goal: Numbers) -> Numbers:
        """Return the point of the segment from the record to `goal` that is last in the set."""
        step = [g - v for g, v in zip(goal, self.x, strict=True)]
        share = ONE
        for v, s, low, high in zip(self.x, step, self.lower, self.upper, strict=True):
            if s > 0:
                share = min(share, (high - v) / s)
            elif s < 0:
                share = min(share, (low - v) / s)
        for row in self.rows:
            slope = sum((a * s for a, s in zip(row, step, strict=False) if a and s), ZERO)
            if slope < 0:
                value = sum((a * v for a, v in zip(row, self.x, strict=False) if a), row[-1])
                share = min(share, value / -slope)
        share = max(share, ZERO)
        return [v + share * s for v, s in zip(self.x, step, strict=True)]

    def maximise(self, objective: Any) -> Numbers | None:
        """Return a point of the set that an LP solver finds best for the affine `objective`."""
        from scipy.optimize import linprog

        rows = np.array([_scaled(row) for row in self.rows], dtype=float).reshape(
            -1, len(objective)
        )
        found = linprog(
            -np.array(_scaled(objective)[:-1], dtype=float),
            A_ub=-rows[:, :-1] if len(rows) else None,
            b_ub=rows[:, -1] if len(rows) else None,
            bounds=[(float(a), float(b)) for a, b in zip(self.lower, self.upper, strict=True)],
            method="highs",
        )
        return self.towards(exact(found.x)) if found.x is not None else None

    def contains(self, y: Numbers) -> bool:
        """Whether `y` is exactly in the set."""
        inside = all(
            low <= v <= high for v, low, high in zip(y, self.lower, self.upper, strict=True)
        )
        return inside and all(
            sum((a * v for a, v in zip(row, y, strict=False) if a), row[-1]) >= 0
            for row in self.rows
        )


def _scaled(row: Any) -> Numbers:
    """Return an affine form divided by its greatest coefficient, so that it fits into floats."""
    size = max((abs(v) for v in row), default=ZERO)
    return [v / size for v in row] if size else list(row)


def _rows(operator: Operator, shape: Shape) -> list[Row]:
    place = np.arange(int(np.prod(shape))).reshape(shape)
    match operator:
        case Dense(weight, bias):
            return [
                ([(int(i), rational(c)) for i, c in zip(line, w, strict=True) if c], b)
                for line in place.reshape(-1, shape[-1])
                for w, b in zip(weight, exact(bias), strict=True)
            ]
        case Scale(kind, constant):
            factors = exact(np.broadcast_to(constant, shape))
            if kind == "add":
                return [([(i, ONE)], c) for i, c in enumerate(factors)]
            if kind == "divide":
                factors = [1 / c for c in factors]
            return [([(i, c)] if c else [], ZERO) for i, c in enumerate(factors)]
        case Reshape():
            return [([(int(i), ONE)], ZERO) for i in place.ravel()]
        case Transpose(axes):
            return [([(int(i), ONE)], ZERO) for i in place.transpose(axes).ravel()]
        case Pad(before, after):
            wider = np.pad(place, list(zip(before, after, strict=True)), constant_values=-1)
            return [([(int(i), ONE)] if i >= 0 else [], ZERO) for i in wider.ravel()]
        case AveragePool():
            rows: list[Row] = []
            for window in _windows(operator, shape):
                area = operator.kernel[0] * operator.kernel[1]
                share = RATIONAL(1, area if operator.count_include_pad else len(window))
                rows.append(([(i, share) for i in window], ZERO))
            return rows
        case Convolution():
            return _convolution(operator, shape)
    raise TypeError(type(operator).__name__)


def _convolution(operator: Convolution, shape: Shape) -> list[Row]:
    channels, height, width = shape
    out, per_group, kh, kw = operator.weight.shape
    top, left, bottom, right = operator.pads
    rows: list[Row] = []
    for o in range(out):
        first = (o // (out // operator.groups)) * per_group
        for y in range(
            -top, height + bottom - operator.dilations[0] * (kh - 1), operator.strides[0]
        ):
            for x in range(
                -left, width + right - operator.dilations[1] * (kw - 1), operator.strides[1]
            ):
                entries = []
                for c in range(per_group):
                    for i in range(kh):
                        for j in range(kw):
                            row, column = (
                                y + i * operator.dilations[0],
                                x + j * operator.dilations[1],
                            )
                            weight = operator.weight[o, c, i, j]
                            if 0 <= row < height and 0 <= column < width and weight:
                                place = ((first + c) * height + row) * width + column
                                entries.append((place, rational(weight)))
                rows.append((entries, rational(operator.bias[o])))
    return rows


def _windows(operator: MaxPool | AveragePool, shape: Shape) -> list[list[int]]:
    """Return the numbers each window sees, row by row, padding left out."""
    channels, height, width = shape
    dh, dw = operator.dilations if isinstance(operator, MaxPool) else (1, 1)
    (kh, kw), (sh, sw) = operator.kernel, operator.strides
    top, left, bottom, right = operator.pads
    return [
        [
            (c * height + y + i * dh) * width + x + j * dw
            for i in range(kh)
            for j in range(kw)
            if 0 <= y + i * dh < height and 0 <= x + j * dw < width
        ]
        for c in range(channels)
        for y in range(-top, height + bottom - dh * (kh - 1), sh)
        for x in range(-left, width + right - dw * (kw - 1), sw)
    ]

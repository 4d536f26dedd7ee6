"""The checker of patches in explicit form: polytopes that somebody wrote out (certificates.md §3).

Part of the trusted base, like `check`, and for the same claims. The record's pattern s, its region
R(s) = {x : g_u(x) ≤ 0 for every unit u}, g_u = -σ_u z^s_u, and the affine piece are derived here
from network and record; the owner's rows are compared with them. A comparison is one inequality:
where rows r_k(x) ≤ 0 hold, so does h(x) ≤ h - Σ λ_k r_k for any λ ≥ 0, and the right-hand side is
affine, with its greatest value over a box in closed form. That a row is there, or follows from
others, is the same inequality with one multiplier or with several, and so is the claim itself.
Multipliers and witnesses are asked of a `Finder`, outside the trusted base and not believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims, Findings, Verdict, Verdicts, down, verdicts
from auditkit.network.deployed import Deployed, Executed, FloatProfile
from auditkit.network.evaluate import evaluate
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Dense, Network
from auditkit.network.region import Box, Piece, deployed_errors, record_batches
from auditkit.network.rigorous import RIGOROUS, UNIT, Ball, enlarge, gamma, sum_down
from auditkit.patch.explicit import ExplicitPatch

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

NORM_TOLERANCE = 1e-3  # of a row's Euclidean length, which shall be 1
INWARDS = 1e-5  # of the domain's width: how deep a stated row may cut; rows are float32
SHELL_SHARE = 0.25  # of 1/n: how far out a true face may be stated, which deployed floats need
OUTWARDS = 1e-3  # of the domain's diagonal: the most of that, whatever n the owner chose
REGION_NUMBERS = 1 << 25  # of the true rows of one record: beyond it nothing is shown
UNITS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class RowTask:
    """One record's rows as plain floats, as functions of the step δ from the record.

    True rows `true` [H, d] · δ ≤ -`true_at` [H]; stated rows `stated` [m, d] · δ ≤ -`stated_at`;
    the claim `lead` [R, d] · δ + `lead_at` [R] ≤ 0 is to be shown. Boxes of δ, low and high [d]:
    `domain` and `claimed`. Distances that a true row may be passed by, or a stated one cut in:
    `outwards`, `inwards`.
    """

    true: F64
    true_at: F64
    stated: F64
    stated_at: F64
    lead: F64
    lead_at: F64
    domain: tuple[F64, F64]
    claimed: tuple[F64, F64]
    outwards: float
    inwards: float


@dataclass(frozen=True, eq=False)
class RowHints:
    """What a finder offers; all of it may be nonsense.

    Multipliers: `true` [H, m] of stated rows for each true one, `stated` [m, H] of true rows for
    each stated one, `lead` [R, H] of true rows for the claim. Witnesses, as steps δ [d]:
    `beyond` is in the gate's polytope and not in the region, `within` the other way round.
    """

    true: F64
    stated: F64
    lead: F64
    beyond: F64 | None = None
    within: F64 | None = None


Finder = Callable[[RowTask], RowHints]


@dataclass(frozen=True, eq=False)
class RowFindings:
    """What the rows of each claim's gate are, beside the true ones: counts [N], flags [N].

    `missing` true rows are neither stated nor shown to follow from the stated ones: the gate may
    reach beyond the region. `wrong` stated rows are not shown to hold on the claimed set: the gate
    may be closed on a part of it. `reaches_beyond` and `falls_short` are that, shown by a witness.
    `unnormalised` rows are not of length 1. `flat`: the record is on a face, so that polytope or
    region may have no interior. `tied`: the record's pattern could not be told.
    """

    stated: Index
    true: Index
    missing: Index
    wrong: Index
    unnormalised: Index
    flat: Bits
    tied: Bits
    reaches_beyond: Bits
    falls_short: Bits
    witness: F64  # [N, d] an input that shows it, NaN without one
    answer: F64  # [N, C] what the patched network says at the record: q, where outputs are claimed


def check_explicit_claims(
    network: Network,
    patch: ExplicitPatch,
    claims: Claims,
    lower: float,
    upper: float,
    finder: Finder,
) -> tuple[Findings, RowFindings]:
    """Check every claim on the domain box [lower, upper]; records outside it prove nothing.

    A claim without a target label says that the outputs on the set are within its margin of those
    at the record. Raises ValueError when claims with and without target labels are mixed.
    """
    if len(set((claims.target < 0).tolist())) > 1:
        raise ValueError("claims about labels and about outputs together")
    found, rows = [], []
    with np.errstate(all="ignore"):  # an overflow proves nothing
        for part in record_batches(network, len(claims)):
            batch = _Batch(network, patch, claims.take(part), lower, upper, finder)
            one, other = batch.findings()
            found.append(one)
            rows.append(other)
    joined = {
        f.name: np.concatenate([getattr(r, f.name) for r in rows]) for f in fields(RowFindings)
    }
    return Findings.join(found), RowFindings(**joined)


class _Batch:
    def __init__(
        self,
        network: Network,
        patch: ExplicitPatch,
        claims: Claims,
        lower: float,
        upper: float,
        finder: Finder,
    ) -> None:
        self.network, self.patch, self.claims, self.finder = network, patch, claims, finder
        self.table = patch.table
        self.group = self.table.group[claims.gate]
        self.flat = claims.x.reshape(len(claims), -1).astype(np.float64)
        self.width = upper - lower
        self.inside = np.all((self.flat >= lower) & (self.flat <= upper), axis=1)
        self.inside &= (claims.radius > 0) & (claims.margin > 0)
        everywhere = np.full(len(claims), np.inf)
        self.box = Box.around(self.flat, claims.radius, lower, upper)
        self.domain = Box.around(self.flat, everywhere, lower, upper)
        self.shaped = Box.around(claims.x.astype(np.float64), claims.radius, lower, upper)
        self.profile = FloatProfile.of(network.dtype)
        self.outputs = bool((claims.target < 0).all())

    def findings(self) -> tuple[Findings, RowFindings]:
        # 1. The record's own pattern, the gates at the record and all over its claimed set.
        logits, z = evaluate(self.network, Ball.exact(self.claims.x), RIGOROUS)
        bits = z.center > 0
        # where a number overflowed its sign is not known either
        told = (np.abs(z.center) >= z.radius) & np.isfinite(z.radius)
        tied = ~np.all(told, axis=1)
        opened, gate_open, at_record, crossing = self._gates()

        # 2. The claim at the record.
        answers = RIGOROUS.add(logits, self._offset_range(Ball.exact(self.flat)))
        cross = self._cross_talk(at_record, Ball.exact(self.flat))
        point_slack, excess = self._at_record(answers, cross)
        point = verdicts((point_slack >= 0) & opened, (excess > 0) & opened)

        # 3. Rows and claim on the set, record by record: every gate has rows of its own.
        piece = Piece.at(self.network, bits, self.shaped)
        cross = self._cross_talk(crossing, self.box.ball)
        n = len(self.claims)
        slack, swing = np.full(n, -np.inf), np.full(n, np.inf)
        rows = _no_rows(self.flat, answers.center)
        for i in range(n):
            stated = len(self.patch.rows_of(int(self.claims.gate[i]))[1])
            if max(bits.shape[1], stated) * (self.flat.shape[1] + stated) <= REGION_NUMBERS:
                slack[i], swing[i] = self._one(i, bits, z, piece, answers, cross, rows)
        rows.tied[:] = tied
        support = self._support(rows, gate_open, tied)
        proved = (slack >= 0) & (gate_open == Verdict.PROVED) & ~tied & (rows.wrong == 0)
        region = verdicts(proved, point == Verdict.REFUTED)

        # 4. The same where everything is computed in the network's own floats.
        error, unit_error = deployed_errors(self.network, self.shaped, self.profile)
        deployed_slack = self._deployed_slack(slack, swing, piece, error, crossing)
        deployed = verdicts((deployed_slack >= 0) & proved, region == Verdict.REFUTED)
        ranges = piece.logit_bounds()
        lead = ranges.magnitude if self.outputs else piece.lead_bounds(self.claims.target)
        kept = [np.where(self.inside, v, Verdict.UNPROVED) for v in (point, region, deployed)]
        found = Findings(
            support=support,
            gate_open=gate_open,
            point=kept[0].astype(np.int8),
            point_slack=point_slack,
            region=kept[1].astype(np.int8),
            region_slack=slack,
            deployed=kept[2].astype(np.int8),
            deployed_slack=deployed_slack,
            crossing=crossing.sum(axis=1),
            crossed=np.packbits(crossing, axis=1),
            lead=lead,
            error=error.max(axis=1),
            unit_error=unit_error.max(axis=1, initial=0.0),
            doubt=np.zeros(len(point), np.int8),
            exact=np.zeros(len(point), bool),
            too_wide=np.zeros(len(point), bool),
        )
        return found, rows

    # Gates: rows as a dense layer A x - b, so that bounds on them are those of any layer.

    def _gates(self) -> tuple[Bits, Verdicts, Bits, Bits]:
        """Return whether the own gate is open at the record, the verdict on that, and which other
        groups [N, M] may be open there, and on the claimed set in any floats."""
        n, groups = len(self.claims), len(self.table.source)
        opened, closed, also = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool)
        at_record, crossing = np.zeros((n, groups), bool), np.zeros((n, groups), bool)
        for gate in range(self.patch.gates):
            layer, group = self._layer(gate), int(self.table.group[gate])
            sharpness = float(self.table.sharpness[group])
            own, foreign = self.claims.gate == gate, self.group != group
            here = RIGOROUS.affine(layer, Ball.exact(self.flat), constant=True)
            is_open = np.all(here.upper <= 0, axis=1)
            opened |= own & is_open
            closed |= own & np.any(here.lower > 0, axis=1)
            also |= foreign & is_open
            terms = 2 * len(layer.bias) + 8
            floor = np.maximum(here.lower, 0).sum(axis=1) * (1 - gamma(terms))
            at_record[:, group] |= foreign & ~(floor * sharpness * (1 - 8 * UNIT) >= 1)

            # deployed sums of m terms and the product with n round too
            need = (1 + gamma(terms, self.profile.unit)) ** 2
            over = self._executed(layer)
            taken = np.maximum(over.range.lower - over.error, 0).sum(axis=1)
            doubtful = np.flatnonzero(foreign & ~(taken * (1 - gamma(terms)) * sharpness >= need))
            if len(doubtful):
                best = self._sum_floor(layer, here, over.error, doubtful)
                crossing[doubtful[~(best * sharpness >= need)], group] = True
        return opened, verdicts(opened & ~also, closed | also), at_record, crossing

    def _layer(self, gate: int) -> Dense:
        rows, limits = self.patch.rows_of(gate)
        return Dense(rows.astype(np.float64), -limits.astype(np.float64))

    def _executed(self, layer: Dense, one: int | None = None) -> Executed:
        ball = self.box.ball if one is None else self.box.ball[one : one + 1]
        start = Executed(ball, np.zeros_like(ball.center))
        return Deployed(self.profile).affine(layer, start, constant=True)

    def _sum_floor(self, layer: Dense, here: Ball, error: F64, index: Index) -> F64:
        """Return lower bounds [K] of the violation at all of the boxes `index` [K].

        Any subset of the rows gives one; those that are violated at the record do, as one sum.
        """
        value = here.lower[index] - error[index]
        wanted = (value > 0).astype(np.float64)
        gradient = RIGOROUS.adjoint(layer, Ball.exact(wanted), (self.flat.shape[1],))
        box = Box(self.flat[index], self.box.step_lower[index], self.box.step_upper[index])
        least, _ = box.extremes(Ball(gradient.center[:, None], gradient.radius[:, None]))
        total = (wanted * value).sum(axis=1) * (1 - gamma(2 * wanted.shape[1] + 8))
        return np.asarray(np.nextafter(total + least[:, 0], -np.inf))

    # Offsets: affine, then clipped to [-K, K].

    def _offset_range(self, x: Ball) -> Ball:
        """Return the range of each record's own clipped offset for inputs in `x` [N, d]."""
        n, classes = len(self.claims), self.network.classes
        low, high = np.zeros((n, classes)), np.zeros((n, classes))
        for group in np.unique(self.group):
            mine = np.flatnonzero(self.group == group)
            low[mine], high[mine] = self._clipped(int(group), x[mine])
        return Ball.between(low, high)

    def _clipped(self, group: int, x: Ball) -> tuple[F64, F64]:
        line = Dense(self.table.slope[group], self.table.shift[group])
        p = RIGOROUS.affine(line, x, constant=True)
        bound = self.table.bound[group]
        # NaN stays NaN, and proves nothing
        return np.clip(p.lower, -bound, bound), np.clip(p.upper, -bound, bound)

    def _cross_talk(self, groups: Bits, x: Ball) -> tuple[F64, F64]:
        """Return bounds [N, C] on what doubtful groups add: each between 0 and its offset."""
        low = np.zeros((len(groups), self.network.classes))
        high = np.zeros_like(low)
        for group in np.flatnonzero(groups.any(axis=0)):
            mine = np.flatnonzero(groups[:, group])
            least, most = self._clipped(int(group), x[mine])
            low[mine] += np.minimum(least, 0)
            high[mine] += np.maximum(most, 0)
        terms = int(groups.sum(axis=1).max(initial=0)) + 2
        return -enlarge(-low, terms), enlarge(high, terms)

    def _at_record(self, answers: Ball, cross: tuple[F64, F64]) -> tuple[F64, F64]:
        """Return what is at least left of the margin at the record, and at least missing."""
        low, high = cross
        if self.outputs:  # at the record they are what they are there, but for cross-talk
            worst = (high - low + answers.radius).max(axis=1)
            return down(self.claims.margin - worst), -self.claims.margin
        rows = np.arange(len(self.claims))
        own = answers[rows, self.claims.target]
        lead = RIGOROUS.subtract(answers, Ball(own.center[:, None], own.radius[:, None]))
        most = lead.upper + high - low[rows, self.claims.target][:, None]
        least = lead.lower + low - high[rows, self.claims.target][:, None]
        for values in (most, least):
            values[rows, self.claims.target] = -np.inf
        doubt = 8 * UNIT * (np.abs(lead.center) + high - low).max(axis=1)
        margin = self.claims.margin
        return down(-most.max(axis=1) - margin - doubt), down(least.max(axis=1) + margin - doubt)

    # One record: its rows, and the claim on its set.

    def _one(
        self,
        i: int,
        bits: Bits,
        z: Ball,
        piece: Piece,
        answers: Ball,
        cross: tuple[F64, F64],
        rows: RowFindings,
    ) -> tuple[float, float]:
        """Fill in what is found of record i's rows; return the slack on the set, and by how much
        deployed rows may move an output there."""
        layer, sign = self._layer(int(self.claims.gate[i])), np.where(bits[i], 1.0, -1.0)
        here = RIGOROUS.affine(layer, Ball.exact(self.flat[i : i + 1]), constant=True)[0]
        true = self._true_rows(bits[i], sign)
        true_at = Ball(-sign * z.center[i], z.radius[i])  # g_u at the record
        lead, lead_at, add = self._claim(i, piece, answers)
        sharpness = float(self.table.sharpness[self.group[i]])
        diagonal = self.width * float(np.sqrt(self.flat.shape[1]))
        inwards = INWARDS * self.width
        outwards = max(min(SHELL_SHARE / sharpness, OUTWARDS * diagonal), inwards)
        task = RowTask(
            true.center, true_at.center, layer.weight, here.center, lead.center,
            lead_at.center + add + self.claims.margin[i], self._steps(self.domain, i),
            self._steps(self.box, i), outwards, inwards,
        )  # fmt: skip
        hints = self._asked(task)

        # Do the stated rows imply every true one, in the whole domain?
        domain, claimed = self._cut(self.domain, i), self._cut(self.box, i)
        reach = _greatest(true, true_at, hints.true, layer, here, domain)
        spread = np.maximum(np.abs(true.center) - true.radius, 0)
        length = np.sqrt((spread**2).sum(axis=1)) * (1 - 1e-9)
        # a unit that is constant there is on its side everywhere if it is at the record
        moved = np.any((true.center != 0) | (true.radius != 0), axis=1)
        rows.missing[i] = np.count_nonzero(moved & ~(reach <= outwards * length))

        # Does every stated row hold on the claimed set, where the true ones do?
        region = bits[i], true_at
        most = self._on_region(Ball.exact(layer.weight), here, hints.stated, region, claimed)
        executed = self._executed(layer, i)
        most = np.minimum(most, executed.range.upper[0])
        rows.wrong[i] = np.count_nonzero(~(most <= inwards))

        size = np.sqrt((layer.weight**2).sum(axis=1))
        rows.unnormalised[i] = np.count_nonzero(~(np.abs(size - 1) <= NORM_TOLERANCE))
        rows.stated[i], rows.true[i] = len(layer.bias), len(sign)
        rows.flat[i] = not (np.all(here.upper < 0) and np.all(true_at.upper[moved] < 0))
        self._witnesses(i, bits, layer, hints, task, rows)

        # The claim on region and ball, less what the gate may be closed there.
        bound = self._on_region(lead, lead_at, hints.lead, region, claimed)
        plain = self._on_region(lead, lead_at, np.zeros_like(hints.lead), region, claimed)
        worst = np.minimum(bound, plain) + add
        low, high = cross[0][i], cross[1][i]
        extra = np.concatenate([high, -low]) if self.outputs else high - low[self.claims.target[i]]
        worst = worst + extra + 8 * UNIT * (np.abs(worst) + np.abs(extra))
        if not self.outputs:
            worst[self.claims.target[i]] = -np.inf
        # A row that cuts in opens the gate less, and in floats so may one that is met by its error.
        cut, swing = (
            self._closing(i, np.maximum(excess, 0)) for excess in (most, most + executed.error[0])
        )
        slack = sum_down(sum_down(-worst.max(), -self.claims.margin[i]), -2 * cut)
        return float(slack), swing

    def _closing(self, i: int, excess: F64) -> float:
        """Return by how much record i's gate may move a logit less where rows exceed 0 by this."""
        total = float(excess.sum()) * (1 + gamma(2 * len(excess) + 8, self.profile.unit)) ** 2
        group = int(self.group[i])
        share = min(1.0, total * float(self.table.sharpness[group]))  # 1 if it is NaN
        return float(share * self.table.bound[group] * (1 + 4 * UNIT))

    def _on_region(
        self, gradient: Ball, value: Ball, multipliers: F64, region: tuple[Bits, Ball], box: Box
    ) -> F64:
        """Return bounds [R] on value + gradient · δ over region and box.

        `value` [R] and `gradient` [R, d] are functions at the record, `region` the pattern [H] and
        g there [H]; a combination of the g_u is one backward pass.
        """
        bits, true_at = region
        frozen = Frozen(self.network, bits[None]).repeat(len(multipliers))
        zero = Ball.exact(np.zeros((len(multipliers), self.network.classes)))
        signed = Ball.exact(multipliers * np.where(bits, 1.0, -1.0))
        used = frozen.adjoint(zero, RIGOROUS, injections=signed)  # that of -Σ λ_u g_u
        rest = RIGOROUS.add(gradient, Ball(_flat(used.center), _flat(used.radius)))
        start = RIGOROUS.subtract(value, _combined(multipliers, true_at))
        _, greatest = box.extremes(Ball(rest.center[None], rest.radius[None]))
        return np.asarray(np.nextafter(start.upper + greatest[0], np.inf))

    def _true_rows(self, bits: Bits, sign: F64) -> Ball:
        """Return the gradients [H, d] of g_u = -σ_u z^s_u."""
        parts = []
        for start in range(0, len(sign), UNITS_AT_ONCE):
            index = np.arange(start, min(start + UNITS_AT_ONCE, len(sign)))
            chosen = np.zeros((len(index), len(sign)))
            chosen[index - start, index] = -sign[index]
            frozen = Frozen(self.network, bits[None]).repeat(len(chosen))
            zero = Ball.exact(np.zeros((len(chosen), self.network.classes)))
            part = frozen.adjoint(zero, RIGOROUS, injections=Ball.exact(chosen))
            parts.append(Ball(_flat(part.center), _flat(part.radius)))
        none = [np.zeros((0, self.flat.shape[1]))]
        return Ball(
            np.concatenate(none + [p.center for p in parts]),
            np.concatenate(none + [p.radius for p in parts]),
        )

    def _claim(self, i: int, piece: Piece, answers: Ball) -> tuple[Ball, Ball, F64]:
        """Return what must stay below -margin: gradients [R, d], values at the record [R], and a
        constant to add [R].

        Redirect: R = C rows F_j - F_target; outputs: F_j - q_j, then q_j - F_j. Where clipping is
        not shown to be inactive, the offset is not affine and enters as an interval.
        """
        group, target = int(self.group[i]), int(self.claims.target[i])
        gradient = Ball(_flat(piece.jacobian.center[i]), _flat(piece.jacobian.radius[i]))
        value = piece.logits[i]
        box = self.box.ball[i : i + 1]
        line = Dense(self.table.slope[group], self.table.shift[group])
        p = RIGOROUS.affine(line, box, constant=True)
        bound = self.table.bound[group]
        least, most = np.clip(p.lower[0], -bound, bound), np.clip(p.upper[0], -bound, bound)
        if (np.maximum(-p.lower, p.upper) <= bound).all():
            gradient = RIGOROUS.add(gradient, Ball.exact(line.weight))
            here = RIGOROUS.affine(line, Ball.exact(self.flat[i : i + 1]), constant=True)
            value = RIGOROUS.add(value, here[0])
            least = most = np.zeros_like(least)
        if self.outputs:
            q = Ball.exact(answers.center[i])
            above, below = RIGOROUS.subtract(value, q), RIGOROUS.subtract(q, value)
            both = Ball(
                np.concatenate([gradient.center, -gradient.center]),
                np.concatenate([gradient.radius] * 2),
            )
            start = Ball(
                np.concatenate([above.center, below.center]),
                np.concatenate([above.radius, below.radius]),
            )
            # here the margin is the greatest deviation, not the least lead
            margin = -2 * self.claims.margin[i]
            return both, start, np.nextafter(np.concatenate([most, -least]) + margin, np.inf)
        own = Ball(gradient.center[target][None], gradient.radius[target][None])
        base = Ball(value.center[target][None], value.radius[target][None])
        return (
            RIGOROUS.subtract(gradient, own),
            RIGOROUS.subtract(value, base),
            np.nextafter(most - least[target], np.inf),
        )

    def _witnesses(
        self, i: int, bits: Bits, layer: Dense, hints: RowHints, task: RowTask, rows: RowFindings
    ) -> None:
        """See whether an offered input is in the gate and surely not in the region, or the like."""
        frozen, sign = Frozen(self.network, bits[i : i + 1]), np.where(bits[i], 1.0, -1.0)
        for name, step in (("beyond", hints.beyond), ("within", hints.within)):
            if step is None or step.shape != self.flat[i].shape or not np.isfinite(step).all():
                continue
            box = self.domain if name == "beyond" else self.box
            y = self.flat[i] + step
            step = (y - self.flat[i]) * (1 + 2.0**-40)  # surely inside, whatever was rounded
            if not ((step >= box.step_lower[i]) & (step <= box.step_upper[i])).all():
                continue
            shaped = y.reshape(1, *self.network.input_shape)
            _, z = frozen.forward(Ball.exact(shaped), RIGOROUS)
            region = Ball(-sign * z.center[0], z.radius[0])
            gate = RIGOROUS.affine(layer, Ball.exact(y[None]), constant=True)[0]
            if name == "beyond":
                true = self._true_rows(bits[i], sign)
                length = np.sqrt((true.magnitude**2).sum(axis=1)) * (1 + 1e-9)
                outside = np.any(region.lower > task.outwards * length)
                shown = rows.reaches_beyond[i] = bool(np.all(gate.upper <= 0) and outside)
            else:
                shut = np.any(gate.lower > task.inwards)
                shown = rows.falls_short[i] = bool(np.all(region.upper <= 0) and shut)
            if shown:
                rows.witness[i] = y

    def _asked(self, task: RowTask) -> RowHints:
        """Return the finder's hints, with 0 for multipliers that are none."""
        hints = self.finder(task)
        units, stated, leads = len(task.true), len(task.stated), len(task.lead)
        return replace(
            hints,
            true=_multipliers(hints.true, (units, stated)),
            stated=_multipliers(hints.stated, (stated, units)),
            lead=_multipliers(hints.lead, (leads, units)),
        )

    def _steps(self, box: Box, i: int) -> tuple[F64, F64]:
        return box.step_lower[i], box.step_upper[i]

    def _cut(self, box: Box, i: int) -> Box:
        part = slice(i, i + 1)
        return Box(box.x[part], box.step_lower[part], box.step_upper[part])

    def _support(self, rows: RowFindings, gate_open: Verdicts, tied: Bits) -> Verdicts:
        bad = (rows.unnormalised > 0) | rows.reaches_beyond | rows.falls_short
        good = (rows.missing == 0) & (rows.wrong == 0) & ~rows.flat
        return verdicts(good & ~tied, bad & ~tied)

    def _deployed_slack(
        self, slack: F64, swing: F64, piece: Piece, error: F64, crossing: Bits
    ) -> F64:
        """Take from the slack what floats may: of the network, the offset, the gate, the sums."""
        taken = np.zeros(len(slack))
        magnitude = piece.logit_bounds().magnitude.max(axis=1)
        for i in range(len(slack)):
            group = int(self.group[i])
            line = Dense(self.table.slope[group], self.table.shift[group])
            own = self._executed(line, i).error.max()
            size = magnitude[i] + self.table.bound[group] + error[i].max()
            size += self.table.bound[crossing[i]].sum()
            steps = 8 + 6 * int(crossing[i].sum())
            rounding = steps * gamma(4, self.profile.unit) * size
            drift = np.zeros(1)
            for other in np.flatnonzero(crossing[i]):
                far = Dense(self.table.slope[other], self.table.shift[other])
                drift += self._executed(far, i).error.max()
            total = error[i].max() + own + swing[i] + rounding + drift[0]
            fits = 2 * size < self.profile.greatest
            taken[i] = 2 * total * (1 + 1e-9) if fits else np.inf
        return down(slack - taken)


def _greatest(
    gradient: Ball, value: Ball, multipliers: F64, layer: Dense, here: Ball, box: Box
) -> F64:
    """Return bounds [R] on value + gradient · δ over the box, where the layer's rows are ≤ 0.

    `value` [R] and `gradient` [R, d] are functions at the record, `here` [m] the rows there.
    """
    used = RIGOROUS.adjoint(layer, Ball.exact(multipliers), (layer.weight.shape[1],))
    rest = RIGOROUS.subtract(gradient, used)
    start = RIGOROUS.subtract(value, _combined(multipliers, here))
    _, greatest = box.extremes(Ball(rest.center[None], rest.radius[None]))
    return np.asarray(np.nextafter(start.upper + greatest[0], np.inf))


def _combined(multipliers: F64, values: Ball) -> Ball:
    """Return multipliers [R, m] times values [m]."""
    product = Dense(multipliers, np.zeros(len(multipliers)))
    return RIGOROUS.affine(product, Ball(values.center[None], values.radius[None]), constant=False)[
        0
    ]


def _multipliers(given: F64, shape: tuple[int, int]) -> F64:
    if given.shape != shape or not (np.isfinite(given).all() and (given >= 0).all()):
        return np.zeros(shape)
    return given.astype(np.float64)


def _no_rows(x: F64, answer: F64) -> RowFindings:
    """Return findings of rows that nothing is known of, at records `x` [N, d]."""
    unknown = np.full(len(x), -1, dtype=np.int64)
    never = np.zeros(len(x), dtype=bool)
    return RowFindings(
        stated=unknown.copy(), true=unknown.copy(), missing=unknown.copy(), wrong=unknown.copy(),
        unnormalised=unknown.copy(), flat=never.copy(), tied=never.copy(),
        reaches_beyond=never.copy(), falls_short=never.copy(),
        witness=np.full_like(x, np.nan), answer=answer,
    )  # fmt: skip


def _flat(values: F64) -> F64:
    return values.reshape(len(values), -1)

"""The patched network as one ONNX file of standard operators: what the owner deploys.

The file is the original network followed by the formula of `gates`, written the same way every
time, so that an auditor who exports model and patch again compares bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from auditkit.network.graph import MaxPool, Network, Relu
from auditkit.network.tournament import Tournament
from auditkit.network.units import unit_layout
from auditkit.network.write_onnx import GraphBuilder, append_network
from auditkit.patch.explicit import AnyPatch, ExplicitPatch, ExplicitTable
from auditkit.patch.gates import Band, GateTable, Patch


def patched_to_onnx(network: Network, patch: AnyPatch) -> bytes:
    """Return patched.onnx: input and output shapes of the original, with a free batch axis N."""
    if isinstance(patch, ExplicitPatch):
        return _explicit_to_onnx(network, patch)
    builder = GraphBuilder(network.dtype)
    values = append_network(builder, network, "input")
    table = patch.table
    result = values[-1]
    gated = np.flatnonzero(~table.always)
    if len(gated):
        violations = _violations(builder, network, patch, _units(builder, network, values))

        def offsets(limit: str, bound: np.ndarray, logits: str = result) -> str:
            return _offsets(builder, patch, gated, logits, limit, bound)

        result = _add_groups(builder, table, gated, violations, result, offsets)
    if table.always.any():
        bound = table.bound[table.always][:, None]
        shift = np.clip(table.offset[table.always], -bound, bound).sum(axis=0)
        constant = builder.add_initializer("patch.shift", shift.astype(network.dtype))
        result = builder.add_node("Add", [result, constant], ["patch.shifted"])
    builder.add_node("Identity", [result], ["logits"])
    return builder.finish("logits", network.input_shape, (network.classes,))


def _units(builder: GraphBuilder, network: Network, values: list[str]) -> str:
    """Append the pre-activations of all kept units as one value [N, H]."""
    layout = unit_layout(network)
    parts = []
    for index, node in enumerate(network.nodes):
        source = values[node.inputs[0]]
        if isinstance(node.operator, Relu):
            parts.append(builder.add_node("Flatten", [source], [f"units.{index}"], axis=1))
        elif isinstance(node.operator, MaxPool):
            parts.extend(_matches(builder, layout.tournaments[index], source, f"units.{index}"))
    joined = parts[0]
    if len(parts) > 1:
        joined = builder.add_node("Concat", parts, ["units"], axis=1)
    if layout.kept.all():
        return joined
    kept = builder.add_initializer("units.kept.index", np.flatnonzero(layout.kept))
    return builder.add_node("Gather", [joined, kept], ["units.kept"], axis=1)


def _matches(builder: GraphBuilder, plan: Tournament, source: str, stem: str) -> list[str]:
    """Append the comparisons of a max pool's tournament, round by round."""
    parts = []
    flat = builder.add_node("Flatten", [source], [f"{stem}.flat"], axis=1)
    seats = builder.add_initializer(f"{stem}.seats", np.maximum(plan.players, 0))
    slots = builder.add_node("Gather", [flat, seats], [f"{stem}.slots"], axis=1)
    for number, step in enumerate(plan.rounds):
        name = f"{stem}.{number}"
        pairs = step.played.shape[1]

        def pick(what: str, places: np.ndarray, slots: str = slots, name: str = name) -> str:
            index = builder.add_initializer(f"{name}.{what}.index", places.astype(np.int64))
            return builder.add_node("Gather", [slots, index], [f"{name}.{what}"], axis=2)

        left, right = pick("left", np.arange(pairs) * 2), pick("right", np.arange(pairs) * 2 + 1)
        difference = builder.add_node("Sub", [right, left], [f"{name}.difference"])
        lined = builder.add_node("Flatten", [difference], [f"{name}.all"], axis=1)
        played = builder.add_initializer(f"{name}.played", np.flatnonzero(step.played))
        parts.append(builder.add_node("Gather", [lined, played], [f"{name}.units"], axis=1))
        best = builder.add_node("Max", [left, right], [f"{name}.best"])
        mask = builder.add_initializer(f"{name}.mask", step.played[None])
        winners = builder.add_node("Where", [mask, best, left], [f"{name}.winners"])
        if step.odd:
            last = pick("odd", np.array([2 * pairs]))
            winners = builder.add_node("Concat", [winners, last], [f"{name}.next"], axis=2)
        slots = winners
    return parts


def _violations(builder: GraphBuilder, network: Network, patch: Patch, units: str) -> str:
    """Append v [N, G]: two products with the patterns for each dead zone."""
    table, dtype = patch.table, network.dtype
    zones = table.dead_zone[table.group]
    negated = builder.add_node("Neg", [units], ["patch.negated"])
    parts, order = [], []
    for number, zone in enumerate(np.unique(zones)):
        gates = np.flatnonzero(zones == zone)
        order.append(gates)
        name = f"patch.zone-{number}"
        tau = builder.add_initializer(f"{name}.tau", np.asarray(zone, dtype=dtype))
        sums = []
        for side, source, bits in (
            ("one", negated, table.patterns[gates]),
            ("zero", units, ~table.patterns[gates]),
        ):
            beyond = builder.add_node("Sub", [source, tau], [f"{name}.{side}.beyond"])
            excess = builder.add_node("Relu", [beyond], [f"{name}.{side}.excess"])
            packed = builder.add_initializer(f"{name}.{side}.bits", bits.T.astype(np.uint8))
            element = {"float32": 1, "float64": 11}[dtype.name]
            matrix = builder.add_node("Cast", [packed], [f"{name}.{side}.matrix"], to=element)
            sums.append(builder.add_node("MatMul", [excess, matrix], [f"{name}.{side}.sum"]))
        parts.append(builder.add_node("Add", sums, [f"{name}.violations"]))
    result = parts[0]
    if len(parts) > 1:
        joined = builder.add_node("Concat", parts, ["patch.by-zone"], axis=1)
        place = builder.add_initializer("patch.by-gate", np.argsort(np.concatenate(order)))
        result = builder.add_node("Gather", [joined, place], ["patch.violations"], axis=1)
    for number, band in enumerate(table.bands):
        result = _beyond_band(builder, band, units, result, f"patch.band-{number}")
    return result


def _beyond_band(builder: GraphBuilder, band: Band, units: str, violations: str, name: str) -> str:
    """Append the violations plus ReLU(|z - c| - w) of one band of every gate."""
    index = builder.add_initializer(f"{name}.unit", band.unit)
    center = builder.add_initializer(f"{name}.center", band.center.astype(builder.dtype))
    width = builder.add_initializer(f"{name}.width", band.width.astype(builder.dtype))
    value = builder.add_node("Gather", [units, index], [f"{name}.value"], axis=1)
    shifted = builder.add_node("Sub", [value, center], [f"{name}.shifted"])
    size = builder.add_node("Abs", [shifted], [f"{name}.size"])
    beyond = builder.add_node("Sub", [size, width], [f"{name}.beyond"])
    excess = builder.add_node("Relu", [beyond], [f"{name}.excess"])
    return builder.add_node("Add", [violations, excess], [f"{name}.violations"])


def _explicit_to_onnx(network: Network, patch: ExplicitPatch) -> bytes:
    builder = GraphBuilder(network.dtype)
    values = append_network(builder, network, "input")
    flat = builder.add_node("Flatten", ["input"], ["patch.flat"], axis=1)
    table, dtype = patch.table, network.dtype
    parts = [patch.rows_of(gate) for gate in range(patch.gates)]
    rows = np.concatenate([a for a, _ in parts])
    limits = np.concatenate([b for _, b in parts])
    matrix = builder.add_initializer("patch.rows", rows.T.astype(dtype))
    least = builder.add_initializer("patch.limits", limits.astype(dtype))
    product = builder.add_node("MatMul", [flat, matrix], ["patch.products"])
    beyond = builder.add_node("Sub", [product, least], ["patch.beyond"])
    excess = builder.add_node("Relu", [beyond], ["patch.excess"])
    violations = _row_sums(builder, np.array([len(b) for _, b in parts]), excess)

    def offsets(limit: str, bound: np.ndarray) -> str:
        if not table.slope.any():
            shift = np.clip(table.shift.astype(dtype), -bound, bound)[None]
            return builder.add_initializer("patch.offsets", shift)
        count, classes = table.shift.shape
        slope = table.slope.reshape(count * classes, -1).T.astype(dtype)
        weight = builder.add_initializer("patch.slope", slope)
        constant = builder.add_initializer("patch.shift", table.shift.reshape(-1).astype(dtype))
        line = builder.add_node("MatMul", [flat, weight], ["patch.sloped"])
        line = builder.add_node("Add", [line, constant], ["patch.affine"])
        shape = builder.add_initializer("patch.shape", np.array([0, count, classes], np.int64))
        line = builder.add_node("Reshape", [line, shape], ["patch.steps"])
        floor = builder.add_initializer("patch.floor", -bound)
        above = builder.add_node("Max", [line, floor], ["patch.steps-above"])
        return builder.add_node("Min", [above, limit], ["patch.steps-clipped"])

    gated = np.arange(len(table.source))
    result = _add_groups(builder, table, gated, violations, values[-1], offsets)
    builder.add_node("Identity", [result], ["logits"])
    return builder.finish("logits", network.input_shape, (network.classes,))


def _row_sums(builder: GraphBuilder, counts: np.ndarray, excess: str) -> str:
    """Append v [N, G], sums of consecutive columns of `excess`: gates of as many rows together."""
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    axis = builder.add_initializer("patch.row-axis", np.asarray([2], np.int64))
    sums, order = [], []
    for count in np.unique(counts):
        gates = np.flatnonzero(counts == count)
        order.append(gates)
        seats = (starts[gates][:, None] + np.arange(count)[None]).astype(np.int64)
        name = f"patch.rows-{count}"
        index = builder.add_initializer(f"{name}.seats", seats)
        spread = builder.add_node("Gather", [excess, index], [f"{name}.excess"], axis=1)
        sums.append(builder.add_node("ReduceSum", [spread, axis], [f"{name}.sums"], keepdims=0))
    if len(sums) == 1:
        return sums[0]
    joined = builder.add_node("Concat", sums, ["patch.by-count"], axis=1)
    place = builder.add_initializer("patch.by-gate", np.argsort(np.concatenate(order)))
    return builder.add_node("Gather", [joined, place], ["patch.violations"], axis=1)


def _add_groups(
    builder: GraphBuilder,
    table: GateTable | ExplicitTable,
    gated: np.ndarray,
    violations: str,
    logits: str,
    offsets: Callable[[str, np.ndarray], str],
) -> str:
    """Append t [N, M], the contributions [N, M, C] and their sum with the logits.

    `offsets` appends the clipped p [N or 1, M, C], given the name and the value of K [M, 1].
    """
    dtype = builder.dtype
    members = [np.flatnonzero(table.group == group) for group in gated]
    longest = max(len(m) for m in members)
    least = violations
    if longest > 1 or [int(m[0]) for m in members] != list(range(len(table.group))):
        # groups of fewer gates repeat their last one, which changes no minimum
        seats = np.stack([np.pad(m, (0, longest - len(m)), mode="edge") for m in members])
        index = builder.add_initializer("patch.members", seats.astype(np.int64))
        spread = builder.add_node("Gather", [violations, index], ["patch.by-member"], axis=1)
        least = builder.add_node("ReduceMin", [spread], ["patch.least"], axes=[2], keepdims=0)
    sharpness = builder.add_initializer("patch.sharpness", table.sharpness[gated].astype(dtype))
    scaled = builder.add_node("Mul", [least, sharpness], ["patch.scaled"])
    one = builder.add_initializer("patch.one", np.asarray(1, dtype=dtype))
    t = builder.add_node("Min", [scaled, one], ["patch.t"])
    axis = builder.add_initializer("patch.last-axis", np.asarray([2], np.int64))
    t = builder.add_node("Unsqueeze", [t, axis], ["patch.t-column"])
    bound = table.bound[gated].astype(dtype)[:, None]
    limit = builder.add_initializer("patch.bound", bound)
    kt = builder.add_node("Mul", [t, limit], ["patch.kt"])
    p = offsets(limit, bound)
    up = builder.add_node("Sub", [p, kt], ["patch.up"])
    down = builder.add_node("Add", [p, kt], ["patch.down"])
    down = builder.add_node("Neg", [down], ["patch.down-negated"])
    up = builder.add_node("Relu", [up], ["patch.raised"])
    down = builder.add_node("Relu", [down], ["patch.lowered"])
    h = builder.add_node("Sub", [up, down], ["patch.contributions"])
    group_axis = builder.add_initializer("patch.group-axis", np.asarray([1], np.int64))
    total = builder.add_node("ReduceSum", [h, group_axis], ["patch.total"], keepdims=0)
    return builder.add_node("Add", [logits, total], ["patch.gated"])


def _offsets(
    builder: GraphBuilder,
    patch: Patch,
    gated: np.ndarray,
    logits: str,
    limit: str,
    bound: np.ndarray,
) -> str:
    """Append p [N or 1, M, C], clipped to the bounds."""
    table, dtype = patch.table, builder.dtype
    offset = table.offset[gated].astype(dtype)
    output = table.kind_output[gated]
    if not output.any():
        clipped = np.clip(offset, -bound, bound)[None]
        return builder.add_initializer("patch.offsets", clipped)
    axis = builder.add_initializer("patch.middle-axis", np.asarray([1], np.int64))
    lifted = builder.add_node("Unsqueeze", [logits, axis], ["patch.logits"])
    if not output.all():
        weight = builder.add_initializer("patch.is-output", output.astype(dtype)[:, None])
        lifted = builder.add_node("Mul", [lifted, weight], ["patch.logits-used"])
    q = builder.add_initializer("patch.offsets", offset[None])
    step = builder.add_node("Sub", [q, lifted], ["patch.steps"])
    floor = builder.add_initializer("patch.floor", -bound)
    above = builder.add_node("Max", [step, floor], ["patch.steps-above"])
    return builder.add_node("Min", [above, limit], ["patch.steps-clipped"])

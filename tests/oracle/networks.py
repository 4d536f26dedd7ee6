"""Small networks, records and patches that are hard on a checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims
from auditkit.network.evaluate import evaluate, pattern
from auditkit.network.graph import (
    Add,
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Node,
    Operator,
    Pad,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from auditkit.patch.gates import Bands, Group, OffsetKind, Patch

Generator = np.random.Generator
Numbers = Callable[..., Any]
CLASSES = 3


def chain(shape: tuple[int, ...], operators: list[Operator], dtype: Any) -> Network:
    """Return the network that applies one operator after the other."""
    nodes = tuple(Node(operator, (i,)) for i, operator in enumerate(operators))
    return Network(shape, nodes, np.dtype(dtype))


def dense(numbers: Numbers, dtype: Any, rng: Generator) -> Network:
    d, width, depth = int(rng.integers(1, 6)), int(rng.integers(1, 7)), int(rng.integers(1, 4))
    sizes = [d, *[width] * depth]
    operators: list[Operator] = []
    for into, out in zip(sizes, sizes[1:], strict=False):
        operators += [Dense(numbers(out, into), numbers(out)), Relu()]
    return chain((d,), [*operators, Dense(numbers(CLASSES, width), numbers(CLASSES))], dtype)


def residual(numbers: Numbers, dtype: Any, rng: Generator) -> Network:
    d, width = int(rng.integers(2, 5)), int(rng.integers(2, 6))
    nodes = (
        Node(Scale("add", numbers(d)), (0,)),
        Node(Dense(numbers(width, d), numbers(width)), (1,)),
        Node(Relu(), (2,)),
        Node(Dense(numbers(width, width), numbers(width)), (3,)),
        Node(Add(), (2, 4)),
        Node(Relu(), (5,)),
        Node(Add(), (6, 6)),
        Node(Dense(numbers(CLASSES, width), numbers(CLASSES)), (7,)),
    )
    return Network((d,), nodes, np.dtype(dtype))


def averaged(numbers: Numbers, dtype: Any, rng: Generator) -> Network:
    conv = Convolution(numbers(2, 1, 2, 3), numbers(2), (1, 1), (0, 1, 1, 0), (1, 1))
    pool = AveragePool((2, 2), (2, 2), (1, 0, 0, 1), bool(rng.integers(2)))
    side = int(rng.integers(4, 6))
    shape = (1, side, side)
    operators: list[Operator] = [conv, Relu(), pool]
    inner = chain_shape(shape, operators)
    operators += [Reshape((int(np.prod(inner)),))]
    operators += [Dense(numbers(CLASSES, int(np.prod(inner))), numbers(CLASSES))]
    return chain(shape, operators, dtype)


def pooled(numbers: Numbers, dtype: Any, rng: Generator) -> Network:
    pools = [
        MaxPool((2, 2), (2, 2)),
        MaxPool((3, 2), (1, 2), (1, 0, 0, 1)),
        MaxPool((2, 2), (1, 1), (0, 0, 0, 0), (2, 1)),
        MaxPool((1, 3), (1, 1), (0, 1, 0, 2)),
    ]
    operators: list[Operator] = [
        Transpose((2, 0, 1)),
        Pad((0, 0, 1), (0, 1, 0)),
        Convolution(numbers(2, 1, 2, 2), numbers(2), (1, 1), (0, 0, 0, 0), (1, 1), 2),
    ]
    if rng.integers(2):
        operators += [Relu()]
    operators += [pools[int(rng.integers(len(pools)))], Scale("divide", _nonzero(numbers(2, 1, 1)))]
    shape = (3, 3, 2)
    inner = int(np.prod(chain_shape(shape, operators)))
    operators += [Reshape((inner,)), Dense(numbers(3, inner), numbers(3)), Relu()]
    return chain(shape, [*operators, Dense(numbers(CLASSES, 3), numbers(CLASSES))], dtype)


def normalised(numbers: Numbers, dtype: Any, rng: Generator) -> Network:
    """Scales and shifts as batch norm leaves them, each channel of another size; a final ReLU."""
    d, width = int(rng.integers(1, 5)), int(rng.integers(2, 6))
    spread = (10.0 ** rng.integers(-5, 6, size=(2, width))).astype(dtype)
    operators: list[Operator] = [
        Scale("divide", _nonzero(numbers(d))),
        Dense(numbers(width, d), numbers(width)),
        Scale("multiply", numbers(width) * spread[0]),
        Scale("add", numbers(width)),
        Relu(),
        Scale("divide", spread[0]),
        Dense(numbers(width, width), numbers(width)),
        Scale("multiply", spread[1]),
        Relu(),
        Dense(numbers(CLASSES, width), numbers(CLASSES)),
    ]
    if rng.integers(2):
        operators += [Scale("multiply", numbers(CLASSES)), Relu()]
    return chain((d,), operators, dtype)


def _nonzero(values: NDArray[Any]) -> NDArray[Any]:
    return np.where(values == 0, np.ones_like(values), values)


def chain_shape(shape: tuple[int, ...], operators: list[Operator]) -> tuple[int, ...]:
    """Return the shape behind a chain of operators."""
    from auditkit.network.graph import output_shape

    for operator in operators:
        shape = output_shape(operator, [shape])
    return shape


FAMILIES = {
    "dense": dense,
    "residual": residual,
    "averaged": averaged,
    "pooled": pooled,
}
EVERY_FAMILY = {**FAMILIES, "normalised": normalised}
"""With networks of which an honest owner cannot always prove what holds."""


def weights(style: str, dtype: Any, rng: Generator) -> Numbers:
    """Return a source of arrays of one style of number."""

    def numbers(*shape: int) -> Any:
        values = rng.normal(size=shape)
        if style == "integers":  # exact ties
            values = rng.integers(-2, 3, size=shape).astype(float)
        elif style == "zeros":  # dead rows and columns, duplicated units
            values = (
                np.round(values * 4) / 4 * (rng.random(shape[:1] + (1,) * (len(shape) - 1)) < 0.7)
            )
            values[-1] = values[0]
        elif style == "scaled":  # what one layer blows up, another may undo
            exponent = float(
                rng.choice([-30, -10, 0, 10, 30] if dtype == np.float64 else [-6, 0, 6])
            )
            values = values * 10.0**exponent
        elif style == "denormal":
            values = values * (1e-310 if dtype == np.float64 else 1e-42)
            if rng.random() < 0.6:
                values = rng.normal(size=shape)
        elif style == "mixed":
            values = values * 10.0 ** rng.integers(-4, 4, size=shape)
        elif style == "duplicates":  # the same unit twice, and its mirror image
            values[-1] = values[0]
            if len(shape) > 1 and len(values) > 2:
                values[1] = -values[0]
        elif style == "dead":  # units that never leave one side
            values = values * (20.0 if len(shape) == 1 else 1.0)
        return values.astype(dtype)

    return numbers


STYLES = (
    *("normal", "integers", "zeros", "scaled", "denormal", "mixed"),
    *("duplicates", "dead"),
)


def records(network: Network, count: int, rng: Generator) -> NDArray[np.float64]:
    """Return records of the unit box in the network's floats: inside, on its boundary, repeated."""
    shape = (count, *network.input_shape)
    x = rng.random(shape)
    kind = rng.integers(5)
    if kind == 0:
        x = np.round(x)
    elif kind == 1:
        x = np.round(x * 4) / 4
    elif kind == 2:
        x[0] = 0
        x[-1] = 1
    elif kind == 3:
        x[-1] = x[0]
    return x.astype(network.dtype).astype(np.float64)


def float32(values: Any) -> Any:
    return np.asarray(values, dtype=np.float32)


def scalar(value: float) -> float:
    return float(np.float32(min(max(value, 0.0), 3e38)))


def handmade(network: Network, x: NDArray[np.float64], rng: Generator) -> Patch:
    """Return a patch with a gate for each record, in groups of every kind and shape."""
    with np.errstate(all="ignore"):
        bits = pattern(network, x)
        logits, z = evaluate(network, x)
    size = float(np.clip(np.nan_to_num(np.abs(logits)).max(), 1e-30, 1e30))
    unit = float(np.clip(np.nan_to_num(np.abs(z)).max(initial=1.0), 1e-30, 1e30))
    zone = scalar(unit * float(rng.choice([0.0, 1e-7, 1e-5, 1e-3, 10.0])))
    groups: list[Group] = []

    def group(kind: OffsetKind, patterns: Any, offset: Any) -> None:
        most = float(np.abs(offset).max(initial=0.0))
        bound = scalar(most * float(rng.choice([0.3, 1.0, 1.5, 4.0])))
        if kind is OffsetKind.OUTPUT:
            bound = scalar(size * float(rng.choice([0.5, 3.0, 10.0])))
        sharpness = max(scalar(float(rng.choice([1e-3, 1.0, 64.0, 1e5])) / unit), 1e-37)
        own = zone if rng.random() < 0.7 else scalar(2 * zone)
        name = f"g{len(groups)}"
        sharpness = scalar(sharpness)
        groups.append(
            Group(name, kind, patterns, float32(offset), bound, sharpness, own, bands(patterns))
        )

    def bands(patterns: Any) -> Bands | None:
        """Narrow some gates by bands, most of them around a record of the gate's pattern."""
        if rng.random() < 0.6 or not patterns.size:
            return None
        shape = (len(patterns), int(rng.integers(0, 4)))
        units = rng.integers(patterns.shape[1], size=shape)
        own = z[[int(np.flatnonzero((bits == row).all(axis=1))[0]) for row in patterns]]
        near = np.nan_to_num(np.take_along_axis(own, units, axis=1))
        width = unit * rng.choice([0.0, 1e-9, 1e-3, 0.1, 2.0], size=shape)
        center = np.clip(near + rng.normal(size=shape) * width * 0.5, -1e38, 1e38)
        return Bands(units, float32(center), float32(width))

    def vectors(*shape: int) -> Any:
        return float32(np.clip(rng.normal(size=shape) * 2 * size, -1e38, 1e38))

    kinds = [OffsetKind.CONSTANT, OffsetKind.OUTPUT]
    layout = rng.integers(3)
    if layout == 0:
        group(kinds[rng.integers(2)], bits, vectors(len(x), network.classes))
    elif layout == 1:
        group(kinds[rng.integers(2)], bits, vectors(network.classes))
    else:
        for row in bits:
            group(kinds[rng.integers(2)], row[None], vectors(network.classes))
    if rng.random() < 0.25:
        for _ in range(int(rng.integers(1, 4))):
            group(OffsetKind.ALWAYS, np.zeros((0, bits.shape[1]), bool), vectors(network.classes))
    return Patch(tuple(groups), network.classes, bits.shape[1])


def claims_for(patch: Patch, x: NDArray[np.float64], rng: Generator) -> list[Claims]:
    """Return a claim per record and gate, those on each kind of offset together."""
    table = patch.table
    gate = np.arange(len(x))
    radius = rng.choice([1e-12, 1e-4, 0.01, 0.1, np.inf], size=len(x))
    size = float(np.clip(np.abs(table.offset).max(), 1e-30, 1e30))
    margin = rng.choice([1e-12, 1e-3, 0.1, 0.5], size=len(x)) * size
    target = table.offset[table.group[gate]].argmax(axis=1)
    target = np.where(rng.random(len(x)) < 0.8, target, rng.integers(patch.classes, size=len(x)))
    outputs = table.kind_output[table.group[gate]]
    claims = Claims(x, gate, radius, margin, np.where(outputs, -1, target).astype(np.int64))
    parts = [np.flatnonzero(outputs), np.flatnonzero(~outputs)]
    return [claims.take(rows) for rows in parts if len(rows)]

"""The audited function as data: a piecewise-linear network as a list of operators.

Whatever file a network came from, this is what is evaluated, certified and exported. Every
operator but ReLU and max pool is affine, so that freezing those two makes the whole affine.
Shapes are those of one record, without the batch dimension; images are channels first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # of floats: float32 or float64, as the caller chose
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Dense:
    """y = x Wᵀ + b on the last axis; `weight` [out, in], `bias` [out]."""

    weight: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Convolution:
    """Two-dimensional cross-correlation; `weight` [out, in / groups, kh, kw], `bias` [out].

    `pads` are zeros at (top, left, bottom, right).
    """

    weight: Array
    bias: Array
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class AveragePool:
    """Mean over a window; padding counts in the divisor only if `count_include_pad`."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    count_include_pad: bool = False


@dataclass(frozen=True)
class MaxPool:
    """Maximum over a window; padding is left out."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Relu:
    """max(0, x), element by element."""


@dataclass(frozen=True)
class Add:
    """Sum of two values of the same shape (a residual connection)."""


@dataclass(frozen=True, eq=False)
class Scale:
    """x + c, x · c or x / c with a constant that broadcasts to the shape of x."""

    kind: Literal["add", "multiply", "divide"]
    constant: Array


@dataclass(frozen=True)
class Reshape:
    """The same numbers in C order under another shape."""

    shape: Shape


@dataclass(frozen=True)
class Transpose:
    """Axes in another order; `axes` count from 0 without the batch dimension."""

    axes: tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """Zeros added `before` and `after` each axis."""

    before: tuple[int, ...]
    after: tuple[int, ...]


Operator = (
    Dense | Convolution | AveragePool | MaxPool | Relu | Add | Scale | Reshape | Transpose | Pad
)


@dataclass(frozen=True)
class Node:
    """An operator and the values it reads: 0 is the network's input, i + 1 the output of node i."""

    operator: Operator
    inputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Network:
    """A piecewise-linear classifier; its last value, of shape [C], is the logits.

    Raises ValueError with a sentence that names the node when shapes or wiring do not fit, when a
    constant is not finite, or when the dtypes differ from `dtype` (float32 or float64).
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    dtype: np.dtype[np.floating]

    def __post_init__(self) -> None:
        _ = self.shapes  # every network that exists has consistent shapes
        if len(self.shapes[-1]) != 1 or self.shapes[-1][0] < 2:
            raise ValueError(f"the output has shape {list(self.shapes[-1])}, not [classes]")
        for index, node in enumerate(self.nodes):
            for constant in constants(node.operator):
                if constant.dtype != self.dtype:
                    raise ValueError(f"node {index} holds {constant.dtype}, not {self.dtype}")
                if not np.isfinite(constant).all():
                    raise ValueError(f"node {index} holds a number that is not finite")

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of every value, the input first."""
        shapes: list[Shape] = [self.input_shape]
        for index, node in enumerate(self.nodes):
            if any(not 0 <= source <= index for source in node.inputs):
                raise ValueError(f"node {index} reads a value that does not exist yet")
            try:
                shapes.append(output_shape(node.operator, [shapes[i] for i in node.inputs]))
            except ValueError as error:
                kind = type(node.operator).__name__
                raise ValueError(f"node {index} ({kind}): {error}") from None
        return tuple(shapes)

    @property
    def classes(self) -> int:
        return self.shapes[-1][0]

    @property
    def features(self) -> int:
        return int(np.prod(self.input_shape))


def constants(operator: Operator) -> tuple[Array, ...]:
    """Return the numbers an operator carries."""
    if isinstance(operator, (Dense, Convolution)):
        return (operator.weight, operator.bias)
    if isinstance(operator, Scale):
        return (operator.constant,)
    return ()


def output_shape(operator: Operator, inputs: list[Shape]) -> Shape:
    """Return the shape an operator makes of its inputs; ValueError when they do not fit."""
    wanted = 2 if isinstance(operator, Add) else 1
    if len(inputs) != wanted:
        raise ValueError(f"takes {wanted} input(s), not {len(inputs)}")
    shape = inputs[0]
    match operator:
        case Relu():
            return shape
        case Add():
            if inputs[0] != inputs[1]:
                raise ValueError(f"adds {list(inputs[0])} to {list(inputs[1])}")
            return shape
        case Dense(weight, bias):
            if weight.ndim != 2 or bias.shape != weight.shape[:1]:
                raise ValueError(f"weight {list(weight.shape)} with bias {list(bias.shape)}")
            if not shape or shape[-1] != weight.shape[1]:
                raise ValueError(f"weight {list(weight.shape)} on an input of {list(shape)}")
            return (*shape[:-1], weight.shape[0])
        case Convolution(weight, bias):
            if weight.ndim != 4 or bias.shape != weight.shape[:1]:
                raise ValueError(f"weight {list(weight.shape)} with bias {list(bias.shape)}")
            if len(shape) != 3 or shape[0] != weight.shape[1] * operator.groups:
                raise ValueError(f"weight {list(weight.shape)} on an input of {list(shape)}")
            if operator.groups < 1 or weight.shape[0] % operator.groups:
                raise ValueError(f"{weight.shape[0]} channels in {operator.groups} groups")
            kernel = (weight.shape[2], weight.shape[3])
            return (weight.shape[0], *_window_shape(shape, kernel, operator, operator.dilations))
        case MaxPool():
            _pads_below_kernel(operator)
            _pads_below_dilation(operator, shape)
            return (
                *shape[:1],
                *_window_shape(shape, operator.kernel, operator, operator.dilations),
            )
        case AveragePool():
            _pads_below_kernel(operator)
            return (*shape[:1], *_window_shape(shape, operator.kernel, operator, (1, 1)))
        case Scale(kind, constant):
            if np.broadcast_shapes(shape, constant.shape) != shape:
                raise ValueError(f"a constant {list(constant.shape)} for {list(shape)}")
            if kind == "divide" and not np.all(constant):
                raise ValueError("divides by zero")
            return shape
        case Reshape(target):
            if any(n < 1 for n in target) or np.prod(target) != np.prod(shape):
                raise ValueError(f"{list(shape)} does not reshape to {list(target)}")
            return target
        case Transpose(axes):
            if sorted(axes) != list(range(len(shape))):
                raise ValueError(f"axes {list(axes)} do not permute {list(shape)}")
            return tuple(shape[axis] for axis in axes)
        case Pad(before, after):
            if len(before) != len(shape) or len(after) != len(shape) or min(before + after) < 0:
                raise ValueError(f"pads {list(before)}, {list(after)} do not fit {list(shape)}")
            return tuple(b + n + a for b, n, a in zip(before, shape, after, strict=True))


def _pads_below_kernel(operator: MaxPool | AveragePool) -> None:
    # A window that lies wholly in the padding has no maximum and no mean.
    top, left, bottom, right = operator.pads
    if max(top, bottom) >= operator.kernel[0] or max(left, right) >= operator.kernel[1]:
        raise ValueError(f"pads {list(operator.pads)} for a kernel {list(operator.kernel)}")


def _pads_below_dilation(operator: MaxPool, shape: Shape) -> None:
    # A window with holes wider than the image can step over all of it, from padding to padding.
    if any(operator.pads) and any(
        n < d for n, d in zip(shape[1:], operator.dilations, strict=False)
    ):
        raise ValueError(f"dilations {list(operator.dilations)} with pads on {list(shape)}")


def _window_shape(
    shape: Shape,
    kernel: tuple[int, int],
    operator: Convolution | MaxPool | AveragePool,
    dilations: tuple[int, int],
) -> tuple[int, int]:
    if len(shape) != 3:
        raise ValueError(f"needs an input [channels, height, width], not {list(shape)}")
    numbers = (*kernel, *operator.strides, *dilations)
    if min(numbers) < 1 or min(operator.pads) < 0:
        raise ValueError(f"kernel, strides, dilations {list(numbers)}, pads {list(operator.pads)}")
    sizes = []
    for axis in range(2):
        padded = shape[1 + axis] + operator.pads[axis] + operator.pads[axis + 2]
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        if padded < reach:
            raise ValueError(f"a window of {reach} on {padded} values")
        sizes.append((padded - reach) // operator.strides[axis] + 1)
    return sizes[0], sizes[1]

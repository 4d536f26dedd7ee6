"""Kinds of number a network can be run on: what each must offer, and plain floats.

One traversal of the graph serves plain floats, float64 with a rigorous radius, bounds for float32
execution and exact rationals. Structural steps (reshape, mask, gather) act on every component of a
number alike, so a kind of number only has to define its arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from auditkit.network import linear
from auditkit.network.graph import Array, MaxPool, Operator, Shape

V = TypeVar("V")


class Arithmetic(Protocol[V]):
    """A kind of number, in batches: leading axis N, then the shape of one value."""

    def affine(self, operator: Operator, x: V, *, constant: bool) -> V:
        """Apply an affine operator, with its additive constant or without."""

    def adjoint(self, operator: Operator, g: V, shape: Shape) -> V:
        """Apply the transpose of an operator's linear part; the result is [N, *shape]."""

    def add(self, a: V, b: V) -> V:
        """Add element by element."""

    def subtract(self, a: V, b: V) -> V:
        """Subtract element by element."""

    def relu(self, x: V) -> V:
        """Take max(0, x)."""

    def larger(self, a: V, b: V) -> V:
        """Take max(a, b)."""

    def maximum(self, operator: MaxPool, x: V) -> V:
        """Take the maximum of each window."""

    def structural(self, step: Callable[..., Any], *values: V) -> V:
        """Apply a step that only moves numbers, or sets them to zero, to every component."""

    def scatter(self, x: V, index: NDArray[np.int64], size: int) -> V:
        """Return [N, size] with column k the sum of the columns of `x` [N, M] of index k."""


class Plain:
    """Floats as they are, in the dtype of the batch."""

    def affine(self, operator: Operator, x: Array, *, constant: bool) -> Array:
        y = linear.forward(operator, x)
        shift = linear.offset(operator, x.shape[1:], x.dtype) if constant else None
        return y if shift is None else y + shift

    def adjoint(self, operator: Operator, g: Array, shape: Shape) -> Array:
        return linear.adjoint(operator, g, shape)

    def add(self, a: Array, b: Array) -> Array:
        return np.add(a, b)

    def subtract(self, a: Array, b: Array) -> Array:
        return np.subtract(a, b)

    def relu(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def larger(self, a: Array, b: Array) -> Array:
        return np.maximum(a, b)

    def maximum(self, operator: MaxPool, x: Array) -> Array:
        return linear.maximum_windows(operator, x)

    def structural(self, step: Callable[..., Any], *values: Array) -> Array:
        return step(*values)

    def scatter(self, x: Array, index: NDArray[np.int64], size: int) -> Array:
        return scatter_columns(x, index, size)


PLAIN = Plain()


def scatter_columns(x: NDArray[Any], index: NDArray[np.int64], size: int) -> NDArray[Any]:
    """Return [N, size] with column k the sum of the columns of `x` [N, M] whose index is k."""
    result = np.zeros((size, len(x)), dtype=x.dtype)
    np.add.at(result, index, x.T)
    return result.T

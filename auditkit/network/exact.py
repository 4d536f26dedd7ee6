"""Exact numbers: rationals in batches, with which no comparison is ever in doubt.

Weights and records are floats, so every number of a network is an integer times a power of two,
over the divisors of its average pools and constant divisions. A batch shares one exponent and one
divisor; the integers are python-flint's, and the traversals are those of every kind of number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flint import fmpz
from numpy.typing import NDArray

from auditkit.network import linear
from auditkit.network.graph import (
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Operator,
    Scale,
    Shape,
    output_shape,
)
from auditkit.network.integers import F64, Integers, floats_below, integers_of, limit
from auditkit.network.numbers import scatter_columns
from auditkit.network.tournament import tournament


@dataclass(frozen=True, eq=False)
class Exact:
    """The rationals numbers · 2^exponent / divisor; every integer is below 2^bits in size.

    Raises TooWideError when they would take too much memory.
    """

    numbers: Integers
    exponent: int
    divisor: int
    bits: int

    def __post_init__(self) -> None:
        limit(max(self.bits, self.divisor.bit_length()), self.numbers.size)

    @staticmethod
    def of(values: NDArray[np.floating]) -> Exact:
        """Return floats as they are; ValueError when one is not finite."""
        numbers, exponent = integers_of(values)
        ends = (numbers.min(), numbers.max()) if numbers.size else ()
        return Exact(numbers, exponent, 1, max((n.bit_length() for n in ends), default=0))

    def __getitem__(self, index: Any) -> Exact:
        return self.moved(self.numbers[index])

    @property
    def lower(self) -> F64:
        """The greatest floats at most the values."""
        return floats_below(self.numbers, self.exponent, self.divisor)

    @property
    def upper(self) -> F64:
        """The least floats at least the values."""
        return -floats_below(-self.numbers, self.exponent, self.divisor)

    def moved(self, numbers: Integers) -> Exact:
        """Return some of these numbers, in another arrangement."""
        return replace(self, numbers=numbers)

    def times(self, factors: Exact) -> Exact:
        """Multiply element by element."""
        return Exact(
            self.numbers * factors.numbers,
            self.exponent + factors.exponent,
            self.divisor * factors.divisor,
            self.bits + factors.bits,
        )

    def total(self, axis: int) -> Exact:
        """Sum over an axis."""
        bits = self.bits + self.numbers.shape[axis].bit_length()
        return replace(self, numbers=self.numbers.sum(axis=axis), bits=bits)


class ExactArithmetic:
    """Arithmetic of `Exact`."""

    def affine(self, operator: Operator, x: Exact, *, constant: bool) -> Exact:
        shape = x.numbers.shape[1:]
        if isinstance(operator, AveragePool):
            sums = x.moved(linear.sum_windows(operator, x.numbers))
            y = _divided(sums, _areas(operator, shape), linear.terms(operator))
        else:
            y = _linear(operator, x, lambda o: linear.forward(o, x.numbers), linear.terms(operator))
        offset = linear.offset(operator, shape, np.dtype(np.float64)) if constant else None
        return y if offset is None else self.add(y, Exact.of(offset[None]))

    def adjoint(self, operator: Operator, g: Exact, shape: Shape) -> Exact:
        terms = linear.adjoint_terms(operator)
        if isinstance(operator, AveragePool):
            shares = _divided(g, _areas(operator, shape), terms)
            return shares.moved(linear.spread_windows(operator, shares.numbers, shape))
        return _linear(operator, g, lambda o: linear.adjoint(o, g.numbers, shape), terms)

    def add(self, a: Exact, b: Exact) -> Exact:
        (m, n), like = _alike(a, b)
        return replace(like, numbers=m + n, bits=like.bits + 1)

    def subtract(self, a: Exact, b: Exact) -> Exact:
        (m, n), like = _alike(a, b)
        return replace(like, numbers=m - n, bits=like.bits + 1)

    def relu(self, x: Exact) -> Exact:
        return x.moved(np.maximum(x.numbers, 0))

    def larger(self, a: Exact, b: Exact) -> Exact:
        (m, n), like = _alike(a, b)
        return like.moved(np.maximum(m, n))

    def maximum(self, operator: MaxPool, x: Exact) -> Exact:
        n, *shape = x.numbers.shape
        players = tournament(operator, tuple(shape)).players
        seats = np.where(players < 0, players[:, :1], players)  # a first one there always is
        greatest = x.numbers.reshape(n, -1)[:, seats].max(axis=2)
        return x.moved(greatest.reshape(n, *output_shape(operator, [tuple(shape)])))

    def structural(self, step: Callable[..., Any], *values: Exact) -> Exact:
        numbers, like = _alike(*values)
        return like.moved(step(*numbers))

    def scatter(self, x: Exact, index: NDArray[np.int64], size: int) -> Exact:
        most = int(np.bincount(index, minlength=1).max())
        numbers = scatter_columns(x.numbers, index, size)
        return replace(x, numbers=numbers, bits=x.bits + most.bit_length())


EXACT = ExactArithmetic()


def _alike(*values: Exact) -> tuple[list[Integers], Exact]:
    """Return the integers of several batches under one exponent and one divisor, and these."""
    exponent = min(v.exponent for v in values)
    divisor = math.lcm(*(v.divisor for v in values))
    factors = [(divisor // v.divisor) << (v.exponent - exponent) for v in values]
    bits = max(v.bits + f.bit_length() for v, f in zip(values, factors, strict=True))
    like = Exact(values[0].numbers, exponent, divisor, bits)  # not too wide: then multiply
    numbers = [
        v.numbers if f == 1 else v.numbers * fmpz(f) for v, f in zip(values, factors, strict=True)
    ]
    return numbers, like


def _linear(
    operator: Operator, x: Exact, step: Callable[[Operator], Integers], terms: int
) -> Exact:
    """Apply a linear step, which takes the operator with integers for its constants."""
    match operator:
        case Dense(weight) | Convolution(weight):
            w = Exact.of(weight)
            operator = replace(operator, weight=w.numbers)
            scale = w
        case Scale("multiply", constant):
            scale = Exact.of(constant)
            operator = replace(operator, constant=scale.numbers)
        case Scale("divide", constant):
            scale = _reciprocals(Exact.of(constant))
            operator = Scale("multiply", scale.numbers)
        case _:  # moves numbers only
            return x.moved(step(operator))
    bits = x.bits + scale.bits + terms.bit_length()
    wide = Exact(x.numbers, x.exponent + scale.exponent, x.divisor * scale.divisor, bits)
    return wide.moved(step(operator))


def _divided(x: Exact, areas: Integers, terms: int) -> Exact:
    shares = _reciprocals(Exact(areas, 0, 1, 0))
    return replace(x, bits=x.bits + terms.bit_length()).times(shares)


def _reciprocals(values: Exact) -> Exact:
    """Return 1 / values of divisor 1, over their least common multiple."""
    multiple = 1
    for n in {int(n) for n in values.numbers.ravel()}:
        multiple = math.lcm(multiple, n)
        limit(multiple.bit_length(), values.numbers.size)
    shares = np.frompyfunc(lambda n: fmpz(multiple) // n, 1, 1)(values.numbers)
    twos = (multiple & -multiple).bit_length() - 1
    numbers = np.asarray(shares, dtype=object)
    return Exact(numbers, -values.exponent - twos, multiple >> twos, multiple.bit_length())


def _areas(operator: AveragePool, shape: Shape) -> Integers:
    return linear.divisor(operator, shape[1:], np.dtype(np.float64)).astype(np.int64).astype(object)

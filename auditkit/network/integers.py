"""Integers of any size in numpy arrays of dtype object: from floats, products, back to floats.

python-flint multiplies the matrices. Its integers refuse to be mixed with floats, so that none can
slip in unnoticed.
"""

from __future__ import annotations

import math
from operator import index
from typing import Any

import numpy as np
from flint import fmpz, fmpz_mat
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Integers = NDArray[np.object_]

MOST_BITS = 1 << 14  # float32 weights take about 50 bits a layer, hostile ones 300
MOST_MEMORY = 1 << 33  # in bits, for the numbers of one batch
OVERHEAD = 400  # bits that an integer takes besides its own
MANTISSA = 53
LEAST_EXPONENT = -1074
GREATEST = float(np.finfo(np.float64).max)


class TooWideError(ArithmeticError):
    """Numbers would need more bits than exact arithmetic is meant for."""


def limit(bits: int, count: int) -> None:
    """Raise TooWideError when `count` numbers of `bits` bits are more than shall be held."""
    if bits > MOST_BITS or (bits + OVERHEAD) * count > MOST_MEMORY:
        raise TooWideError(f"{count} numbers of {bits} bits")


def integers_of(values: NDArray[np.floating]) -> tuple[Integers, int]:
    """Return integers n and an exponent e with values = n · 2^e, e as large as it can be.

    Raises ValueError when a value is not finite, TooWideError when they are too far apart.
    """
    if not np.isfinite(values).all():
        raise ValueError("a number that is not finite has no integer")
    fraction, exponents = np.frexp(values.astype(np.float64))
    mantissas = np.ldexp(fraction, MANTISSA).astype(np.int64)
    # the number of zeros at the end, from the lowest bit that is set
    zeros = np.frexp((mantissas & -mantissas).astype(np.float64))[1] - 1
    zeros = np.where(mantissas == 0, 0, zeros)
    mantissas, exponents = mantissas >> zeros, exponents - MANTISSA + zeros
    exponent = int(exponents[mantissas != 0].min(initial=np.iinfo(np.int32).max))
    if not mantissas.any():
        exponent = 0
    shifts = np.where(mantissas == 0, 0, exponents - exponent)
    limit(MANTISSA + int(shifts.max(initial=0)), values.size)
    return _each(fmpz, mantissas.astype(object)) << shifts.astype(object), exponent


def integer_product(a: Integers, b: Integers) -> Integers:
    """Return the matrix product of `a` [..., K] and `b` [K, M].

    Or group by group, of [N, groups, P, K] and [groups, K, M].
    """
    if b.ndim == 3:
        groups = [integer_product(a[:, g], b[g]) for g in range(len(b))]
        return np.stack(groups, axis=1)
    rows = a.reshape(-1, a.shape[-1])
    product = _matrix(rows) * _matrix(b)
    result = np.empty(len(rows) * b.shape[1], dtype=object)
    result[:] = product.entries()
    return result.reshape(*a.shape[:-1], b.shape[1])


def _matrix(values: Integers) -> fmpz_mat:
    return fmpz_mat(values.shape[0], values.shape[1], values.ravel().tolist())


def floats_below(numbers: Integers, exponent: int, divisor: int) -> F64:
    """Return the greatest floats that are at most numbers · 2^exponent / divisor, or -inf."""
    with np.errstate(over="ignore"):
        floats = _each(lambda n: _float_below(index(n), exponent, divisor), numbers)
    return floats.astype(np.float64)


def _float_below(n: int, exponent: int, divisor: int) -> float:
    if divisor != 1:
        # more bits than a float has, so that what the division drops is dropped anyway
        more = max(0, MANTISSA + 2 + divisor.bit_length() - n.bit_length())
        n, exponent = (n << more) // divisor, exponent - more
    drop = max(0, n.bit_length() - MANTISSA, LEAST_EXPONENT - exponent)
    try:
        return math.ldexp(n >> drop, exponent + drop)  # >> rounds down, also what is negative
    except OverflowError:
        return GREATEST if n > 0 else -math.inf


def _each(step: Any, values: Integers) -> Integers:
    return np.asarray(np.frompyfunc(step, 1, 1)(values), dtype=object)

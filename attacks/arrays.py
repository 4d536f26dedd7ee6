"""Reading arrays from a caller: every function of this package refuses the same things alike.

A nan that enters a rank or a likelihood ratio does not stop it, it moves it silently; so it is
refused at the door, in one sentence that names the argument.
"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

NEVER, UNLEARNED, KEPT = 0, 1, 2  # what a record was to an unlearned shadow model


def finite(values: ArrayLike, name: str, ndim: int) -> FloatArray:
    """Return `values` as float64 with `ndim` dimensions, none of them empty.

    Raises ValueError when the shape differs, or when a value is nan or infinite.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers") from error
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), found shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty")
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise ValueError(f"{name} holds {bad} value(s) that are nan or infinite")
    return array


def vector(values: ArrayLike, name: str) -> FloatArray:
    """Return `values` as a finite float64 vector [N]; raises ValueError as `finite` does."""
    return finite(values, name, 1)


def flat(records: ArrayLike, name: str) -> FloatArray:
    """Return records [N, ...] as float64 [N, D]; raises ValueError as `finite` does."""
    array = _as_it_is(records, name)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{name} must be [N, ...] and not empty, found shape {array.shape}")
    return finite(array.reshape(len(array), -1), name, 2)


def query_records(records: NDArray[Any], domain: tuple[float, float] | None = None) -> Float32Array:
    """Return records [N, ...] as float32, to be asked of a model.

    Raises ValueError when there are none, a value is nan or infinite, or outside the domain.
    """
    x = np.asarray(records, dtype=np.float32)
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"records must be [N, ...] and not empty, found shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("records hold values that are nan or infinite")
    if domain is not None and not (x.min() >= domain[0] and x.max() <= domain[1]):
        raise ValueError(f"records must lie in the domain [{domain[0]:g}, {domain[1]:g}]")
    return x


def integer_labels(values: ArrayLike, name: str, n: int, classes: int | None = None) -> IntArray:
    """Return `values` as int64 [n] within 0..classes-1.

    Raises ValueError when the length differs, a label is not a whole number, or it is out of range.
    """
    array = np.asarray(values)
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), found {array.shape}")
    if n == 0:
        raise ValueError(f"{name} is empty")
    if array.dtype.kind not in "iu":
        whole: NDArray[Any] = finite(array, name, 1)
        if np.any(whole != np.floor(whole)):
            raise ValueError(f"{name} must be whole numbers")
        array = whole
    result: IntArray = array.astype(np.int64)
    low, high = int(result.min()), int(result.max())
    if low < 0 or (classes is not None and high >= classes):
        top = "" if classes is None else str(classes - 1)
        raise ValueError(f"{name} must lie in 0..{top}, found {low}..{high}")
    return result


def same_length(a: NDArray[Any], b: NDArray[Any], names: str) -> None:
    """Raise ValueError unless `a` and `b` have as many entries along the first axis."""
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"{names} must have the same length, found {a.shape[0]} and {b.shape[0]}")


def signal_matrix(values: ArrayLike, name: str) -> NDArray[np.floating[Any]]:
    """Return signals [K, N] as they are when they are floating point, else as float64.

    A matrix in float32, mapped from disk or not, is neither copied nor converted, but read once
    row by row. Raises ValueError as `finite` does.
    """
    array = _as_it_is(values, name)
    if array.dtype not in (np.float16, np.float32, np.float64):
        return finite(array, name, 2)
    if array.ndim != 2:
        raise ValueError(f"{name} must have 2 dimension(s), found shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty")
    bad = sum(row.size - int(np.count_nonzero(np.isfinite(row))) for row in array)
    if bad:
        raise ValueError(f"{name} holds {bad} value(s) that are nan or infinite")
    return array


def _as_it_is(values: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} must be an array of numbers") from error


def boolean_matrix(values: ArrayLike, name: str, shape: tuple[int, ...]) -> BoolArray:
    """Return a mask of this shape as booleans, without a copy when it has one byte per value.

    Raises ValueError when the shape differs or a value is neither 0 nor 1.
    """
    mask = _as_it_is(values, name)
    if mask.shape != shape:
        raise ValueError(f"{name} must be {shape} like shadows, found {mask.shape}")
    if mask.dtype == np.bool_:
        return mask
    if not all(np.all((row == 0) | (row == 1)) for row in mask):
        raise ValueError(f"{name} must hold booleans")
    return mask.view(np.bool_) if mask.dtype in (np.int8, np.uint8) else mask.astype(np.bool_)


def shadow_matrices(
    target: ArrayLike, shadows: ArrayLike, member_mask: ArrayLike
) -> tuple[FloatArray, NDArray[np.floating[Any]], BoolArray]:
    """Return target float64 [N], shadows [K, N] as they are and member_mask bool [K, N], checked.

    Shadows keep the floating type they have: take blocks of them to float64 (`blocks`) before
    computing. Raises ValueError when the shapes do not fit or the mask is not made of booleans.
    """
    goal = vector(target, "target")
    signals = signal_matrix(shadows, "shadows")
    _of_target(signals, goal, "shadows")
    return goal, signals, boolean_matrix(member_mask, "member_mask", signals.shape)


def shadow_arrays(
    target: ArrayLike, shadows: ArrayLike, member_mask: ArrayLike
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return target [N], shadows [K, N] float64 and member_mask bool [K, N], checked.

    For few records, as float32 shadows are copied; `shadow_matrices` for many. Raises ValueError as
    that does.
    """
    goal, signals, mask = shadow_matrices(target, shadows, member_mask)
    return goal, signals.astype(np.float64, copy=False), mask


def _of_target(signals: NDArray[Any], target: FloatArray, name: str) -> None:
    if signals.shape[1] != target.size:
        raise ValueError(
            f"{name} must be [K, {target.size}] as target has {target.size} records, "
            f"found {signals.shape}"
        )


def member_counts(mask: BoolArray) -> IntArray:
    """Return how many shadow models trained on each record, int64 [N]; mask bool [K, N]."""
    counts = np.empty(mask.shape[1], dtype=np.int64)
    step = 4096  # columns whose sums stay in cache
    for first in range(0, counts.size, step):
        part = slice(first, first + step)
        counts[part] = np.add.reduce(mask[:, part].view(np.uint8), axis=0, dtype=np.uint32)
    return counts


def require_shadows(mask: BoolArray, *, least_in: int, least_out: int) -> None:
    """Raise ValueError, naming the first such record, when a record has too few IN or OUT shadows.

    Mask bool [K, N].
    """
    inside = member_counts(mask)
    _enough(inside, least_in, "IN shadow models")
    _enough(mask.shape[0] - inside, least_out, "OUT shadow models")


def require_roles(role: NDArray[np.int8], least: int) -> None:
    """Raise ValueError, naming the first such record, when a record lacks shadow models of a role.

    Role int8 [K, N]; `least` of those that never saw it and of those that unlearned it.
    """
    _enough((role == NEVER).sum(axis=0), least, "shadow models that never saw it")
    _enough((role == UNLEARNED).sum(axis=0), least, "shadow models that unlearned it")


def _enough(counts: IntArray, least: int, which: str) -> None:
    short = np.flatnonzero(counts < least)
    if short.size:
        first = int(short[0])
        raise ValueError(
            f"{short.size} record(s) have too few {which}: record {first} has "
            f"{int(counts[first])}, at least {least} needed"
        )


def role_arrays(
    target: ArrayLike, unlearned_shadows: ArrayLike, unlearned_role: ArrayLike
) -> tuple[FloatArray, NDArray[np.floating[Any]], NDArray[np.int8]]:
    """Return target float64 [N], unlearned_shadows [K, N] as they are, unlearned_role int8 [K, N].

    Raises ValueError when the shapes do not fit or a role is not 0, 1 or 2.
    """
    goal = vector(target, "target")
    signals = signal_matrix(unlearned_shadows, "unlearned_shadows")
    role = np.asarray(unlearned_role)
    _of_target(signals, goal, "unlearned_shadows")
    if role.shape != signals.shape:
        raise ValueError(
            f"unlearned_role must be {signals.shape} like unlearned_shadows, found {role.shape}"
        )
    if not np.isin(role, (NEVER, UNLEARNED, KEPT)).all():
        raise ValueError("unlearned_role must hold 0, 1 or 2")
    return goal, signals, role.astype(np.int8)


def one_of(value: str, names: Any, argument: str) -> None:
    """Raise ValueError unless `value` is one of the names of this `Literal`."""
    if value not in get_args(names):
        raise ValueError(f"{argument} must be one of {get_args(names)}, found {value!r}")


def proportion(value: float, name: str) -> float:
    """Return `value` when it lies strictly between 0 and 1; raises ValueError otherwise."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie strictly between 0 and 1, found {value}")
    return float(value)

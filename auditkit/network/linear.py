"""The affine operators as pairs of linear maps: forward and adjoint, on batches of numpy arrays.

Certificates need four products with the same weights: W x, Wᵀ g and both with |W| in place of W
(for error bounds). All are here, matrix-free, in whatever dtype the batch has; a batch of dtype
object holds integers of any size, and so do the weights then.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from auditkit.network.graph import (
    Array,
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Operator,
    Pad,
    Reshape,
    Scale,
    Shape,
    Transpose,
    output_shape,
)

CHUNK = 1 << 17  # numbers of patches that a convolution holds at once


def forward(operator: Operator, x: Array, *, magnitude: bool = False) -> Array:
    """Return the linear part of an affine operator applied to `x` [N, *in]; |W| if `magnitude`."""
    match operator:
        case Dense(weight):
            return _product(x, _weights(weight, x, magnitude).T)
        case Convolution():
            return _convolve(operator, x, magnitude)
        case AveragePool():
            return sum_windows(operator, x) / divisor(operator, x.shape[2:], x.dtype)
        case Scale(kind, constant):
            return x if kind == "add" else _scaled(kind, x, _weights(constant, x, magnitude))
        case Reshape(shape):
            return x.reshape(len(x), *shape)
        case Transpose(axes):
            return x.transpose(0, *(axis + 1 for axis in axes))
        case Pad(before, after):
            return _pad(x, before, after)
    raise TypeError(f"{type(operator).__name__} is not affine")


def adjoint(operator: Operator, g: Array, shape: Shape, *, magnitude: bool = False) -> Array:
    """Return the transpose of the linear part applied to `g` [N, *out], as [N, *shape]."""
    match operator:
        case Dense(weight):
            return _product(g, _weights(weight, g, magnitude))
        case Convolution():
            return _convolve_adjoint(operator, g, shape, magnitude)
        case AveragePool():
            return spread_windows(operator, g / divisor(operator, shape[1:], g.dtype), shape)
        case Scale(kind, constant):
            return g if kind == "add" else _scaled(kind, g, _weights(constant, g, magnitude))
        case Reshape():
            return g.reshape(len(g), *shape)
        case Transpose(axes):
            return g.transpose(0, *(int(axis) + 1 for axis in np.argsort(axes)))
        case Pad(before):
            window = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
            return g[(slice(None), *window)]
    raise TypeError(f"{type(operator).__name__} is not affine")


def offset(operator: Operator, shape: Shape, dtype: np.dtype[np.floating]) -> Array | None:
    """Return the constant an affine operator adds, broadcastable to its output, or None."""
    match operator:
        case Dense(_, bias):
            return bias.astype(dtype, copy=False)
        case Convolution(_, bias):
            return bias.astype(dtype, copy=False)[:, None, None]
        case Scale("add", constant):
            return np.broadcast_to(constant.astype(dtype, copy=False), shape)
    return None


def terms(operator: Operator) -> int:
    """Return the roundings, at most, in one output number: products, sums, division and offset."""
    match operator:
        case Dense(weight):
            return weight.shape[1] + 1
        case Convolution(weight):
            return int(np.prod(weight.shape[1:])) + 1
        case AveragePool(kernel):
            return kernel[0] * kernel[1] + 1
        case Scale():
            return 1
    return 0


def adjoint_terms(operator: Operator) -> int:
    """Return the roundings, at most, in one number of the adjoint."""
    match operator:
        case Dense(weight):
            return weight.shape[0]
        case Convolution(weight):
            # An input number meets each filter of its group at most once per kernel position.
            return int(np.prod(weight.shape[2:])) * weight.shape[0] // operator.groups
        case AveragePool(kernel):
            return kernel[0] * kernel[1] + 1
        case Scale():
            return 1
    return 0


def maximum_windows(operator: MaxPool, x: Array) -> Array:
    """Return the maximum of each window of `x` [N, C, h, w]; padding is left out."""
    result: Array | None = None
    for window in windows(operator, x, -np.inf):
        result = window.copy() if result is None else np.maximum(result, window, out=result)
    assert result is not None
    return result


def windows(operator: MaxPool, x: Array, padding: float) -> list[Array]:
    """Return, for each place in a window of `x` [N, C, h, w], what is there in every window."""
    padded = _pad_image(x, operator.pads, padding)
    return _windows(padded, operator.kernel, operator.strides, operator.dilations)


def _product(a: Array, b: Array) -> Array:
    if a.dtype != object:
        return a @ b
    from auditkit.network.integers import integer_product  # loads flint, which floats do not need

    return integer_product(a, b)


def _group_product(kernel: Array, columns: Array) -> Array:
    """Return [N, groups, P, M] for [groups, P, K] and [N, groups, K, M]."""
    if kernel.dtype != object:
        return kernel @ columns
    return _product(columns.swapaxes(2, 3), kernel.swapaxes(1, 2)).swapaxes(2, 3)


def _weights(weight: Array, like: Array, magnitude: bool) -> Array:
    cast = weight.astype(like.dtype, copy=False)
    return np.abs(cast) if magnitude else cast


def _scaled(kind: str, x: Array, constant: Array) -> Array:
    return x * constant if kind == "multiply" else x / constant


def _pad_image(x: Array, pads: tuple[int, int, int, int], value: float = 0) -> Array:
    if not any(pads):
        return x
    top, left, bottom, right = pads
    return _pad(x, (0, top, left), (0, bottom, right), value)


def _pad(x: Array, before: Shape, after: Shape, value: float = 0) -> Array:
    # np.pad would put numpy's own zeros among integers of any size
    sizes = zip(before, x.shape[1:], after, strict=True)
    padded = np.full((len(x), *map(sum, sizes)), value, dtype=x.dtype)
    inner = tuple(slice(b, b + n) for b, n in zip(before, x.shape[1:], strict=True))
    padded[(slice(None), *inner)] = x
    return padded


def _windows(
    padded: Array, kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]
) -> list[Array]:
    """Return, for each kernel position in row order, the view of what it sees."""
    sizes = [
        (padded.shape[2 + a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1 for a in (0, 1)
    ]
    views = []
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            top, left = row * dilations[0], column * dilations[1]
            views.append(
                padded[
                    :,
                    :,
                    top : top + strides[0] * (sizes[0] - 1) + 1 : strides[0],
                    left : left + strides[1] * (sizes[1] - 1) + 1 : strides[1],
                ]
            )
    return views


def sum_windows(operator: AveragePool, x: Array) -> Array:
    """Return the sum of each window of `x` [N, C, h, w]."""
    padded = _pad_image(x, operator.pads)
    views = _windows(padded, operator.kernel, operator.strides, (1, 1))
    total = views[0].copy()
    for view in views[1:]:
        total += view
    return total


def spread_windows(operator: AveragePool, g: Array, shape: Shape) -> Array:
    """Return the transpose of `sum_windows` on inputs of `shape`, applied to `g`."""
    top, left, bottom, right = operator.pads
    padded = np.zeros(
        (len(g), shape[0], shape[1] + top + bottom, shape[2] + left + right), dtype=g.dtype
    )
    for view in _windows(padded, operator.kernel, operator.strides, (1, 1)):
        view += g
    return padded[:, :, top : top + shape[1], left : left + shape[2]]


def divisor(operator: AveragePool, size: tuple[int, ...], dtype: np.dtype[np.floating]) -> Array:
    """Return what the sum of each window is divided by, broadcastable to [N, C, h, w]."""
    if operator.count_include_pad or not any(operator.pads):
        return np.asarray(operator.kernel[0] * operator.kernel[1], dtype=dtype)
    return sum_windows(operator, np.ones((1, 1, *size), dtype=dtype))


def _columns(operator: Convolution, x: Array) -> Array:
    """Return the patches of `x` as [N, groups, terms of one dot product, positions]."""
    views = _windows(
        _pad_image(x, operator.pads),
        (operator.weight.shape[2], operator.weight.shape[3]),
        operator.strides,
        operator.dilations,
    )
    # one copy of an image per kernel position: its rows stay in order
    columns = np.empty((*x.shape[:2], len(views), *views[0].shape[2:]), dtype=x.dtype)
    for position, view in enumerate(views):
        columns[:, :, position] = view
    per_group = x.shape[1] // operator.groups * len(views)
    return columns.reshape(len(x), operator.groups, per_group, -1)


def _convolve(operator: Convolution, x: Array, magnitude: bool) -> Array:
    weight = _weights(operator.weight, x, magnitude)
    kernel = weight.reshape(operator.groups, weight.shape[0] // operator.groups, -1)
    shape = output_shape(operator, [x.shape[1:]])
    out = np.empty((len(x), *shape), dtype=x.dtype)
    for rows in _chunks(operator, x.shape[1:], shape, len(x)):
        out[rows] = _group_product(kernel, _columns(operator, x[rows])).reshape(-1, *shape)
    return out


def _convolve_adjoint(operator: Convolution, g: Array, shape: Shape, magnitude: bool) -> Array:
    weight = _weights(operator.weight, g, magnitude)
    n, groups, (kh, kw) = len(g), operator.groups, weight.shape[2:]
    kernel = weight.reshape(groups, weight.shape[0] // groups, -1).transpose(0, 2, 1)
    top, left, bottom, right = operator.pads
    padded = np.zeros((n, shape[0], shape[1] + top + bottom, shape[2] + left + right), g.dtype)
    for rows in _chunks(operator, shape, g.shape[1:], n):
        columns = g[rows].reshape(-1, groups, kernel.shape[2], np.prod(g.shape[2:]))
        slabs = _group_product(kernel, columns)
        slabs = slabs.reshape(-1, shape[0], kh * kw, *g.shape[2:])
        views = _windows(padded[rows], (kh, kw), operator.strides, operator.dilations)
        for position, view in enumerate(views):
            view += slabs[:, :, position]
    return padded[:, :, top : top + shape[1], left : left + shape[2]]


def _chunks(operator: Convolution, into: Shape, out: Shape, count: int) -> Iterator[slice]:
    """Yield slices of records whose patches fit into a processor's cache."""
    kernel = operator.weight.shape[2] * operator.weight.shape[3]
    size = max(1, CHUNK // (into[0] * kernel * out[1] * out[2]))
    for start in range(0, count, size):
        yield slice(start, start + size)

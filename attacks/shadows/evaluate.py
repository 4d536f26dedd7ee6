"""The logits of one trained network, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from attacks.arrays import Float32Array
from attacks.shadows.architecture import (
    Architecture,
    Conv,
    Dense,
    Flatten,
    Pool,
    Relu,
    as_architecture,
)

# Weight [out, in] or [out, in, kernel height, kernel width] and bias [out], per layer with any.
Layers = list[tuple[Float32Array, Float32Array]]

BLOCK_FLOATS = 1 << 24  # of patches and activations of one block of records: 64 MB


def forward(
    layers: Layers, x: NDArray[Any], architecture: Architecture | Sequence[int] | None = None
) -> Float32Array:
    """Return the logits float32 [N, C] of one network on records [N, ...], without torch.

    layers: as `train_one` returns them. architecture: what they are the parameters of; None for a
    fully connected network with ReLU between its layers. Raises ValueError when they do not fit.
    """
    if architecture is None:
        if any(weight.ndim != 2 for weight, _ in layers):
            raise ValueError("layers hold a convolution: architecture must be given")
        architecture = [layers[0][0].shape[1], *(len(weight) for weight, _ in layers)]
    kind = as_architecture(architecture)
    _check(layers, kind)
    records = np.asarray(x, dtype=np.float32).reshape(len(x), *kind.input_shape)
    rows = max(1, BLOCK_FLOATS // _floats(kind))
    result = np.empty((len(records), kind.classes), dtype=np.float32)
    for start in range(0, len(records), rows):
        h = records[start : start + rows]
        parameters = iter(layers)
        for layer in kind.layers:
            match layer:
                case Dense():
                    weight, bias = next(parameters)
                    h = h @ weight.T + bias
                case Conv():
                    h = _convolution(layer, h, *next(parameters))
                case Pool():
                    h = _pool(layer, h)
                case Relu():
                    h = np.maximum(h, 0.0)
                case Flatten():
                    h = h.reshape(len(h), -1)
        result[start : start + rows] = h
    return result


def _check(layers: Layers, architecture: Architecture) -> None:
    expected: list[tuple[int, ...]] = []
    for layer, shape in zip(architecture.layers, architecture.shapes, strict=False):
        match layer:
            case Dense(outputs):
                expected.append((outputs, shape[0]))
            case Conv(channels, kernel):
                expected.append((channels, shape[0], *kernel))
    found = [weight.shape for weight, _ in layers]
    if found != expected:
        raise ValueError(f"layers have weights of shapes {found}, the network of {expected}")


def _floats(architecture: Architecture) -> int:
    return max(
        int(np.prod(after)) + int(np.prod((*layer.kernel, before[0], *after[1:])))
        if isinstance(layer, Conv)
        else int(np.prod(after))
        for layer, (before, after) in zip(
            architecture.layers, pairwise(architecture.shapes), strict=True
        )
    )


def _windows(
    h: Float32Array, kernel: tuple[int, int], stride: tuple[int, int]
) -> NDArray[np.float32]:
    """Return the windows of images [N, C, H, W] as [N, C, oh, ow, kh, kw], a view."""
    return sliding_window_view(h, kernel, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]


def _convolution(
    layer: Conv, h: Float32Array, weight: Float32Array, bias: Float32Array
) -> Float32Array:
    ph, pw = layer.padding
    padded = np.pad(h, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    product = np.tensordot(
        _windows(padded, layer.kernel, layer.stride), weight, axes=((1, 4, 5), (1, 2, 3))
    )
    return np.asarray(np.moveaxis(product + bias, 3, 1), dtype=np.float32)


def _pool(layer: Pool, h: Float32Array) -> Float32Array:
    windows = _windows(h, layer.kernel, layer.stride)
    if layer.kind == "max":
        return np.asarray(windows.max(axis=(4, 5)))
    return np.asarray(windows.mean(axis=(4, 5), dtype=np.float32))

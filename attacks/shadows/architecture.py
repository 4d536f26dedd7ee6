"""What a network looks like, as a value: enough to train more of its kind, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Dense:
    """A fully connected layer with this many outputs, on a flat input."""

    outputs: int


@dataclass(frozen=True)
class Conv:
    """A 2-D convolution with bias, on [channels, height, width]; zero padding on all sides."""

    channels: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Pool:
    """Max or average pooling on [channels, height, width], without padding."""

    kind: str
    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)


@dataclass(frozen=True)
class Relu:
    """max(0, ·), elementwise."""


@dataclass(frozen=True)
class Flatten:
    """[channels, height, width] to a vector, channels first."""


Layer = Dense | Conv | Pool | Relu | Flatten


@dataclass(frozen=True)
class Architecture:
    """A chain of layers on records of `input_shape`; the output is a vector of logits.

    Raises ValueError when a layer does not fit its input or there are fewer than two classes.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        last = self.shapes[-1]
        if len(last) != 1 or last[0] < 2:
            raise ValueError(f"a network must end in at least 2 classes, this one in shape {last}")

    @classmethod
    def fully_connected(cls, widths: Sequence[int]) -> Architecture:
        """Return (inputs, hidden..., classes) with ReLU between the layers.

        Raises ValueError when the widths are not at least two positive numbers.
        """
        if len(widths) < 2 or min(widths) < 1 or widths[-1] < 2:
            raise ValueError(
                f"widths must be inputs, hidden layers and at least 2 classes: {tuple(widths)}"
            )
        layers: list[Layer] = []
        for width in widths[1:]:
            layers += [Dense(int(width)), Relu()]
        return cls((int(widths[0]),), tuple(layers[:-1]))

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of a record before the first layer and after each."""
        shapes = [self.input_shape]
        if not self.input_shape or min(self.input_shape) < 1:
            raise ValueError(f"input_shape must be of positive numbers, found {self.input_shape}")
        for layer in self.layers:
            shapes.append(_after(layer, shapes[-1]))
        return tuple(shapes)

    @property
    def features(self) -> int:
        return math.prod(self.input_shape)

    @property
    def classes(self) -> int:
        return self.shapes[-1][0]

    @property
    def parameters(self) -> int:
        """The number of weights and biases of one network."""
        total = 0
        for layer, (before, after) in zip(self.layers, pairwise(self.shapes), strict=True):
            match layer:
                case Dense():
                    total += (before[0] + 1) * after[0]
                case Conv():
                    total += (before[0] * math.prod(layer.kernel) + 1) * after[0]
        return total

    @property
    def products(self) -> int:
        """The multiplications of one record's way through the network."""
        total = 0
        for layer, (before, after) in zip(self.layers, pairwise(self.shapes), strict=True):
            match layer:
                case Dense():
                    total += before[0] * after[0]
                case Conv():
                    total += before[0] * math.prod(layer.kernel) * math.prod(after)
        return total

    @property
    def widths(self) -> tuple[int, ...] | None:
        """(inputs, hidden..., classes) of a fully connected ReLU network, None for another."""
        widths = [layer.outputs for layer in self.layers if isinstance(layer, Dense)]
        found = (self.features, *widths)
        plain = len(widths) > 0 and self.layers == Architecture.fully_connected(found).layers
        return found if plain and len(self.input_shape) == 1 else None


def as_architecture(value: Architecture | Sequence[int]) -> Architecture:
    """Return an architecture as it is, widths as a fully connected one; ValueError otherwise."""
    return value if isinstance(value, Architecture) else Architecture.fully_connected(value)


def _after(layer: Layer, shape: Shape) -> Shape:
    """Return the shape behind a layer; ValueError when the layer does not take this shape."""
    match layer:
        case Relu():
            return shape
        case Flatten():
            return (math.prod(shape),)
        case Dense(outputs) if len(shape) == 1 and outputs >= 1:
            return (outputs,)
        case Conv(channels, kernel, stride, padding) if len(shape) == 3 and channels >= 1:
            return (channels, *_windows(shape[1:], kernel, stride, padding))
        case Pool(kind, kernel, stride) if len(shape) == 3 and kind in ("max", "average"):
            return (shape[0], *_windows(shape[1:], kernel, stride, (0, 0)))
    raise ValueError(f"{layer} does not take an input of shape {shape}")


def _windows(
    size: Shape, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Shape:
    found = []
    for n, k, s, p in zip(size, kernel, stride, padding, strict=True):
        if min(k, s) < 1 or not 0 <= p < k or n + 2 * p < k:
            raise ValueError(
                f"a window of {kernel} by steps of {stride} with padding {padding} does not fit "
                f"{size}"
            )
        found.append((n + 2 * p - k) // s + 1)
    return tuple(found)

"""An audited network as something that learns: its weights as tensors with gradients, and back.

An unlearning method changes the weights of a network that is given, whatever file it came from and
however its layers are wired. Dense and convolutional layers learn; scales, pooling and wiring stay
what they are.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from auditkit.network import linear
from auditkit.network.graph import (
    Add,
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Node,
    Pad,
    Relu,
    Reshape,
    Scale,
    Transpose,
)

FORWARD_SHARE = 1 / 3  # of a forward and backward pass: a backward pass has two products a layer
BATCH = 4096  # records answered at once without gradients


class Diverged(ValueError):
    """A method left the numbers that a network can hold."""


class Passes:
    """Counts passes over records: one is a forward and a backward pass over one record."""

    def __init__(self) -> None:
        self.count = 0.0

    def add(self, records: int, *, backward: bool) -> None:
        """Add a pass over so many records; forward alone counts a third."""
        self.count += records if backward else records * FORWARD_SHARE


class Trainable(nn.Module):
    """The network with its dense and convolutional weights as float32 or float64 parameters.

    `weights` has [weight, bias, weight, bias, ...] in the order of the nodes. `largest` is the
    greatest absolute number of the records: the layers that read them directly are trained as if
    these were divided by it, so that a learning rate means the same at any scale of the input.
    `passes` is told of every pass.
    """

    def __init__(
        self, network: Network, *, largest: float = 1.0, passes: Passes | None = None
    ) -> None:
        super().__init__()
        self.original = network
        self.passes = Passes() if passes is None else passes
        self.gains = _gains(network, largest)
        weights = []
        for index, node in enumerate(network.nodes):
            if isinstance(node.operator, (Dense, Convolution)):
                gain = self.gains.get(index, 1.0)
                weights.append(torch.tensor(node.operator.weight * network.dtype.type(gain)))
                weights.append(torch.tensor(node.operator.bias))
        if not weights:
            raise ValueError("the network has no layer that learns")
        self.weights = nn.ParameterList(nn.Parameter(w) for w in weights)

    @property
    def dtype(self) -> torch.dtype:
        return self.weights[0].dtype

    def tensor(self, x: NDArray[Any]) -> Tensor:
        """Return records [N, ...] as a tensor [N, *input_shape] of the network's dtype."""
        shaped = np.ascontiguousarray(x).reshape(len(x), *self.original.input_shape)
        return torch.tensor(shaped, dtype=self.dtype)

    def forward(self, x: Tensor, weights: list[Tensor] | None = None) -> Tensor:
        """Return logits [N, C] of a tensor [N, *input_shape]; `weights` take the place of its own.

        Images stay channels first.
        """
        return self._run(x, weights)[0]

    def activations(self, x: Tensor) -> list[Tensor]:
        """Return what every ReLU gives, [N, *shape] each, in the order of the nodes."""
        return self._run(x, None)[1]

    def logits(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return logits [N, C] of records as numpy numbers, without gradients, batch by batch."""
        with torch.no_grad():
            parts = [
                self(self.tensor(x[start : start + BATCH])) for start in range(0, len(x), BATCH)
            ]
        if not parts:
            return np.zeros((0, self.original.classes), self.original.dtype)
        return torch.cat(parts).numpy()

    def network(self) -> Network:
        """Return the network with the weights as they are now; Diverged when one is not finite."""
        return self._with(list(self.weights))

    def copy(self) -> Trainable:
        """Return one with the same weights, to be changed on its own; passes count together."""
        other = Trainable(self.original, passes=self.passes)
        other.gains = self.gains
        with torch.no_grad():
            for mine, theirs in zip(other.weights, self.weights, strict=True):
                mine.copy_(theirs)
        return other

    def _with(self, weights: list[Tensor]) -> Network:
        values = iter(weights)
        nodes = []
        for index, node in enumerate(self.original.nodes):
            operator = node.operator
            if isinstance(operator, (Dense, Convolution)):
                gain = self.original.dtype.type(self.gains.get(index, 1.0))
                weight = next(values).detach().numpy() / gain
                bias = next(values).detach().numpy()
                if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                    raise Diverged("weights became nan or infinite")
                operator = dataclasses.replace(operator, weight=weight.copy(), bias=bias.copy())
            nodes.append(Node(operator, node.inputs))
        return Network(self.original.input_shape, tuple(nodes), self.original.dtype)

    def _run(self, x: Tensor, weights: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        self.passes.add(len(x), backward=torch.is_grad_enabled())
        given = iter(list(self.weights) if weights is None else weights)
        values, relus = [x], list[Tensor]()
        for index, node in enumerate(self.original.nodes):
            source = values[node.inputs[0]]
            operator = node.operator
            if isinstance(operator, (Dense, Convolution)):
                weight, bias = next(given), next(given)
                gain = self.gains.get(index, 1.0)
                weight = weight if gain == 1.0 else weight / gain
                values.append(_affine(operator, source, weight, bias))
            elif isinstance(operator, Add):
                values.append(source + values[node.inputs[1]])
            else:
                values.append(_fixed(operator, source))
            if isinstance(operator, Relu):
                relus.append(values[-1])
        return values[-1], relus


def _affine(operator: Dense | Convolution, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if isinstance(operator, Dense):
        return F.linear(x, weight, bias)
    top, left, bottom, right = operator.pads
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(
        x, weight, bias, operator.strides, (top, left), operator.dilations, operator.groups
    )


def _fixed(operator: Any, x: Tensor) -> Tensor:
    """Apply an operator that does not learn."""
    match operator:
        case Relu():
            return F.relu(x)
        case MaxPool(kernel, strides, pads, dilations):
            top, left, bottom, right = pads
            padded = F.pad(x, (left, right, top, bottom), value=-torch.inf) if any(pads) else x
            return F.max_pool2d(padded, kernel, strides, 0, dilations)
        case AveragePool(kernel, strides, pads):
            top, left, bottom, right = pads
            padded = F.pad(x, (left, right, top, bottom)) if any(pads) else x
            total = F.avg_pool2d(padded, kernel, strides, divisor_override=1)
            divisor = linear.divisor(operator, tuple(x.shape[2:]), np.dtype(np.float64))
            return total / torch.as_tensor(divisor, dtype=x.dtype)
        case Scale(kind, constant):
            by = torch.as_tensor(np.array(constant), dtype=x.dtype)
            return x + by if kind == "add" else x * by if kind == "multiply" else x / by
        case Reshape(shape):
            return x.reshape(len(x), *shape)
        case Transpose(axes):
            return x.permute(0, *(axis + 1 for axis in axes))
        case Pad(before, after):
            sides = [
                n for b, a in zip(reversed(before), reversed(after), strict=True) for n in (b, a)
            ]
            return F.pad(x, sides)
    raise TypeError(f"{type(operator).__name__} cannot be differentiated here")


def _gains(network: Network, largest: float) -> dict[int, float]:
    """Return by node the factor of layers that read the records as they are, or moved about."""
    if largest == 1.0:
        return {}
    plain = {0}
    gains: dict[int, float] = {}
    for index, node in enumerate(network.nodes):
        if not plain.issuperset(node.inputs):
            continue
        if isinstance(node.operator, (Reshape, Transpose, Pad, AveragePool, MaxPool)):
            plain.add(index + 1)
        elif isinstance(node.operator, (Dense, Convolution)):
            gains[index] = float(largest)
    return gains

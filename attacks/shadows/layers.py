"""A chain of layers for K networks at once: batched products, and the gradient written down.

Every layer computes all K networks in one call. Images lie as [K, B, height, width, channels], so
that a convolution is one batched product of its patches with its weights, and pooling runs along
the channels. The gradient of such a chain under cross-entropy is short enough to write down, which
saves recording it. Every array of a step is kept for the next: fresh memory costs more than the
arithmetic of a small network.

Parameters of a layer lie in one block: of a dense layer all weights [K, in, out], then all biases
[K, 1, out]; of a convolution [K, fan-in + 1, out], the last row the bias, its fan-in counting
kernel height, kernel width, channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch

from attacks.shadows.architecture import Architecture, Conv, Dense, Flatten, Pool, Relu, Shape

FEW_CHANNELS = 8  # below, a patch has no run of numbers worth copying: patches as columns


class Part(NamedTuple):
    """The parameters of one layer in the buffer of all."""

    weight: torch.Tensor
    bias: torch.Tensor
    whole: torch.Tensor


def parts_of(flat: torch.Tensor, architecture: Architecture) -> list[Part]:
    """Return each layer's weights [K, fan-in, out] and biases [K, 1, out] as views of one buffer.

    The buffer is cut by layer first, so that what a batched product writes is contiguous.
    """
    k = flat.numel() // architecture.parameters
    found, at = [], 0
    for layer, shape in zip(architecture.layers, architecture.shapes, strict=False):
        match layer:
            case Dense(outputs):
                middle = at + k * shape[0] * outputs
                end = middle + k * outputs
                weight = flat[at:middle].view(k, shape[0], outputs)
                found.append(Part(weight, flat[middle:end].view(k, 1, outputs), flat[at:end]))
                at = end
            case Conv(channels, kernel):
                rows = shape[0] * math.prod(kernel) + 1
                end = at + k * rows * channels
                whole = flat[at:end].view(k, rows, channels)
                found.append(Part(whole[:, :-1], whole[:, -1:], whole))
                at = end
    return found


def starts_with_image(architecture: Architecture) -> bool:
    """Return whether the first layer that is not a ReLU reads images."""
    kinds = [layer for layer in architecture.layers if not isinstance(layer, Relu)]
    return isinstance(kinds[0], (Conv, Pool))


class _Layer(Protocol):
    def forward(self, h: torch.Tensor) -> torch.Tensor: ...

    def backward(self, delta: torch.Tensor, wanted: bool) -> torch.Tensor: ...


class Chain:
    """An architecture with the parameters of K networks, and gradients if it is to be trained.

    flat: float32 [K · parameters], cut by `parts_of`; gradient: of the same size. The arrays of a
    step are reused: what `forward` returns holds until the next call.
    """

    def __init__(
        self, architecture: Architecture, flat: torch.Tensor, gradient: torch.Tensor | None = None
    ) -> None:
        self.layers: list[_Layer] = []
        parts = iter(parts_of(flat, architecture))
        gradients = iter(parts_of(flat if gradient is None else gradient, architecture))
        steps = zip(architecture.layers, pairwise(architecture.shapes), strict=True)
        for layer, (shape, after) in steps:
            match layer:
                case Dense():
                    self.layers.append(_Dense(next(parts), next(gradients)))
                case Conv():
                    self.layers.append(_Conv(layer, shape, next(parts), next(gradients)))
                case Pool(kind):
                    pool = _MaxPool if kind == "max" else _AveragePool
                    self.layers.append(pool(layer, after))
                case Relu():
                    self.layers.append(_Relu(owned=any(map(_writes, self.layers))))
                case Flatten():
                    self.layers.append(_Flatten())
        for i, (a, b) in enumerate(pairwise(self.layers)):
            if isinstance(a, _Relu) and isinstance(b, _MaxPool):
                # The same values and gradients, and the ReLU has fewer numbers to look at.
                self.layers[i : i + 2] = [b, a]
        learn = [i for i, x in enumerate(self.layers) if isinstance(x, (_Dense, _Conv))]
        self._first = learn[0] if learn else len(self.layers)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Return logits [K, B, C] of records [K, B, ...]; [1, B, ...] is read by all networks."""
        for layer in self.layers:
            h = layer.forward(h)
        return h

    def backward(self, delta: torch.Tensor) -> None:
        """Write the gradients of the parameters; delta [K, B, C] is the loss's by the logits."""
        for i in reversed(range(self._first, len(self.layers))):
            delta = self.layers[i].backward(delta, i > self._first)


def _writes(layer: _Layer) -> bool:
    return isinstance(layer, (_Dense, _Conv, _MaxPool, _AveragePool))


class _Kept:
    """Arrays by name that are made once and reused while their shape stays."""

    def __init__(self) -> None:
        self._arrays: dict[str, torch.Tensor] = {}

    def __call__(
        self,
        name: str,
        shape: Sequence[int],
        like: torch.Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        found = self._arrays.get(name)
        if found is None or found.shape != torch.Size(shape):
            found = torch.empty(tuple(shape), dtype=dtype, device=like.device)
            self._arrays[name] = found
        return found


class _Dense:
    def __init__(self, part: Part, gradient: Part) -> None:
        self.part, self.gradient, self.keep = part, gradient, _Kept()

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        k, _, outputs = self.part.weight.shape
        self.input = h.expand(k, *h.shape[1:])
        out = self.keep("out", (k, h.shape[1], outputs), h)
        return torch.baddbmm(self.part.bias, self.input, self.part.weight, out=out)

    def backward(self, delta: torch.Tensor, wanted: bool) -> torch.Tensor:
        torch.bmm(self.input.transpose(1, 2), delta, out=self.gradient.weight)
        torch.sum(delta, dim=1, keepdim=True, out=self.gradient.bias)
        if not wanted:
            return delta
        before = self.keep("delta", self.input.shape, delta)
        return torch.bmm(delta, self.part.weight.transpose(1, 2), out=before)


class _Conv:
    """A convolution as a product: patches [K, B·oh·ow, fan-in + 1], the last column ones."""

    def __init__(self, layer: Conv, shape: Shape, part: Part, gradient: Part) -> None:
        self.layer, self.part, self.gradient = layer, part, gradient
        self.as_columns = shape[0] < FEW_CHANNELS
        self.keep = _Kept()
        self.ready: torch.Tensor | None = None  # patches whose ones are set

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        k, rows, channels = self.part.whole.shape
        self.input_shape = h.shape
        (kh, kw), (sh, sw), (ph, pw) = self.layer.kernel, self.layer.stride, self.layer.padding
        if ph or pw:
            h = self._padded(h, ph, pw)
        windows = h.unfold(2, kh, sh).unfold(3, kw, sw)  # [K, B, oh, ow, C, kh, kw]
        n, b, oh, ow = windows.shape[:4]
        if self.as_columns:
            patches = self.keep("patches", (n, rows, b * oh * ow), h)
            target = patches[:, :-1].view(n, kh, kw, -1, b, oh, ow)
            target.copy_(windows.permute(0, 5, 6, 4, 1, 2, 3))
            ones, self.patches = patches[:, -1], patches.transpose(1, 2)
        else:
            patches = self.keep("patches", (n, b * oh * ow, rows), h)
            target = patches[:, :, :-1].view(n, b, oh, ow, kh, kw, -1)
            target.copy_(windows.permute(0, 1, 2, 3, 5, 6, 4))
            ones, self.patches = patches[:, :, -1], patches
        if self.ready is not patches:
            ones.fill_(1.0)
            self.ready = patches
        self.patches = self.patches.expand(k, -1, -1)
        out = self.keep("out", (k, b * oh * ow, channels), h)
        return torch.bmm(self.patches, self.part.whole, out=out).view(k, b, oh, ow, channels)

    def _padded(self, h: torch.Tensor, ph: int, pw: int) -> torch.Tensor:
        n, b, height, width, channels = h.shape
        padded = self.keep("padded", (n, b, height + 2 * ph, width + 2 * pw, channels), h)
        padded.zero_()
        padded[:, :, ph : ph + height, pw : pw + width] = h
        return padded

    def backward(self, delta: torch.Tensor, wanted: bool) -> torch.Tensor:
        k, b, oh, ow, channels = delta.shape
        rows = delta.reshape(k, b * oh * ow, channels)
        torch.bmm(self.patches.transpose(1, 2), rows, out=self.gradient.whole)
        if not wanted:
            return delta
        (kh, kw), (sh, sw), (ph, pw) = self.layer.kernel, self.layer.stride, self.layer.padding
        _, _, height, width, inputs = self.input_shape
        before = self.keep("delta", (k, b, height + 2 * ph, width + 2 * pw, inputs), delta)
        before.zero_()
        part = self.keep("part", (k, b * oh * ow, inputs), delta)
        weight = self.part.weight.unflatten(1, (kh, kw, inputs))
        for i in range(kh):
            for j in range(kw):
                torch.bmm(rows, weight[:, i, j].transpose(1, 2), out=part)
                reached = before[:, :, i : i + sh * oh : sh, j : j + sw * ow : sw]
                reached += part.view(k, b, oh, ow, inputs)
        if ph or pw:
            inner = before[:, :, ph : ph + height, pw : pw + width]
            before = self.keep("inner", inner.shape, delta).copy_(inner)
        return before


def _images(h: torch.Tensor) -> torch.Tensor:
    """Return [K, B, H, W, C] as [K·B, C, H, W] in the same memory, channels last."""
    return h.flatten(0, 1).permute(0, 3, 1, 2)


class _Pooling:
    """What both kinds of pooling keep: the input as images, the output and the gradient."""

    def __init__(self, layer: Pool, shape: Shape) -> None:
        self.layer, self.keep = layer, _Kept()
        self.channels, self.height, self.width = shape

    def output_for(self, h: torch.Tensor) -> torch.Tensor:
        self.input = _images(h)
        return self.keep("out", (*h.shape[:2], self.height, self.width, self.channels), h)

    def input_gradient_for(self, delta: torch.Tensor) -> torch.Tensor:
        _, channels, height, width = self.input.shape
        return self.keep("before", (*delta.shape[:2], height, width, channels), delta)


class _MaxPool(_Pooling):
    """The gradient goes to the first of equal maxima, row by row, as in torch."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        out = self.output_for(h)
        chosen = self.keep("chosen", out.shape, out, torch.int64)
        self.chosen = _images(chosen)
        torch.ops.aten.max_pool2d_with_indices.out(
            self.input, self.layer.kernel, self.layer.stride,
            out=_images(out), indices=self.chosen,
        )  # fmt: skip
        return out

    def backward(self, delta: torch.Tensor, wanted: bool) -> torch.Tensor:
        before = self.input_gradient_for(delta)
        torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
            _images(delta), self.input, self.layer.kernel, self.layer.stride,
            (0, 0), (1, 1), False, self.chosen, grad_input=_images(before),
        )  # fmt: skip
        return before


class _AveragePool(_Pooling):
    def forward(self, h: torch.Tensor) -> torch.Tensor:
        out = self.output_for(h)
        torch.ops.aten.avg_pool2d.out(
            self.input, self.layer.kernel, self.layer.stride, out=_images(out)
        )
        return out

    def backward(self, delta: torch.Tensor, wanted: bool) -> torch.Tensor:
        before = self.input_gradient_for(delta)
        torch.ops.aten.avg_pool2d_backward.grad_input(
            _images(delta), self.input, self.layer.kernel, self.layer.stride,
            (0, 0), False, True, None, grad_input=_images(before),
        )  # fmt: skip
        return before


class _Relu:
    def __init__(self, owned: bool) -> None:
        self.owned = owned  # whether the input is an array of this chain, not the caller's records

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        # In place where that is allowed: no layer needs its own output for the gradient.
        self.output = h.relu_() if self.owned else h.relu()
        return self.output

    def backward(self, delta: torch.Tensor, wanted: bool) -> torch.Tensor:
        passed: torch.Tensor = torch.ops.aten.threshold_backward.grad_input(
            delta, self.output, 0.0, grad_input=delta
        )
        return passed


class _Flatten:
    """[K, B, H, W, C] to [K, B, C·H·W], channels first as in files; a vector stays as it is."""

    def __init__(self) -> None:
        self.keep = _Kept()

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        self.shape = h.shape
        if h.dim() == 3:
            return h
        n, b, height, width, channels = h.shape
        out = self.keep("out", (n, b, channels, height, width), h)
        return out.copy_(h.permute(0, 1, 4, 2, 3)).flatten(2)

    def backward(self, delta: torch.Tensor, wanted: bool) -> torch.Tensor:
        if len(self.shape) == 3:
            return delta
        _, b, height, width, channels = self.shape
        images = delta.view(len(delta), b, channels, height, width).permute(0, 1, 3, 4, 2)
        return self.keep("delta", images.shape, delta).copy_(images)

"""ONNX operators that slide a window over an image: convolution, pooling and padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from auditkit.network.graph import AveragePool, Convolution, MaxPool, Pad
from auditkit.network.onnx_translate import Call, Constant, Operand, Value


def convolution(call: Call) -> Operand:
    call.count(2, 3)
    x, weight = call.value(0), call.floats(1)
    if weight.ndim != 4:
        call.refuse("a two-dimensional convolution", f"a weight of {weight.ndim} axes")
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    if call.integers("kernel_shape", list(kernel)) != list(kernel):
        call.refuse(f"a kernel_shape {list(kernel)} as the weight", "another")
    bias: Constant = np.zeros(weight.shape[0], weight.dtype)
    if len(call.inputs) == 3 and call.inputs[2] is not None:
        bias = call.floats(2)
    strides, dilations = _pair(call, "strides"), _pair(call, "dilations")
    pads = _pads(call, x, kernel, strides, dilations)
    groups = call.attribute("group", 1)
    return call.emit(Convolution(weight, bias, strides, pads, dilations, groups), x)


def average_pool(call: Call) -> Operand:
    call.count(1, 1)
    x, kernel = call.value(0), _kernel(call)
    strides, dilations = _pair(call, "strides"), _pair(call, "dilations")
    if dilations != (1, 1):
        call.refuse("an average pool without dilation", f"{list(dilations)}")
    pads = _pads(call, x, kernel, strides, dilations)
    _no_ceil(call, x, kernel, strides, pads, dilations)
    include = bool(call.attribute("count_include_pad", 0)) and any(pads)
    return call.emit(AveragePool(kernel, strides, pads, include), x)


def max_pool(call: Call) -> Operand:
    call.count(1, 1)
    x, kernel = call.value(0), _kernel(call)
    strides, dilations = _pair(call, "strides"), _pair(call, "dilations")
    call.attribute("storage_order", 0)  # concerns only the second output, which is refused
    pads = _pads(call, x, kernel, strides, dilations)
    _no_ceil(call, x, kernel, strides, pads, dilations)
    return call.emit(MaxPool(kernel, strides, pads, dilations), x)


def global_average_pool(call: Call) -> Operand:
    call.count(1, 1)
    x = call.value(0)
    return call.emit(AveragePool(_image(call, x), (1, 1)), x)


def global_max_pool(call: Call) -> Operand:
    call.count(1, 1)
    x = call.value(0)
    return call.emit(MaxPool(_image(call, x), (1, 1)), x)


def _image(call: Call, x: Value) -> tuple[int, int]:
    if len(x.shape) != 3:
        call.refuse("an input [batch, channels, height, width]", f"{list(x.shape)} a record")
    return x.shape[1], x.shape[2]


def _pair(call: Call, name: str) -> tuple[int, int]:
    numbers = call.integers(name, [1, 1]) or []
    if len(numbers) != 2 or min(numbers) < 1:
        call.refuse(f"{name} of two numbers from 1", f"{numbers[:8]}")
    return numbers[0], numbers[1]


def _kernel(call: Call) -> tuple[int, int]:
    if call.integers("kernel_shape", None) is None:
        call.refuse("a kernel_shape", "none")
    return _pair(call, "kernel_shape")


def _pads(
    call: Call,
    x: Value,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Return the zeros at (top, left, bottom, right)."""
    size = _image(call, x)
    mode = call.attribute("auto_pad", b"NOTSET")
    given = call.integers("pads", None)
    if mode == b"NOTSET":
        pads = [0, 0, 0, 0] if given is None else given
        if len(pads) != 4 or min(pads) < 0:
            call.refuse("four pads from 0", f"{pads[:8]}")
        return pads[0], pads[1], pads[2], pads[3]
    if given is not None and any(given):
        call.refuse("pads or auto_pad", "both")
    if mode == b"VALID":
        return (0, 0, 0, 0)
    if mode not in (b"SAME_UPPER", b"SAME_LOWER"):
        call.refuse("auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER", f"{mode[:40]!r}")
    before, after = [], []
    for n, k, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        reach = dilation * (k - 1) + 1
        total = max(0, (-(-n // stride) - 1) * stride + reach - n)
        less, more = total // 2, total - total // 2
        before.append(less if mode == b"SAME_UPPER" else more)
        after.append(more if mode == b"SAME_UPPER" else less)
    return before[0], before[1], after[0], after[1]


def _no_ceil(
    call: Call,
    x: Value,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
) -> None:
    if not call.attribute("ceil_mode", 0):
        return
    for axis, n in enumerate(_image(call, x)):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        if (n + pads[axis] + pads[axis + 2] - reach) % strides[axis]:
            call.refuse("ceil_mode 0", "1, which adds a window that reaches past the edge")


def pad(call: Call) -> Operand:
    call.count(1, 4)
    x = call.value(0)
    mode = call.attribute("mode", b"constant")
    if mode != b"constant":
        call.refuse("padding with zeros", f"{mode[:40]!r}")
    if call.opset < 11:
        value = call.attribute("value", 0.0)
        pads = call.integers("pads", None)
    else:
        value = call.number(2) or 0.0
        pads = call.plain_integers(1) if len(call.inputs) > 1 else None
    if value != 0:
        call.refuse("padding with zeros", f"{value}")
    rank = len(x.shape) + 1
    axes = list(range(rank))
    if call.opset >= 18 and len(call.inputs) > 3 and call.inputs[3] is not None:
        axes = [axis + rank if axis < 0 else axis for axis in call.plain_integers(3)]
    if pads is None or len(pads) != 2 * len(axes) or min(pads, default=0) < 0:
        call.refuse(f"{2 * len(axes)} pads from 0", f"{(pads or [])[:16]}")
    if len(set(axes)) != len(axes) or not all(0 <= axis < rank for axis in axes):
        call.refuse("each axis once", f"{axes[:16]}")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    if before[0] or after[0]:
        call.refuse("a batch axis without padding", "added records")
    return call.emit(Pad(tuple(before[1:]), tuple(after[1:])), x)


WINDOW_OPERATORS: dict[str, Callable[[Call], Operand]] = {
    "Conv": convolution,
    "AveragePool": average_pool,
    "MaxPool": max_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "Pad": pad,
}

"""ONNX operators that move numbers about, and those that only compute a shape.

The batch axis stays first. Where a file fixes the batch at one number, that number in a reshape
target stands for the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from auditkit.network.graph import AveragePool, Reshape, Shape, Transpose
from auditkit.network.onnx_translate import BATCH, Call, Constant, Operand, Value

_SHAPE_NUMBERS = 4096  # entries of a computed shape: far more than axes, far less than weights


def identity(call: Call) -> Operand:
    call.count(1, 1)
    return _first(call)


def dropout(call: Call) -> Operand:
    call.count(1, 3)
    for name, default in (("ratio", 0.5), ("seed", 0)):
        call.attribute(name, default)
    if call.opset >= 12 and _given(call, 2) and call.constant(2).any():
        call.refuse("dropout for inference", "training mode", "export for inference")
    # Old exporters name the mask; that nothing reads it was checked with all names.
    call.outputs = call.outputs[:1]
    return _first(call)


def cast(call: Call) -> Operand:
    call.count(1, 1)
    x, target = _first(call), call.attribute("to", 0)
    call.attribute("saturate", 1)
    dtype = call.translation.frame.dtype
    wanted = {1: np.dtype(np.float32), 11: np.dtype(np.float64)}.get(target)
    integers = not isinstance(x, Value) and x.dtype in (np.int64, object) and target in (6, 7)
    if not integers and (wanted != dtype or (not isinstance(x, Value) and x.dtype != dtype)):
        call.refuse("a cast to the dtype it already has", f"type {target}")
    return x


def constant(call: Call) -> Operand:
    call.count(0, 0)
    if len(call.attributes) != 1:
        call.refuse("one value", f"{len(call.attributes)}")
    ((name, value),) = call.attributes.items()
    call.unread.clear()
    if name == "value" and isinstance(value, np.ndarray):
        return value
    numbers = value if isinstance(value, list) else [value]
    for kind, names, dtype in (
        (float, ("value_float", "value_floats"), np.float32),
        (int, ("value_int", "value_ints"), np.int64),
    ):
        if name in names and numbers and all(type(n) is kind for n in numbers):
            return np.asarray(value, dtype)
    call.refuse("numbers", f"{name[:80]}")


def flatten(call: Call) -> Operand:
    call.count(1, 1)
    x, axis = call.value(0), call.attribute("axis", 1)
    rank = len(x.shape) + 1
    axis = axis + rank if axis < 0 else axis
    if not 0 <= axis <= rank:
        call.refuse(f"an axis within {rank}", f"{axis}")
    # [batch · a, b] is [batch, b] only where a is 1; axis 0 gives [1, batch · b].
    if (axis == 0 and call.batch != 1) or math.prod(x.shape[: max(axis - 1, 0)]) != 1:
        call.refuse("axis 1", f"{axis}, which mixes records")
    return call.emit(Reshape((math.prod(x.shape),)), x)


def reshape(call: Call) -> Operand:
    call.count(2, 2)
    x, target = _first(call), call.constant(1)
    if target.dtype not in (np.int64, object) or target.ndim != 1 or target.size > 16:
        call.refuse("a list of integers as the shape", f"{target.dtype} of {target.ndim} axes")
    entries = list(target)
    if call.attribute("allowzero", 0) and 0 in [n for n in entries if n is not BATCH]:
        call.refuse("no empty axis", "0 with allowzero")
    if isinstance(x, Value):
        return call.emit(Reshape(_resolve(call, entries, x.shape)), x)
    if any(n is BATCH or n < -1 or (n == 0 and i >= x.ndim) for i, n in enumerate(entries)):
        call.refuse(f"a shape for {list(x.shape)}", f"{entries}")
    try:
        return x.reshape([x.shape[i] if n == 0 else int(n) for i, n in enumerate(entries)])
    except (ValueError, OverflowError):
        call.refuse(f"a shape for {list(x.shape)}", f"{entries}")


def _resolve(call: Call, entries: list[Any], shape: Shape) -> Shape:
    """Return the target without its batch axis."""
    size = math.prod(shape)
    found = f"{entries} for {list(shape)} a record"
    rest: list[int] = []
    for i, n in enumerate(entries[1:]):
        if n is BATCH or n < -1 or (n == 0 and i >= len(shape)):
            call.refuse("a target [batch, features...]", found)
        rest.append(shape[i] if n == 0 else int(n))
    head = entries[0] if entries else None
    if not rest:
        call.refuse("a target [batch, features...]", f"{found}, which drops the batch axis")
    if head == -1:
        if -1 in rest or math.prod(rest) != size:
            call.refuse("a target that keeps records apart", found)
        return tuple(rest)
    # A free batch with 1 written into the target runs for one record at a time, with this meaning.
    if head is not BATCH and head not in (0, call.batch or 1):
        call.refuse("a target [batch, features...]", found)
    if rest.count(-1) > 1:
        call.refuse("at most one -1", found)
    if -1 in rest:
        known = -math.prod(rest)
        if known < 1 or size % known:
            call.refuse("a target of as many numbers", found)
        rest[rest.index(-1)] = size // known
    return tuple(rest)


def transpose(call: Call) -> Operand:
    call.count(1, 1)
    x = _first(call)
    rank = x.ndim if not isinstance(x, Value) else len(x.shape) + 1
    order = call.integers("perm", None)
    order = list(reversed(range(rank))) if order is None else order
    if sorted(order) != list(range(rank)):
        call.refuse(f"a permutation of {rank} axes", f"{order[:16]}")
    if not isinstance(x, Value):
        return x.transpose(order)
    if order[0] != 0:
        call.refuse("the batch axis first", f"{order}")
    return call.emit(Transpose(tuple(axis - 1 for axis in order[1:])), x)


def squeeze(call: Call) -> Operand:
    call.count(1, 2)
    x, axes = _first(call), call.axes_or_attribute("axes", 13)
    shape = x.shape if not isinstance(x, Value) else (0, *x.shape)  # 0 cannot be squeezed
    if axes is None:
        if isinstance(x, Value):
            call.refuse("axes", "none, which may drop the batch axis")
        axes = [i for i, n in enumerate(shape) if n == 1]
    axes = _axes(call, axes, len(shape))
    if any(shape[axis] != 1 for axis in axes):
        call.refuse("axes of size 1 other than the batch", f"{axes}")
    kept = tuple(n for i, n in enumerate(shape) if i not in axes)
    return _reshaped(call, x, kept)


def unsqueeze(call: Call) -> Operand:
    call.count(1, 2)
    x, axes = _first(call), call.axes_or_attribute("axes", 13)
    shape = list(x.shape if not isinstance(x, Value) else (0, *x.shape))
    axes = _axes(call, axes or [], len(shape) + len(axes or []))
    if isinstance(x, Value) and 0 in axes:
        call.refuse("the batch axis first", "an axis before it")
    for axis in sorted(axes):
        shape.insert(axis, 1)
    return _reshaped(call, x, tuple(shape))


def _axes(call: Call, axes: list[int], rank: int) -> list[int]:
    positive = [axis + rank if axis < 0 else axis for axis in axes]
    if len(set(positive)) != len(axes) or not all(0 <= a < min(rank, 16) for a in positive):
        call.refuse(f"different axes within {rank}", f"{axes[:16]}")
    return positive


def _reshaped(call: Call, x: Operand, shape: Shape) -> Operand:
    if isinstance(x, Value):
        return call.emit(Reshape(shape[1:]), x)
    return x.reshape(shape)


def reduce_mean(call: Call) -> Operand:
    call.count(1, 2)
    x, axes = call.value(0), call.axes_or_attribute("axes", 18)
    keep = call.attribute("keepdims", 1)
    call.attribute("noop_with_empty_axes", 0)
    axes = sorted(_axes(call, axes or [], len(x.shape) + 1))
    if len(x.shape) != 3 or axes not in ([2, 3], [1, 2]):
        found = f"axes {axes} of {list(x.shape)} a record"
        call.refuse("the mean over height and width of an image", found)
    channels_last = axes == [1, 2]
    image = call.emit(Transpose((2, 0, 1)), x) if channels_last else x
    channels, height, width = image.shape
    mean = call.emit(AveragePool((height, width), (1, 1)), image)
    kept = (1, 1, channels) if channels_last else (channels, 1, 1)
    return call.emit(Reshape(kept if keep else (channels,)), mean)


def shape_of(call: Call) -> Operand:
    call.count(1, 1)
    x = _first(call)
    start, end = call.attribute("start", 0), call.optional("end", int)
    if not isinstance(x, Value):
        return np.asarray(x.shape[start:end], np.int64)
    batch = BATCH if call.batch is None else call.batch
    return _integers([batch, *x.shape][start:end])


def gather(call: Call) -> Operand:
    call.count(2, 2)
    data, indices = _shape_constant(call, 0), call.constant(1)
    axis = call.attribute("axis", 0)
    if data.ndim != 1 or axis not in (0, -1) or indices.dtype != np.int64 or indices.ndim > 1:
        call.refuse("entries of a list", f"{indices.dtype} of {indices.ndim} axes")
    if not ((indices >= -data.size) & (indices < data.size)).all():
        call.refuse(f"indices within {data.size}", "others")
    return _integers(data[indices])


def concat(call: Call) -> Operand:
    call.count(1, 16)
    parts = [_shape_constant(call, i) for i in range(len(call.inputs))]
    if call.attribute("axis", 0) not in (0, -1) or any(part.ndim != 1 for part in parts):
        call.refuse("lists of integers, one after the other", "something else")
    if sum(part.size for part in parts) > _SHAPE_NUMBERS:
        call.refuse(f"at most {_SHAPE_NUMBERS} integers", "more")
    return _integers(np.concatenate([part.astype(object) for part in parts]))


def slice_(call: Call) -> Operand:
    call.count(1, 5)
    data = _shape_constant(call, 0)
    if call.opset < 10:
        parts = [
            call.integers(name, default)
            for name, default in (("starts", None), ("ends", None), ("axes", [0]))
        ]
        steps = [1]
    else:
        parts = [call.plain_integers(1), call.plain_integers(2)]
        parts.append(call.plain_integers(3) if _given(call, 3) else [0])
        steps = call.plain_integers(4) if _given(call, 4) else [1]
    starts, ends, axes = parts
    one = starts is not None and ends is not None and len(starts) == len(ends) == len(steps) == 1
    if data.ndim != 1 or not one or axes not in ([0], [-1]) or steps != [1]:
        call.refuse("a piece of a list", "something else")
    assert starts is not None and ends is not None
    return _integers(data[starts[0] : ends[0]])


def _given(call: Call, position: int) -> bool:
    return len(call.inputs) > position and call.inputs[position] is not None


def _first(call: Call) -> Operand:
    operand = call.inputs[0]
    if operand is None:
        call.refuse("an input", "none")
    return operand


def _shape_constant(call: Call, position: int) -> Constant:
    data = call.constant(position)
    if data.dtype not in (np.int64, object) or data.size > _SHAPE_NUMBERS:
        call.refuse("integers that make a shape", f"{data.dtype}")
    return data


def _integers(entries: Any) -> Constant:
    array = np.asarray(entries, dtype=object)
    return array if BATCH in array.reshape(-1).tolist() else array.astype(np.int64)


SHAPE_OPERATORS: dict[str, Callable[[Call], Operand]] = {
    "Identity": identity,
    "Dropout": dropout,
    "Cast": cast,
    "Constant": constant,
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "ReduceMean": reduce_mean,
    "Shape": shape_of,
    "Gather": gather,
    "Concat": concat,
    "Slice": slice_,
}

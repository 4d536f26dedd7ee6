"""What each accepted ONNX operator means in the network's own form.

One function an operator; it reads the node's inputs and attributes as the node's opset defines
them and returns what the node's output stands for. https://onnx.ai/onnx/operators
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from auditkit.network.graph import Add, Dense, Relu, Scale, Transpose
from auditkit.network.onnx_shapes import SHAPE_OPERATORS
from auditkit.network.onnx_translate import Call, Constant, Operand, Value
from auditkit.network.onnx_windows import WINDOW_OPERATORS
from auditkit.network.simplify import Matrix, Normalisation

_FLOAT_MAX = {
    np.dtype(np.float32): float(np.finfo(np.float32).max),
    np.dtype(np.float64): float(np.finfo(np.float64).max),
}


def gemm(call: Call) -> Operand:
    call.count(2, 3)
    x, weight = call.value(0), call.floats(1)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    if call.attribute("transA", 0):
        call.refuse("transA = 0", "1, which would mix records")
    if not call.attribute("transB", 0):
        weight = weight.T
    if weight.ndim != 2 or len(x.shape) != 1:
        found = f"{list(x.shape)} and a weight of {weight.ndim} axes"
        call.refuse("a vector a record and a matrix", found)
    size = weight.shape[0]
    bias: Constant = np.zeros(size, weight.dtype)
    if len(call.inputs) == 3 and call.inputs[2] is not None:
        given = call.floats(2)
        # [N, out] with the one record of a fixed batch is the same as [out].
        if given.ndim > 2 or given.shape[:-1] not in ((), (1,)):
            call.refuse(f"a bias of {size} numbers", f"shape {list(given.shape)}")
        if given.size not in (1, size):
            call.refuse(f"a bias of {size} numbers", f"shape {list(given.shape)}")
        bias = np.broadcast_to(given.reshape(-1), (size,))
    weight, bias = _times(weight, alpha), _times(bias, beta)
    return call.emit(Dense(np.ascontiguousarray(weight), np.ascontiguousarray(bias)), x)


def _times(array: Constant, factor: float) -> Constant:
    if factor == 1.0:
        return array
    with np.errstate(over="ignore"):  # infinity is refused when the network is built
        return (array.astype(np.float64) * factor).astype(array.dtype)


def matmul(call: Call) -> Operand:
    call.count(2, 2)
    if isinstance(call.inputs[0], Value):
        x, weight = call.value(0), _matrix(call, 1)
        if not x.shape:
            call.refuse("a vector a record", "one number")
        return call.emit(Matrix(np.ascontiguousarray(weight.T)), x)
    # W x with records as columns: [N, k, n] on the right, so that the batch axis stays outside.
    weight, x = _matrix(call, 0), call.value(1)
    if len(x.shape) != 2:
        call.refuse("columns [batch, k, n]", f"{list(x.shape)} a record, which mixes records")
    turned = call.emit(Transpose((1, 0)), x)
    product = call.emit(Matrix(np.ascontiguousarray(weight)), turned)
    return call.emit(Transpose((1, 0)), product)


def _matrix(call: Call, position: int) -> Constant:
    weight = call.floats(position)
    if weight.ndim != 2:
        call.refuse("a matrix of weights", f"{weight.ndim} axes")
    return weight


def add(call: Call) -> Operand:
    call.count(2, 2)
    if all(isinstance(operand, Value) for operand in call.inputs):
        return call.emit(Add(), call.value(0), call.value(1))
    return _with_constant(call, "add", np.add)


def multiply(call: Call) -> Operand:
    return _with_constant(call, "multiply", np.multiply)


def subtract(call: Call) -> Operand:
    call.count(2, 2)
    if isinstance(call.inputs[0], Value) and not isinstance(call.inputs[1], Value):
        constant = -_broadcast(call, 1, call.value(0))
        return call.emit(Scale("add", constant), call.value(0))
    if isinstance(call.inputs[1], Value) and not isinstance(call.inputs[0], Value):
        x = call.value(1)
        constant = _broadcast(call, 0, x)
        negative = call.emit(Scale("multiply", np.full((), -1, constant.dtype)), x)
        return call.emit(Scale("add", constant), negative)  # −x + c is c − x exactly
    return _with_constant(call, "subtract", np.subtract)


def divide(call: Call) -> Operand:
    call.count(2, 2)
    if not isinstance(call.inputs[1], Value) and isinstance(call.inputs[0], Value):
        constant = _broadcast(call, 1, call.value(0))
        return call.emit(Scale("divide", constant), call.value(0))
    if isinstance(call.inputs[1], Value):
        call.refuse("a constant divisor", "a computed one, which is not piecewise linear")
    return _constants(call, np.divide)


def _with_constant(call: Call, kind: Any, function: Callable[..., Any]) -> Operand:
    call.count(2, 2)
    values = [operand for operand in call.inputs if isinstance(operand, Value)]
    if len(values) == 2:
        call.refuse("a constant operand", "two computed values")
    if not values:
        return _constants(call, function)
    position = 1 if isinstance(call.inputs[0], Value) else 0
    return call.emit(Scale(kind, _broadcast(call, position, values[0])), values[0])


def _broadcast(call: Call, position: int, x: Value) -> Constant:
    """Return the constant without the axis that would lie along the batch."""
    constant = call.floats(position)
    while (
        constant.ndim > len(x.shape)
        and constant.shape[0] == 1
        and (constant.ndim == len(x.shape) + 1)
    ):
        constant = constant[0]
    if constant.ndim > len(x.shape):
        found = f"{list(constant.shape)}, which varies along the batch or adds axes"
        call.refuse(f"a constant that broadcasts to {list(x.shape)}", found)
    return constant


def _constants(call: Call, function: Callable[..., Any]) -> Constant:
    a, b = call.constant(0), call.constant(1)
    if a.dtype != b.dtype or a.dtype == object:
        call.refuse("constants of one dtype, without the batch size", f"{a.dtype} and {b.dtype}")
    if a.dtype == np.int64 and function is np.divide:
        call.refuse("constants that are not divided as integers", "a division")
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        call.refuse("constants that broadcast", f"{list(a.shape)} and {list(b.shape)}")
    if shape not in (a.shape, b.shape):
        call.refuse("a constant that broadcasts to the other", f"{list(a.shape)}, {list(b.shape)}")
    with np.errstate(all="ignore"):
        result = np.asarray(function(a, b))
    if not np.isfinite(result).all():
        call.refuse("finite constants", "NaN or infinity")
    return result


def relu(call: Call) -> Operand:
    call.count(1, 1)
    return call.emit(Relu(), call.value(0))


def clip(call: Call) -> Operand:
    call.count(1, 3)
    x = call.value(0)
    if call.opset < 11:
        low, high = call.optional("min", float), call.optional("max", float)
    else:
        low, high = call.number(1), call.number(2)
    # Exporters write "no maximum" as the largest finite number.
    most = _FLOAT_MAX[call.translation.frame.dtype]
    if low != 0 or (high is not None and high < min(most, _FLOAT_MAX[np.dtype(np.float32)])):
        call.refuse("a minimum of 0 and no maximum, which is ReLU", f"{low} to {high}")
    return call.emit(Relu(), x)


def batch_normalization(call: Call) -> Operand:
    call.count(5, 5)
    x = call.value(0)
    scale, shift, mean, variance = (call.floats(i).astype(np.float64) for i in range(1, 5))
    epsilon = call.attribute("epsilon", float(np.float32(1e-5)))
    call.attribute("momentum", 0.9)
    if call.attribute("training_mode", 0) or len(call.outputs) > 1:
        call.refuse("batch normalisation for inference", "training mode", "export for inference")
    if call.opset < 9 and call.attribute("spatial", 1) != 1:
        call.refuse("spatial = 1", "0")
    channels = x.shape[:1]
    if any(array.shape != channels for array in (scale, shift, mean, variance)):
        call.refuse(f"four arrays of {list(channels)}", "others")
    if not (variance + epsilon > 0).all():
        call.refuse("a variance above 0", "another")
    factor = scale / np.sqrt(variance + epsilon)
    return call.emit(Normalisation(factor, shift - mean * factor), x)


OPERATORS: dict[str, Callable[[Call], Operand]] = {
    "Gemm": gemm,
    "MatMul": matmul,
    "Add": add,
    "Sub": subtract,
    "Mul": multiply,
    "Div": divide,
    "Relu": relu,
    "Clip": clip,
    "BatchNormalization": batch_normalization,
    **WINDOW_OPERATORS,
    **SHAPE_OPERATORS,
}

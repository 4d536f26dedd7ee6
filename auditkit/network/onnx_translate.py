"""The nodes of an ONNX graph, one after the other, as operators of the network's own form.

A name stands either for a value of the network, known by its shape without the batch axis, or for
a constant. Integer constants compute reshape targets; one of their entries may be the free batch
size, which is a symbol that can be moved about but not calculated with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.network.graph import Network, Shape
from auditkit.network.native import build_network
from auditkit.network.onnx_structure import Frame
from auditkit.network.onnx_tensors import attributes_of
from auditkit.network.simplify import Step, Unfolded, fold, shape_after, simplify
from auditkit.refusal import refuse


class _Batch:
    """The free batch size."""

    def __repr__(self) -> str:
        return "batch"


BATCH = _Batch()


@dataclass(frozen=True)
class Value:
    """A value of the network: 0 is its input, i + 1 the output of step i."""

    index: int
    shape: Shape


Constant = NDArray[Any]
Operand = Value | Constant


class Translation:
    """The steps so far and what each name stands for."""

    def __init__(self, frame: Frame, what: str) -> None:
        self.frame = frame
        self.what = what
        self.steps: list[Step] = []
        self.names: dict[str, Operand] = dict(frame.weights)
        self.names[frame.input_name] = Value(0, frame.input_shape)

    def network(self, operators: Mapping[str, Callable[[Call], Operand]]) -> Network:
        """Return the graph, each node translated by the function for its operator, folded.

        EvidenceError naming the node and its operator.
        """
        for index, node in enumerate(self.frame.nodes):
            subject = f"{self.what} node {index} {node.name[:80]!r} ({node.op_type[:40]})"
            if node.domain not in ("", "ai.onnx") or node.overload:
                found = f"the domain {node.domain[:80]!r}"
                refuse(subject, "a standard operator", found, "export it without custom operators")
            if len(node.device_configurations):
                refuse(subject, "no device configuration", "one", "export the network again")
            translate = operators.get(node.op_type)
            if translate is None:
                _refuse_operator(node.op_type, subject)
            call = Call(self, node, subject)
            result = translate(call)
            call.finish()
            if not isinstance(result, Value) and result.size > limits.ELEMENTS:
                refuse(subject, f"constants of at most {limits.ELEMENTS} numbers", "more", "shrink")
            self.names[node.output[0]] = result
        return self._finished()

    def _finished(self) -> Network:
        frame = self.frame
        output = self.names.get(frame.output_name)
        if not isinstance(output, Value) or output.index != len(self.steps) or not self.steps:
            found = "something else, or nodes after it"
            refuse(f"{self.what} output", "the last node's value", found, "export it again")
        unread = set(range(len(self.steps))) - {i for step in self.steps for i in step.inputs}
        if unread:
            found = f"value {min(unread)} unused"
            refuse(self.what, "every value used", found, "remove what is not used")
        self._check_output(output.shape)
        nodes = fold(self.steps, frame.dtype)
        return simplify(build_network(frame.input_shape, nodes, frame.dtype, self.what))

    def _check_output(self, shape: Shape) -> None:
        dims = self.frame.output_dims
        found = f"[batch, {', '.join(str(n) for n in shape)}]" if shape else "[batch]"
        subject = f"{self.what} output {self.frame.output_name[:80]!r}"
        if len(shape) != 1 or shape[0] < 2:
            refuse(subject, "logits [batch, classes]", found, "export the classifier's logits")
        if dims is None:
            return
        # A free or lying batch size is harmless; the number of classes is not.
        if len(dims) != 2 or dims[1] not in (None, shape[0]):
            refuse(subject, f"the declared shape {list(dims)}", found, "export the network again")


class Call:
    """One node: its inputs, its attributes, and how it says that it cannot be read."""

    def __init__(self, translation: Translation, node: Any, subject: str) -> None:
        self.translation = translation
        self.subject = subject
        self.op = node.op_type
        self.opset = translation.frame.opset
        self.batch = translation.frame.batch
        self.attributes = attributes_of(node, subject)
        self.unread = set(self.attributes)
        self.inputs = [self._operand(name) for name in node.input]
        self.outputs = [name for name in node.output if name]
        if not node.output or not node.output[0]:
            self.refuse("an output", "none")

    def _operand(self, name: str) -> Operand | None:
        if not name:
            return None  # an optional input left out
        operand = self.translation.names.get(name)
        if operand is None:
            self.refuse("inputs that exist before it", f"{name[:80]!r}")
        return operand

    def finish(self) -> None:
        """Refuse attributes that were not read and outputs beyond the first."""
        if self.unread:
            self.refuse("attributes of the operator", f"{min(self.unread)[:80]!r}")
        if len(self.outputs) != 1:
            self.refuse("one output", f"{len(self.outputs)}")

    def refuse(
        self, expected: str, found: str, remedy: str = "export the network again"
    ) -> NoReturn:
        refuse(self.subject, expected, found, remedy)

    def count(self, least: int, most: int) -> None:
        """Refuse another number of inputs."""
        if not least <= len(self.inputs) <= most or any(i is None for i in self.inputs[:least]):
            self.refuse(f"{least} to {most} inputs", f"{len(self.inputs)}")

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute of the default's kind, or the default."""
        value = self.optional(name, type(default))
        return default if value is None else value

    def optional(self, name: str, kind: type[Any]) -> Any:
        """Return an attribute of this kind, or None."""
        self.unread.discard(name)
        value = self.attributes.get(name)
        if value is not None and type(value) is not kind:
            self.refuse(f"{name} as {kind.__name__}", type(value).__name__)
        return value

    def integers(self, name: str, default: list[int] | None) -> list[int] | None:
        """Return an attribute that is a list of integers, or the default."""
        self.unread.discard(name)
        value = self.attributes.get(name, default)
        if value is not None and not (
            isinstance(value, list) and all(type(v) is int for v in value)
        ):
            self.refuse(f"{name} as integers", "something else")
        return value

    def value(self, position: int) -> Value:
        """Return the input at `position`, which must depend on the record."""
        operand = self.inputs[position] if position < len(self.inputs) else None
        if not isinstance(operand, Value):
            self.refuse(f"input {position} to depend on the record", "a constant or nothing")
        return operand

    def constant(self, position: int) -> Constant:
        """Return the input at `position`, which must not depend on the record."""
        operand = self.inputs[position] if position < len(self.inputs) else None
        if operand is None or isinstance(operand, Value):
            self.refuse(f"input {position} to be a constant", "a computed value or nothing")
        return operand

    def floats(self, position: int) -> Constant:
        """Return the constant at `position` in the network's dtype."""
        constant = self.constant(position)
        if constant.dtype != self.translation.frame.dtype:
            wanted = self.translation.frame.dtype
            self.refuse(f"input {position} in {wanted}", f"{constant.dtype}", "convert the weights")
        return constant

    def number(self, position: int) -> float | None:
        """Return the constant at `position`, which must be one number, or None if left out."""
        if len(self.inputs) <= position or self.inputs[position] is None:
            return None
        constant = self.floats(position)
        if constant.size != 1:
            self.refuse(f"input {position} to be one number", f"shape {list(constant.shape)}")
        return float(constant.reshape(-1)[0])

    def axes_or_attribute(self, name: str, since: int, position: int = 1) -> list[int] | None:
        """Return integers that are an attribute before opset `since` and an input from it on."""
        if self.opset < since:
            return self.integers(name, None)
        if len(self.inputs) <= position or self.inputs[position] is None:
            return None
        return self.plain_integers(position)

    def plain_integers(self, position: int) -> list[int]:
        """Return the constant at `position` as integers without the batch symbol."""
        constant = self.constant(position)
        if constant.dtype != np.int64 or constant.ndim > 1:
            self.refuse(f"input {position} as integers", f"{constant.dtype}")
        return [int(n) for n in constant.reshape(-1)]

    def emit(self, operator: Unfolded, *values: Value) -> Value:
        """Append a step and return its output."""
        steps = self.translation.steps
        if len(steps) >= limits.NODES:
            self.refuse(f"at most {limits.NODES} operators", "more", "give a smaller network")
        try:
            shape = shape_after(operator, [value.shape for value in values])
        except (ValueError, OverflowError) as error:
            self.refuse("operands that fit", str(error))
        size = 1
        for n in shape:
            size *= n
        if size > limits.ELEMENTS:
            self.refuse(f"values of at most {limits.ELEMENTS} numbers", f"{size}", "shrink it")
        steps.append(Step(operator, tuple(value.index for value in values), shape))
        return Value(len(steps), shape)


def _refuse_operator(op: str, subject: str) -> NoReturn:
    if op in ("Softmax", "LogSoftmax", "Hardmax", "ArgMax"):
        found = "probabilities or labels"
        refuse(subject, "logits at the output", found, "export the network without this node")
    if op in ("If", "Loop", "Scan", "SequenceMap"):
        refuse(subject, "no subgraph", "control flow", "export the network without it")
    if op in _CURVED:
        found = "one that is not piecewise linear"
        refuse(subject, "an operator that is affine or ReLU or max pool", found, "none is known")
    remedy = "export the network with standard affine operators, ReLU and pooling"
    refuse(subject, "an operator that is supported", "another", remedy)


_CURVED = frozenset(
    {"Sigmoid", "Tanh", "Elu", "Selu", "Gelu", "Softplus", "Softsign", "Exp", "Log", "Pow", "Sqrt"}
    | {"Erf", "Mish", "Swish", "Celu", "LRN", "LSTM", "GRU", "RNN", "LayerNormalization", "Sin"}
    | {"InstanceNormalization", "LpNormalization", "Reciprocal", "Attention", "Cos"}
)

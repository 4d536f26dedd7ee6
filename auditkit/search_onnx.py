"""Where might a delivered ONNX file and our own export differ? Searched in the limited child.

A bump that acts in a small ball answers as certified almost everywhere, and no sample finds it. But
a file that acts there must say where: in a constant, or in a unit that sleeps everywhere else. What
is found here are inputs to try; whether the files differ there, `second_opinion.run_onnx` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.isolation import run_isolated
from auditkit.refusal import refuse
from auditkit.second_opinion import BATCH, session_of
from auditkit.tensors import read_safetensors, write_safetensors

F64 = NDArray[np.float64]
Ask = Callable[[F64], F64]
"""Inputs [N, d] to one number each [N]."""

MOST_CONSTANTS = 64  # of the file that our export does not have
MOST_NUMBERS = 1 << 22  # in one of them
SLEEPERS = 24  # units to wake; those of narrow layers first, for a switch is narrow
FEEDS = ("Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "Sign", "Floor", "Ceil")
PAIRS = ("Max", "Min", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
EVALUATIONS = 60_000  # of the file while waking units, all together
SWEEPS = 12  # of all coordinates, for one unit
GRID = 7  # values that a coordinate is tried at in a sweep
PARENTS, CHILDREN, GENERATIONS = 12, 24, 10  # of the evolution from where the two differ most


def constants_beyond(data: bytes, own: bytes, what: str) -> list[NDArray[Any]]:
    """Return constants of the file `data` that `own` does not have, the smallest first.

    Floats as float64, truth values and bytes as uint8. EvidenceError when it cannot be read.
    """
    payload = _payload(data, own, what, "constants")
    tensors, _ = read_safetensors(run_isolated(__name__, payload, what=what), what)
    return [tensors[name] for name in sorted(tensors)]


def promising(
    data: bytes,
    own: bytes,
    x: NDArray[np.floating],
    bounds: tuple[float, float],
    seed: int,
    what: str,
) -> NDArray[Any]:
    """Return inputs [M, *input_shape] at which the two files may differ, M at most a few dozen.

    From `x` [N, *input_shape], in their domain: by evolution from where they differ most, and by
    waking units of `data` that sleep at all of `x`. EvidenceError when it cannot be run.
    """
    more = {"x": x, "numbers": np.array([*bounds, float(seed)])}
    payload = _payload(data, own, what, "search", **more)
    tensors, _ = read_safetensors(run_isolated(__name__, payload, what=what), what)
    found = tensors["x"]
    if found.shape[1:] != x.shape[1:] or len(found) > PARENTS + SLEEPERS + 1:
        refuse(what, "a few inputs", f"{list(found.shape)}", "ask the owner for another")
    return found


def _payload(data: bytes, own: bytes, what: str, do: str, **more: NDArray[Any]) -> bytes:
    files = {"model": np.frombuffer(data, np.uint8), "own": np.frombuffer(own, np.uint8)}
    return write_safetensors({**files, **more}, {"what": what[:200], "do": do})


def answer(payload: bytes) -> bytes:
    """Run in the child."""
    tensors, metadata = read_safetensors(payload, "request")
    model, own = tensors["model"].tobytes(), tensors["own"].tobytes()
    if metadata["do"] == "constants":
        known = {_key(array) for array in _constants(own)}
        fresh = {_key(a): a for a in _constants(model)}
        chosen = sorted(
            (a for key, a in fresh.items() if key not in known), key=lambda a: (a.size, a.shape)
        )
        named = {f"{i:04}": a for i, a in enumerate(chosen[:MOST_CONSTANTS])}
        return write_safetensors(named)
    x = tensors["x"]
    low, high, seed = tensors["numbers"].tolist()
    search = _Search(model, own, x, (low, high), int(seed))
    return write_safetensors({"x": search.found(metadata["what"])})


def _key(array: NDArray[Any]) -> tuple[tuple[int, ...], bytes]:
    return array.shape, array.tobytes()


def _constants(data: bytes) -> list[NDArray[Any]]:
    import onnx
    from onnx import numpy_helper

    found: list[NDArray[Any]] = []
    for tensor in _tensors(onnx.load_from_string(data)):
        if tensor.external_data or np.prod(tensor.dims, dtype=float) > MOST_NUMBERS:
            continue
        array = np.asarray(numpy_helper.to_array(tensor), order="C")
        if array.dtype.kind == "f" and np.isfinite(array).all():
            found.append(array.astype(np.float64))
        elif array.dtype in (np.dtype(bool), np.dtype(np.uint8)):
            found.append(array.astype(np.uint8))
    return found


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor of a protobuf message, wherever it is kept."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for item in value if field.is_repeated else [value]:
            if field.message_type.name == "TensorProto":
                yield item
            else:
                yield from _tensors(item)


class _Search:
    """Both files, ready to be asked, and where to begin."""

    def __init__(
        self,
        model: bytes,
        own: bytes,
        x: NDArray[Any],
        bounds: tuple[float, float],
        seed: int,
    ) -> None:
        self.model = model
        self.shape, self.dtype = x.shape[1:], x.dtype
        self.x = x.reshape(len(x), -1).astype(np.float64)
        self.low, self.high = bounds
        self.generator = np.random.default_rng([seed, 16, 2])
        self.theirs, self.ours = session_of(model), session_of(own)
        self.left = EVALUATIONS

    def found(self, what: str) -> NDArray[Any]:
        """Return inputs to try."""
        parts = [self._evolved()]
        try:
            parts.append(self._awake())
        except Exception:  # noqa: BLE001 - the runtime has a dozen kinds of its own
            pass  # units that cannot be watched are not woken; the file itself still runs
        flat = np.clip(np.concatenate(parts), self.low, self.high)
        return flat.reshape(-1, *self.shape).astype(self.dtype)

    def _run(self, session: Any, x: F64, names: list[str] | None = None) -> list[NDArray[Any]]:
        given = x.reshape(-1, *self.shape).astype(self.dtype)
        name = session.get_inputs()[0].name
        parts = [
            session.run(names, {name: given[start : start + BATCH]})
            for start in range(0, len(given), BATCH)
        ]
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    def _apart(self, x: F64) -> F64:
        theirs, ours = self._run(self.theirs, x)[0], self._run(self.ours, x)[0]
        gap = np.abs(theirs.astype(np.float64) - ours).reshape(len(x), -1).max(axis=1)
        return np.where(np.isfinite(gap), gap, np.inf)

    def _evolved(self) -> F64:
        """Move from where the two differ most to where they differ more, by random steps."""
        gap = self._apart(self.x)
        best = self.x[np.argsort(-gap)[:PARENTS]]
        gap = np.sort(gap)[::-1][:PARENTS]
        size = 0.1 * (self.high - self.low)
        for _ in range(GENERATIONS):
            step = self.generator.normal(0, size, size=(len(best), CHILDREN, best.shape[1]))
            sparse = self.generator.random(step.shape) < self.generator.random(
                (len(best), CHILDREN, 1)
            )
            young = np.clip(best[:, None] + step * sparse, self.low, self.high)
            young = young.reshape(-1, best.shape[1])
            everyone, all_gaps = np.concatenate([best, young]), self._apart(young)
            all_gaps = np.concatenate([gap, all_gaps])
            order = np.argsort(-all_gaps, kind="stable")[:PARENTS]
            best, gap, size = everyone[order], all_gaps[order], 0.8 * size
        return best

    def _awake(self) -> F64:
        """Return inputs at which units that sleep at all of `x` switch."""
        watched, names = _watched(self.model)
        session = session_of(watched)
        output = [o.name for o in session.get_outputs()]
        names = [name for name in names if name in output]
        if not names:
            return np.zeros((0, self.x.shape[1]))
        values = [v.reshape(len(self.x), -1) for v in self._run(session, self.x, names)]
        asleep: list[tuple[int, str, int, float]] = []
        for name, v in zip(names, values, strict=True):
            for sign in (1.0, -1.0):
                still = (sign * v <= 0).all(axis=0) & (np.ptp(v, axis=0) > 0)
                asleep += [(v.shape[1], name, int(u), sign) for u in np.flatnonzero(still)]
        asleep.sort(key=lambda sleeper: (sleeper[0], sleeper[1], sleeper[2]))
        found = []
        for _, name, unit, sign in asleep[:SLEEPERS]:

            def ask(x: F64, name: str = name, unit: int = unit, sign: float = sign) -> F64:
                value = self._run(session, x, [name])[0].reshape(len(x), -1)[:, unit]
                return sign * value.astype(np.float64)

            woken = self._wake(ask)
            if woken is not None:
                found.append(woken)
        return np.array(found).reshape(-1, self.x.shape[1])

    def _wake(self, ask: Ask) -> F64 | None:
        """Raise one unit above 0 by sweeps over all coordinates, or give up.

        Every coordinate is tried at a grid of values at once; then all move to their best together,
        half of the way, or the one that gains most alone, whichever is best.
        """
        value = ask(self.x)
        x, best = self.x[int(value.argmax())].copy(), float(value.max())
        d, width = len(x), self.high - self.low
        for sweep in range(SWEEPS):
            if best > 0:
                return x
            if self.left < d * GRID:
                return None
            self.left -= d * GRID + 3
            reach = width * 0.4**sweep
            grid = x[:, None] + reach * np.linspace(-1, 1, GRID)[None]
            grid = np.clip(grid, self.low, self.high)
            tried = np.repeat(x[None], d * GRID, axis=0)
            tried[np.arange(d * GRID), np.repeat(np.arange(d), GRID)] = grid.reshape(-1)
            gained = ask(tried).reshape(d, GRID)
            place = gained.argmax(axis=1)
            target = np.where(gained.max(axis=1) > best, grid[np.arange(d), place], x)
            one = tried[int(gained.argmax())]
            moves = np.stack([target, (x + target) / 2, one])
            values = ask(moves)
            if values.max() > best:
                x, best = moves[int(values.argmax())], float(values.max())
        return x if best > 0 else None


def _watched(data: bytes) -> tuple[bytes, list[str]]:
    """Return the file with what its switches depend on as further outputs, and their names."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(data)
    graph = model.graph
    constant = {tensor.name for tensor in graph.initializer}
    names: list[str] = []
    for node in list(graph.node):
        if node.op_type in FEEDS and node.input[0] not in constant:
            names.append(node.input[0])
        elif node.op_type in PAIRS and len(node.input) == 2:
            name = f"auditkit.watched.{len(names)}"
            graph.node.append(helper.make_node("Sub", list(node.input), [name]))
            names.append(name)
    known = {value.name for value in (*graph.output, *graph.input)}
    names = [name for name in dict.fromkeys(names) if name and name not in known]
    graph.output.extend([onnx.ValueInfoProto(name=name) for name in names])
    return model.SerializeToString(), names

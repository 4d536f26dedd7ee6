"""What every unlearning method is: a name, what it needs, and a function from a task to a model.

An auditor meets these methods in an owner's submission, and needs owners to practise on. A method
says which scenarios its authors built it for; the others are refused, because a figure for them
would say nothing of the method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.unlearning.trainable import Diverged, Passes

if TYPE_CHECKING:
    from auditkit.patch.generate import Made as MadePatch
    from auditkit.unlearning.history import History
    from auditkit.unlearning.training_log import TrainingLog

__all__ = [
    "Diverged",
    "Guarantee",
    "Logging",
    "Method",
    "Progress",
    "Refused",
    "Scenario",
    "Task",
    "Unlearned",
    "UnlearnedModel",
]

Progress = Callable[[int, int], None]
BATCH = 256  # records answered at once


class Scenario(StrEnum):
    """What is to be forgotten."""

    SUBSET = "subset"  # some records of classes that stay: random ones, a person's, a cluster's
    CLASS = "class"  # every record of one or more classes
    BACKDOOR = "backdoor"  # poisoned records that taught the network a trigger


class Refused(ValueError):
    """A method cannot be had from what was given; the message says what is missing or wrong."""


@dataclass(frozen=True)
class Logging:
    """That training is to be logged: under which record key, and the auditor's order if given."""

    key: bytes
    order_seed: int | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """One deletion request as a method sees it; parts that a method does not need may be None.

    retain: training records that stay; holdout: records that the network never saw, of a third
    party perhaps; history: what training left behind, for methods that use it. `passes` counts
    what the method does, `progress` is told (done, total) steps; with `logging`, training is.
    """

    network: Network
    forget: Records
    retain: Records | None
    holdout: Records | None
    scenario: Scenario
    seed: int
    history: History | None = None
    progress: Progress | None = None
    passes: Passes = field(default_factory=Passes)
    logging: Logging | None = None

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels of the forgotten records."""
        return tuple(int(c) for c in np.unique(self.forget.y))

    @property
    def kept(self) -> Records:
        """The retained records; Refused without them."""
        if self.retain is None or not len(self.retain):
            raise Refused("it needs retained records")
        return self.retain

    @property
    def unseen(self) -> Records:
        """The unseen records; Refused without them."""
        if self.holdout is None or not len(self.holdout):
            raise Refused("it needs unseen records")
        return self.holdout

    def tell(self, done: int, total: int) -> None:
        """Report progress, where anybody listens."""
        if self.progress is not None:
            self.progress(done, total)


@dataclass(frozen=True)
class Guarantee:
    """An (ε, δ) that a method states, with the numbers that it follows from."""

    epsilon: float
    delta: float
    premises: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Unlearned:
    """What a method returns: the new network, or a patch on the old one.

    `shortfall` says by what a method missed its own goal, empty when it reached it; `notes` are
    figures of the run for the record, by name; `log` what was logged of training.
    """

    network: Network | None
    patch: MadePatch | None = None
    guarantee: Guarantee | None = None
    shortfall: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    log: TrainingLog | None = None


@dataclass(frozen=True, eq=False)
class UnlearnedModel:
    """The result of a method, with what it used and what it cost.

    `used`: how many forgotten, retained and unseen records, and whether the history; `passes`:
    forward-and-backward passes over one record; `seconds`: wall-clock time, which enters no record.
    """

    method: str
    scenario: Scenario
    settings: Mapping[str, Any]
    seed: int
    unlearned: Unlearned
    original: Network
    used: Mapping[str, int | bool]
    passes: float
    seconds: float

    @property
    def network(self) -> Network | None:
        return self.unlearned.network

    @property
    def reached(self) -> bool:
        return not self.unlearned.shortfall

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return logits [N, C] of records [N, ...]."""
        if self.unlearned.network is not None:
            return _in_batches(self.unlearned.network, x)
        from auditkit.patch.patched import patched_network

        assert self.unlearned.patch is not None
        shaped = x.reshape(len(x), *self.original.input_shape).astype(self.original.dtype)
        return patched_network(self.original, self.unlearned.patch.patch).logits(shaped)

    def before(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the original's logits [N, C] of records [N, ...]."""
        return _in_batches(self.original, x)


def _in_batches(network: Network, x: NDArray[Any]) -> NDArray[Any]:
    """Return logits [N, C], so that memory does not grow with N."""
    shaped = x.reshape(len(x), *network.input_shape).astype(network.dtype)
    with np.errstate(all="ignore"):
        parts = [logits(network, shaped[i : i + BATCH]) for i in range(0, len(shaped), BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, network.classes), network.dtype)


Run = Callable[[Task, Any], Unlearned]


@dataclass(frozen=True)
class Method:
    """One unlearning method.

    `scenarios` maps those it claims; `refuses` says why it does not claim the others. `needs` are
    parts of a task that it cannot do without: "retain", "holdout", "history". `defaults` are its
    settings, a frozen dataclass of plain numbers and texts; `by_scenario` replaces some of them.
    """

    name: str
    title: str
    source: str
    scenarios: tuple[Scenario, ...]
    needs: tuple[str, ...]
    defaults: Any
    run: Run
    uses: tuple[str, ...] = ()
    refuses: Mapping[Scenario, str] = field(default_factory=dict)
    by_scenario: Mapping[Scenario, Mapping[str, Any]] = field(default_factory=dict)

    def settings(self, scenario: Scenario, changes: Mapping[str, Any] | None = None) -> Any:
        """Return the settings for a scenario with `changes`; Refused for a bad name or value."""
        values = {**asdict(self.defaults), **self.by_scenario.get(scenario, {})}
        for name, value in (changes or {}).items():
            if name not in values:
                raise Refused(f"{self.name} has the settings {', '.join(values)}, not {name!r}")
            values[name] = _as(type(values[name]), name, value)
        try:
            return type(self.defaults)(**values)
        except ValueError as error:
            raise Refused(f"settings of {self.name}: {error}") from None


def _as(kind: type, name: str, value: Any) -> Any:
    """Return a value given as text or number in the type of the default it replaces."""
    try:
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if kind is int and (isinstance(value, bool) or float(value) != int(float(value))):
            raise ValueError
        return kind(float(value)) if kind is int else kind(value)
    except (KeyError, ValueError, TypeError, OverflowError):
        words = {bool: "true or false", int: "a whole number", float: "a number"}
        raise Refused(f"{name} as {words.get(kind, 'text')}, not {str(value)[:40]!r}") from None

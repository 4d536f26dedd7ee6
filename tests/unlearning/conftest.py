"""Networks trained on handwritten digits, and requests on them: a subset, a class, a backdoor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from auditkit.network.graph import AveragePool, Convolution, Dense, Network, Node, Relu, Reshape
from auditkit.records import Records, read_records
from auditkit.unlearning.backdoor import Trigger, challenge, choose_trigger, poison
from auditkit.unlearning.history import History
from auditkit.unlearning.interface import Scenario
from auditkit.unlearning.logged import train_logged
from auditkit.unlearning.shards import make_plan, train_shards
from auditkit.unlearning.training import Recipe, train_from_scratch

RECIPE = Recipe(epochs=40, learning_rate=2e-3, batch_size=64)
TARGET = 3


@dataclass(frozen=True, eq=False)
class Example:
    """A trained network and a deletion request on it; `trigger` and `asked` of a backdoor.

    kind: of its architecture; history: what training left behind, where it was written.
    """

    kind: str
    network: Network
    forget: Records
    retain: Records
    holdout: Records
    scenario: Scenario
    trigger: Trigger | None = None
    asked: Records | None = None
    history: History | None = None


def dense(features: int = 64, hidden: tuple[int, ...] = (96, 48), classes: int = 10) -> Network:
    """An untrained fully connected architecture on images 8 × 8; weights zero."""
    nodes = [Node(Reshape((features,)), (0,))]
    widths = (features, *hidden, classes)
    for a, b in zip(widths, widths[1:], strict=False):
        if isinstance(nodes[-1].operator, Dense):
            nodes.append(Node(Relu(), (len(nodes),)))
        nodes.append(
            Node(Dense(np.zeros((b, a), np.float32), np.zeros(b, np.float32)), (len(nodes),))
        )
    return Network((8, 8), tuple(nodes), np.dtype(np.float32))


def convolutional() -> Network:
    """An untrained convolutional architecture on images 8 × 8; weights zero."""
    operators = [
        Reshape((1, 8, 8)),
        Convolution(np.zeros((12, 1, 3, 3), np.float32), np.zeros(12, np.float32), pads=(1,) * 4),
        Relu(),
        AveragePool((2, 2), (2, 2)),
        Convolution(np.zeros((16, 12, 3, 3), np.float32), np.zeros(16, np.float32)),
        Relu(),
        Reshape((64,)),
        Dense(np.zeros((10, 64), np.float32), np.zeros(10, np.float32)),
    ]
    nodes = tuple(Node(operator, (i,)) for i, operator in enumerate(operators))
    return Network((8, 8), nodes, np.dtype(np.float32))


ARCHITECTURES: dict[str, Callable[[], Network]] = {"dense": dense, "convolutional": convolutional}


@cache
def split() -> tuple[Records, Records]:
    """900 training records of the digits, and 897 unseen ones."""
    digits = read_records("digits")
    order = np.random.default_rng([0, 42]).permutation(len(digits))
    return digits.take(order[:900]), digits.take(order[900:])


@cache
def make_example(kind: str, scenario: str) -> Example:
    """Train a network of this kind and make a request of this scenario."""
    train, holdout = split()
    trigger = asked = None
    if scenario == "backdoor":
        trigger = choose_trigger(train, TARGET)
        train, rows = poison(train, trigger, 0.08, seed=0)
        asked = challenge(holdout, trigger)
        chosen = np.zeros(len(train), bool)
        chosen[rows] = True
    elif scenario == "class":
        chosen = train.y == TARGET
    else:
        chosen = np.arange(len(train)) < 90
    network = train_from_scratch(ARCHITECTURES[kind](), train, RECIPE, seed=0)
    return Example(
        kind,
        network,
        train.take(chosen),
        train.take(~chosen),
        holdout,
        Scenario(scenario),
        trigger,
        asked,
    )


@cache
def make_remembered(method: str, kind: str, scenario: str) -> Example:
    """Return an example whose network was trained as a method with a history needs it."""
    e = make_example(kind, scenario)
    train = joined(e.forget, e.retain)
    history: History
    if method == "sisa":
        plan = make_plan(train, RECIPE, 0, shards=3, slices=3)
        network, history = train_shards(ARCHITECTURES[kind](), train, plan)
    else:
        network, history = train_logged(ARCHITECTURES[kind](), train, RECIPE, seed=0)
    return replace(e, network=network, history=history)


def joined(a: Records, b: Records) -> Records:
    """Return all records of two sets."""
    return Records(np.concatenate([a.x, b.x]), np.concatenate([a.y, b.y]))


@pytest.fixture(scope="session")
def example() -> Callable[[str, str], Example]:
    """Return an example by kind ("dense", "convolutional") and scenario, trained once."""
    return make_example

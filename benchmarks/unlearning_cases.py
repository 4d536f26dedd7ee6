"""The networks, data and requests on which unlearning methods are compared.

Digits and Location-30 with fully connected networks, a part of MNIST with a convolutional one, each
small enough that five seeds of every method take minutes. Unseen records are in two halves: one
that methods may use, one that only the comparison sees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from shared_data import mnist, users

from auditkit.network.graph import AveragePool, Convolution, Dense, Network, Node, Relu, Reshape
from auditkit.records import Records, read_records
from auditkit.unlearning.history import History
from auditkit.unlearning.logged import train_logged
from auditkit.unlearning.scenarios import Request, make_request
from auditkit.unlearning.shards import make_plan, train_shards
from auditkit.unlearning.training import Recipe

SHARDS, SLICES = 5, 3


@dataclass(frozen=True, eq=False)
class Setting:
    """One data set with the architecture and recipe of its networks, and sizes of its parts."""

    name: str
    architecture: Network
    recipe: Recipe
    trained: int
    given: int  # unseen records that methods may use
    kinds: tuple[str, ...]
    shadows: int = 32


def _chain(shape: tuple[int, ...], *operators: object) -> Network:
    nodes = tuple(Node(operator, (i,)) for i, operator in enumerate(operators))  # type: ignore[arg-type]
    return Network(shape, nodes, np.dtype(np.float32))


def _dense(inputs: int, outputs: int) -> Dense:
    return Dense(np.zeros((outputs, inputs), np.float32), np.zeros(outputs, np.float32))


def _convolution(inputs: int, outputs: int, side: int) -> Convolution:
    weight = np.zeros((outputs, inputs, side, side), np.float32)
    return Convolution(weight, np.zeros(outputs, np.float32))


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "digits",
            _chain(
                (8, 8), Reshape((64,)), _dense(64, 96), Relu(), _dense(96, 48), Relu(),
                _dense(48, 10),
            ),
            Recipe(epochs=40, learning_rate=2e-3, batch_size=64),
            900,
            400,
            ("subset", "cluster", "class", "backdoor"),
        ),
        Setting(
            "location30",
            _chain((446,), _dense(446, 256), Relu(), _dense(256, 30)),
            Recipe(epochs=30, learning_rate=1e-3, batch_size=64),
            2500,
            1000,
            ("subset", "cluster", "person", "class", "backdoor"),
        ),
        Setting(
            "mnist",
            _chain(
                (28, 28), Reshape((1, 28, 28)), _convolution(1, 8, 5), Relu(),
                AveragePool((2, 2), (2, 2)), _convolution(8, 16, 3), Relu(),
                AveragePool((2, 2), (2, 2)), Reshape((400,)), _dense(400, 64), Relu(),
                _dense(64, 10),
            ),
            Recipe(epochs=10, learning_rate=2e-3, batch_size=64),
            4000,
            1500,
            ("subset", "cluster", "class", "backdoor"),
            shadows=16,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """A request on a trained network with what its training left behind.

    `judge` are unseen records that no method is given.
    """

    setting: Setting
    seed: int
    network: Network
    request: Request
    judge: Records
    history: History


def data(name: str, seed: int) -> tuple[Records, Records, Records]:
    """Return training records, unseen records for methods, and unseen records for the comparison.

    Another seed draws other ones.
    """
    setting = SETTINGS[name]
    everything = {"digits": _digits, "location30": users, "mnist": _mnist}[name]()
    order = np.random.default_rng([seed, 41]).permutation(len(everything))
    parts = np.split(order, [setting.trained, setting.trained + setting.given])
    train, given, judge = (everything.take(rows) for rows in parts)
    return train, given, judge.take(np.arange(min(len(judge), 3000)))


def make_case(name: str, kind: str, seed: int) -> Case:
    """Return the trained original with a request on it."""
    setting = SETTINGS[name]
    train, given, judge = data(name, seed)
    request = make_request(kind, train, given, seed=seed)
    network, log = train_logged(setting.architecture, request.train, setting.recipe, seed)
    return Case(setting, seed, network, request, judge, log)


def sharded_case(case: Case) -> Case:
    """Return the same request on an ensemble of shards, with the checkpoints of their training."""
    setting, train = case.setting, case.request.train
    plan = make_plan(train, setting.recipe, case.seed, shards=SHARDS, slices=SLICES)
    network, checkpoints = train_shards(setting.architecture, train, plan)
    return replace(case, network=network, history=checkpoints)


def _digits() -> Records:
    return read_records("digits")


def _mnist() -> Records:
    return mnist("train")

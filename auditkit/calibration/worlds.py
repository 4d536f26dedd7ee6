"""Worlds to calibrate in: a trained network, a request, and what its auditor holds.

The error rates of checks are those of owners by the hundred. One world is one draw of records,
network and request from a data set; honest and dishonest owners of that network follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.network.graph import Network
from auditkit.records import Records, joined
from auditkit.threats.references import ReferenceKind, References
from auditkit.unlearning.canaries import Canaries, Role, make_canaries
from auditkit.unlearning.history import UpdateLog
from auditkit.unlearning.logged import train_logged
from auditkit.unlearning.scenario_files import dense_network, without_repeats
from auditkit.unlearning.training import PRACTICE, Recipe, train_from_scratch

WIDE = 200  # features from which one wide layer serves better than two narrow ones
NARROW_LAYERS, WIDE_LAYERS = (96, 48), (128,)
MOST_TRAINED = 1200  # records of a world, so that hundreds of worlds take an hour
FORGOTTEN = 0.08  # of the training records
CANARIES = 20  # of each role, where there are any
POOL = 0.5  # of the unseen records, of which canaries are made
REFERENCES = 4  # that the auditor retrains; with fewer, relearning is not compared
DRAWS = 20  # of a request, until one empties no label


@dataclass(frozen=True, eq=False)
class World:
    """One network with a request of random training records.

    `retain` and `forget` are what it was trained on, `given` unseen records of the owner's,
    `unseen` those of the auditor's, `references` networks that the auditor trained without the
    forgotten records, `history` the update log of training. `canaries` were placed in the training
    records and the request.
    """

    data: str
    seed: int
    network: Network
    forget: Records
    retain: Records
    given: Records
    unseen: Records
    recipe: Recipe
    history: UpdateLog
    references: References
    canaries: Canaries | None = None

    @property
    def train(self) -> Records:
        """What the network was trained on."""
        return joined(self.forget, self.retain)

    def generator(self, *purpose: int) -> np.random.Generator:
        """Return a generator for one purpose in this world."""
        return np.random.default_rng([self.seed, 71, *purpose])


def make_world(data: str, records: Records, seed: int) -> World:
    """Return the world of a seed: half of the records are trained on, a quarter each is unseen.

    ValueError when the records are too few for a request in every class.
    """
    generator = np.random.default_rng([seed, 71])
    records = without_repeats(records)  # an unseen record that was also trained on would be none
    order = generator.permutation(len(records))
    trained = min(len(records) // 2, MOST_TRAINED)
    rest = min((len(records) - trained) // 2, trained)
    rows, given, unseen = np.split(order[: trained + 2 * rest], [trained, trained + rest])
    forgotten = _request(records.y[rows], round(FORGOTTEN * trained), generator)
    train = records.take(rows)
    architecture = dense_network(records.x.shape[1:], layers(records.x), int(records.y.max()) + 1)
    chosen = np.zeros(trained, dtype=bool)
    chosen[forgotten] = True
    network, history = train_logged(architecture, train, PRACTICE, seed)
    retain = train.take(~chosen)
    starts = generator.integers(1 << 31, size=REFERENCES).tolist()
    networks = tuple(train_from_scratch(network, retain, PRACTICE, start) for start in starts)
    return World(
        data,
        seed,
        network,
        train.take(chosen),
        retain,
        records.take(given),
        records.take(unseen),
        PRACTICE,
        history,
        References(ReferenceKind.RETRAINED, networks),
    )


def with_canaries(world: World) -> World:
    """Return the world with canaries among what was trained on and is to be forgotten.

    They are made of unseen records, which are unseen no more. Its auditor has no references.
    """
    cut = round(POOL * len(world.given))
    canaries = make_canaries(
        world.given.take(np.arange(cut)), CANARIES, world.network.classes, seed=world.seed
    )
    placed = canaries.placed(Role.ANNOUNCED, Role.UNANNOUNCED)
    forget = joined(world.forget, placed)
    train = joined(forget, world.retain)
    given = world.given.take(np.arange(cut, len(world.given)))
    network, history = train_logged(world.network, train, world.recipe, world.seed)
    return replace(
        world, network=network, forget=forget, given=given, history=history,
        references=References(), canaries=canaries,
    )  # fmt: skip


def layers(x: NDArray[Any]) -> tuple[int, ...]:
    """Return the units of each hidden layer for records [N, ...]."""
    return WIDE_LAYERS if x[0].size >= WIDE else NARROW_LAYERS


def _request(y: NDArray[np.int64], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` rows, drawn at random until none of the labels is emptied by them.

    Nothing else may tell them from unseen records: that is what tests of exchangeability rest on.
    """
    for _ in range(DRAWS):
        rows = generator.permutation(len(y))[:count]
        if count > 0 and not set(y.tolist()) - set(np.delete(y, rows).tolist()):
            return rows
    raise ValueError(f"{len(y)} training records have no request of {count} that leaves all labels")

"""Finding poisoned records among one's own training records, before they can be unlearned.

Somebody who learns that a network has a backdoor has neither the trigger nor a list of the records
that taught it. Two questions find them. A record that bears a trigger keeps its label whatever else
is laid over it (Gao, Xu, Wang, Chen, Ranasinghe, Nepal: STRIP, ACSAC 2019, here put to training
records). So may typical records of a class. But a network that learns without those records sees
the typical ones as that class still, and the poisoned ones as what they are: the reclassification
of Chen, Carvalho, Baracaldo, Ludwig, Edwards, Lee, Molloy, Srivastava (Detecting backdoor attacks
by activation clustering, 2018), whose clusters by activation this replaces. Clusters and spectral
signatures (Tran, Li, Madry, NeurIPS 2018) suppose that poisoned records are few and that the rest
of the class is alike; where they are half of a class, or a class has several styles, neither holds.

How much disagreement is natural is measured, not supposed: a second network learns without as many
records of each class chosen at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import (
    Progress,
    Recipe,
    largest_of,
    one_thread,
    train_from_scratch,
)

OVERLAYS = 16
PERSISTENT = 0.7  # share of overlays under which a record keeps its label
LEAST_RECORDS = 5
LEVEL = 0.01  # of a false alarm anywhere, were persistent records like others; shared by classes
LEAST_EXCESS = 0.25  # persistent records are typical of their class, hence not quite like others


@dataclass(frozen=True)
class ClassFound:
    """What was found in one class; shares are of records that another network calls another class.

    records: of the class; persistent: those that keep its label under other records; disputed: how
    many of these get another label from a network that learned without them, share of them; control
    the share among as many records at random; p: of Fisher's exact test that they are the same.
    """

    label: int
    records: int
    persistent: int
    disputed: int
    share: float
    control: float
    p: float
    alarm: bool


@dataclass(frozen=True, eq=False)
class Found:
    """The suspects [N] among training records, and what was found in each class looked at."""

    suspects: NDArray[np.bool_]
    classes: tuple[ClassFound, ...]

    @property
    def alarms(self) -> tuple[ClassFound, ...]:
        """The classes with suspects."""
        return tuple(c for c in self.classes if c.alarm)


def find_suspects(
    network: Network,
    train: Records,
    recipe: Recipe,
    *,
    seed: int = 0,
    domain: tuple[float, float] = (0.0, 1.0),
    label: int | None = None,
    progress: Progress | None = None,
) -> Found:
    """Look for poisoned records among those a network was trained on, in one class or in all.

    `recipe` is how the two networks of the comparison are trained, best as the original was;
    inputs above the domain's upper end are cut off. Takes about two trainings. Diverged when one
    of them becomes nan.
    """
    persistent = persistence(network, train, seed=seed, domain=domain) >= PERSISTENT
    control = _as_many(train.y, persistent, seed)
    said = []
    for step, left_out in enumerate((persistent, control)):
        if progress is not None:
            progress(step, 2)
        said.append(_without(network, train, left_out, recipe, seed))
    labels = np.unique(train.y) if label is None else np.array([label])
    classes = tuple(
        _class(int(c), train.y, persistent, control, said[0], said[1], len(labels)) for c in labels
    )
    alarmed = np.isin(train.y, [c.label for c in classes if c.alarm])
    return Found(persistent & alarmed & (said[0] != train.y), classes)


def persistence(
    network: Network, train: Records, *, seed: int, domain: tuple[float, float]
) -> NDArray[np.float64]:
    """Return for each record [N] the share of overlays under which it keeps its label.

    An overlay adds another record, of another label, counted from the domain's lower end, and cuts
    off at its upper end. 0 where there was no other label.
    """
    model = Trainable(network)
    generator = np.random.default_rng([seed, 51])
    kept, asked = np.zeros(len(train)), np.zeros(len(train))
    low, high = (np.float32(bound) for bound in domain)
    with one_thread():
        for _ in range(OVERLAYS):
            other = generator.permutation(len(train))
            both = np.minimum(train.x + (train.x[other] - low), high)
            differs = train.y[other] != train.y
            kept += differs & (model.logits(both).argmax(axis=1) == train.y)
            asked += differs
    return np.asarray(kept / np.maximum(asked, 1))


def _as_many(y: NDArray[np.int64], chosen: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """Return as many records of each class as are chosen, at random."""
    generator = np.random.default_rng([seed, 52])
    found = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        found[generator.permutation(rows)[: int(chosen[rows].sum())]] = True
    return found


def _without(
    network: Network, train: Records, left_out: NDArray[np.bool_], recipe: Recipe, seed: int
) -> NDArray[np.int64]:
    """Return what a network that learned without some records says of all, labels [N]."""
    kept = train.take(~left_out)
    if not len(kept):
        return train.y
    trained = train_from_scratch(network, kept, recipe, seed + 1)
    with one_thread():
        return Trainable(trained, largest=largest_of(train)).logits(train.x).argmax(axis=1)


def _class(
    label: int,
    y: NDArray[np.int64],
    persistent: NDArray[np.bool_],
    control: NDArray[np.bool_],
    without: NDArray[np.int64],
    without_control: NDArray[np.int64],
    classes: int,
) -> ClassFound:
    here = y == label
    count = int((here & persistent).sum())
    disputed = int((here & persistent & (without != y)).sum())
    natural = int((here & control & (without_control != y)).sum())
    share, base = (n / count if count else 0.0 for n in (disputed, natural))
    table = [[disputed, count - disputed], [natural, count - natural]]
    p = float(fisher_exact(table, alternative="greater").pvalue)
    alarm = count >= LEAST_RECORDS and p < LEVEL / classes and share - base >= LEAST_EXCESS
    return ClassFound(label, int(here.sum()), count, disputed, share, base, p, alarm)

"""What is asked to be forgotten: some records, a cluster's, a person's, a class, a backdoor's.

Each kind of request is made of training and unseen records alone, so that the same one can be put
to every method.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.records import Records
from auditkit.unlearning.backdoor import Trigger, challenge, choose_trigger, poison
from auditkit.unlearning.interface import Refused, Scenario

KINDS = ("subset", "cluster", "person", "class", "backdoor")
SHARE = 0.1  # of the training records that a subset or a cluster has, unless said
POISONED = 0.08  # of the training records


@dataclass(frozen=True, eq=False)
class Request:
    """A deletion request; `train` is what the network learned from, `chosen` [N] what of it goes.

    Of a backdoor, `trigger` is what was stamped and `asked` are unseen records with it, labelled as
    the trigger wants.
    """

    kind: str
    scenario: Scenario
    train: Records
    chosen: NDArray[np.bool_]
    holdout: Records
    trigger: Trigger | None = None
    asked: Records | None = None

    @property
    def forget(self) -> Records:
        return self.train.take(self.chosen)

    @property
    def retain(self) -> Records:
        return self.train.take(~self.chosen)


def make_request(
    kind: str,
    train: Records,
    holdout: Records,
    *,
    seed: int = 0,
    size: int | None = None,
    label: int | None = None,
    domain: tuple[float, float] = (0.0, 1.0),
) -> Request:
    """Return a request of a kind on training records.

    `size` is how many records of a subset, a cluster (about) or a backdoor; `label` the class to
    forget, or that the trigger brings about. Refused when these records have no such request.
    """
    generator = np.random.default_rng([seed, 31])
    chosen = np.zeros(len(train), dtype=bool)
    match kind:
        case "subset":
            count = _size(size, SHARE, train)
            chosen[generator.permutation(len(train))[:count]] = True
        case "cluster":
            chosen = _cluster(train, _size(size, SHARE, train), seed)
        case "person":
            chosen = _person(train, generator)
        case "class":
            chosen = train.y == _label(label, train, generator)
        case "backdoor":
            trigger = choose_trigger(train, _label(label, train, generator), domain)
            try:
                share = _size(size, POISONED, train) / len(train)
                poisoned, rows = poison(train, trigger, share, seed)
            except ValueError as error:
                raise Refused(str(error)) from None
            chosen[rows] = True
            return Request(
                kind, Scenario.BACKDOOR, poisoned, chosen, holdout, trigger,
                challenge(holdout, trigger),
            )  # fmt: skip
        case _:
            raise Refused(f"one of {', '.join(KINDS)}, not {kind!r}")
    scenario = Scenario.CLASS if kind == "class" else Scenario.SUBSET
    if scenario is Scenario.SUBSET and (gone := _emptied(train.y, chosen)):
        raise Refused(f"no record of class {gone[0]} would be left: ask for fewer")
    return Request(kind, scenario, train, chosen, holdout)


def _size(size: int | None, share: float, train: Records) -> int:
    count = round(share * len(train)) if size is None else size
    if not 0 < count < len(train):
        raise Refused(f"{count} records to forget of {len(train)}")
    return count


def _label(label: int | None, train: Records, generator: np.random.Generator) -> int:
    labels = np.unique(train.y)
    if label is None:
        return int(generator.choice(labels))
    if label not in labels:
        raise Refused(f"no training record has class {label}")
    return label


def _cluster(train: Records, size: int, seed: int) -> NDArray[np.bool_]:
    """Return the cluster (k-means over features) nearest to `size` that empties no class."""
    from sklearn.cluster import KMeans

    flat = train.x.reshape(len(train), -1)
    count = max(2, round(len(train) / size))
    found = KMeans(count, n_init=4, random_state=seed % 2**32).fit_predict(flat)
    fits = [m for k in range(count) if (m := found == k).any() and not _emptied(train.y, m)]
    if not fits:
        raise Refused("every cluster holds the whole of a class: ask for fewer records")
    return min(fits, key=lambda mask: abs(int(mask.sum()) - size))


def _person(train: Records, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return the records of one person: who has most of them, or any where all have one."""
    if train.subject is None:
        return np.arange(len(train)) == generator.integers(len(train))
    counts = Counter(train.subject)
    most = max(counts.values())
    names = sorted((n for n, count in counts.items() if count == most), key=str)
    person = names[int(generator.integers(len(names)))]
    return np.array([name == person for name in train.subject], dtype=bool)


def _emptied(y: NDArray[np.int64], chosen: NDArray[np.bool_]) -> list[int]:
    """Return the labels of which no record would be left."""
    return sorted(set(y.tolist()) - set(y[~chosen].tolist()))

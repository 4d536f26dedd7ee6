"""At whom do gates open, told from the patch alone?

One pass over forgotten and other records answers two questions: how crowded the regions of the
forgotten records are, and how well v(x) = 0 tells who was forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.case import Case
from auditkit.certificate.shown.sample import (
    Index,
    batches,
    choose,
    network_cost,
    patched_cost,
)
from auditkit.network.evaluate import pattern

Bits = NDArray[np.bool_]

MOST_RECORDS = 10_000
TAG = 9102


@dataclass(frozen=True, eq=False)
class Opened:
    """At `examined` [n] (indices into the set) is any gate fully open, and any at all open?

    `gate` [n] is the first gate that is fully open there, -1 where none is; `count` [G] is at how
    many of these records each gate is fully open.
    """

    examined: Index
    fully: Bits
    partly: Bits
    gate: Index
    count: Index


@dataclass(frozen=True, eq=False)
class Reach:
    """Where the gates open, and in which regions the forgotten records lie.

    `region` [n] numbers the linear regions of the first `n` forgotten records.
    """

    forgotten: Opened
    others: dict[str, Opened]
    region: Index


def measure_reach(case: Case) -> Reach:
    """Open every gate at forgotten, retained and unseen records, in the network's own floats.

    Needs records, and their key to tell the others from them.
    """
    assert case.records is not None
    others = {name: _opened(case, x) for name, x in case.others()}
    return Reach(_opened(case, case.records.x), others, _regions(case))


def _opened(case: Case, x: NDArray[np.float32]) -> Opened:
    submission = case.submission
    table = submission.patch.table
    rows = choose(len(x), MOST_RECORDS, patched_cost(submission), case.seed, TAG)
    fully, partly = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    gate = np.full(len(rows), -1, dtype=np.int64)
    count = np.zeros(submission.patch.gates, dtype=np.int64)
    if not submission.patch.gates:
        return Opened(rows, fully, partly, gate, count)
    sharpness = table.sharpness[table.group]
    for part in batches(submission, len(rows)):
        v = submission.patched.violations(x[rows[part]])
        opened = v == 0
        fully[part] = opened.any(axis=1)
        partly[part] = (v * sharpness < 1).any(axis=1)
        gate[part] = np.where(fully[part], opened.argmax(axis=1), -1)
        count += opened.sum(axis=0)
    return Opened(rows, fully, partly, gate, count)


def _regions(case: Case) -> Index:
    """Return a number for the linear region of each forgotten record that is examined."""
    assert case.records is not None
    network, x = case.submission.network, case.records.x
    rows = choose(len(x), MOST_RECORDS, network_cost(network), case.seed, TAG)
    packed = [
        np.packbits(pattern(network, x[rows[part]].astype(network.dtype)), axis=1)
        for part in batches(case.submission, len(rows))
    ]
    if not packed[0].shape[1]:  # a network without units is one region
        return np.zeros(len(rows), dtype=np.int64)
    _, region = np.unique(np.concatenate(packed), axis=0, return_inverse=True)
    return np.asarray(region.reshape(-1), dtype=np.int64)

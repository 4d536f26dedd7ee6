"""How often does a noisy copy of a forgotten record still get the original network's answer?

A certificate speaks of a region and a ball. A copy that leaves the region closes the gate, and the
original network answers: forgetting that holds at the point alone is no forgetting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.case import Case
from auditkit.certificate.intervals import share_interval
from auditkit.certificate.shown.sample import (
    BUDGET,
    batches,
    choose,
    network_cost,
    patched_cost,
)
from auditkit.network.evaluate import logits

F32 = NDArray[np.float32]

LEVELS = (0.001, 0.003, 0.01, 0.03, 0.1)  # of the domain's width
SHOWN_LEVEL = 0.01
COPIES = 4  # of a record, at most: more records tell more than more copies of them
MOST_RECORDS = 200
KINDS = ("gaussian", "uniform")
TAG = 9101  # of the random numbers


@dataclass(frozen=True, eq=False)
class Curve:
    """For each kind of noise, the share of copies [level] that keep the answer, with intervals.

    `at_records` is the same for the records themselves. Shares are means over `records` records
    of the share of each one's `copies` copies.
    """

    levels: tuple[float, ...]
    retained: dict[str, list[float]]
    intervals: dict[str, list[tuple[float, float]]]
    at_records: float
    records: int
    copies: int


def retention_curve(case: Case) -> Curve | None:
    """Measure the curve on a sample of the forgotten records; None where a logit is not finite.

    A copy is the record with Gaussian noise of a standard deviation, or uniform noise within a
    radius (∞-norm), of LEVELS times the domain's width, clipped to the domain. The same draws
    are scaled for each level. It keeps the answer if patched and original network predict the
    same label for it. Needs records.
    """
    assert case.records is not None
    submission = case.submission
    domain = submission.certificate.settings.domain
    cost = (patched_cost(submission) + network_cost(submission.network)) * len(LEVELS) * len(KINDS)
    rows = choose(len(case.records), MOST_RECORDS, cost, case.seed, TAG)
    x = case.records.x[rows]
    copies = min(COPIES, max(1, BUDGET // (cost * len(x))))
    generator = np.random.default_rng([case.seed, TAG, 1])
    shape = (len(x), copies, *x.shape[1:])
    draws = {
        "gaussian": generator.standard_normal(shape, dtype=np.float32),
        "uniform": generator.random(shape, dtype=np.float32) * 2 - 1,
    }
    retained: dict[str, list[float]] = {kind: [] for kind in KINDS}
    intervals: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    at_records = _same(case, x)
    if at_records is None:
        return None
    for kind in KINDS:
        for level in LEVELS:
            step = np.float32(level * domain.width) * draws[kind]
            noisy = np.clip(x[:, None] + step, domain.lower, domain.upper)
            kept = _same(case, noisy.reshape(-1, *x.shape[1:]))
            if kept is None:
                return None
            share = kept.reshape(len(x), copies).mean(axis=1)
            retained[kind].append(float(share.mean()))
            intervals[kind].append(share_interval(float(share.sum()), len(x)))
    return Curve(LEVELS, retained, intervals, float(at_records.mean()), len(x), copies)


def _same(case: Case, x: F32) -> NDArray[np.bool_] | None:
    """Return [N] whether both networks predict the same label; None where nothing is predicted."""
    submission = case.submission
    same = np.zeros(len(x), dtype=bool)
    for rows in batches(submission, len(x)):
        before = logits(submission.network, x[rows].astype(submission.network.dtype))
        after = submission.patched.logits(x[rows])
        if not (np.isfinite(before).all() and np.isfinite(after).all()):
            return None
        same[rows] = before.argmax(axis=1) == after.argmax(axis=1)
    return same

"""The neighbourhood of a record: forgetting that holds at the point alone is no forgetting.

A patch may redirect one input and leave the model as it was a hair's breadth beside it. So the same
questions are asked of perturbed copies, over a range of radii: does the answer stay as it was
before the unlearning, and does the signal still tell forgotten records from unseen ones?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import Float32Array, FloatArray, IntArray, finite, integer_labels, query_records
from attacks.interface import Attack, Evidence, Predict, Tier
from attacks.signals import Signal, rescaled_logit
from attacks.statistics.auc import AucEstimate, auc_estimate
from attacks.statistics.bounded import bounded_mean_interval

BATCH_ROWS = 8192


@dataclass(frozen=True)
class RadiusPoint:
    """One radius of the curve.

    retention: share of copies whose answer is as before the unlearning, with an interval over
    records (the copies of one record are not independent); None without a model from before.
    signal: mean signal over all copies of the forgotten records. auc: forgotten against unseen
    records by the mean signal over the copies; None without unseen records.
    """

    radius: float
    retention: float | None
    lower: float | None
    upper: float | None
    signal: float
    auc: AucEstimate | None


@dataclass(frozen=True)
class NeighbourhoodCurve:
    """Retention and attack strength over the radius (∞-norm)."""

    points: tuple[RadiusPoint, ...]
    n_records: int
    n_unseen: int
    copies: int
    seed: int
    confidence: float


def curve(
    predict: Predict,
    records: NDArray[Any],
    labels: ArrayLike,
    radii: Sequence[float],
    *,
    before: Predict | None = None,
    unseen: tuple[NDArray[Any], ArrayLike] | None = None,
    copies: int = 32,
    seed: int = 0,
    domain: tuple[float, float] = (0.0, 1.0),
    signal: Signal = rescaled_logit,
    confidence: float = 0.95,
    batch_rows: int = BATCH_ROWS,
) -> NeighbourhoodCurve:
    """Return, for each radius, how often copies keep their answer and how well the attack does.

    Predict and before map records [B, ...] to logits [B, C]; records [N, ...] within the domain,
    labels int [N], unseen a pair of the same; radii in units of the input (0 gives the record
    itself). Raises ValueError on records outside the domain, a negative radius, or no copies.
    """
    y = integer_labels(labels, "labels", len(records))
    if not radii:
        raise ValueError("radii must name at least one radius")
    points = []
    for radius in radii:
        values, kept = _walk(
            predict, before, records, y, radius, copies, seed, domain, signal, batch_rows
        )
        share = lower = upper = None
        if kept is not None:
            share, lower, upper = bounded_mean_interval(kept, confidence)
        area = None
        if unseen is not None:
            others = scores(
                predict,
                *unseen,
                radius,
                copies=copies,
                seed=seed + 1,
                domain=domain,
                signal=signal,
                batch_rows=batch_rows,
            )
            area = auc_estimate(values, others, confidence)
        points.append(RadiusPoint(float(radius), share, lower, upper, float(values.mean()), area))
    n_unseen = 0 if unseen is None else len(unseen[0])
    return NeighbourhoodCurve(tuple(points), len(records), n_unseen, copies, seed, confidence)


def scores(
    predict: Predict,
    records: NDArray[Any],
    labels: ArrayLike,
    radius: float,
    *,
    copies: int = 32,
    seed: int = 0,
    domain: tuple[float, float] = (0.0, 1.0),
    signal: Signal = rescaled_logit,
    batch_rows: int = BATCH_ROWS,
) -> FloatArray:
    """Return the mean signal over the perturbed copies of each record.

    Records [N, ...], labels int [N]; float64 [N]. Raises ValueError as `curve` does.
    Source: Jayaraman et al. 2021 (Merlin) ask how many noisy copies have a higher loss; the mean
    signal of the copies in its place is this tool's.
    """
    y = integer_labels(labels, "labels", len(records))
    return _walk(predict, None, records, y, radius, copies, seed, domain, signal, batch_rows)[0]


def perturbed(
    records: NDArray[Any],
    radius: float,
    *,
    copies: int,
    seed: int,
    domain: tuple[float, float],
    first: int = 0,
) -> Float32Array:
    """Return copies drawn evenly from the ∞-norm ball about each record, within the domain.

    Records [N, ...]; float32 [N, copies, ...]. The draw of record i depends on the seed and on
    first + i alone, and scales with the radius, so curves are smooth and batches do not matter.
    Raises ValueError as `curve` does.
    """
    low, high = domain
    x = query_records(records, domain)
    if copies < 1 or not radius >= 0.0:
        raise ValueError(f"expected copies >= 1 and radius >= 0, found {copies} and {radius}")
    shape = (copies, *x.shape[1:])
    unit = np.stack(
        [
            np.random.default_rng([seed, first + i]).random(shape, dtype=np.float32)
            for i in range(len(x))
        ]
    )
    floor = np.maximum(x - np.float32(radius), np.float32(low))[:, None]
    ceiling = np.minimum(x + np.float32(radius), np.float32(high))[:, None]
    return np.asarray(np.clip(floor + unit * (ceiling - floor), low, high), dtype=np.float32)


def _walk(
    predict: Predict,
    before: Predict | None,
    records: NDArray[Any],
    labels: IntArray,
    radius: float,
    copies: int,
    seed: int,
    domain: tuple[float, float],
    signal: Signal,
    batch_rows: int,
) -> tuple[FloatArray, FloatArray | None]:
    """Return per record the mean signal [N] and the share of copies with the answer of before."""
    values, kept = [], []
    for part in _batches(len(records), copies, batch_rows):
        cloud = perturbed(
            records[part], radius, copies=copies, seed=seed, domain=domain, first=part.start
        )
        n = cloud.shape[0]
        flat = cloud.reshape(n * copies, *cloud.shape[2:])
        logits = finite(predict(flat), "logits", 2)
        repeated = np.repeat(labels[part], copies)
        values.append(signal(logits, repeated).reshape(n, copies).mean(axis=1))
        if before is not None:
            earlier = finite(before(flat), "logits of before", 2)
            same = logits.argmax(axis=1) == earlier.argmax(axis=1)
            kept.append(same.reshape(n, copies).mean(axis=1))
    return np.concatenate(values), np.concatenate(kept) if kept else None


def _batches(n: int, copies: int, batch_rows: int) -> Iterator[slice]:
    step = max(1, batch_rows // max(1, copies))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.predict is not None and evidence.records is not None
    assert evidence.labels is not None
    return scores(
        evidence.predict,
        evidence.records,
        evidence.labels,
        evidence.radius,
        copies=evidence.copies,
        seed=evidence.seed,
        domain=evidence.domain,
    )


NEIGHBOURHOOD = Attack(
    name="neighbourhood",
    title="Loss in the neighbourhood",
    tier=Tier.MODEL,
    needs=("predict", "records", "labels"),
    claim="Small perturbations of forgotten records are still treated as those of known records.",
    source="Jayaraman et al. 2021 (Merlin), with the mean signal over the copies",
    function=_function,
)

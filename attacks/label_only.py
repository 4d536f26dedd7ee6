"""Label-only attacks: what membership shows when the model says nothing but a class.

A model that hides its confidences still answers members more steadily: their class is right, stays
right when the record is changed a little, and the way to another class is longer.

Everything here takes a `Classify`, records to classes, and can see nothing else; `labels_only`
makes one of a function that gives logits. Each attack says how many queries it makes for a record.
What is drawn at random does not depend on the group that a record belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import (
    BoolArray,
    Float32Array,
    FloatArray,
    IntArray,
    finite,
    integer_labels,
    one_of,
    query_records,
)
from attacks.interface import Attack, Evidence, Predict, Tier
from attacks.neighbourhood import perturbed

Classify = Callable[[NDArray[Any]], ArrayLike]  # records [B, ...] -> classes int [B]
Copies = Literal["shifts", "noise"]

BATCH_ROWS = 8192  # asked at once, fewer of records so wide
BATCH_CELLS = 1 << 24  # that these would be more: 64 MiB of float32
NOISE_STEPS = (1.0, 2.0, 4.0, 8.0)  # times the radius: steady within one may give way in the next

STARTS = 2  # points of another class, from which the boundary is first approached
HALVINGS = 8  # of the way to the boundary: it is met within 1/256 of its length
STEPS = 4  # lengths tried along the estimated normal, each half the last
PROBE = 0.1  # how far probes lie from the boundary point, of its distance to the record
LEAST_QUERIES = 1 + STARTS * HALVINGS + (STEPS + HALVINGS) + 8
STRAYS = 64  # random points asked once for all records, should no record be of another class

QUERY_BUDGET = 200_000  # of `boundary` for all records together, as the registry runs it
QUERIES = (60, 400)  # least and most per record, whatever the budget


def labels_only(predict: Predict) -> Classify:
    """Return a function that gives the class alone, the first of the largest logits.

    It raises ValueError when the logits are not [B, C] or not finite.
    """

    def classify(records: NDArray[Any]) -> IntArray:
        return np.asarray(finite(predict(records), "logits", 2).argmax(axis=1), dtype=np.int64)

    return classify


def gap(classify: Classify, records: NDArray[Any], labels: ArrayLike) -> FloatArray:
    """Return 1 where the class is right, else 0: one query for a record.

    Records [N, ...], labels int [N]; float64 [N]. Its AUC is ½ plus half the gap between the
    accuracies of the two groups. Raises ValueError on records or classes of wrong shape.
    Source: Yeom et al. 2018; called the gap attack by Choquette-Choo et al. 2021.
    """
    x = query_records(records)
    y = integer_labels(labels, "labels", len(x))
    return (_ask(classify, x) == y).astype(np.float64)


def augmentation(
    classify: Classify,
    records: NDArray[Any],
    labels: ArrayLike,
    *,
    copies: Copies | None = None,
    shift: int = 1,
    radius: float = 0.05,
    draws: int = 8,
    seed: int = 0,
    domain: tuple[float, float] = (0.0, 1.0),
) -> FloatArray:
    """Return the share of changed copies, and the record itself, whose class is right.

    Records [N, ...] within the domain, labels int [N]; float64 [N] in [0, 1].
    copies, by default `shifts` for images (records [C, H, W] or [H, W]) and
    `noise` for others, a column [D, 1] among them:
    - `shifts`: by i pixels down and j across, for all |i| + |j| = shift; what enters repeats the
      edge. 1 + 4 shift queries for a record.
    - `noise`: drawn evenly from the ∞-ball of 1, 2, 4 and 8 radii within the domain, `draws` from
      each. 1 + 4 draws queries for a record.

    Raises ValueError on records outside the domain, a shift as large as the picture, `shifts` of
    what is no picture, or unknown copies. Source: Choquette-Choo et al. 2021 (translations); noise
    for records that are no pictures is this tool's.
    """
    x = query_records(records, domain)
    y = integer_labels(labels, "labels", len(x))
    picture = x.ndim in (3, 4) and min(x.shape[-2:]) > 1
    kind = copies or ("shifts" if picture else "noise")
    one_of(kind, Copies, "copies")
    right = [_ask(classify, x) == y]
    if kind == "shifts":
        right += [_ask(classify, moved) == y for moved in _shifted(x, shift)]
        return np.mean(right, axis=0)
    if draws < 1:
        raise ValueError(f"draws must be at least 1, found {draws}")
    total = right[0].astype(np.float64)
    step = max(1, _rows(x) // draws)
    for turn, factor in enumerate(NOISE_STEPS):
        for first in range(0, len(x), step):
            part = slice(first, first + step)
            cloud = perturbed(
                x[part], factor * radius, copies=draws, seed=seed + turn, domain=domain, first=first
            )
            asked = _ask(classify, cloud.reshape(-1, *x.shape[1:])).reshape(-1, draws)
            total[part] += (asked == y[part, None]).sum(axis=1)
    return np.asarray(total / (1.0 + draws * len(NOISE_STEPS)))


def boundary(
    classify: Classify,
    records: NDArray[Any],
    labels: ArrayLike,
    *,
    queries: int = 200,
    seed: int = 0,
    domain: tuple[float, float] = (0.0, 1.0),
) -> FloatArray:
    """Return the Euclidean distance to the nearest point found of another class, 0 where wrong.

    Records [N, ...] within the domain, labels int [N]; float64 [N] in units of the input. After
    HopSkipJump: from two records of another class a binary search along the line meets the
    boundary; there the normal is estimated from the classes of random points about it, a step along
    the normal and another search come nearer, as often as `queries` allow. `queries` bounds what is
    asked for a record (one for its class, 16 for the first searches, then 12 and the probes for
    each step), and is spent on records of the right class alone. It is an upper bound of the
    distance, looser with fewer queries, for both groups alike. Where nothing of another class is
    found, not even among 64 random points, it is the diagonal of the domain.

    Raises ValueError on records outside the domain or fewer than 37 queries.
    Source: Choquette-Choo et al. 2021; Chen, Jordan and Wainwright 2020 (HopSkipJump).
    """
    if queries < LEAST_QUERIES:
        raise ValueError(f"queries must be at least {LEAST_QUERIES}, found {queries}")
    x = query_records(records, domain)
    y = integer_labels(labels, "labels", len(x))
    rounds, probes = _plan(queries)
    generator = np.random.default_rng([seed, 13])
    features = int(np.prod(x.shape[1:]))
    low, high = domain
    strays = generator.uniform(low, high, (STRAYS, *x.shape[1:])).astype(np.float32)
    directions = generator.standard_normal((rounds, probes, features)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)

    said = _ask(classify, x)
    right = np.flatnonzero(said == y)
    distance = np.zeros(len(x))
    distance[right] = np.sqrt(features) * (high - low)
    start, has_start = _starts(said, _ask(classify, strays), generator.random((len(x), STARTS)))
    pool = np.concatenate([x, strays]).reshape(-1, features)
    asked = right[has_start[right]]
    step = max(1, _rows(x) // max(probes, STEPS))
    for first in range(0, asked.size, step):
        part = asked[first : first + step]
        search = _Search(classify, pool[part], said[part], x.shape[1:], domain)
        distance[part] = search.run([pool[start[part, k]] for k in range(STARTS)], directions)
    return distance


def queries_for(n: int) -> int:
    """Return how many queries for a record `boundary` has for n records under its whole budget."""
    return int(np.clip(QUERY_BUDGET // max(n, 1), *QUERIES))


def _plan(queries: int) -> tuple[int, int]:
    """Return how many rounds of estimating the normal, and how many probes in each."""
    left = queries - 1 - STARTS * HALVINGS
    rounds = max(1, left // 48)
    return rounds, left // rounds - STEPS - HALVINGS


def _starts(
    said: IntArray, strays: IntArray, draws: FloatArray
) -> tuple[NDArray[np.int64], BoolArray]:
    """Return for each record points of another class [N, STARTS] among records, then random points.

    Said int [N] and strays int [S]: classes of both; draws [N, STARTS] in [0, 1). Random points are
    taken only where all records are of one class. Bool [N]: whether there is any.
    """
    several = np.any(said != said[0])
    classes = said if several else np.concatenate([said, strays])
    order = np.argsort(classes, kind="stable")
    # In order of class, what is of another class than a record's is one stretch of a ring.
    end = np.searchsorted(classes[order], said, side="right")
    others = classes.size - (end - np.searchsorted(classes[order], said, side="left"))
    chosen = end[:, None] + np.floor(draws * others[:, None]).astype(np.int64)
    return order[chosen % classes.size], others > 0


class _Search:
    """The walk along the boundary, for many records at once: rows are records, [n, D]."""

    def __init__(
        self,
        classify: Classify,
        x: Float32Array,
        own: IntArray,
        shape: tuple[int, ...],
        domain: tuple[float, float],
    ) -> None:
        self.classify, self.x, self.own, self.shape, self.domain = classify, x, own, shape, domain

    def run(self, starts: list[Float32Array], directions: Float32Array) -> FloatArray:
        """Return the least distance found from these points of another class [n, D]."""
        point = self.approach(starts[0])
        for start in starts[1:]:
            point = self.nearer(point, self.approach(start))
        for turn, unit in enumerate(directions):
            point = self.nearer(point, self.approach(self.stepped(point, unit, turn + 1)))
        return self.distance(point)

    def other(self, points: Float32Array) -> BoolArray:
        """Return whether points [n, B, D] are of another class than the record's, bool [n, B]."""
        flat = points.reshape(-1, *self.shape)
        answers = _ask(self.classify, flat).reshape(points.shape[:2])
        return np.asarray(answers != self.own[:, None])

    def distance(self, point: Float32Array) -> FloatArray:
        return np.linalg.norm((point - self.x).astype(np.float64), axis=1)

    def nearer(self, a: Float32Array, b: Float32Array) -> Float32Array:
        return np.where((self.distance(b) < self.distance(a))[:, None], b, a)

    def approach(self, point: Float32Array) -> Float32Array:
        """Return the point of another class nearest the record on the line to this one [n, D]."""
        near, far = np.zeros(len(point), np.float32), np.ones(len(point), np.float32)
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            crossed = self.other((self.x + middle[:, None] * (point - self.x))[:, None])[:, 0]
            far, near = np.where(crossed, middle, far), np.where(crossed, near, middle)
        # At the far end it is the point itself, not a sum that rounding may put on the other side.
        return np.where(far[:, None] < 1, self.x + far[:, None] * (point - self.x), point)

    def stepped(self, point: Float32Array, unit: Float32Array, turn: int) -> Float32Array:
        """Return a step from the boundary along its estimated normal, or the point itself."""
        length = self.distance(point).astype(np.float32)[:, None, None]
        probes = np.clip(point[:, None] + PROBE * length * unit, *self.domain)
        sign = np.where(self.other(probes), 1.0, -1.0).astype(np.float32)
        mean = sign.mean(axis=1, keepdims=True)
        # Probes all on one side say where it lies; else only how sides differ tells the normal.
        weight = np.where(np.abs(mean) < 1.0, sign - mean, sign)
        normal = np.einsum("nb,nbd->nd", weight, probes - point[:, None])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), np.float32(1e-12))
        halves = np.float32(0.5) ** np.arange(STEPS, dtype=np.float32)
        reach = length[:, 0] / np.float32(np.sqrt(turn)) * halves
        tried = np.clip(point[:, None] + reach[:, :, None] * normal[:, None], *self.domain)
        crossed = self.other(tried)
        first = crossed.argmax(axis=1)
        found = tried[np.arange(len(tried)), first]
        return np.where(np.any(crossed, axis=1, keepdims=True), found, point)


def _rows(x: Float32Array) -> int:
    """Return how many records of this width are asked at once."""
    return max(1, min(BATCH_ROWS, BATCH_CELLS // max(1, int(np.prod(x.shape[1:])))))


def _ask(classify: Classify, x: Float32Array) -> IntArray:
    parts = np.split(x, range(_rows(x), len(x), _rows(x)))
    return np.concatenate([integer_labels(classify(part), "classes", len(part)) for part in parts])


def _shifted(x: Float32Array, shift: int) -> Iterator[Float32Array]:
    if x.ndim not in (3, 4):
        raise ValueError(f"shifts are of pictures [C, H, W] or [H, W], found {x.shape[1:]}")
    height, width = x.shape[-2:]
    if not 1 <= shift < min(height, width):
        raise ValueError(f"shift must lie in 1..{min(height, width) - 1}, found {shift}")
    moves = [(i, j) for i in range(-shift, shift + 1) for j in range(-shift, shift + 1)]
    rows, columns = np.arange(height), np.arange(width)
    return (
        x[..., np.clip(rows - i, 0, height - 1)[:, None], np.clip(columns - j, 0, width - 1)]
        for i, j in moves
        if abs(i) + abs(j) == shift
    )


def _gap(evidence: Evidence) -> FloatArray:
    return gap(*_given(evidence))


def _augmentation(evidence: Evidence) -> FloatArray:
    return augmentation(
        *_given(evidence), radius=evidence.radius, seed=evidence.seed, domain=evidence.domain
    )


def _boundary(evidence: Evidence) -> FloatArray:
    classify, records, labels = _given(evidence)
    count = queries_for(len(records))
    return boundary(
        classify, records, labels, queries=count, seed=evidence.seed, domain=evidence.domain
    )


def _given(evidence: Evidence) -> tuple[Classify, NDArray[Any], ArrayLike]:
    assert evidence.predict is not None and evidence.records is not None
    assert evidence.labels is not None
    return labels_only(evidence.predict), evidence.records, evidence.labels


_NEEDS = ("predict", "records", "labels")

GAP = Attack(
    name="gap",
    title="Label only: gap",
    tier=Tier.MODEL,
    needs=_NEEDS,
    claim="The model's answer is right on forgotten records more often than on unseen ones.",
    source="Yeom et al. 2018; Choquette-Choo et al. 2021",
    function=_gap,
)
AUGMENTATION = Attack(
    name="augmentation",
    title="Label only: changed copies",
    tier=Tier.MODEL,
    needs=_NEEDS,
    claim="The answer on shifted or noisy copies of forgotten records stays right more often.",
    source="Choquette-Choo et al. 2021",
    function=_augmentation,
)
BOUNDARY = Attack(
    name="boundary",
    title="Label only: distance to the boundary",
    tier=Tier.MODEL,
    needs=_NEEDS,
    claim="Forgotten records lie further from the next class than unseen ones.",
    source="Choquette-Choo et al. 2021; Chen, Jordan and Wainwright 2020",
    function=_boundary,
)

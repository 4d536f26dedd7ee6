"""How many inputs a measurement may cost, by count of operations and never by the clock.

The same submission has the same samples on every machine. Measurements come with each
verification, so that they must stay small beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.submission import PatchSubmission
from auditkit.network.graph import Convolution, Network, constants
from auditkit.patch.explicit import AnyPatch
from auditkit.patch.gates import Patch

Index = NDArray[np.int64]

BUDGET = 8_000_000_000  # multiplications of one measurement
CONVOLUTION = 4  # times as long for a multiplication, as convolutions move many numbers
NUMBERS_AT_ONCE = 2_000_000  # of a batch's widest value; a convolution holds some times as many


def network_cost(network: Network) -> int:
    """Return roughly how many multiplications one input costs."""
    cost = 0
    for index, node in enumerate(network.nodes):
        out = int(np.prod(network.shapes[index + 1]))
        weights = sum(int(np.size(c)) for c in constants(node.operator))
        if isinstance(node.operator, Convolution):
            weights *= CONVOLUTION * out // network.shapes[index + 1][0]
        cost += max(weights, out)
    return cost


def patched_cost(submission: PatchSubmission) -> int:
    """Return the same for the patched network: two products with every gate's pattern, or rows."""
    gates = _patch_width(submission.patch) * (submission.network.features + 1)
    if isinstance(submission.patch, Patch):
        gates = 2 * submission.patch.units * submission.patch.gates
    return network_cost(submission.network) + gates


def _patch_width(patch: AnyPatch) -> int:
    """Return how many numbers of an input, at most, the patch holds at once."""
    if isinstance(patch, Patch):
        return max(patch.units, patch.gates)
    return max(len(group.limits) for group in patch.groups)


def choose(count: int, most: int, cost: int, seed: int, tag: int) -> Index:
    """Return at most `most` of `count` indices, in order, that cost no more than the budget.

    `cost` is of one of them. All are returned where all fit, at least one always.
    """
    size = max(1, min(count, most, BUDGET // max(1, cost)))
    if size >= count:
        return np.arange(count)
    drawn = np.random.default_rng([seed, tag]).choice(count, size, replace=False)
    return np.sort(drawn).astype(np.int64)


def batches(submission: PatchSubmission, count: int) -> Iterator[slice]:
    """Yield slices of inputs such that no array of a batch is large."""
    widest = max(int(np.prod(shape)) for shape in submission.network.shapes)
    widest = max(widest, _patch_width(submission.patch), submission.patch.gates)
    size = max(1, min(2048, NUMBERS_AT_ONCE // widest))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))

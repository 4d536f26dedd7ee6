"""Which networks are trained together: as many as the memory near the processor holds.

A large group saves calls, but what a step touches falls out of the cache. The partition is a
function of architecture, recipe, number of networks and device alone, never of the memory that
happens to be free, so that a run that was interrupted finds its groups again.
"""

from __future__ import annotations

import math
import os
from itertools import pairwise

from attacks.arrays import BoolArray
from attacks.shadows.architecture import Architecture, Conv, Dense, Flatten, Pool
from attacks.shadows.device import chosen_device, device_memory
from attacks.shadows.recipe import Recipe

GROUP_BYTES = 16 << 20  # of one group on a processor; measured by benchmarks/shadows.py
GROUP_NETWORKS = 32  # of one group on a processor, so that small ones too occupy several cores
GPU_BYTES = 4 << 30  # of one group on a GPU, or a quarter of what the GPU has, used or not
MOST_WORKERS = 16
STATES = 4  # value, gradient and Adam's two moments of every parameter


def group_slices(
    architecture: Architecture, recipe: Recipe, shadows: int, device: str | None = None
) -> list[slice]:
    """Return which networks are trained together: rows of the member mask, in order.

    device: as for `chosen_device`. A group is at least one network, however large. The same for
    the same arguments (on a GPU of less than 16 GB: and the same GPU). Raises ValueError on an
    unknown device.
    """
    room, most = GROUP_BYTES, GROUP_NETWORKS
    if chosen_device(device) == "cuda":
        room = min(GPU_BYTES, device_memory() // 4)
        most = shadows
    step = max(1, min(most, room // network_bytes(architecture, recipe)))
    count = -(-shadows // step)  # groups of about equal size
    return [slice(i * shadows // count, (i + 1) * shadows // count) for i in range(count)]


def workers_for(architecture: Architecture, recipe: Recipe, networks: int, threads: int) -> int:
    """Return how many groups of so many networks are trained at a time on so many threads.

    No more than half the machine's memory holds, and no more than can wait for one interpreter.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    fitting = memory // (2 * networks * network_bytes(architecture, recipe))
    return max(1, min(threads, MOST_WORKERS, fitting))


def network_bytes(architecture: Architecture, recipe: Recipe) -> int:
    """Return how many bytes the training of one network touches in a step."""
    batch = recipe.batch_size * floats_per_record(architecture)
    return 4 * (STATES * architecture.parameters + batch)


def query_records(architecture: Architecture, networks: int, device: str) -> int:
    """Return how many records so many trained networks are asked about at once."""
    room = GPU_BYTES if device == "cuda" else GROUP_BYTES
    return max(1, room // (4 * networks * floats_per_record(architecture)))


def floats_per_record(architecture: Architecture) -> int:
    """Return how many numbers one network keeps of one record: batch, activations, gradients."""
    total = architecture.features
    for layer, (before, after) in zip(
        architecture.layers, pairwise(architecture.shapes), strict=True
    ):
        match layer:
            case Conv(_, kernel, _, padding):
                inside = [n + 2 * p for n, p in zip(before[1:], padding, strict=True)]
                total += (before[0] * math.prod(kernel) + 1) * math.prod(after[1:])  # patches
                total += 2 * before[0] * math.prod(inside) + 2 * math.prod(after)
            case Pool():
                total += 4 * math.prod(after) + math.prod(before)  # a position is two floats
            case Flatten() if len(before) == 3:
                total += 2 * math.prod(after)
            case Dense(outputs):
                total += 2 * outputs
    return total


def batches_per_epoch(member_mask: BoolArray, batch_size: int) -> int:
    """Return into how many batches an epoch is cut: that of the network with the most records."""
    return -(-int(member_mask.sum(axis=1).max()) // batch_size)

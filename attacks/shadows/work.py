"""How much work a training is, said before it starts: models, epochs, records and the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from attacks.arrays import BoolArray, Float32Array, IntArray
from attacks.shadows.architecture import Architecture
from attacks.shadows.device import chosen_device
from attacks.shadows.groups import batches_per_epoch, group_slices, workers_for
from attacks.shadows.recipe import Recipe

PROBE_STEPS = 40  # of one group; the first quarter waits for memory and kernels
PROBE_SHARE = 0.01  # of the whole training: a shorter one is not probed


def announcement(
    what: str,
    architecture: Architecture,
    x: Float32Array,
    y: IntArray,
    member_mask: BoolArray,
    recipe: Recipe,
    groups: Sequence[slice] | None = None,
    note: str = "",
    *,
    device: str | None = None,
) -> str:
    """Return in one line what is about to be trained, with an estimate of how long it takes.

    what: the networks, in the plural. Records and mask as of `trained_groups`; groups: those that
    are to be trained, all when None; note: what is known of the others. The time is that of a few
    steps, taken on the spot, times their number; a short training has none.
    """
    where = chosen_device(device)
    k, n = member_mask.shape
    whole = group_slices(architecture, recipe, k, where)
    wanted = whole if groups is None else list(groups)
    left = sum(rows.stop - rows.start for rows in wanted)
    widths = architecture.widths
    kind = "convolutional" if widths is None else "-".join(map(str, widths))
    line = (
        f"{k} {what} ({kind}): {recipe.epochs} epochs on {round(member_mask.sum() / k)} of {n} "
        "records each"
    )
    if note:
        line += f"; {note}, {left} to train"
    seconds = _estimated_seconds(architecture, x, y, member_mask, recipe, wanted, where)
    return line if seconds is None else f"{line}; about {duration(seconds)}, an estimate"


def _estimated_seconds(
    architecture: Architecture,
    x: Float32Array,
    y: IntArray,
    member_mask: BoolArray,
    recipe: Recipe,
    groups: Sequence[slice],
    device: str,
) -> float | None:
    """Return how long these groups take, as few steps of those that train side by side do.

    The records of these steps come from everywhere: reading them is part of the work.
    """
    import torch

    from attacks.shadows.training import trained_groups

    if not groups:
        return None
    steps = batches_per_epoch(member_mask, recipe.batch_size)
    total = steps * recipe.epochs * len(groups)
    networks = max(rows.stop - rows.start for rows in groups)
    beside = workers_for(architecture, recipe, networks, torch.get_num_threads())
    first = groups[: beside if device == "cpu" else 1]
    if total * PROBE_SHARE < PROBE_STEPS * len(first):
        return None
    mask = np.zeros(member_mask.shape, dtype=np.bool_)
    size = min(PROBE_STEPS * recipe.batch_size, int(member_mask.sum(axis=1).max()))
    mask[:, np.linspace(0, len(y) - 1, size, dtype=np.int64)] = True
    epochs = -(-PROBE_STEPS * recipe.batch_size // size)
    times: list[float] = []
    probe = trained_groups(
        architecture, x, y, mask, replace(recipe, epochs=epochs), 0,
        lambda done, of: times.append(perf_counter()), groups=first, device=device,
    )  # fmt: skip
    for _, trained in probe:
        trained.parameters[:1].cpu()  # by then a GPU has done what it was told
    start = len(times) // 4
    return total * (perf_counter() - times[start]) / (len(times) - 1 - start)


def duration(seconds: float) -> str:
    """Return a time in words, as exact as an estimate can be."""
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"

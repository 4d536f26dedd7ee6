"""Halves at random: what chooses a threshold must not also judge it."""

from __future__ import annotations

import numpy as np

from attacks.arrays import IntArray

Halves = tuple[IntArray, IntArray]


def halves(n_members: int, n_non_members: int, seed: int) -> tuple[Halves, Halves]:
    """Return two halves of the members and two of the non-members, as positions.

    A group of odd size has its extra record in the second half. Raises ValueError when a group has
    fewer than 2 records.
    """
    if min(n_members, n_non_members) < 2:
        raise ValueError(
            "both groups need at least 2 records to be split, "
            f"found {n_members} and {n_non_members}"
        )
    rng = np.random.default_rng(seed)
    return _half(rng.permutation(n_members)), _half(rng.permutation(n_non_members))


def _half(order: IntArray) -> Halves:
    return order[: order.size // 2], order[order.size // 2 :]

"""People with several records: what is independent is the person, not the record.

Ten records of one person move together. An interval that counts them as ten is too narrow by a
factor that grows with their number, so the variances here are sums over people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import FloatArray, IntArray

Clusters = tuple[ArrayLike, ArrayLike]  # one name per member [M], one per non-member [N]


@dataclass(frozen=True)
class Grouping:
    """Whose record each record is, as numbers 0..count-1 over both groups together."""

    members: IntArray
    non_members: IntArray
    count: int

    @property
    def sizes(self) -> tuple[IntArray, IntArray]:
        """Records per cluster in each group, int64 [count] and [count]."""
        return (
            np.bincount(self.members, minlength=self.count),
            np.bincount(self.non_members, minlength=self.count),
        )

    @property
    def trivial(self) -> bool:
        """Whether every cluster is a single record."""
        return self.count == self.members.size + self.non_members.size

    def independent(self) -> tuple[int, int]:
        """Return how many independent records each group is worth at the least.

        Records over the largest cluster: no weighted mean of that many parts is less certain than a
        plain mean of that many. Halved where someone is in both groups.
        """
        of_x, of_y = self.sizes
        shared = 2 if np.any((of_x > 0) & (of_y > 0)) else 1
        return (
            max(1, self.members.size // (shared * int(of_x.max()))),
            max(1, self.non_members.size // (shared * int(of_y.max()))),
        )


def grouping(clusters: Clusters | None, n_members: int, n_non_members: int) -> Grouping | None:
    """Return the clusters as numbers, None where every record is a cluster of its own.

    Names of any one kind. Raises ValueError unless there is one name per record.
    """
    if clusters is None:
        return None
    parts = [np.asarray(part) for part in clusters]
    if len(parts) != 2 or parts[0].shape != (n_members,) or parts[1].shape != (n_non_members,):
        found = " and ".join(str(p.shape) for p in parts)
        raise ValueError(
            f"clusters must name ({n_members},) and ({n_non_members},) records, found {found}"
        )
    names = np.concatenate([p.astype(str) for p in parts])
    found_names, numbers = np.unique(names, return_inverse=True)
    numbers = numbers.astype(np.int64)
    result = Grouping(numbers[:n_members], numbers[n_members:], int(found_names.size))
    return None if result.trivial else result


def clustered_variance(below: FloatArray, above: FloatArray, group: Grouping) -> float:
    """Return the variance of an AUC (or of a difference of AUCs) whose records come in clusters.

    Below [M] and above [N]: placements, or differences of placements. 0 where fewer than two
    clusters hold records of a group. Source: Obuchowski 1997, the estimator by sums of placements
    per cluster (S10, S01 and their covariance S11).
    """
    x = np.bincount(group.members, below - below.mean(), minlength=group.count)
    y = np.bincount(group.non_members, above - above.mean(), minlength=group.count)
    of_x, of_y = group.sizes
    in_x, in_y = np.count_nonzero(of_x), np.count_nonzero(of_y)
    if min(in_x, in_y) < 2:
        return 0.0
    m, n = below.size, above.size
    value = float(x @ x) * in_x / ((in_x - 1) * m**2)
    value += float(y @ y) * in_y / ((in_y - 1) * n**2)
    value += 2.0 * float(x @ y) * group.count / ((group.count - 1) * m * n)
    return max(0.0, value)


def design_effect(hits: FloatArray, numbers: IntArray) -> float:
    """Return by how much clusters widen the variance of a share; at least 1.

    Hits 0 or 1 [N] with the number of their cluster [N]. Where all are alike there is no variance
    to compare with, and the largest cluster is taken. Source: Korn and Graubard 1998.
    """
    _, numbers = np.unique(numbers, return_inverse=True)
    sizes = np.bincount(numbers)
    share = float(hits.mean())
    if share in (0.0, 1.0) or sizes.size < 2:
        return float(sizes.max())
    sums = np.bincount(numbers, hits - share)
    clustered = float(sums @ sums) * sizes.size / (sizes.size - 1)
    return max(1.0, clustered / (hits.size * share * (1.0 - share)))

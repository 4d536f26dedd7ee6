"""The statistics that the behaviours share: shares, their difference, and the area under a ROC."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom, norm, rankdata

from auditkit.certificate import intervals

F64 = NDArray[np.float64]


def share_interval(hits: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share (Clopper & Pearson 1934); [0, 1] where n = 0."""
    return intervals.share_interval(hits, n) if n else (0.0, 1.0)


def permutation_tails(hits: int, n: int, other_hits: int, others: int) -> tuple[float, float]:
    """Return p-values that `hits` of `n` are as many, and as few, by chance of labelling.

    The permutation distribution of a count, with all margins fixed, is hypergeometric, so that
    both tails are exact (Fisher 1935).
    """
    law = hypergeom(n + others, hits + other_hits, n)
    return float(law.sf(hits - 1)), float(law.cdf(hits))


def least_p(n: int, others: int) -> float:
    """Return the smallest p-value that `n` against `others` can reach: all hits among the `n`."""
    return permutation_tails(n, n, 0, others)[0]


def auc(members: F64, others: F64) -> tuple[float, tuple[float, float]]:
    """Return the AUC of scores, higher meaning member, with the 95 % interval of DeLong et al.

    (1988), by placements. Needs two scores on either side; ValueError otherwise.
    """
    m, n = len(members), len(others)
    if m < 2 or n < 2:
        raise ValueError(f"{m} and {n} scores")
    ranks = rankdata(np.concatenate([members, others]))
    above = (ranks[:m] - rankdata(members)) / n
    below = 1 - (ranks[m:] - rankdata(others)) / m
    area = float(above.mean())
    spread = float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n))
    reach = float(norm.ppf(0.975)) * spread
    return area, (max(0.0, area - reach), min(1.0, area + reach))


def confidence_signal(logits: F64, labels: NDArray[np.int64]) -> F64:
    """Return φ = log p_y - log Σ_{j≠y} p_j [N] from logits [N, C], without probabilities."""
    rows = np.arange(len(labels))
    rest = logits.astype(np.float64).copy()
    own = rest[rows, labels].copy()
    rest[rows, labels] = -np.inf
    top = rest.max(axis=1)
    return own - (top + np.log(np.exp(rest - top[:, None]).sum(axis=1)))

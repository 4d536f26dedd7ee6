"""How likely a sum is, when which records belong to the sample is chance.

If requested and unseen records are exchangeable given the network, every choice of n of the N
records is as likely. The tail of the sum over such a choice is needed far out, where few random
permutations get and where a normal curve is wrong for skewed scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_ndtr
from scipy.stats import norm

F64 = NDArray[np.float64]

FEW = 10  # below it a saddlepoint is no good, and choices are drawn at random
DRAWS = 19_999  # so that the smallest p-value is 1 in 20,000
STEPS = 60  # of Newton's method, which needs about ten
TIED = 0.5  # of the scores are different at most: a sum that jumps has no smooth tail
AT_ONCE = 2_000_000  # random numbers
NEAR = 0.05  # standard deviations from the mean within which the formula divides 0 by 0
ROUNDING = 1e-9  # of a sum of standardised scores
LEAST = 1e-300


def tail(chosen: F64, others: F64, seed: int) -> float:
    """Return the p-value that the sum of `chosen` [n], out of all [N], is as large by chance.

    By drawing choices, with the observed one counted, for a few records on either side or where
    most scores are ties; else by the double saddlepoint of sampling without replacement (Robinson
    1982; Booth & Butler 1990), whose relative error stays small far out, and which is the middle of
    a step where sums come in steps. Below the mean it is not told apart from 0.5. 1 where either
    side is empty or all scores are equal.
    """
    n, m = len(chosen), len(others)
    scores = np.concatenate([chosen, others]).astype(np.float64)
    if not n or not m or np.ptp(scores) == 0:
        return 1.0
    scores = (scores - scores.mean()) / scores.std()
    total = float(scores[:n].sum())
    if total < 0:
        return 0.5
    if min(n, m) < FEW or len(np.unique(scores)) <= (n + m) * TIED:
        return _drawn(scores, n, total, seed)
    spread = float(np.sqrt(n * m / (n + m - 1)))
    if total < NEAR * spread:
        return float(norm.sf(total / spread))
    p = _saddlepoint(scores, n, total, spread)
    return _drawn(scores, n, total, seed) if p is None else p


def _drawn(scores: F64, n: int, total: float, seed: int) -> float:
    generator = np.random.default_rng([seed, 23])
    batch, reached, done = max(1, AT_ONCE // len(scores)), 0, 0
    while done < DRAWS:
        count = min(batch, DRAWS - done)
        order = generator.random((count, len(scores)), dtype=np.float32)
        rows = np.argpartition(order, n - 1, axis=1)[:, :n]
        reached += int((scores[rows].sum(axis=1) >= total - ROUNDING).sum())
        done += count
    return (1 + reached) / (DRAWS + 1)


def _saddlepoint(scores: F64, n: int, total: float, spread: float) -> float | None:
    """Return P(S >= total) for total > 0: Bernoulli choices given that there are n of them.

    None where there is no such point, at the edge of what is possible.
    """
    size = len(scores)
    odds = np.log(n / (size - n))
    shift, tilt = 0.0, total / spread**2
    for _ in range(STEPS):
        p = expit(odds + shift + tilt * scores)
        v = p * (1 - p)
        gap = np.array([n - p.sum(), total - p @ scores])
        a, b, c = v.sum(), v @ scores, v @ scores**2
        determinant = a * c - b * b
        if not determinant > LEAST:
            return None
        step = np.array([c * gap[0] - b * gap[1], a * gap[1] - b * gap[0]]) / determinant
        step *= min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        shift, tilt = shift + float(step[0]), tilt + float(step[1])
        if np.abs(gap).max() < 1e-9 * size:
            break
    else:
        return None
    k = np.logaddexp(np.log1p(-n / size), np.log(n / size) + shift + tilt * scores).sum()
    half = tilt * total + shift * n - k
    if not (half > 0 and tilt > 0 and determinant > LEAST):
        return None
    r = float(np.sqrt(2 * half))
    u = tilt * float(np.sqrt(determinant / (n * (1 - n / size))))
    # Lugannani & Rice, as one number that stays accurate far out
    p = float(np.exp(log_ndtr(-r))) + float(norm.pdf(r)) * (1 / u - 1 / r)
    return min(1.0, max(p, LEAST))

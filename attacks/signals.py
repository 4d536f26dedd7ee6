"""What one output says about one record: the signals every threshold attack is built on.

All are computed from logits in float64 by log-sum-exp. Probabilities are never formed first and
clipped: a clip at 1e-3 against 1e-16 alone moves an attack's AUC by a tenth, and the records it
flattens are the best remembered ones.

Every signal takes logits [N, C] and labels int [N] and returns float64 [N]; higher means more
likely a member. All raise ValueError on logits that are not finite, on fewer than two classes and
on labels outside 0..C-1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from attacks.arrays import FloatArray, IntArray, finite, integer_labels
from attacks.probabilities import log_probability

Signal = Callable[[ArrayLike, ArrayLike], FloatArray]


def _read(logits: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
    values = finite(logits, "logits", 2)
    if values.shape[1] < 2:
        raise ValueError("logits must have at least two classes")
    return values, integer_labels(labels, "labels", values.shape[0], values.shape[1])


def _log_odds(logits: FloatArray) -> FloatArray:
    """Return log p_j - log(1 - p_j) for every class [N, C].

    The likeliest class needs its own log-sum-exp, as 1 - p cancels there; below one half it does
    not.
    """
    rows, top = np.arange(len(logits)), logits.argmax(axis=1)
    log_p = logits - logsumexp(logits, axis=1, keepdims=True)
    odds: FloatArray = log_p - np.log1p(-np.minimum(np.exp(log_p), 0.5))
    odds[rows, top] = rescaled_logit(logits, top)
    return odds


def rescaled_logit(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return φ = log p_y - log Σ_{j≠y} p_j, the logit of the confidence.

    Logits [N, C], labels int [N]; float64 [N] in nats. Raises ValueError as the module says.
    Source: Carlini et al. 2022, sections IV-C and VI-A (the stable form).
    """
    values, y = _read(logits, labels)
    rows = np.arange(len(y))
    others = values.copy()
    others[rows, y] = -np.inf
    phi: FloatArray = values[rows, y] - logsumexp(others, axis=1)
    return phi


def loss(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return the negated cross-entropy, log p_y.

    Logits [N, C], labels int [N]; float64 [N] in nats. Raises ValueError as the module says.
    Source: Yeom et al. 2018. Computed as -log(1 + exp(-φ)), which keeps losses near 0 apart.
    """
    return log_probability(rescaled_logit(logits, labels))


def confidence(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return the largest class probability, as the logit of it; the label is not used.

    Logits [N, C], labels int [N]; float64 [N]. Raises ValueError as the module says.
    Source: Salem et al. 2019, adversary 3. The logit orders records as the probability does, but
    does not run into 1.
    """
    values, _ = _read(logits, labels)
    return rescaled_logit(values, values.argmax(axis=1))


def entropy(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return the negated entropy of the prediction, Σ_j p_j log p_j; the label is not used.

    Logits [N, C], labels int [N]; float64 [N] in nats. Raises ValueError as the module says.
    Source: Shokri et al. 2017; Song and Mittal 2021, equation 7.
    """
    values, _ = _read(logits, labels)
    log_p = log_probability(_log_odds(values))
    result: FloatArray = np.sum(np.exp(log_p) * log_p, axis=1)
    return result


def modified_entropy(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return the negated modified entropy, (1-p_y) log p_y + Σ_{j≠y} p_j log(1-p_j).

    Logits [N, C], labels int [N]; float64 [N] in nats. Raises ValueError as the module says.
    Source: Song and Mittal 2021, equation 8.
    """
    values, y = _read(logits, labels)
    rows = np.arange(len(y))
    odds = _log_odds(values)
    log_p, log_not = log_probability(odds), log_probability(-odds)
    terms = np.exp(log_p) * log_not
    terms[rows, y] = np.exp(log_not[rows, y]) * log_p[rows, y]
    result: FloatArray = terms.sum(axis=1)
    return result


def margin(logits: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Return the logit of the label less the largest other logit.

    Logits [N, C], labels int [N]; float64 [N]. Raises ValueError as the module says.
    Source: Carlini et al. 2022, section VI-A (the hinge loss).
    """
    values, y = _read(logits, labels)
    rows = np.arange(len(y))
    others = values.copy()
    others[rows, y] = -np.inf
    result: FloatArray = values[rows, y] - others.max(axis=1)
    return result

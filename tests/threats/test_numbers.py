"""The statistics against a second implementation, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp
from scipy.stats import fisher_exact
from sklearn.metrics import roc_auc_score

from auditkit.threats import numbers


def test_tails_are_fishers() -> None:
    table = [[4, 6], [3, 37]]
    more, fewer = numbers.permutation_tails(4, 10, 3, 40)
    assert more == pytest.approx(fisher_exact(table, "greater").pvalue)
    assert fewer == pytest.approx(fisher_exact(table, "less").pvalue)
    assert numbers.least_p(1, 99) == pytest.approx(0.01)


def test_auc_counts_ties_by_half_and_covers() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 5, 30).astype(float), generator.integers(0, 4, 40).astype(float)
    area, (low, high) = numbers.auc(a, b)
    truth = np.r_[np.ones(30), np.zeros(40)]
    assert area == pytest.approx(roc_auc_score(truth, np.r_[a, b]))
    assert low < area < high
    covered = 0
    for _ in range(400):
        a, b = generator.normal(1, 1, 60), generator.normal(0, 1, 200)
        _, (low, high) = numbers.auc(a, b)
        covered += low <= 0.7602 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_auc_refuses_a_single_score() -> None:
    with pytest.raises(ValueError, match="1 and 5"):
        numbers.auc(np.zeros(1), np.zeros(5))


def test_the_signal_is_that_of_probabilities() -> None:
    logits = np.random.default_rng(1).normal(0, 3, (6, 4))
    labels = np.array([0, 1, 2, 3, 0, 1])
    log_p = log_softmax(logits, axis=1)
    rest = np.array([logsumexp(np.delete(log_p[i], y)) for i, y in enumerate(labels)])
    expected = log_p[np.arange(6), labels] - rest
    assert numbers.confidence_signal(logits, labels) == pytest.approx(expected)


def test_a_share_of_none_says_nothing() -> None:
    assert numbers.share_interval(0, 0) == (0.0, 1.0)

"""Signals against the definitions in long arithmetic, and what they refuse."""

import math

import numpy as np
import pytest

from attacks import signals

ALL = [
    signals.rescaled_logit,
    signals.loss,
    signals.confidence,
    signals.entropy,
    signals.modified_entropy,
    signals.margin,
]


def _by_definition(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    z = logits.astype(np.longdouble)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    others = np.ones_like(p, dtype=bool)
    others[rows, labels] = False
    rest = np.where(others, p, 0).sum(1)
    p_y = p[rows, labels]
    top = p.max(1)
    return {
        "rescaled_logit": np.log(p_y) - np.log(rest),
        "loss": np.log(p_y),
        "confidence": np.log(top) - np.log1p(-top),
        "entropy": (p * np.log(p)).sum(1),
        "modified_entropy": (1 - p_y) * np.log(p_y)
        + np.where(others, p * np.log1p(-np.where(others, p, 0)), 0).sum(1),
        "margin": z[rows, labels] - np.where(others, z, -np.inf).max(1),
    }


@pytest.mark.parametrize("signal", ALL, ids=lambda s: s.__name__)
def test_equals_the_definition(signal):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 7)) * 2, rng.integers(0, 7, 50)
    expected = _by_definition(logits, labels)[signal.__name__].astype(float)
    np.testing.assert_allclose(signal(logits, labels), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("signal", ALL, ids=lambda s: s.__name__)
def test_still_tells_very_sure_answers_apart(signal):
    # 1 - p is 1e-18 and 1e-22: both are 1.0 as probabilities
    logits = np.array([[math.log(1e18), 0.0], [math.log(1e22), 0.0]])
    low, high = signal(logits, np.array([0, 0]))
    assert low < high


@pytest.mark.parametrize("signal", ALL, ids=lambda s: s.__name__)
def test_finite_for_huge_logits_and_wrong_labels(signal):
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]])
    assert np.isfinite(signal(logits, np.array([1, 0]))).all()


@pytest.mark.parametrize("signal", ALL, ids=lambda s: s.__name__)
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([[1.0, np.nan]], [0], "logits holds 1 value"),
        ([[1.0, np.inf]], [0], "nan or infinite"),
        ([[1.0, 2.0]], [2], "labels must lie in 0..1"),
        ([[1.0, 2.0]], [-1], "labels must lie in"),
        ([[1.0, 2.0]], [0.5], "whole numbers"),
        ([[1.0, 2.0]], [0, 1], "labels must have shape"),
        ([[1.0]], [0], "at least two classes"),
        (np.empty((0, 3)), [], "logits is empty"),
        ([1.0, 2.0], [0], "2 dimension"),
    ],
)
def test_refuses(signal, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        signal(np.array(logits), np.array(labels))

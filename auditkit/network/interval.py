"""Bounds over the whole input box, by carrying intervals through the network."""

from __future__ import annotations

import math

import numpy as np

from auditkit.network.deployed import FloatProfile
from auditkit.network.evaluate import evaluate
from auditkit.network.graph import Network
from auditkit.network.region import Box, deployed_errors
from auditkit.network.rigorous import RIGOROUS, gamma


def logit_difference_ceiling(
    network: Network, label: int, lower: float, upper: float
) -> tuple[float, float]:
    """Return a bound on f_label - max of the others over the box, and the deployed error there.

    Intervals know nothing of how logits move together, so the bound is sound but wide.
    """
    middle = lower + (upper - lower) / 2
    x = np.full((1, *network.input_shape), middle)
    box = Box.around(x, np.array([np.inf]), lower, upper)
    logits, _ = evaluate(network, box.ball, RIGOROUS)
    others = np.delete(logits.lower[0], label)
    error, _ = deployed_errors(network, box, FloatProfile.of(network.dtype))
    # f_label - max_j f_j ≤ sup f_label - max_j inf f_j
    ceiling = float(np.nextafter(logits.upper[0, label] - others.max(), np.inf))
    return ceiling, float(error.max())


def deployed_size(network: Network, lower: float, upper: float) -> float:
    """Return a bound on |a logit| over the box, as real numbers and as deployed."""
    middle = lower + (upper - lower) / 2
    box = Box.around(np.full((1, *network.input_shape), middle), np.array([np.inf]), lower, upper)
    logits, _ = evaluate(network, box.ball, RIGOROUS)
    error, _ = deployed_errors(network, box, FloatProfile.of(network.dtype))
    return float(np.nextafter((logits.magnitude + error).max(), np.inf))


def shift_rounding(dtype: np.dtype[np.floating], largest: float, shifts: list[float]) -> float:
    """Return how far a deployed logit of at most `largest`, plus shifts, is from the exact sum.

    Added one after another in any order, or summed first; infinite where a sum can overflow.
    """
    profile = FloatProfile.of(dtype)
    size = largest + math.fsum(map(abs, shifts))
    if not 2 * size < profile.greatest:  # NaN too
        return math.inf
    return size * gamma(len(shifts) + 4, profile.unit)

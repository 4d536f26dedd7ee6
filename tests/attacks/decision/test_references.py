"""Which models may not serve as references, and that honest ones do."""

import numpy as np
import pytest

from attacks.decision import Comparability
from attacks.decision.references import knows_class, reference_doubts, same_networks

ALIKE, APART, UNKNOWN = (Comparability(c, "", 0.05, ()) for c in (True, False, None))


def pair(shift, seed=0, n=200, m=1000):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1.0, n), rng.normal(size=m)


def test_a_reference_that_saw_the_records_is_named():
    [doubt] = reference_doubts([pair(0.0), pair(1.0, 1)], ALIKE)
    assert doubt.startswith("reference 2") and "has seen" in doubt
    # where the groups differ by themselves, a model that saw neither tells them apart as well
    assert reference_doubts([pair(1.0)], APART) == ()
    assert reference_doubts([pair(1.0)], UNKNOWN) == () and reference_doubts([], ALIKE) == ()


def test_honest_references_are_seldom_doubted():
    doubted = [
        bool(reference_doubts([pair(0.0, 5 * s + i) for i in range(5)], ALIKE)) for s in range(200)
    ]
    assert np.mean(doubted) <= 0.05


def test_a_copy_is_no_reference():
    rng = np.random.default_rng(0)
    original, other = rng.normal(size=(2, 50, 10))
    rounded = original + 1e-6 * rng.normal(size=(50, 10)) + 3.0  # a constant changes no answer
    names = [("the original", original), ("the delivered network", original)]
    assert same_networks([*names, ("reference 1", other)]) == ()
    assert same_networks([*names, ("reference 1", rounded)]) == (
        "reference 1 is the same network as the original",
    )
    twice = same_networks([*names, ("reference 1", other), ("reference 2", other)])
    assert twice == ("reference 2 is the same network as reference 1",)
    with pytest.raises(ValueError, match="must be"):
        same_networks([*names, ("reference 1", other[:, :3])])


def test_a_reference_trained_with_the_class_is_named():
    rng = np.random.default_rng(0)
    with_it, without = rng.normal(size=(2, 60, 5))
    with_it[:, 2] += 3.0
    without[:, 2] -= 3.0
    [doubt] = knows_class([("reference 1", without), ("reference 2", with_it)], np.full(60, 2))
    assert doubt.startswith("reference 2") and "trained with the class" in doubt

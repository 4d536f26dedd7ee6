"""The neighbourhood curve on models whose answers are known in closed form."""

import numpy as np
import pytest

from attacks import neighbourhood

RNG = np.random.default_rng(2)
X = RNG.uniform(0.2, 0.8, size=(40, 3)).astype(np.float32)
Y = np.zeros(40, dtype=int)


def before(x):
    return np.stack([np.ones(len(x)), np.zeros(len(x))], axis=1)


def point_patch(x):
    """Redirects the records themselves and nothing beside them."""
    near = np.abs(x[:, None] - X[None]).max(axis=2).min(axis=1) < 1e-6
    return np.where(near[:, None], before(x)[:, ::-1], before(x))


def test_forgetting_at_the_point_alone_shows():
    curve = neighbourhood.curve(point_patch, X, Y, [0.0, 0.05], before=before, copies=8)
    at, beside = curve.points
    assert (at.retention, at.lower) == (0.0, 0.0) and 0.0 < at.upper < 0.15
    assert (beside.retention, beside.upper) == (1.0, 1.0) and 0.85 < beside.lower < 1.0
    assert at.signal < beside.signal
    assert at.auc is None


def test_auc_against_unseen():
    unseen = RNG.uniform(0.2, 0.8, size=(30, 3)), np.ones(30, dtype=int)
    curve = neighbourhood.curve(before, X, Y, [0.1], unseen=unseen, copies=4)
    assert curve.points[0].auc.auc == 1.0 and curve.points[0].auc.lower < 1.0
    assert curve.points[0].retention is None


def test_copies_stay_in_ball_and_domain():
    copies = neighbourhood.perturbed(X, 0.5, copies=50, seed=0, domain=(0.1, 0.9))
    assert copies.shape == (40, 50, 3) and copies.dtype == np.float32
    assert copies.min() >= np.float32(0.1) and copies.max() <= np.float32(0.9)
    assert np.abs(copies - X[:, None]).max() <= 0.5 + 1e-6


def test_batches_do_not_matter_and_the_seed_does():
    def model(x):
        return np.stack([x.sum(1), np.zeros(len(x))], axis=1)

    whole = neighbourhood.scores(model, X, Y, 0.1, copies=5, seed=3)
    parts = neighbourhood.scores(model, X, Y, 0.1, copies=5, seed=3, batch_rows=17)
    np.testing.assert_array_equal(whole, parts)
    assert not np.array_equal(whole, neighbourhood.scores(model, X, Y, 0.1, copies=5, seed=4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"records": X + 1}, "domain"),
        ({"radii": [-0.1]}, "radius >= 0"),
        ({"radii": []}, "at least one radius"),
        ({"copies": 0}, "copies >= 1"),
        ({"labels": Y[:3]}, "labels must have shape"),
        ({"predict": lambda x: np.full((len(x), 2), np.nan)}, "logits holds"),
    ],
)
def test_refuses(change, message):
    arguments = {"predict": before, "records": X, "labels": Y, "radii": [0.1]} | change
    with pytest.raises(ValueError, match=message):
        neighbourhood.curve(**arguments)

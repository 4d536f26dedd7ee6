"""Before and after: the five features by hand, and what is made of them."""

import numpy as np
import pytest

from attacks import CannotJudge, Evidence
from attacks.difference import DIFFERENCE, features, score
from attacks.statistics import auc, auc_estimate

P, Q = np.array([[0.7, 0.2, 0.1]]), np.array([[0.1, 0.6, 0.3]])
LEARNED = ("direct-difference", "sorted-difference", "direct-concatenation", "sorted-concatenation")


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("direct-difference", [0.6, -0.4, -0.2]),
        ("sorted-difference", [-0.2, -0.4, 0.6]),
        ("direct-concatenation", [0.7, 0.2, 0.1, 0.1, 0.6, 0.3]),
        ("sorted-concatenation", [0.1, 0.2, 0.7, 0.3, 0.6, 0.1]),
        ("euclidean", [np.sqrt(0.36 + 0.16 + 0.04)]),
    ],
)
def test_features_by_hand(variant, expected):
    found = features(np.log(P) + 5.0, np.log(Q) - 2.0, variant=variant)
    np.testing.assert_allclose(found, [expected])


def _versions(seed: int, moved: float, forgotten: int = 60, unseen: int = 240):
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(forgotten + unseen, 4)) * 2
    after = before + rng.normal(size=before.shape) * 0.1
    after[:forgotten, 0] += moved
    return before, after, np.arange(forgotten + unseen) >= forgotten


def test_euclidean_is_the_score_itself():
    before, after, _ = _versions(0, 2.0)
    scores = score(before, after)
    np.testing.assert_array_equal(scores, features(before, after)[:, 0])
    assert auc(scores[:60], scores[60:]) > 0.9


@pytest.mark.parametrize("variant", LEARNED)
def test_learned_variants_find_a_planted_change(variant):
    before, after, unseen = _versions(1, 3.0)
    scores = score(before, after, unseen, variant=variant)
    assert scores.shape == (300,) and auc(scores[:60], scores[60:]) > 0.7


@pytest.mark.parametrize("variant", LEARNED)
def test_learned_variants_have_no_bias(variant):
    areas = []
    for seed in range(40):
        scores = score(*_versions(seed, 0.0), variant=variant, seed=seed)
        areas.append(auc(scores[:60], scores[60:]))
    assert abs(np.mean(areas) - 0.5) < 3 * np.std(areas) / np.sqrt(40)
    assert np.std(areas) < 0.055  # independent scores: 0.042; the usual cross-fit: 0.06


def test_two_equal_versions_tell_nothing():
    before, _, _ = _versions(2, 0.0)
    scores = score(before, before)
    area = auc_estimate(scores[:60], scores[60:])
    assert (scores == 0).all() and area.auc == 0.5 and area.lower < 0.48 and area.upper > 0.52


def test_attack_needs_the_earlier_model():
    before, after, _ = _versions(3, 2.0)
    assert Evidence(logits=after).lacks(DIFFERENCE.needs) == ("earlier_logits",)
    np.testing.assert_array_equal(
        DIFFERENCE.score(Evidence(logits=after, earlier_logits=before)), score(before, after)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "product"}, "variant must be one of"),
        ({"logits": np.zeros((300, 3))}, "must have one shape"),
        ({"logits": np.full((300, 4), np.nan)}, "logits holds"),
        ({"unseen": None}, "needs unseen"),
        ({"unseen": [True] * 5}, "unseen must have shape"),
        ({"model": "svm"}, "model must be one of"),
    ],
)
def test_refuses(change, message):
    before, after, unseen = _versions(4, 0.0)
    arguments = {
        "earlier_logits": before, "logits": after, "unseen": unseen, "variant": "direct-difference"
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        score(**(arguments | change))


def test_one_group_alone_cannot_be_learned_from():
    before, after, _ = _versions(5, 0.0)
    with pytest.raises(CannotJudge, match="there are 0"):
        score(before, after, [True] * 300, variant="direct-difference")

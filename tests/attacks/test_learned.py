"""The learned attack: features by hand, fits as scikit-learn makes them, honest cross-fitting."""

import numpy as np
import pytest

from attacks import CannotJudge, Evidence, crossfit
from attacks.learned import DIRECT, LEARNED, classifier, features, score, score_direct
from attacks.statistics import auc

MODELS = ("logistic", "forest", "mlp")


def test_features_by_hand():
    found = features(np.log([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]), [1, 1])
    np.testing.assert_allclose(
        np.exp(found), [[0.3 / 0.7, 0.3, 0.5, 0.3, 0.2], [0.6 / 0.4, 0.6, 0.6, 0.3, 0.1]]
    )


def test_features_of_many_classes_are_the_largest_ten():
    logits = np.random.default_rng(0).normal(size=(4, 50))
    found = features(logits, [0] * 4)
    assert found.shape == (4, 12)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(found[:, 2:]), -np.sort(-p, axis=1)[:, :10])


def test_features_of_extreme_logits_are_finite():
    found = features([[1e4, -1e4, 0.0]], [1])
    np.testing.assert_allclose(found, [[-2e4, -2e4, 0.0, -1e4, -2e4]])


def _world(seed: int, gain: float, forgotten: int = 50, unseen: int = 250, known: int = 200):
    """Logits of forgotten, unseen and known records; members are surer of their label."""
    rng = np.random.default_rng(seed)
    n = forgotten + unseen + known
    y = rng.integers(0, 4, n)
    logits = rng.normal(size=(n, 4)) * 2 + 2 * np.eye(4)[y]
    member = (np.arange(n) < forgotten) | (np.arange(n) >= forgotten + unseen)
    logits += gain * np.eye(4)[y] * member[:, None]
    judged = forgotten + unseen
    return (
        (logits[:judged], y[:judged]),
        (logits[forgotten:judged], y[forgotten:judged]),
        (logits[judged:], y[judged:]),
        np.arange(forgotten, judged),
    )


@pytest.mark.parametrize("model", MODELS)
def test_known_members_agrees_with_scikit_learn_used_directly(model):
    """With a population that is not judged there is one fit for all folds."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    judged, _, known, _ = _world(0, 2.0)
    _, other, _, _ = _world(1, 2.0)
    got = score(*judged, *other, *known, model=model, seed=3)
    x = np.vstack([features(*known), features(*other)])
    group = np.repeat([1, 0], [200, 250])
    scale = StandardScaler().fit(x)
    asked = features(*judged)
    if model == "forest":
        forest = RandomForestClassifier(
            200, min_samples_leaf=5, class_weight="balanced_subsample", random_state=3
        )
        expected = forest.fit(x, group).predict_proba(asked)[:, 1]
    elif model == "mlp":
        network = MLPClassifier((32,), alpha=1e-3, max_iter=200, tol=1e-3, random_state=3)
        expected = network.fit(scale.transform(x), group).predict_proba(scale.transform(asked))[
            :, 1
        ]
    else:
        logistic = LogisticRegression(class_weight="balanced", max_iter=1000)
        expected = logistic.fit(scale.transform(x), group).decision_function(scale.transform(asked))
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("model", MODELS)
def test_direct_agrees_with_scikit_learn_used_directly(model):
    (logits, y), _, _, rows = _world(2, 1.0)
    unseen = crossfit.unseen_among(rows, 300)
    got = score_direct(logits, y, unseen, model=model, folds=3, seed=1)
    x, fold = features(logits, y), crossfit.stratified_folds(unseen, 3, seed=1)
    last = classifier(model, 1)(x[fold < 2], (~unseen[fold < 2]).astype(int))(x[fold == 2])
    order = np.argsort(last, kind="stable")
    assert (np.diff(got[fold == 2][order]) >= 0).all()
    first = fold == 0
    order = np.argsort(x[first, 0])
    np.testing.assert_allclose(got[first][order], (np.arange(first.sum()) + 0.5) / first.sum())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("variant", ["known-members", "direct"])
def test_finds_members(variant, model):
    judged, other, known, rows = _world(3, 3.0)
    if variant == "direct":
        scores = score_direct(*judged, crossfit.unseen_among(rows, 300), model=model)
    else:
        scores = score(*judged, *other, *known, rows, model=model)
    assert auc(scores[:50], scores[50:]) > 0.75


@pytest.mark.parametrize("members_differ", [True, False])
def test_no_bias_without_a_difference(members_differ):
    """Forgotten records like unseen ones: 0.5 on average, whether known members differ or not."""
    areas = []
    for seed in range(80):
        judged, other, known, rows = _world(seed, 0.0)
        gain = 2.0 * np.eye(4)[known[1]] if members_differ else 0.0
        scores = score(*judged, *other, known[0] + gain, known[1], rows, seed=seed)
        areas.append(auc(scores[:50], scores[50:]))
    assert abs(np.mean(areas) - 0.5) < 3 * np.std(areas) / np.sqrt(80)
    assert np.std(areas) < 0.055  # independent scores: 0.045


def test_known_members_that_are_judged_are_left_out():
    judged, other, known, rows = _world(4, 1.0)
    mixed = [np.concatenate([a, b[:50]]) for a, b in zip(known, judged, strict=True)]
    np.testing.assert_array_equal(
        score(*judged, *other, *mixed, rows), score(*judged, *other, *known, rows)
    )
    with pytest.raises(CannotJudge, match="known members that are not judged, .* are 0"):
        score(*judged, *other, judged[0][:50], judged[1][:50], rows)
    with pytest.raises(CannotJudge, match="unseen records other than"):
        score(*judged, *other, *known)  # the judged for a population


def test_attack_takes_known_members_if_there_are_any():
    judged, other, known, rows = _world(5, 1.0)
    evidence = Evidence(
        logits=judged[0], labels=judged[1], population_logits=other[0], population_labels=other[1],
        population_rows=rows, known_logits=known[0], known_labels=known[1],
    )  # fmt: skip
    np.testing.assert_array_equal(LEARNED.score(evidence), score(*judged, *other, *known, rows))
    without = Evidence(
        logits=judged[0], labels=judged[1], population_logits=other[0], population_labels=other[1],
        population_rows=rows,
    )  # fmt: skip
    direct = score_direct(*judged, crossfit.unseen_among(rows, 300))
    np.testing.assert_array_equal(DIRECT.score(without), direct)
    np.testing.assert_array_equal(DIRECT.score(evidence), direct)
    with pytest.raises(ValueError, match="attack learned needs known_logits"):
        LEARNED.score(without)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "svm"}, "model must be one of"),
        ({"known_logits": np.zeros((9, 4)), "known_labels": [0] * 8}, "labels must have shape"),
        ({"known_logits": np.ones((40, 3)), "known_labels": [0] * 40}, "the same classes"),
        ({"known_logits": np.full((40, 4), np.nan)}, "holds 160"),
        ({"folds": 1}, "folds must be at least 2"),
    ],
)
def test_refuses(change, message):
    judged, other, known, rows = _world(6, 0.0, known=40)
    arguments = {
        "logits": judged[0], "labels": judged[1], "population_logits": other[0],
        "population_labels": other[1], "known_logits": known[0], "known_labels": known[1],
        "population_rows": rows,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        score(**(arguments | change))


@pytest.mark.parametrize("unseen", [[1] * 299, [2] * 300])
def test_direct_refuses_what_is_no_group(unseen):
    judged, *_ = _world(7, 0.0)
    with pytest.raises(ValueError, match="unseen must"):
        score_direct(*judged, unseen)

"""Folds and who may be fitted on: nothing is judged by a fit that knew it."""

import numpy as np
import pytest

from attacks import CannotJudge, crossfit
from attacks.statistics import auc_estimate


def test_folds_hold_the_same_share_of_both_groups():
    unseen = np.arange(47) >= 12
    fold = crossfit.stratified_folds(unseen, 5, seed=3)
    for group in (True, False):
        counts = np.bincount(fold[unseen == group], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert not np.array_equal(fold, crossfit.stratified_folds(unseen, 5, seed=4))
    with pytest.raises(ValueError, match="folds must be at least 2"):
        crossfit.stratified_folds(unseen, 1, seed=0)


def test_twins_are_found_by_signal_and_features():
    judged, features = np.array([1.0, 1.0, 2.0]), np.array([[0.0], [5.0], [0.0]])
    found = crossfit.twins(
        np.array([1.0, 1.0 + 1e-7, 1.0, 2.0, 3.0]),
        np.array([[0.0], [5.0], [7.0], [0.0], [0.0]]),
        judged,
        features,
    )
    np.testing.assert_array_equal(found, [True, True, False, True, False])


def test_a_signal_that_all_share_is_left_out_rather_than_risked():
    many = crossfit.MOST_ALIKE + 1
    found = crossfit.twins(np.zeros(2), np.ones((2, 1)), np.zeros(many), np.zeros((many, 1)))
    assert found.all()


def test_places():
    signal, x = np.array([1.0, 2.0, 3.0]), np.zeros((3, 1))
    places, usable = crossfit.population_places(
        signal, x, np.array([2.0, 3.0, 9.0]), np.zeros((3, 1)), [1, -1, -1]
    )
    np.testing.assert_array_equal(places, [1, -1, -1])
    # The second equals a judged record and has no place: it may be that record.
    np.testing.assert_array_equal(usable, [True, False, True])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1, 1, -1], "names a judged record twice"),
        ([0, -1, -1], "of another signal"),
        ([3, -1, -1], "must lie in -1..2"),
        ([0.5, 1.0, 2.0], "whole numbers"),
        ([1, 2], "whole numbers"),
    ],
)
def test_places_refuses(rows, message):
    signal, x = np.array([1.0, 2.0, 3.0]), np.zeros((3, 1))
    with pytest.raises(ValueError, match=message):
        crossfit.population_places(signal, x, np.array([2.0, 3.0, 9.0]), x, rows)


def test_a_fold_is_fitted_on_what_is_outside_it():
    n = 200
    unseen = np.arange(n) >= 50
    fold = crossfit.stratified_folds(unseen, 4, seed=0)
    places = np.concatenate([np.arange(50, n), np.full(20, -1)])
    usable = np.ones(places.size, bool)
    judged_all = []
    for fitted, judged in crossfit.cross_fits(fold, places, usable, 4):
        assert not set(places[fitted]) & set(judged)
        assert set(range(150, 170)) <= set(fitted)  # those nobody judges are in every fit
        judged_all.extend(judged)
    assert sorted(judged_all) == list(range(n))
    with pytest.raises(CannotJudge, match="there are 20"):
        list(crossfit.cross_fits(fold, places, places < 0, 4))


def test_in_turn_learns_from_earlier_folds_alone():
    rng = np.random.default_rng(0)
    x, unseen = rng.normal(size=(200, 1)), np.arange(200) >= 60
    fold = crossfit.stratified_folds(unseen, 5, seed=2)
    seen = []

    def fit(past, group):
        seen.append((len(past), int(group.sum())))
        return lambda now: -now[:, 0]

    scores = crossfit.in_turn(x, x[:, 0], unseen, fit, seed=2)
    assert seen == [(40, 12), (80, 24), (120, 36), (160, 48)]
    first = np.flatnonzero(fold == 0)
    np.testing.assert_array_equal(first[np.argsort(scores[first])], first[np.argsort(x[first, 0])])
    last = np.flatnonzero(fold == 4)
    np.testing.assert_allclose(
        np.sort(scores[last]), (np.arange(40) + 0.5) / 40
    )  # ranks, from the largest of x down
    assert scores[last[np.argmax(x[last, 0])]] == scores[last].min()


def test_in_turn_has_intervals_that_hold():
    """No difference between the groups: the interval covers 0.5 as often as it says."""
    from attacks.learned import classifier

    covered, areas = 0, []
    for seed in range(150):
        x = np.random.default_rng(seed).normal(size=(300, 4))
        unseen = np.arange(300) >= 60
        scores = crossfit.in_turn(x, x[:, 0], unseen, classifier("logistic", 0), seed=seed)
        area = auc_estimate(scores[:60], scores[60:])
        covered += area.lower <= 0.5 <= area.upper
        areas.append(area.auc)
    assert covered / 150 > 0.90  # the usual cross-fit: about 0.85
    assert abs(np.mean(areas) - 0.5) < 3 * np.std(areas) / np.sqrt(150)


def test_in_turn_needs_both_groups():
    with pytest.raises(CannotJudge, match="20 records of each group at least; there are 3"):
        crossfit.in_turn(np.zeros((50, 1)), np.zeros(50), np.arange(50) >= 3, lambda x, g: None)
    with pytest.raises(CannotJudge, match="population_rows"):
        crossfit.unseen_among(None, 5)
    np.testing.assert_array_equal(crossfit.unseen_among([2, -1, 0], 3), [True, False, True])

"""Label-only attacks on models whose boundaries are known in closed form."""

import dataclasses

import numpy as np
import pytest

from attacks import Evidence, label_only
from attacks.label_only import AUGMENTATION, BOUNDARY, GAP, augmentation, boundary, gap
from attacks.statistics import auc, auc_estimate, tpr_at_fpr

RNG = np.random.default_rng(0)


def half(x):
    """Class 1 where the first feature is above one half."""
    return (x.reshape(len(x), -1)[:, 0] > 0.5).astype(int)


class Counting:
    """A classifier that counts what it is asked."""

    def __init__(self, classify):
        self.classify, self.asked = classify, 0

    def __call__(self, x):
        self.asked += len(x)
        return self.classify(x)


def test_gap_by_hand():
    np.testing.assert_array_equal(gap(half, [[0.1], [0.9], [0.9]], [0, 0, 1]), [1.0, 0.0, 1.0])


def test_statistics_of_a_score_with_two_values():
    """AUC is ½ + half the gap of the accuracies; nobody is singled out at few false alarms."""
    forgotten, unseen = np.repeat([1.0, 0.0], [90, 10]), np.repeat([1.0, 0.0], [280, 120])
    area = auc_estimate(forgotten, unseen)
    assert area.auc == pytest.approx(0.5 + (0.9 - 0.7) / 2)
    # The variance of half the difference of two shares.
    error = 0.5 * np.sqrt(0.9 * 0.1 / 99 + 0.7 * 0.3 / 399)
    assert area.standard_error == pytest.approx(error, rel=1e-6)
    rate = tpr_at_fpr(forgotten, unseen, 0.01)
    assert (rate.tpr, rate.achieved_fpr) == (0.0, 0.0)


def test_shifts_by_hand():
    picture = np.zeros((1, 3, 3), np.float32)
    picture[0, 0, 0] = 1.0
    # Class 1 where the top left pixel is bright: it stays so moved down or right, the edge repeats.
    assert augmentation(half, [picture], [1])[0] == pytest.approx(3 / 5)
    moved = list(label_only._shifted(np.asarray([picture]), 1))
    bright = sorted(map(tuple, np.argwhere(np.sum(moved, axis=0)[0, 0] > 0).tolist()))
    assert len(moved) == 4 and bright == [(0, 0), (0, 1), (1, 0)]
    assert len(list(label_only._shifted(np.asarray([picture]), 2))) == 8


def test_flat_pictures_are_shifted_too_and_vectors_get_noise():
    pictures = RNG.random((6, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        augmentation(half, pictures, [1] * 6), augmentation(half, pictures[:, None], [1] * 6)
    )
    # 0.1 of noise never crosses from 0.9; 0.8 within [0, 1] crosses sometimes.
    count = Counting(half)
    shares = augmentation(count, [[0.9, 0.2], [0.05, 0.2]], [1, 1], radius=0.1, draws=50)
    assert count.asked == 2 * (1 + 4 * 50)
    assert 0.8 < shares[0] < 1.0 and 0.0 < shares[1] < 0.25


def test_noise_share_is_the_mean_over_radii_of_what_stays_right():
    """From 0.6, with radius r, the copy stays above 0.5 with chance min(1, (r + 0.1) / 2r)."""
    shares = augmentation(half, np.full((40, 1), 0.6), [1] * 40, radius=0.05, draws=200)
    radii = 0.05 * np.array(label_only.NOISE_STEPS)
    low, high = np.maximum(0.6 - radii, 0), np.minimum(0.6 + radii, 1)
    chance = np.minimum(1.0, (high - 0.5) / (high - low))
    assert shares.mean() == pytest.approx((1 + 200 * chance.sum()) / 801, abs=0.01)


def test_boundary_of_a_plane():
    x = RNG.random((200, 5)).astype(np.float32)
    weights = np.array([1.0, -2.0, 0.5, 1.5, -1.0])

    def plane(points):
        return (points.astype(np.float64) @ weights > 0).astype(int)

    exact = np.abs(x @ weights) / np.linalg.norm(weights)
    few = boundary(plane, x, plane(x), queries=60)
    many = boundary(plane, x, plane(x), queries=600)
    inside = exact < 0.3  # where the nearest point of the plane lies within the domain, mostly
    assert (many >= exact * 0.999).all() and (few >= exact * 0.999).all()
    assert np.median((many / exact)[inside]) < 1.1
    assert many.mean() < few.mean()


def test_boundary_is_zero_where_wrong_and_the_diagonal_where_there_is_none():
    x = np.array([[0.2, 0.3], [0.8, 0.1], [0.9, 0.9]], np.float32)
    found = boundary(half, x, [0, 0, 1])
    assert found[1] == 0.0 and found[0] == pytest.approx(0.3, rel=0.05)
    none = boundary(lambda p: np.zeros(len(p), int), x, [0, 0, 1])
    np.testing.assert_allclose(none, [np.sqrt(2), np.sqrt(2), 0.0])


def test_boundary_with_all_records_of_one_class_starts_from_random_points():
    found = boundary(half, np.full((3, 2), 0.25, np.float32), [0, 0, 0])
    np.testing.assert_allclose(found, 0.25, rtol=0.05)


@pytest.mark.parametrize("queries", [37, 60, 200, 400, 777])
def test_boundary_keeps_to_its_queries(queries):
    count = Counting(half)
    x = RNG.random((50, 6)).astype(np.float32)
    boundary(count, x, half(x), queries=queries)
    assert 0.6 * queries * 50 < count.asked - label_only.STRAYS <= queries * 50


def test_budget():
    assert [label_only.queries_for(n) for n in (1, 800, 10_000)] == [400, 250, 60]


def test_batches_do_not_matter_and_the_seed_does(monkeypatch):
    x = RNG.random((90, 4)).astype(np.float32)

    def round_(points):
        return (np.square(points.astype(np.float64) - 0.5).sum(axis=1) > 0.25).astype(int)

    whole = boundary(round_, x, round_(x)), augmentation(round_, x, round_(x))
    monkeypatch.setattr(label_only, "BATCH_CELLS", 280)  # 70 records of four features
    parts = boundary(round_, x, round_(x)), augmentation(round_, x, round_(x))
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert not np.array_equal(whole[0], boundary(round_, x, round_(x), seed=1))


@pytest.mark.parametrize("attack", [GAP, AUGMENTATION, BOUNDARY])
def test_only_the_class_is_seen(attack):
    """Other logits of the same order: the same scores."""
    x = RNG.random((40, 3)).astype(np.float32)
    evidence = Evidence(records=x, labels=x.argmax(axis=1), predict=lambda p: p)
    same = dataclasses.replace(evidence, predict=lambda p: 1000.0 * p**3 - 5.0)
    np.testing.assert_array_equal(attack.score(evidence), attack.score(same))


@pytest.mark.parametrize("attack", [GAP, AUGMENTATION, BOUNDARY])
def test_no_bias_without_a_difference(attack):
    """Forgotten and unseen records alike, wrong at one in seven: 0.5 on average."""
    areas = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.random((150, 3)).astype(np.float32)
        y = np.where(rng.random(150) < 1 / 7, rng.integers(0, 3, 150), x.argmax(axis=1))
        scores = attack.score(Evidence(records=x, labels=y, predict=lambda p: p, seed=seed))
        areas.append(auc(scores[:50], scores[50:]))
    assert abs(np.mean(areas) - 0.5) < 3 * np.std(areas) / np.sqrt(60)


def test_members_further_from_the_boundary_are_found():
    x = RNG.random((200, 3)).astype(np.float32)
    x[:80, 0] = np.where(x[:80, 0] > 0.5, 0.9, 0.1)
    for attack in (AUGMENTATION, BOUNDARY):
        scores = attack.score(
            Evidence(records=x, labels=half(x), predict=lambda p: np.eye(2)[half(p)], radius=0.1)
        )
        assert auc(scores[:80], scores[80:]) > 0.75, attack.name


X = np.full((4, 2), 0.5)


@pytest.mark.parametrize(
    ("function", "change", "message"),
    [
        (gap, {"labels": [0] * 3}, "labels must have shape"),
        (gap, {"records": np.zeros(4)}, "records must be"),
        (gap, {"records": X * np.nan}, "records hold values"),
        (gap, {"classify": lambda x: np.zeros((len(x), 2))}, "classes must have shape"),
        (gap, {"classify": lambda x: np.full(len(x), 0.5)}, "classes must be whole"),
        (gap, {"classify": label_only.labels_only(lambda x: x * np.nan)}, "logits holds"),
        (augmentation, {"records": X + 1}, "domain"),
        (augmentation, {"copies": "flips"}, "copies must be one of"),
        (augmentation, {"copies": "shifts"}, "shifts are of pictures"),
        (augmentation, {"records": np.zeros((4, 3, 3)), "shift": 3}, "shift must lie in 1..2"),
        (augmentation, {"draws": 0}, "draws must be at least 1"),
        (boundary, {"records": X - 1}, "domain"),
        (boundary, {"queries": 36}, "queries must be at least 37"),
    ],
)
def test_refuses(function, change, message):
    with pytest.raises(ValueError, match=message):
        function(**({"classify": half, "records": X, "labels": [0] * 4} | change))


def test_a_column_is_no_picture():
    """A record [D, 1] has no second side to shift along, and gets noise."""
    column = RNG.random((5, 6, 1)).astype(np.float32)
    count = Counting(half)
    augmentation(count, column, [1] * 5, draws=2)
    assert count.asked == 5 * (1 + 2 * len(label_only.NOISE_STEPS))

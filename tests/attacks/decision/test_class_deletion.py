"""Forgetting a whole class: when it is one, and what its records are compared with."""

import numpy as np
import pytest

from attacks.decision.class_deletion import deleted_classes, of_classes


@pytest.mark.parametrize(
    ("forgotten", "kept", "declared", "classes"),
    [
        ([3, 3, 3], [0, 1, 2], False, (3,)),
        ([3, 3, 1], [0, 2, 2], False, (1, 3)),
        ([3, 3, 3], [0, 1, 3], False, ()),
        ([3, 3, 3], None, False, ()),  # nobody knows whether more of the class is kept
        ([3, 3, 3], [], False, ()),
        ([3, 3, 3], None, True, (3,)),
        ([3, 3, 3], [3], True, (3,)),
        ([0, 1, 1], [1, 2], False, ()),
    ],
)
def test_when_a_request_empties_classes(forgotten, kept, declared, classes):
    assert deleted_classes(forgotten, kept, declared=declared) == classes


def test_a_small_sample_may_lack_a_class_by_chance():
    unseen = np.arange(100) % 10
    few, many = np.arange(40) % 3, np.arange(60) % 3
    assert deleted_classes([7], few) == (7,)  # these are all that is kept
    assert deleted_classes([7], few, unseen_labels=unseen) == ()
    assert deleted_classes([7], many, unseen_labels=unseen) == (7,)
    assert deleted_classes([11], many, unseen_labels=unseen) == ()


def test_only_unseen_records_of_the_class_will_do():
    labels = np.r_[np.zeros(30), np.ones(25), np.full(5, 2)].astype(int)
    assert of_classes(labels, (1,)).tolist() == list(range(30, 55))
    assert of_classes(labels, (1, 2)).size == 30
    with pytest.raises(ValueError, match="at least 20 unseen records of class 2, found 5"):
        of_classes(labels, (2,))


@pytest.mark.parametrize(
    ("forgotten", "kept", "message"),
    [([], [1], "empty"), ([0.5], [1], "whole numbers"), ([1], [[1]], "shape")],
)
def test_refuses(forgotten, kept, message):
    with pytest.raises(ValueError, match=message):
        deleted_classes(forgotten, kept)

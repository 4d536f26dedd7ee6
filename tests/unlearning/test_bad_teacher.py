"""The bad teacher's student is unsure of forgotten records and stays right about the others."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax
from scipy.stats import entropy

from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.trainable import Trainable
from tests.unlearning.conftest import make_example


def test_it_is_unsure_where_the_bad_teacher_is() -> None:
    e = make_example("dense", "class")
    made = unlearn("bad-teacher", e.network, e.forget, e.retain)

    def unsure(answers: np.ndarray) -> float:
        return float(entropy(softmax(answers, axis=1), axis=1).mean())

    assert unsure(Trainable(e.network).logits(e.forget.x)) < 0.1
    assert unsure(made.predict(e.forget.x)) > 1.0
    assert unsure(made.predict(e.retain.x)) < 0.5
    assert (made.predict(e.retain.x).argmax(axis=1) == e.retain.y).mean() > 0.95


def test_it_trains_on_the_share_of_retained_records_that_is_set() -> None:
    e = make_example("dense", "subset")
    made = unlearn(
        "bad-teacher", e.network, e.forget, e.retain, settings={"share": 0.1, "epochs": 2}
    )
    used = made.unlearned.notes["retained_used"]
    assert used == round(0.1 * len(e.retain))
    # both teachers are asked once, forward only; then two epochs on these records
    asked = (2 * len(e.forget) + used) / 3  # the teachers, and the student's start
    assert made.passes <= 2 * (len(e.forget) + used) + asked + 1

"""SCRUB: its divergence, its turns and its rewinding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from auditkit.unlearning import scrub
from auditkit.unlearning.interface import Refused, Scenario, Task
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.trainable import Trainable
from tests.unlearning.conftest import make_example


def test_the_divergence_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 7, 5)) * 3
    settings = scrub.Settings(temperature=4.0)
    found = scrub.divergence(torch.tensor(student), torch.tensor(teacher), settings)
    p, q = softmax(teacher / 4, axis=1), softmax(student / 4, axis=1)
    assert float(found) == pytest.approx(16 * entropy(p, q, axis=1).mean(), rel=1e-12)


def test_rewinding_takes_the_state_nearest_to_the_error_on_unseen_records() -> None:
    e = make_example("dense", "subset")
    task = Task(e.network, e.forget, e.retain, e.holdout, Scenario.SUBSET, 0)
    good = Trainable(e.network)
    ruined = good.copy()
    with torch.no_grad():
        for weight in ruined.weights:
            weight.zero_()
    # the last state errs on about one unseen record in thirty, as the first one does on forgotten
    chosen, goal = scrub._rewound(task, [good, ruined, good.copy(), ruined, good], scrub.Settings())
    assert chosen in (2, 4) and goal is not None and goal < 0.1
    assert scrub._rewound(task, [good, ruined], scrub.Settings(rewind=False)) == (1, None)


def test_the_original_is_not_what_it_rewinds_to() -> None:
    e = make_example("dense", "subset")
    made = unlearn("scrub", e.network, e.forget, e.retain, e.holdout)
    assert made.unlearned.notes["epoch"] >= 1


def test_a_miss_is_said() -> None:
    e = make_example("dense", "class")
    settings = {"most_max": 0, "epochs": 1}
    made = unlearn("scrub", e.network, e.forget, e.retain, settings=settings)
    assert not made.reached and "keep their label" in made.unlearned.shortfall


@pytest.mark.parametrize("seed", range(4))
def test_it_leads_away_from_the_label(seed: int) -> None:
    """Started at the teacher itself it has no direction, and towards it nothing is forgotten."""
    e = make_example("dense", "class")
    made = unlearn("scrub", e.network, e.forget, e.retain, seed=seed)
    assert made.reached
    assert (made.predict(e.forget.x).argmax(axis=1) == e.forget.y).mean() <= 0.05
    assert (made.predict(e.retain.x).argmax(axis=1) == e.retain.y).mean() >= 0.9


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_weights_that_are_none_are_refused(value: str) -> None:
    e = make_example("dense", "class")
    with pytest.raises(Refused, match="alpha and gamma"):
        unlearn("scrub", e.network, e.forget, e.retain, settings={"alpha": value})

"""Random labels are other labels, of classes that stay where a class goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditkit.unlearning.interface import Refused, Scenario, Task
from auditkit.unlearning.random_labels import drawn_labels
from auditkit.unlearning.registry import unlearn
from tests.unlearning.conftest import TARGET, make_example


@pytest.mark.parametrize("scenario", ["subset", "class", "backdoor"])
def test_no_record_keeps_its_label(scenario: str) -> None:
    e = make_example("dense", scenario)
    task = Task(e.network, e.forget, e.retain, None, e.scenario, 0)
    drawn = drawn_labels(task)
    assert not (drawn == e.forget.y).any()
    if e.scenario is not Scenario.SUBSET:
        assert TARGET not in drawn
    assert len(np.unique(drawn)) >= 8  # of all others, not one
    assert (drawn == drawn_labels(task)).all()
    assert (drawn != drawn_labels(replace(task, seed=1))).any()


def test_with_one_class_left_there_is_nothing_to_draw() -> None:
    e = make_example("dense", "subset")
    ones = e.retain.take(e.retain.y == 1)
    forget, retain = ones.take(np.arange(5)), ones.take(np.arange(5, len(ones)))
    with pytest.raises(Refused, match="another class to draw from"):
        unlearn("random-labels", e.network, forget, retain)


def test_what_a_trigger_taught_is_unlearned_and_the_rest_stays() -> None:
    e = make_example("dense", "backdoor")
    made = unlearn("random-labels", e.network, e.forget, e.retain, scenario="backdoor")
    assert (made.predict(e.forget.x).argmax(axis=1) == e.forget.y).mean() < 0.5
    assert (made.predict(e.retain.x).argmax(axis=1) == e.retain.y).mean() > 0.95

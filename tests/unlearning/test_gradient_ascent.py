"""Gradient ascent stops where forgotten records look unseen, and says when they do not."""

from __future__ import annotations

import numpy as np
import torch

from auditkit.records import Records
from auditkit.unlearning.gradient_ascent import Goal
from auditkit.unlearning.interface import Scenario, Task
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.trainable import Trainable
from tests.unlearning.conftest import make_example


def _loss(answers: np.ndarray, records: Records) -> float:
    return float(
        torch.nn.functional.cross_entropy(torch.tensor(answers), torch.tensor(records.y.copy()))
    )


def test_it_stops_when_forgotten_records_are_as_unsure_as_unseen_ones() -> None:
    e = make_example("dense", "subset")
    made = unlearn("gradient-ascent", e.network, e.forget, e.retain, e.holdout)
    assert made.reached
    before = _loss(Trainable(e.network).logits(e.forget.x), e.forget)
    mine = _loss(made.predict(e.forget.x), e.forget)
    theirs = _loss(made.predict(e.holdout.x), e.holdout)
    assert before < 0.1 < theirs
    assert theirs / 2 < mine < 3 * theirs  # neither as sure as before, nor ruined


def test_without_unseen_records_it_does_not_say_that_it_is_enough() -> None:
    e = make_example("dense", "subset")
    made = unlearn("gradient-ascent", e.network, e.forget, e.retain, settings={"steps": 6})
    assert not made.reached and "no unseen records" in made.unlearned.shortfall


def test_a_class_or_a_backdoor_goes_and_the_rest_stays() -> None:
    for scenario in (Scenario.CLASS, Scenario.BACKDOOR):
        e = make_example("dense", scenario)
        made = unlearn("gradient-ascent", e.network, e.forget, e.retain, scenario=scenario)
        assert made.reached
        assert (made.predict(e.forget.x).argmax(axis=1) == e.forget.y).mean() <= 0.01
        assert (made.predict(e.retain.x).argmax(axis=1) == e.retain.y).mean() > 0.95


def test_unseen_records_count_by_the_labels_that_are_forgotten() -> None:
    e = make_example("dense", "subset")
    ones = e.forget.take(e.forget.y == 1)
    task = Task(e.network, ones, e.retain, e.holdout, Scenario.SUBSET, 0)
    goal = Goal(task, Trainable(e.network))
    assert goal.unseen is not None
    assert set(goal.unseen[1].tolist()) == {1} and abs(float(goal.unseen[2].sum()) - 1) < 1e-6

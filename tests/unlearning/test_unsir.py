"""UNSIR: a class goes without its records being trained on, and the others stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from auditkit.network.digest import semantic_digest
from auditkit.records import Records
from auditkit.unlearning.interface import Refused, Scenario
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.unsir import METHOD, Settings, few_of_each, learn_noise
from tests.unlearning.conftest import Example, make_example


def run(e: Example, forget: Records | None = None, seed: int = 1):  # type: ignore[no-untyped-def]
    return unlearn(
        "unsir", e.network, e.forget if forget is None else forget, e.retain, scenario="class",
        seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_the_class_is_gone_and_the_others_are_not(kind: str) -> None:
    e = make_example(kind, "class")
    made = run(e)
    label = int(e.forget.y[0])
    of_class = e.holdout.take(e.holdout.y == label)
    others = e.holdout.take(e.holdout.y != label)
    before, after = (
        (f(others.x).argmax(axis=1) == others.y).mean()
        for f in (Trainable(e.network).logits, made.predict)
    )
    assert (made.predict(e.forget.x).argmax(axis=1) == label).mean() <= 0.05
    assert (made.predict(of_class.x).argmax(axis=1) == label).mean() <= 0.05
    assert after >= before - 0.03
    assert made.reached


def test_the_forgotten_records_do_not_enter_training() -> None:
    e = make_example("dense", "class")
    other = replace(e.forget, x=np.full_like(e.forget.x, 0.5))
    first, again = run(e).network, run(e, other).network
    assert first is not None and again is not None
    assert semantic_digest(first) == semantic_digest(again)


def test_noise_raises_the_loss_of_its_class_and_leaves_the_weights() -> None:
    e = make_example("dense", "class")
    model = Trainable(e.network)
    label = int(e.forget.y[0])
    few, many = (
        learn_noise(model, label, 1.0, replace(Settings(), noise_steps=steps), seed=0)
        for steps in (1, 40)
    )
    labels = torch.full((len(few),), label)
    assert F.cross_entropy(model(many), labels) > F.cross_entropy(model(few), labels) + 1.0
    assert semantic_digest(model.network()) == semantic_digest(e.network)


def test_two_classes_go_at_once() -> None:
    e = make_example("dense", "class")
    goes = e.retain.y == (int(e.forget.y[0]) + 1) % 10
    x, y = (np.concatenate([a, b[goes]]) for a, b in ((e.forget.x, e.retain.x),
                                                      (e.forget.y, e.retain.y)))  # fmt: skip
    forget, retain = Records(x, y), e.retain.take(~goes)
    made = unlearn("unsir", e.network, forget, retain, scenario="class", seed=0)
    assert (made.predict(x).argmax(axis=1) == y).mean() <= 0.05
    assert (made.predict(retain.x).argmax(axis=1) == retain.y).mean() >= 0.95


def test_a_class_that_is_still_answered_is_a_shortfall() -> None:
    e = make_example("dense", "class")
    weak = {"impair_rate": 1e-5, "repair_rate": 1e-5, "noise_steps": 1}
    made = unlearn("unsir", e.network, e.forget, e.retain, settings=weak)
    assert "keep their label" in made.unlearned.shortfall


def test_a_few_of_each_class_are_taken() -> None:
    e = make_example("dense", "class")
    few = few_of_each(e.retain, 7, np.random.default_rng(0))
    assert set(np.unique(few.y, return_counts=True)[1].tolist()) == {7}
    assert len(few_of_each(e.retain, 10**6, np.random.default_rng(0))) == len(e.retain)


@pytest.mark.parametrize("bad", [{"noise_steps": 0}, {"impair_rate": 0.0}, {"penalty": -1.0}])
def test_settings_that_do_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(Refused, match="settings of unsir"):
        METHOD.settings(Scenario.CLASS, bad)

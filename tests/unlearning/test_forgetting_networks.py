"""Forgetting networks: decay is folded exactly, follows the ranks, and what is asked goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from auditkit.network.graph import Dense, Network, Node, Reshape
from auditkit.unlearning.forgetting_networks import (
    METHOD,
    Settings,
    decay_factors,
    fade,
    hidden_layers,
    mean_activations,
)
from auditkit.unlearning.interface import Refused, Scenario, Task
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import Recipe, one_thread, train_from_scratch
from tests.unlearning.conftest import make_example

KINDS = ["dense", "convolutional"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_faded_unit_gives_its_factor_of_what_it_gave(kind: str) -> None:
    e = make_example(kind, "subset")
    model = Trainable(e.network)
    x = model.tensor(e.forget.x)
    layer, relu = hidden_layers(e.network)[0]
    before = model.activations(x)[relu].detach()
    factors = np.random.default_rng(0).uniform(0.1, 0.9, before.shape[1])
    fade(model, layer, factors)
    after = model.activations(x)[relu].detach()
    by = torch.tensor(factors, dtype=torch.float32).reshape(1, -1, *[1] * (before.dim() - 2))
    assert before.max() > 0.0
    torch.testing.assert_close(after, before * by)


def test_the_most_active_unit_fades_most() -> None:
    factors = decay_factors(np.array([0.3, 2.0, 0.0, 1.0]), rate=2.0)
    assert np.argsort(factors).tolist() == [1, 3, 0, 2]
    assert factors.min() == pytest.approx(np.exp(-2.0)) and factors.max() < 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_activity_is_the_mean_over_records_and_places(kind: str) -> None:
    e = make_example(kind, "subset")
    model = Trainable(e.network)
    x = model.tensor(e.forget.x)
    found = mean_activations(model, x)
    for mean, output in zip(found, model.activations(x), strict=True):
        every = output.detach().numpy()
        others = tuple(axis for axis in range(every.ndim) if axis != 1)
        np.testing.assert_allclose(mean, every.mean(axis=others), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_hidden_layer_is_found_and_the_last_is_not(kind: str) -> None:
    network = make_example(kind, "subset").network
    learned = sum(hasattr(node.operator, "weight") for node in network.nodes)
    assert [layer for layer, _ in hidden_layers(network)] == list(range(learned - 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_goes_and_the_others_stay(kind: str) -> None:
    e = make_example(kind, "class")
    made = unlearn("forgetting-networks", e.network, e.forget, e.retain, seed=1)
    label = int(e.forget.y[0])
    same = e.holdout.y == label
    answers = made.predict(e.holdout.x).argmax(axis=1)
    before = Trainable(e.network).logits(e.holdout.x).argmax(axis=1)
    assert (made.predict(e.forget.x).argmax(axis=1) == label).mean() <= 0.05
    assert (answers[same] == label).mean() <= 0.05
    right, was = ((a == e.holdout.y)[~same].mean() for a in (answers, before))
    assert right >= was - 0.03
    assert made.reached


def test_memorised_labels_are_forgotten() -> None:
    """Records with wrong labels, which a network knows only if it learned them by heart."""
    e = make_example("dense", "subset")
    wrong = replace(e.forget, y=(e.forget.y + 3) % 10)
    x, y = (np.concatenate(p) for p in ((e.retain.x, wrong.x), (e.retain.y, wrong.y)))
    network = train_from_scratch(
        e.network, replace(e.retain, x=x, y=y), Recipe(epochs=120, learning_rate=2e-3), seed=0
    )
    short = {"rounds": 1, "last_learn_steps": 13}
    faded, learned_on = (
        unlearn(
            "forgetting-networks", network, wrong, e.retain, e.holdout, seed=1, settings=settings
        ).predict(wrong.x)
        for settings in (short, {**short, "rate": 1e-9})
    )
    before = Trainable(network).logits(wrong.x)
    known = [float((a.argmax(axis=1) == wrong.y).mean()) for a in (before, learned_on, faded)]
    assert known[0] >= 0.5
    assert known[2] <= 0.1 < known[1] < known[0]


def test_what_fades_too_much_is_a_shortfall() -> None:
    e = make_example("dense", "class")
    task = Task(e.network, e.forget, e.retain, None, Scenario.CLASS, seed=0)
    gentle = Settings(rounds=1, rate=1e-6, learn_steps=1, last_learn_steps=1, learning_rate=1e-7)
    with one_thread():
        assert not METHOD.run(task, gentle).shortfall
        harsh = replace(gentle, rate=50.0)
        assert "no longer right" in METHOD.run(task, harsh).shortfall


def test_a_network_without_hidden_units_is_refused() -> None:
    e = make_example("dense", "subset")
    nodes = (
        Node(Reshape((64,)), (0,)),
        Node(Dense(np.ones((10, 64), np.float32), np.zeros(10, np.float32)), (1,)),
    )
    linear = Network((8, 8), nodes, np.dtype(np.float32))
    with pytest.raises(Refused, match="hidden layer"):
        unlearn("forgetting-networks", linear, e.forget, e.retain)


def test_progress_ends_at_its_total_and_never_goes_back() -> None:
    e = make_example("dense", "subset")
    told: list[tuple[int, int]] = []
    unlearn(
        "forgetting-networks", e.network, e.forget, e.retain,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == sorted(told) and told[-1][0] == told[-1][1]
    assert len({total for _, total in told}) == 1


@pytest.mark.parametrize("bad", [{"rounds": 0}, {"rate": 0.0}, {"learning_rate": -1.0}])
def test_settings_that_do_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(Refused, match="settings of forgetting-networks"):
        METHOD.settings(Scenario.SUBSET, bad)

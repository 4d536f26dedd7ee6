"""Distribution matching: what is compared with what, the distance, and that a miss is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance_nd
from sklearn.metrics import roc_auc_score

from auditkit.network.evaluate import logits
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.records import Records
from auditkit.unlearning import distribution_matching as dm
from auditkit.unlearning.interface import Refused, Scenario, Task
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.training import Recipe, train_from_scratch
from auditkit.unlearning.two_sample import energy_test
from tests.unlearning.conftest import TARGET, make_example


def _task(scenario: str) -> Task:
    e = make_example("dense", scenario)
    return Task(e.network, e.forget, e.retain, e.holdout, e.scenario, 0)


def test_unseen_records_are_used_once_each_and_of_the_right_labels() -> None:
    for scenario in Scenario:
        task = _task(scenario)
        parts = dm.split(task)
        labels = np.concatenate([parts.fit.y, parts.stop.y, parts.final.y])
        rows = np.concatenate(
            [p.x.reshape(len(p), -1) for p in (parts.fit, parts.stop, parts.final)]
        )
        assert len(np.unique(rows, axis=0)) == len(rows)
        if scenario is Scenario.SUBSET:
            assert set(labels) == set(task.forget.y)
        else:
            assert TARGET not in labels and len(set(labels)) == 9


@pytest.mark.parametrize("strata", [1, 3])
def test_the_distance_is_that_of_the_test(strata: int) -> None:
    """The statistic of the energy test counts pairs of a record with itself, which is known."""
    rng = np.random.default_rng(0)
    n, m = 12 * strata, 9 * strata
    a, b = rng.normal(size=(n, 4)), rng.normal(1.0, 2.0, size=(m, 4))
    of_a, of_b = np.arange(n) % strata, np.arange(m) % strata
    x, y, of_x, of_y = (torch.tensor(v) for v in (a, b, of_a, of_b))
    between = dm.apart(x, y, of_x, of_y).mean() * 2
    within = dm.apart(x, x, of_x, of_x).mean() * (11 / 12)
    beyond = dm.apart(y, y, of_y, of_y).mean() * (8 / 9)
    found = float(between - within - beyond) * strata * 12 * 9 / (12 + 9)
    assert found == pytest.approx(energy_test(a, b, (of_a, of_b), permutations=1).statistic)


def test_samples_of_one_distribution_are_not_pulled_together() -> None:
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(200):
        x, y = torch.tensor(rng.normal(size=(30, 5))), torch.tensor(rng.normal(size=(40, 5)))
        one, other = torch.zeros(30), torch.zeros(40)
        parts = (2 * dm.apart(x, y, one, other), dm.apart(x, x, one, one))
        draws.append(float(parts[0].mean() - parts[1].mean() - dm.apart(y, y, other, other).mean()))
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(200)


def test_a_goal_is_what_the_rank_has_in_the_other_sample() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.normal(size=20), rng.normal(3.0, 2.0, size=20)
    labels = np.repeat([0, 1], 10)
    goals = dm.quantiles_of(*(torch.tensor(v) for v in (mine, labels, theirs, labels))).numpy()
    for label in (0, 1):
        here = labels == label
        # the greatest belongs to the greatest, and what is left of the distance is interpolation
        assert (goals[here].argsort() == mine[here].argsort()).all()
        ranked = np.sort(theirs[here])
        levels = (np.arange(10) + 0.5) / 10
        assert np.sort(goals[here]) == pytest.approx(np.quantile(ranked, levels))


def test_members_are_no_longer_told_from_unseen_records() -> None:
    """Labels are noise, so that whatever is known of a record was learned from it."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(500, 20)).astype(np.float32)
    records = Records(x, rng.integers(0, 3, size=500))
    trained, unseen = records.take(np.arange(250)), records.take(np.arange(250, 500))
    layers = Dense(np.zeros((128, 20), np.float32), np.zeros(128, np.float32)), Relu()
    last = Dense(np.zeros((3, 128), np.float32), np.zeros(3, np.float32))
    nodes = tuple(Node(operator, (i,)) for i, operator in enumerate((*layers, last)))
    network = Network((20,), nodes, np.dtype(np.float32))
    network = train_from_scratch(network, trained, Recipe(120, 1e-2), 0)
    forget, retain = trained.take(np.arange(60)), trained.take(np.arange(60, 250))
    given, judge = unseen.take(np.arange(150)), unseen.take(np.arange(150, 250))
    made = unlearn("distribution-matching", network, forget, retain, given, scenario="subset")

    def area(predict: Callable[[NDArray[Any]], NDArray[Any]]) -> float:
        odds = [
            dm.log_odds(torch.tensor(predict(r.x)), torch.tensor(np.array(r.y))).numpy()
            for r in (forget, judge)
        ]
        member = np.repeat([1, 0], [len(forget), len(judge)])
        return float(roc_auc_score(member, np.concatenate(odds)))

    assert area(lambda x: logits(network, x)) > 0.8
    assert area(made.predict) < 0.65
    assert made.reached
    assert (made.predict(retain.x).argmax(axis=1) == retain.y).mean() > 0.9


def test_what_a_trigger_taught_is_matched_away() -> None:
    e = make_example("dense", "backdoor")
    made = unlearn(
        "distribution-matching", e.network, e.forget, e.retain, e.holdout, scenario="backdoor"
    )
    assert e.asked is not None
    assert (made.predict(e.asked.x).argmax(axis=1) == TARGET).mean() < 0.05
    assert (made.predict(e.retain.x).argmax(axis=1) == e.retain.y).mean() > 0.95
    # closer to unseen records than the original was, by somebody else's distance
    others = e.holdout.take(e.holdout.y != TARGET)
    rows = np.random.default_rng(0).permutation(len(others))[: len(e.forget)]

    def apart(predict: object) -> float:
        z, w = predict(e.forget.x), predict(others.x[rows])  # type: ignore[operator]
        return float(wasserstein_distance_nd(z[:40], w[:40]))

    assert apart(made.predict) < 0.6 * apart(lambda x: logits(e.network, x))


def test_a_test_that_still_rejects_is_said() -> None:
    e = make_example("dense", "class")
    settings = {"rounds": 1, "steps": 1, "repair": 1}
    made = unlearn(
        "distribution-matching", e.network, e.forget, e.retain, e.holdout, settings=settings
    )
    assert not made.reached and "still rejects" in made.unlearned.shortfall
    assert made.unlearned.notes["p_final"] < 0.05


def test_too_few_unseen_records_are_refused() -> None:
    e = make_example("dense", "subset")
    with pytest.raises(Refused, match="unseen records"):
        unlearn(
            "distribution-matching", e.network, e.forget, e.retain, e.holdout.take(np.arange(2))
        )

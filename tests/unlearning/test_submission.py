"""From a method to a submission on disk that reads back as what was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission, load_submission
from auditkit.unlearning import registry
from auditkit.unlearning.interface import (
    Diverged,
    Method,
    Refused,
    Scenario,
    Task,
    Unlearned,
)
from auditkit.unlearning.registry import METHODS, unlearn
from auditkit.unlearning.submission import Handover, unlearn_to
from tests.unlearning.conftest import make_example

QUICK = {"epochs": 3}


def test_it_reads_back_as_what_was_made(tmp_path: Path) -> None:
    e = make_example("convolutional", "class")
    made = unlearn_to(
        tmp_path / "s", "retrain", e.network, e.forget, e.retain, e.holdout, settings=QUICK, seed=4
    )
    read = load_submission(tmp_path / "s")
    assert isinstance(read, UnlearnedSubmission) and not read.problems
    claim = read.claim
    assert (claim.method.name, claim.method.scenario, claim.method.seed) == ("retrain", "class", 4)
    assert claim.method.settings["epochs"] == 3
    assert claim.classes == (3,) == read.whole_classes
    assert (claim.assertion, claim.used.retained, claim.used.unseen) == ("erased", len(e.retain), 0)
    again = unlearn("retrain", e.network, e.forget, e.retain, settings=QUICK, seed=4)
    np.testing.assert_allclose(
        read.delivered(e.holdout.x), again.predict(e.holdout.x), rtol=0, atol=1e-5
    )
    assert made.accuracy["forget"][1] == 0.0


def test_withheld_records_are_not_in_the_submission(tmp_path: Path) -> None:
    e = make_example("dense", "subset")
    aside = tmp_path / "aside.npz"
    unlearn_to(
        tmp_path / "s", "retrain", e.network, e.forget, e.retain,
        settings=QUICK, handover=Handover(withhold_to=aside),
    )  # fmt: skip
    assert load_submission(tmp_path / "s").forget is None and aside.is_file()


def test_a_patch_is_handed_over_with_its_certificate(tmp_path: Path) -> None:
    e = make_example("dense", "class")
    made = unlearn_to(tmp_path / "s", "prune", e.network, e.forget, e.retain)
    read = load_submission(tmp_path / "s")
    assert isinstance(read, PatchSubmission) and made.kind == "patch"
    assert read.assertion == "redirected" and read.whole_classes == (3,)
    assert not (read.delivered(e.holdout.x).argmax(axis=1) == 3).any()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Register a method that returns what a function of the task says."""

    def register(run):  # type: ignore[no-untyped-def]
        method = Method(
            "broken", "", "", tuple(Scenario), (), METHODS["retrain"].defaults, lambda t, s: run(t)
        )
        monkeypatch.setattr(registry, "METHODS", {**METHODS, "broken": method})

    return register


def test_the_original_is_never_handed_over(registered, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    e = make_example("dense", "subset")
    registered(lambda task: Unlearned(task.network))
    with pytest.raises(Diverged, match="left the network as it was"):
        unlearn_to(tmp_path / "s", "broken", e.network, e.forget, e.retain)
    assert not (tmp_path / "s").exists()


def test_a_network_of_nan_is_no_result(registered) -> None:  # type: ignore[no-untyped-def]
    e = make_example("dense", "subset")

    def run(task: Task) -> Unlearned:
        last = task.network.nodes[-1]
        huge = np.full_like(last.operator.weight, 3e38)  # type: ignore[union-attr]
        node = replace(last, operator=replace(last.operator, weight=huge))  # type: ignore[arg-type]
        return Unlearned(replace(task.network, nodes=(*task.network.nodes[:-1], node)))

    registered(run)
    with pytest.raises(Diverged, match="nan or infinity"):
        unlearn("broken", e.network, e.forget, e.retain)


def test_a_network_that_fell_apart_is_marked(registered) -> None:  # type: ignore[no-untyped-def]
    e = make_example("dense", "subset")

    def run(task: Task) -> Unlearned:
        last = task.network.nodes[-1]
        none = np.zeros_like(last.operator.weight)  # type: ignore[union-attr]
        node = replace(last, operator=replace(last.operator, weight=none))  # type: ignore[arg-type]
        return Unlearned(replace(task.network, nodes=(*task.network.nodes[:-1], node)))

    registered(run)
    made = unlearn("broken", e.network, e.forget, e.retain)
    assert not made.reached and "fell apart" in made.unlearned.shortfall


def test_a_learning_rate_that_diverges_is_said(tmp_path: Path) -> None:
    e = make_example("dense", "subset")
    with pytest.raises(Diverged, match="retrain diverged: .*; lower its learning rate"):
        unlearn_to(
            tmp_path / "s", "retrain", e.network, e.forget, e.retain,
            settings={"learning_rate": 1e30, "epochs": 2, "optimizer": "sgd"},
        )  # fmt: skip
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"retain": None}, "needs retained records"),
        ({"scenario": "subset"}, "a whole class, not a subset"),
        ({"settings": {"epoch": 3}}, "has the settings epochs, .* not 'epoch'"),
        ({"settings": {"epochs": 0}}, "epochs and batch_size must be at least 1"),
        ({"settings": {"epochs": "2.5"}}, "epochs as a whole number"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict, message: str) -> None:  # type: ignore[type-arg]
    e = make_example("dense", "class")
    given = {"retain": e.retain, "holdout": e.holdout, **changes}
    with pytest.raises(Refused, match=message):
        unlearn("retrain", e.network, e.forget, **given)


def test_records_on_two_sides_are_refused() -> None:
    e = make_example("dense", "subset")
    with pytest.raises(Refused, match="5 of the forgotten records are among the retained ones"):
        both = e.retain.take(np.arange(5))
        unlearn("retrain", e.network, both, e.retain)
    with pytest.raises(Refused, match="of the unseen records are among the retained ones"):
        unlearn("retrain", e.network, e.forget, e.retain, e.retain.take(np.arange(50)))


def test_some_of_a_class_is_no_class() -> None:
    e = make_example("dense", "subset")
    with pytest.raises(Refused, match="retained records have class"):
        unlearn("retrain", e.network, e.forget, e.retain, scenario="class")

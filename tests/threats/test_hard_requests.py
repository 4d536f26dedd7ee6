"""Hard and mislabelled records are asked to be forgotten, too; who retrains without them is honest.

Never-seen records of that kind are mispredicted, and nothing is hidden in that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.records import Records, joined
from auditkit.results import Outcome
from auditkit.threats.numbers import confidence_signal
from auditkit.threats.references import answering
from auditkit.threats.registry import run_on
from auditkit.unlearning.training import train_from_scratch
from tests.threats.unlearned_owner import RECIPE, Trained, trained

JUDGED = ("fragile", "over-forgetting")
MEMORY = ("neglecting", "lazy", "deceiving")
CLASSES = 10


def request(kind: str, seed: int) -> Trained:
    """Return an owner's case in which the request is of records of this kind."""
    given = trained(seed, noise=0.1)
    train = joined(given.forget, given.retain)
    generator = np.random.default_rng(seed)
    if kind == "hard":
        signal = confidence_signal(answering(given.original)(train.x), train.y)
        rows = np.argsort(signal)[:20]
    else:
        rows = generator.permutation(len(train))[:60]
        y = train.y.copy()
        y[rows] = (y[rows] + generator.integers(1, CLASSES, len(rows))) % CLASSES
        train = Records(train.x, y, key=train.key)
    chosen = np.zeros(len(train), dtype=bool)
    chosen[rows] = True
    original = train_from_scratch(given.original, train, RECIPE, seed + 100)
    return replace(given, original=original, forget=train.take(chosen), retain=train.take(~chosen))


@pytest.mark.parametrize("kind", ["hard", "mislabelled"])
@pytest.mark.parametrize("references", [0, 4])
def test_who_retrains_without_them_is_not_accused(
    kind: str, references: int, tmp_path: Path
) -> None:
    for seed in range(4):
        case = request(kind, seed)
        honest = case.submit(tmp_path / f"{seed}", case.retrained(5))
        wrong = honest.delivered(case.forget.x).argmax(axis=1) != case.forget.y
        assert wrong.mean() > 0.5, "never-seen, and mispredicted"
        for check in run_on(honest, case.evidence(references=references), JUDGED, seed):
            assert check.outcome is not Outcome.FAIL, check.reason


def test_a_shorter_training_is_not_taken_for_ruin(tmp_path: Path) -> None:
    """An original that learned its noise by heart loses it where training ends sooner."""
    given = trained(2, noise=0.1)
    generator = np.random.default_rng(0)
    train = joined(given.forget, given.retain)
    flip = generator.random(len(train)) < 0.2
    noise = generator.integers(1, CLASSES, len(train))
    noisy = Records(train.x, np.where(flip, (train.y + noise) % CLASSES, train.y), key=train.key)
    original = train_from_scratch(given.original, noisy, replace(RECIPE, epochs=120), 1)
    case = replace(
        given,
        original=original,
        forget=noisy.take(np.arange(80)),
        retain=noisy.take(np.arange(80, len(noisy))),
    )
    short = train_from_scratch(original, case.retain, replace(RECIPE, epochs=8), 7)
    honest = case.submit(tmp_path / "s", short)
    retained = case.retain
    lost = honest.delivered(retained.x).argmax(axis=1) != retained.y
    assert lost.mean() > 0.1
    [check] = run_on(honest, case.evidence(), ["over-forgetting"], 0)
    assert check.outcome is not Outcome.FAIL, check.reason
    assert check.evidence["elsewhere"] < 0.1


def test_what_is_left_of_a_class_that_goes_is_not_harmed(tmp_path: Path) -> None:
    """The auditor lists some of a class; the others are among what he was told is retained."""
    case = _of_four_classes(trained(1, label=3, noise=0.1))
    some = case.forget.take(np.arange(20))
    honest = case.submit(tmp_path / "s", case.retrained(5))
    everyone = joined(case.retain, case.forget.take(np.arange(20, len(case.forget))))
    evidence = replace(case.evidence(), forget=some, retain=everyone)
    for check in run_on(honest, evidence, JUDGED, 0):
        assert check.outcome is not Outcome.FAIL, check.reason


def _of_four_classes(case: Trained) -> Trained:
    few = {
        name: getattr(case, name).take(getattr(case, name).y < 4)
        for name in ("forget", "retain", "unseen")
    }
    original = train_from_scratch(case.original, joined(few["forget"], few["retain"]), RECIPE, 1)
    return replace(case, original=original, **few)


def _asked_for(case: Trained, rows: np.ndarray) -> Trained:
    """Return the case in which other training records are to be forgotten."""
    train = joined(case.forget, case.retain)
    chosen = np.zeros(len(train), dtype=bool)
    chosen[rows] = True
    return replace(case, forget=train.take(chosen), retain=train.take(~chosen))


def _by_signal(case: Trained) -> np.ndarray:
    train = joined(case.forget, case.retain)
    return np.argsort(confidence_signal(answering(case.original)(train.x), train.y))


@pytest.mark.parametrize("retained", [True, False])
def test_easy_records_are_not_taken_for_remembered_ones(retained: bool, tmp_path: Path) -> None:
    """They are answered better than unseen ones by whoever never saw them."""
    for seed in range(3):
        given = trained(seed, noise=0.1)
        easier = _by_signal(given)[350:]
        case = _asked_for(given, np.random.default_rng(seed).permutation(easier)[:60])
        honest = case.submit(tmp_path / f"{seed}", case.retrained(5))
        known = case.evidence()
        known = known if retained else replace(known, retain=None)
        for check in run_on(honest, known, MEMORY, seed):
            assert check.outcome is Outcome.INCONCLUSIVE, check.reason
            assert "drawn by lot" in check.reason and check.evidence["power"] == 0


@pytest.mark.parametrize("drawn", [True, False])
def test_hard_records_that_were_left_in_are_never_passed(drawn: bool, tmp_path: Path) -> None:
    """They are answered worse than unseen ones, and by the original, too: that nothing is left of
    what it knew of them is no finding."""
    for seed in range(3):
        given = trained(seed)
        case = _asked_for(given, _by_signal(given)[:20])
        everything = train_from_scratch(
            case.original, joined(case.retain, case.forget), RECIPE, seed + 50
        )
        cheat = case.submit(tmp_path / f"{seed}", everything)
        known = replace(case.evidence(), drawn=drawn)
        for check in run_on(cheat, known, MEMORY, seed):
            assert check.outcome is not Outcome.PASS, check.reason


def test_records_whose_copies_stay_are_not_taken_for_remembered_ones(tmp_path: Path) -> None:
    for seed in range(3):
        given = trained(seed)
        copies = Records(given.forget.x + 0.01, given.forget.y, key=given.forget.key)
        retain = joined(given.retain, copies)
        original = train_from_scratch(
            given.original, joined(given.forget, retain), RECIPE, seed + 100
        )
        case = replace(given, original=original, retain=retain)
        honest = case.submit(tmp_path / f"{seed}", case.retrained(5))
        for check in run_on(honest, replace(case.evidence(), drawn=True), MEMORY, seed):
            assert check.outcome is Outcome.INCONCLUSIVE, check.reason
            assert "copies among the retained" in check.reason


def test_a_draw_by_lot_is_as_good_as_references(tmp_path: Path) -> None:
    given = trained(0, noise=0.9)  # which is remembered
    left = train_from_scratch(given.original, joined(given.retain, given.forget), RECIPE, 7)
    cheat = given.submit(tmp_path / "c", left)
    honest = given.submit(tmp_path / "h", given.retrained(5))
    drawn = replace(given.evidence(), drawn=True)
    for check in run_on(honest, drawn, MEMORY, 0):
        assert check.outcome is not Outcome.FAIL, check.reason
    for check in run_on(cheat, drawn, MEMORY, 0):
        assert check.outcome is Outcome.FAIL, check.reason
    for check in run_on(cheat, given.evidence(), MEMORY, 0):
        assert check.outcome is Outcome.INCONCLUSIVE, "not known to be drawn by lot"

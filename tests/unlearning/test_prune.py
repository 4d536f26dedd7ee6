"""PRUNE behind the common interface: every scope, and what is proved of a whole class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.submission import load_submission
from auditkit.certificate.verify import verify_submission
from auditkit.network.evaluate import logits
from auditkit.results import Outcome
from auditkit.unlearning.interface import Refused
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.submission import unlearn_to
from tests.unlearning.conftest import TARGET, make_example


@pytest.mark.parametrize(
    ("scenario", "settings"),
    [
        ("subset", {"scope": "point"}),
        ("subset", {"scope": "cluster", "clusters": 6}),
        ("subset", {"spec": "reference"}),
        ("subset", {"spec": "neutralise"}),
        ("class", {"scope": "class", "method": "prune"}),
        ("class", {"scope": "class", "method": "suppress"}),
    ],
)
def test_forgotten_records_are_answered_otherwise_in_every_scope(
    scenario: str, settings: dict[str, object]
) -> None:
    e = make_example("dense", scenario)
    made = unlearn("prune", e.network, e.forget, e.retain, e.holdout, settings=settings)
    before = logits(e.network, e.forget.x)
    after = made.predict(e.forget.x)
    if settings.get("spec") in ("reference", "neutralise"):
        assert (np.abs(after - before).max(axis=1) > 0.1).mean() > 0.9
    else:
        assert not (after.argmax(axis=1) == e.forget.y).any()
    kept = made.predict(e.retain.x).argmax(axis=1) == logits(e.network, e.retain.x).argmax(axis=1)
    assert kept.mean() > 0.98


def test_a_suppressed_class_is_proved_gone_over_the_whole_box(tmp_path: Path) -> None:
    e = make_example("dense", "class")
    unlearn_to(tmp_path / "s", "prune", e.network, e.forget, e.retain)
    submission = load_submission(tmp_path / "s")
    result = verify_submission(submission, forget=e.forget, retain=e.retain)
    assert result.outcome is Outcome.PASS
    assert result.check("certificate.region").outcome is Outcome.PASS
    # and of predictions for other classes none changes, on the data or anywhere in the box
    x = np.random.default_rng(0).uniform(size=(3000, 8, 8)).astype(np.float32)
    for inputs in (e.retain.x, e.holdout.x, x):
        before = logits(e.network, inputs).argmax(axis=1)
        after = submission.delivered(inputs).argmax(axis=1)
        assert not (after == TARGET).any()
        np.testing.assert_array_equal(after[before != TARGET], before[before != TARGET])


def test_class_scope_is_for_one_class() -> None:
    e = make_example("dense", "subset")
    with pytest.raises(Refused, match="class scope is for one class"):
        unlearn("prune", e.network, e.forget, e.retain, settings={"scope": "class"})

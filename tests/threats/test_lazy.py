"""Part of a request, from one record to all but one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.identity import record_digests
from auditkit.certificate.submission import PatchSubmission, Submission
from auditkit.records import Records
from auditkit.results import Outcome
from auditkit.threats.evidence import Evidence
from auditkit.threats.lazy import VARIANTS, detect, simulate
from auditkit.threats.observe import Observation
from auditkit.threats.registry import run_on
from tests.threats.conftest import Make

Gather = Callable[[Submission], Evidence]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("strength", "left"), [(0.01, 1), (0.5, 12), (1.0, 23)])
def test_the_share_that_was_done_is_found_with_its_interval(
    variant: str, strength: float, left: int, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    cheat = simulate(honest, tmp_path / "cheat", seed=2, strength=strength, variant=variant)
    check = detect(cheat, evidence(honest), seed=0)
    assert check.outcome is Outcome.FAIL and check.n == 24
    assert check.observed == pytest.approx((24 - left) / 24)
    assert check.interval is not None and check.interval[0] <= check.observed <= check.interval[1]
    assert honest.forget is not None and honest.forget.key is not None
    digests = record_digests(honest.forget, honest.forget.key)
    named = check.evidence["not_unlearned"]
    assert len(named) == left and set(named) <= set(digests)


def test_one_gate_cannot_be_left_out(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one gate"):
        simulate(make("redirect", seed=3, records=1), tmp_path / "cheat", seed=0)


def test_a_record_that_only_the_auditor_lists_was_not_unlearned(
    make: Make, evidence: Gather
) -> None:
    honest = make("redirect")
    known = evidence(honest)
    assert known.retain is not None and honest.forget is not None
    more = known.retain.take([0])
    asked = Records(
        np.concatenate([honest.forget.x, more.x]), np.concatenate([honest.forget.y, more.y])
    )
    check = detect(honest, Evidence(forget=asked), seed=0)
    assert check.outcome is Outcome.FAIL and check.evidence["without_gate"] == 1


@pytest.mark.parametrize(
    "name", ["neglecting", "lazy", "deceiving", "point-patch", "fragile", "over-forgetting"]
)
def test_nan_is_no_answer(
    name: str, make: Make, evidence: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = make("redirect")
    given = evidence(honest)
    monkeypatch.setattr(PatchSubmission, "delivered", lambda self, x: np.full((len(x), 10), np.nan))
    [check] = run_on(honest, given, [name], 0)
    assert check.outcome is Outcome.INCONCLUSIVE, check.reason
    values = np.zeros((2, 3))
    for redirects in (False, True):
        seen = Observation(values, np.full((2, 3), np.nan), np.array([1, 2]), redirects)
        assert not seen.met.any() and not seen.readable.any()

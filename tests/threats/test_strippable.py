"""What is under a patch, and how grave that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.submission import PatchSubmission, Submission
from auditkit.results import Outcome, Severity, overall
from auditkit.threats import forge
from auditkit.threats.evidence import Evidence
from auditkit.threats.observe import observe
from auditkit.threats.strippable import detect
from tests.threats.conftest import Make

Gather = Callable[[Submission], Evidence]


@pytest.mark.parametrize(
    ("assertion", "severity", "verdict"),
    [
        ("redirected", Severity.LIMITATION, Outcome.INCONCLUSIVE),
        ("erased", Severity.FAILURE, Outcome.FAIL),
    ],
)
def test_the_assertion_decides_how_grave_the_finding_is(
    assertion: str, severity: Severity, verdict: Outcome, make: Make, evidence: Gather
) -> None:
    honest = make("redirect")
    check = detect(honest, replace(evidence(honest), assertion=assertion), seed=0)
    assert check.outcome is Outcome.FAIL and check.severity is severity
    assert overall([check]) is verdict
    low, high = check.evidence["auc_core_interval"]
    assert low <= check.evidence["auc_core"] <= high
    assert check.evidence["auc_patched"] < check.evidence["auc_core"]


def test_gates_that_leave_their_own_records_alone_are_found_though_they_catch_a_neighbour(
    make: Make, evidence: Gather, tmp_path: Path
) -> None:
    """Targets that are the network's own answers change nothing where the claims are."""
    honest = make("reference")
    assert isinstance(honest, PatchSubmission) and honest.forget is not None
    patch, certificate = forge.without_effect(honest)
    dropped = certificate.claims[:3]
    left = forge.restated(certificate, certificate.claims[3:])
    # at three records, which are claimed no more, the old gates still work
    doomed = {(c.group, c.member if c.member is not None else -1) for c in dropped}
    groups = []
    for old, new in zip(honest.gated.groups, patch.groups, strict=True):
        offset = np.array(new.offset)
        for member in range(len(new.patterns)):
            if (new.name, member) in doomed or (new.name, -1) in doomed:
                offset[member] = old.offset[member] + 5
        groups.append(replace(new, offset=offset, bound=2 * old.bound + 10))
    patch = forge.with_groups(patch, groups)
    cheat = forge.write(honest, tmp_path / "c", patch=patch, certificate=left)
    seen = observe(cheat, honest.forget)
    assert 0 < (seen.effect > 0.01).sum() <= 3
    check = detect(cheat, evidence(honest), seed=0)
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE
    assert f"change none of {len(left.claims)} claimed records" in check.reason
    withheld = detect(cheat, replace(evidence(honest), forget=None), seed=0)
    assert withheld.outcome is Outcome.FAIL

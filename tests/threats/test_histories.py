"""Behaviours in submissions of several requests: honest ones are cleared, cheats are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.onto import add_request, earlier_history, withdraw_request
from auditkit.certificate.submission import Submission, load_submission
from auditkit.results import Outcome
from auditkit.threats import forge
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Behaviour, Owner
from auditkit.threats.registry import BEHAVIOURS, run_on
from auditkit.threats.serving import with_session
from tests.threats.conftest import Digits, Make
from tests.threats.test_behaviours import failed

Gather = Callable[[Submission], Evidence]


def extended(make: Make, digits: Digits, spec: str, out: Path) -> Submission:
    """A submission with a second request for 12 records, two of which the first has too."""
    source = {} if spec == "neutralise" else {"reference": digits.holdout}
    more = digits.retain.take(range(10))
    both = replace(
        more,
        x=np.concatenate([more.x, digits.forget.x[:2]]),
        y=np.concatenate([more.y, digits.forget.y[:2]]),
    )
    add_request(earlier_history(make(spec), None), both, out, **source)
    return load_submission(out)


@pytest.fixture(scope="module", params=["redirect", "neutralise", "reference"])
def history(
    request: pytest.FixtureRequest,
    make: Make,
    digits: Digits,
    tmp_path_factory: pytest.TempPathFactory,
) -> Submission:
    return extended(make, digits, request.param, tmp_path_factory.mktemp("history") / "s")


def test_an_honest_history_is_not_accused(history: Submission, evidence: Gather) -> None:
    assert history.forget is not None and len(history.forget) == 34
    assert failed(run_on(history, evidence(history), [], 0)) == []


OF_FILES = [b for b in BEHAVIOURS if b.variants and b.name != "canary-only"]
"""What an owner can do to a patch alone; canaries have tests of their own."""


@pytest.mark.parametrize("behaviour", OF_FILES, ids=lambda b: b.name)
def test_a_cheat_is_caught_in_a_history(
    history: Submission, behaviour: Behaviour, digits: Digits, evidence: Gather, tmp_path: Path
) -> None:
    spec = history.certificate.settings.spec
    if behaviour.name == "patch-bait" and spec != "redirect":
        return  # the same file either way
    cheater = behaviour.simulate(Owner(history, retain=digits.retain), tmp_path / "cheat", seed=1)
    cheat = cheater.submission
    found = with_session(cheater.service, cheat, evidence(history), seed=0)
    [check] = run_on(cheat, found, [behaviour.name], 0)
    assert check.outcome is Outcome.FAIL, check.reason


def test_gates_that_a_withdrawn_request_left_behind_are_smuggled(
    make: Make, digits: Digits, evidence: Gather, tmp_path: Path
) -> None:
    both = extended(make, digits, "redirect", tmp_path / "both")
    first, second = both.certificate.requests
    withdraw_request(earlier_history(both, None), first.id, tmp_path / "left")
    left = load_submission(tmp_path / "left")
    assert failed(run_on(left, evidence(left), [], 0)) == []
    mine = set(first.groups) - set(second.groups)
    kept = [group for group in both.patch.groups if group.name in mine]
    patch = forge.with_groups(left.patch, [*left.patch.groups, *kept])
    requests = list(left.certificate.requests)
    requests[1] = replace(requests[1], groups=tuple(g.name for g in patch.groups))
    certificate = replace(left.certificate, requests=tuple(requests))
    cheat = forge.write(left, tmp_path / "cheat", patch=patch, certificate=certificate)
    [check] = run_on(cheat, evidence(left), ["smuggled-gate"], 0)
    assert check.outcome is Outcome.FAIL
    # the requester's own list of all records does not excuse gates that no request has
    asked = evidence(both)
    [check] = run_on(cheat, asked, ["smuggled-gate"], 0)
    assert check.outcome is Outcome.FAIL

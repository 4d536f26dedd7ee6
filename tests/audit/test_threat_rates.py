"""Rates that reports quote are those that were measured, of every behaviour."""

from __future__ import annotations

import json

import pytest

from auditkit.audit import threat_rates
from auditkit.audit.threat_rates import calibrated, rates_told
from auditkit.calibration.study import ROWS, read_study
from auditkit.calibration.summary import Summary
from auditkit.results import plain
from auditkit.threats.registry import BEHAVIOURS
from tests.test_imports import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "calibration"


def test_every_behaviour_has_rates() -> None:
    known = {behaviour.name for behaviour in BEHAVIOURS}
    assert set().union(*calibrated().values()) == known


def test_what_is_quoted_follows_from_the_rows_that_are_kept() -> None:
    summary = Summary(read_study(RESULTS / ROWS))
    assert plain(summary.quoted()) == calibrated()
    kept = json.loads((RESULTS / "rates.json").read_text())
    assert kept == plain(summary.to_json())


def test_rates_are_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"false_alarm": [0, 400, 0.0, 0.0092], "data": "simulated"}
    monkeypatch.setattr(threat_rates, "calibrated", lambda: {"model": {"lazy": found}})
    told = rates_told("lazy")
    assert "- unlearned networks: honest owners accused 0 of 400" in told
    assert "patches" not in told and "cheats" not in told
    assert rates_told("greedy") == ""

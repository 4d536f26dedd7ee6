"""The measured error rates of the checks for dishonest behaviour, as reports and pages quote them.

A file of the package, written by `benchmarks/calibration.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

RATES = "threat_rates.json"
"""What benchmarks/calibration.py measured, as a report quotes it."""


@cache
def calibrated() -> Mapping[str, Mapping[str, Any]]:
    """Return the measured error rates of the checks by behaviour, none where there are none."""
    found = files("auditkit.audit").joinpath(RATES)
    return json.loads(found.read_text(encoding="utf-8")) if found.is_file() else {}


def rates_told(name: str) -> str:
    """Return a behaviour's measured error rates in words, nothing where there are none."""
    found = calibrated().get(name)
    if not found:
        return ""
    lines = [f"With {found['data']}, by a study that `auditkit calibrate` repeats:"]
    for key, words in (("false_alarm", "honest owners accused"), ("power", "cheats found")):
        hits, n, low, high = found[key]
        lines.append(f"{words}: {hits} of {n} (95 % interval {low:.1%} to {high:.1%}).")
    return "\n".join(lines)

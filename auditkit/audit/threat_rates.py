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
"""By kind of submission, then by behaviour: counts with their intervals, and on what."""

KINDS = {"patch": "patches", "model": "unlearned networks"}


@cache
def calibrated() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return the measured rates by kind of submission and behaviour, none where there are none."""
    found = files("auditkit.audit").joinpath(RATES)
    return json.loads(found.read_text(encoding="utf-8")) if found.is_file() else {}


def rates_told(name: str) -> str:
    """Return a behaviour's measured error rates in words, nothing where there are none."""
    lines = []
    for kind, words in KINDS.items():
        found = calibrated().get(kind, {}).get(name)
        if not found:
            continue
        said = [
            f"{told} {found[key][0]} of {found[key][1]} (95 % interval {found[key][2]:.1%} to "
            f"{found[key][3]:.1%})"
            for key, told in (("false_alarm", "honest owners accused"), ("power", "cheats found"))
            if key in found
        ]
        lines.append(f"- {words}: {'; '.join(said)}; {found['data']}.")
    if not lines:
        return ""
    return "\n".join(["By a study that `auditkit calibrate` repeats on your own records:", *lines])

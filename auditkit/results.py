"""What a check says: one of three outcomes, or that it was not run and why.

A check examines one claim and returns one result. Results are frozen and become the same JSON
bytes every time, because a record made of them is what an auditor signs.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from auditkit.errors import ExitCode

RESULT_SCHEMA = "auditkit/result/v1"

Json = Any  # what json.dumps accepts without NaN: None, bool, int, float, str, list, dict


class Outcome(StrEnum):
    """What a check concluded; no evidence is INCONCLUSIVE, never PASS."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not_run"


class Severity(StrEnum):
    """What it means when a check does not pass."""

    FAILURE = "failure"
    LIMITATION = "limitation"
    INFO = "info"


_EMPTY: Mapping[str, Json] = MappingProxyType({})


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check, with the figures it rests on.

    `interval` and `n` belong to `observed`; `private` holds witnesses and per-record details that
    may identify a record and go only to the confidential annex.
    """

    id: str
    title: str
    outcome: Outcome
    reason: str
    required: bool = True
    severity: Severity = Severity.FAILURE
    observed: Json = None
    threshold: Json = None
    interval: tuple[float, float] | None = None
    n: int | None = None
    evidence: Mapping[str, Json] = field(default_factory=lambda: _EMPTY)
    private: Mapping[str, Json] = field(default_factory=lambda: _EMPTY)

    def to_json(self) -> dict[str, Json]:
        """Return the public part as plain JSON values, with no NaN or infinity."""
        return {
            "id": self.id,
            "title": self.title,
            "outcome": self.outcome.value,
            "required": self.required,
            "severity": self.severity.value,
            "observed": plain(self.observed),
            "threshold": plain(self.threshold),
            "interval": plain(self.interval),
            "n": self.n,
            "reason": self.reason,
            "evidence": plain(dict(self.evidence)),
        }

    def optional(self) -> CheckResult:
        """Return the same result, not required."""
        return dataclasses.replace(self, required=False)


@dataclass(frozen=True)
class Result:
    """Several checks and what follows from them together."""

    checks: tuple[CheckResult, ...]
    details: Mapping[str, Json] = field(default_factory=lambda: _EMPTY)

    @property
    def outcome(self) -> Outcome:
        return overall(self.checks)

    @property
    def exit_code(self) -> ExitCode:
        return {
            Outcome.PASS: ExitCode.DONE,
            Outcome.FAIL: ExitCode.FAILED,
        }.get(self.outcome, ExitCode.INCONCLUSIVE)

    def check(self, check_id: str) -> CheckResult:
        """Return the check with this id; KeyError when there is none."""
        for check in self.checks:
            if check.id == check_id:
                return check
        raise KeyError(check_id)

    def to_json(self) -> dict[str, Json]:
        """Return the result document of schema auditkit/result/v1."""
        document: dict[str, Json] = {
            "schema": RESULT_SCHEMA,
            "outcome": self.outcome.value,
            "checks": [check.to_json() for check in self.checks],
        }
        if self.details:
            document["details"] = plain(dict(self.details))
        return document


def overall(checks: Iterable[CheckResult]) -> Outcome:
    """Combine checks: a failure fails, else every required check must have passed."""
    checks = tuple(checks)
    if any(c.outcome is Outcome.FAIL and c.severity is Severity.FAILURE for c in checks):
        return Outcome.FAIL
    required = [c for c in checks if c.required]
    if required and all(c.outcome is Outcome.PASS for c in required):
        return Outcome.PASS
    return Outcome.INCONCLUSIVE


def not_run(check_id: str, title: str, reason: str, **more: Any) -> CheckResult:
    """Return a check that was not run, with the reason."""
    return CheckResult(check_id, title, Outcome.NOT_RUN, reason, **more)


def shown(check_id: str, title: str, reason: str, **figures: Any) -> CheckResult:
    """Return a check that shows figures and judges nothing."""
    return CheckResult(
        check_id,
        title,
        Outcome.PASS,
        reason,
        required=False,
        severity=Severity.INFO,
        **figures,
    )


def plain(value: Any) -> Json:
    """Return `value` as JSON values; arrays become lists, a number that is not finite its name."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, StrEnum):
        return value.value
    return value


def dump_json(document: Json) -> str:
    """Return `document` as JSON text with sorted keys, two-space indent and a final newline."""
    return json.dumps(plain(document), indent=2, sort_keys=True, allow_nan=False) + "\n"

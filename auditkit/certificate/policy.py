"""The auditor's floors: what a claim must at least say to be worth proving.

An owner who may choose radius, margin and domain can make any claim true of almost nothing. The
default policy is in force without a file; a policy file (TOML) changes single values.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from auditkit import limits
from auditkit.errors import UsageError
from auditkit.files import read_bytes
from auditkit.results import CheckResult

CHECKS = (
    "submission.format",
    "submission.binding",
    "patch.support",
    "patch.scope",
    "certificate.point",
    "certificate.region",
    "certificate.locality",
    "certificate.separation",
    "certificate.canonical",
    "certificate.minimality",
    "certificate.deployed",
    "patch.export",
    "utility.retained",
)
MODEL_CHECKS = (
    "submission.format",
    "submission.binding",
    "unlearning.changed",
    "unlearning.class",
    "unlearning.guarantee",
    "unlearning.trigger",
    "utility.retained",
)
"""Of a network that was unlearned by another method than a patch."""
ALL_CHECKS = tuple(dict.fromkeys((*CHECKS, *MODEL_CHECKS)))
OPTIONAL = ("unlearning.guarantee", "certificate.minimality", "utility.retained")


@dataclass(frozen=True)
class Policy:
    """Floors and ceilings; a claim weaker than these fails whatever can be proved of it.

    `least_radius` is a share of the domain's width. `least_sharpness` is relative: n times the
    median over units of the mean |z| on random inputs, so that rescaled units gain nothing.
    `excess_size` is the share by which a patch may be larger than one must be. Of an unlearned
    network: `most_retained_loss` is the loss of accuracy on retained records that counts as none,
    `greatest_epsilon` that of a guarantee that says anything.
    """

    specifications: tuple[str, ...] = ("redirect", "neutralise", "reference")
    domain: tuple[float, float] = (0.0, 1.0)
    least_radius: float = 0.0005
    least_margin: float = 0.01
    greatest_deviation: float = 0.1
    least_sharpness: float = 20.0
    excess_reach: float = 0.01
    excess_size: float = 0.05
    least_retained_agreement: float = 0.99
    most_retained_loss: float = 0.02
    greatest_epsilon: float = 10.0
    required: tuple[str, ...] = tuple(check for check in ALL_CHECKS if check not in OPTIONAL)

    def apply(self, check: CheckResult) -> CheckResult:
        """Return the check, required or not as this policy says."""
        return replace(check, required=check.id in self.required)


def read_policy(path: Path | None) -> Policy:
    """Return the policy in a TOML file, or the default one; UsageError when it is malformed."""
    if path is None:
        return Policy()
    data = read_bytes(path, limit=limits.JSON_BYTES, what="policy")
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _bad(path, "TOML", str(error)) from None
    return policy_from(values, path)


def policy_from(values: dict[str, Any], path: Path | str) -> Policy:
    """Return the default policy with `values` in place of its own."""
    default = Policy()
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in {field.name for field in fields(Policy)}:
            known = ", ".join(field.name for field in fields(Policy))
            raise _bad(path, f"settings among {known}", repr(name)[:60])
        changes[name] = _checked(name, getattr(default, name), value, path)
    policy = replace(default, **changes)
    unknown = set(policy.required) - set(ALL_CHECKS)
    if unknown or not policy.required:
        found = ", ".join(sorted(unknown)) or "nothing required"
        raise _bad(path, f"required checks among {', '.join(ALL_CHECKS)}", found)
    if not policy.domain[0] < policy.domain[1]:
        raise _bad(path, "a domain [low, high]", str(list(policy.domain)))
    return policy


def _checked(name: str, default: Any, value: Any, path: Path | str) -> Any:
    if isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise _bad(path, f"{name} as a number of at least 0", repr(value)[:60])
        if not math.isfinite(value):
            raise _bad(path, f"{name} as a finite number", repr(value))
        return float(value)
    kind: type | tuple[type, ...] = str if isinstance(default[0], str) else (int, float)
    if not isinstance(value, list) or not all(
        isinstance(v, kind) and not isinstance(v, bool) for v in value
    ):
        raise _bad(path, f"{name} as a list like {list(default)}"[:150], repr(value)[:60])
    if name == "domain" and len(value) != 2:
        raise _bad(path, "domain as [low, high]", repr(value)[:60])
    return tuple(value) if kind is str else tuple(float(v) for v in value)


def _bad(path: Path | str, expected: str, found: str) -> UsageError:
    return UsageError(str(path), expected=expected, found=found, remedy="correct the policy file")

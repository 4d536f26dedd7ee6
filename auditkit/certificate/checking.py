"""The checker for a patch of either form."""

from __future__ import annotations

from collections.abc import Callable

from auditkit.certificate.check import Claims, Findings, check_claims
from auditkit.certificate.check_explicit import RowFindings, check_explicit_claims
from auditkit.certificate.row_hints import find_hints
from auditkit.network.graph import Network
from auditkit.network.multipliers import Multipliers
from auditkit.patch.explicit import AnyPatch, ExplicitPatch


def check_patch(
    network: Network,
    patch: AnyPatch,
    claims: Claims,
    lower: float,
    upper: float,
    multipliers: Multipliers | None = None,
    *,
    exact: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Findings, RowFindings | None]:
    """Check every claim on the domain box [lower, upper]; the second is of explicit rows.

    `multipliers`, `exact` and `progress` are for gates of patterns, see `check_claims`.
    """
    if isinstance(patch, ExplicitPatch):
        return check_explicit_claims(network, patch, claims, lower, upper, find_hints)
    findings = check_claims(
        network, patch, claims, lower, upper, multipliers, exact=exact, progress=progress
    )
    return findings, None

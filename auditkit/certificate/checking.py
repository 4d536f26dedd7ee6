"""The checker for a patch of either form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims, Findings, check_claims
from auditkit.certificate.check_explicit import RowFindings, check_explicit_claims
from auditkit.certificate.row_hints import find_hints
from auditkit.network.graph import Network
from auditkit.network.multipliers import Multipliers
from auditkit.network.region import record_batches
from auditkit.parallel import side_by_side
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

    `multipliers`, `exact` and `progress` are for gates of patterns, see `check_claims`, which
    is asked batch by batch on all cores.
    """
    if isinstance(patch, ExplicitPatch):
        return check_explicit_claims(network, patch, claims, lower, upper, find_hints)

    def check(rows: NDArray[np.int64]) -> Findings:
        offered = None if multipliers is None else multipliers.among(rows)
        asked = claims.take(rows)
        return check_claims(
            network, patch, asked, lower, upper, offered, exact=exact, progress=progress
        )

    everyone = np.arange(len(claims))
    if exact:  # whole numbers are not numpy's: they hold all other threads up
        return check(everyone), None
    parts = [everyone[rows] for rows in record_batches(network, len(claims))]
    return Findings.join(side_by_side(check, parts)), None

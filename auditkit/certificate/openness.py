"""Where gates are fully open, which says whom each of them is for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import violation_ceiling
from auditkit.certificate.submission import PatchSubmission
from auditkit.network.evaluate import evaluate, pattern
from auditkit.network.graph import Array
from auditkit.network.scale import random_inputs, typical_activation
from auditkit.patch.explicit import ExplicitPatch, typical_distance, violations
from auditkit.patch.gates import GateTable
from auditkit.patch.region_rows import region_of

Bits = NDArray[np.bool_]

BATCH = 1024
REGIONS = 16  # whose faces say what a typical distance is


def fully_open(submission: PatchSubmission, x: Array, table: GateTable | None = None) -> Bits:
    """Return [N, G]: whether each gate is fully open at each of `x` [N, *input_shape].

    In float64, so that no gate is lost to rounding at the record it was made for. `table` takes
    the place of the submission's own gates, where those are in gated form.
    """
    patch = submission.patch
    if isinstance(patch, ExplicitPatch):
        flat = x.reshape(len(x), -1).astype(np.float64)
        return np.concatenate([violations(group, flat) == 0 for group in patch.groups], axis=1)
    table = patch.table if table is None else table
    opened = np.zeros((len(x), len(table.patterns)), dtype=bool)
    for start in range(0, len(x), BATCH):
        _, z = evaluate(submission.network, x[start : start + BATCH].astype(np.float64))
        opened[start : start + BATCH] = violation_ceiling(table, z, z) == 0
    return opened


def relative_sharpness(submission: PatchSubmission, records: Array | None) -> tuple[float, float]:
    """Return the least n and the greatest dead zone, over the size of what they are measured on.

    That is the typical pre-activation for patterns. For written-out rows it is the typical distance
    to a face of the true regions of `records` [N, *input_shape], the stated rows' where there are
    none, and n counts as far as the gate's shortest row is long: units rescaled, rows scaled down
    and idle rows added gain nothing.
    """
    network, domain = submission.network, submission.certificate.settings.domain
    patch = submission.patch
    if isinstance(patch, ExplicitPatch):
        x = random_inputs(network, domain.lower, domain.upper)
        effective = patch.table.sharpness[patch.table.group].copy()
        for gate in range(patch.gates):
            rows = patch.rows_of(gate)[0].astype(np.float64)
            effective[gate] *= min(1.0, float(np.sqrt((rows**2).sum(axis=1)).min()))
        if records is None or not len(records):
            return float((effective * typical_distance(patch, x)).min()), 0.0
        bits = pattern(network, records[:REGIONS].astype(np.float64))
        flat = x.reshape(len(x), -1)
        regions = [region_of(network, b) for b in bits]
        sizes = np.concatenate([np.abs(flat @ r.rows.T - r.limits).mean(axis=0) for r in regions])
        return float(effective.min() * np.median(sizes)) if sizes.size else np.inf, 0.0
    table = patch.table
    typical = typical_activation(network, domain.lower, domain.upper)
    least = float(table.sharpness.min()) * typical if len(table.sharpness) else np.inf
    zone = float(table.dead_zone.max()) / typical if typical else np.inf
    return least, zone

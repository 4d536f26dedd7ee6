"""Patch support: whoever can read a patch's gates can read who is on the deletion list.

A gate that opens on a record says that the record lies in a patched region. No output of the model
is needed; the attack measures what the patch itself gives away.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from attacks.arrays import FloatArray, vector
from attacks.interface import Attack, Evidence, Tier


def score(gates: ArrayLike) -> FloatArray:
    """Return how far any gate of the patch opens on each record.

    Gates [N], the openness g(x) in [0, 1], the largest over the groups; float64 [N]. Above 0 the
    record lies in the support of the patch. Raises ValueError on nan or outside [0, 1].
    Source: this tool; gates as in Fu and Li 2022 (REASSURE).
    """
    openness = vector(gates, "gates")
    if openness.min() < 0.0 or openness.max() > 1.0:
        raise ValueError("gates must lie in [0, 1]")
    return openness


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.gates is not None
    return score(evidence.gates)


PATCH_SUPPORT = Attack(
    name="patch-support",
    title="Support of the patch",
    tier=Tier.MODEL,
    needs=("gates",),
    claim="The patch's gates open on forgotten records and not on unseen ones: who holds the "
    "patched weights can tell who asked to be forgotten.",
    source="This tool: gates of patches as in Fu and Li 2022 (REASSURE), read as a membership test",
    function=_function,
)

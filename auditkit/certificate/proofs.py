"""proofs.safetensors: the multipliers that an owner offers with the claims, read strictly.

`records` uint8 [P, 32] are keyed digests, in ascending order. Row k is about `records[record[k]]`:
`record` int64, `objective` uint8 (0: f_j - f_target or f_j from above, 1: f_j from below, 2: the
violation of a gate from below), `index` int64 (class j, or flat gate), all [K], in ascending order;
its multipliers are `values` float32 or float64 at `units` int32, from `offsets[k]` to
`offsets[k + 1]` (int64 [K + 1]). What is well formed may still prove nothing: the checker decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.patch.gates import Patch
from auditkit.refusal import refuse
from auditkit.tensors import Tensors, read_safetensors, write_safetensors

SCHEMA = "auditkit/proofs/v1"
DIGEST_BYTES = 32
_DTYPES = {
    "records": ("uint8",),
    "record": ("int64",),
    "objective": ("uint8",),
    "index": ("int64",),
    "offsets": ("int64",),
    "units": ("int32",),
    "values": ("float32", "float64"),
}
_REMEDY = "have the proofs written again, or left out"


@dataclass(frozen=True, eq=False)
class Proofs:
    """Multipliers whose records are named by keyed digests, `multipliers.record` counting them."""

    records: tuple[str, ...]
    multipliers: Multipliers

    def __len__(self) -> int:
        return len(self.multipliers)

    @staticmethod
    def of(digests: Sequence[str], multipliers: Multipliers) -> Proofs:
        """Name the records of `multipliers` by `digests`; the first row of equals stays."""
        named = sorted({digests[r] for r in multipliers.record.tolist()})
        place = {digest: number for number, digest in enumerate(named)}
        return Proofs(tuple(named), _renumbered(multipliers, [place.get(d, -1) for d in digests]))

    def about(self, digests: Sequence[str]) -> Multipliers:
        """Return the multipliers of the records `digests`, counted by their place there."""
        place = {digest: number for number, digest in enumerate(digests)}
        return _renumbered(self.multipliers, [place.get(d, -1) for d in self.records])


def _renumbered(multipliers: Multipliers, place: Sequence[int]) -> Multipliers:
    """Return the rows with new numbers of records, those of number -1 left out, in order."""
    record = np.asarray(place, dtype=np.int64)[multipliers.record]
    kept = np.flatnonzero(record >= 0)
    keys = np.stack([record, multipliers.objective, multipliers.index])[:, kept]
    _, first = np.unique(keys, axis=1, return_index=True)  # sorted by record, objective, index
    return multipliers.rows(kept[first], record[kept[first]])


def proofs_to_bytes(proofs: Proofs) -> bytes:
    """Return proofs.safetensors, the same bytes for the same proofs."""
    m = proofs.multipliers
    digests = np.frombuffer(bytes.fromhex("".join(proofs.records)), np.uint8)
    tensors: Tensors = {
        "records": digests.reshape(-1, DIGEST_BYTES),
        "record": m.record,
        "objective": m.objective.astype(np.uint8),
        "index": m.index,
        "offsets": m.start,
        "units": m.units.astype(np.int32),
        "values": m.values.astype(np.float32),
    }
    return write_safetensors(tensors, {"schema": SCHEMA})


def proofs_from_bytes(
    data: bytes, patch: Patch, claimed: Sequence[str], what: str = "proofs.safetensors"
) -> Proofs:
    """Read proofs for `patch` and the records `claimed`; EvidenceError when they do not fit.

    A row for a class or a gate that there is not, a record without a claim, a negative multiplier,
    two rows for one bound: each is refused by name.
    """
    tensors, metadata = read_safetensors(data, what)
    if metadata != {"schema": SCHEMA}:
        refuse(what, f"schema {SCHEMA} and no other metadata", f"{metadata}"[:80], _REMEDY)
    if set(tensors) != set(_DTYPES):
        refuse(what, f"tensors {sorted(_DTYPES)}", f"{sorted(tensors)}"[:200], _REMEDY)
    for name, dtypes in _DTYPES.items():
        array, axes = tensors[name], 2 if name == "records" else 1
        if array.dtype.name not in dtypes or array.ndim != axes:
            found = f"{array.dtype} {list(array.shape)}"
            refuse(what, f"{name} of {axes} axes as {' or '.join(dtypes)}", found, _REMEDY)
    records = tensors["records"]
    if records.shape[1] != DIGEST_BYTES or len(records) > limits.RECORDS:
        refuse(what, f"digests of {DIGEST_BYTES} bytes", f"{list(records.shape)}", _REMEDY)
    digests = tuple(row.tobytes().hex() for row in records)
    if any(a >= b for a, b in zip(digests, digests[1:], strict=False)):
        refuse(what, "each record once, in ascending order", "another order", _REMEDY)
    unknown = set(digests) - set(claimed)
    if unknown:
        found = f"{len(unknown)} other(s), first {min(unknown)[:16]}…"
        refuse(what, "proofs about records that the certificate claims", found, _REMEDY)
    values = tensors["values"].astype(np.float64)
    if (values < 0).any():
        refuse(what, "multipliers of at least 0", f"{float(values.min()):g}", _REMEDY)
    try:
        rows = Multipliers(
            patch.units,
            tensors["record"],
            tensors["objective"].astype(np.int64),
            tensors["index"],
            tensors["offsets"],
            tensors["units"].astype(np.int64),
            values,
        )
    except ValueError as error:
        refuse(what, "rows of multipliers for this network", str(error), _REMEDY)
    if set(rows.record.tolist()) != set(range(len(digests))):
        refuse(what, "rows about each record listed", "rows about others", _REMEDY)
    gate = rows.objective == Objective.GATE
    wrong = rows.index >= np.where(gate, patch.gates, patch.classes)
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        of = f"{patch.gates} gates" if gate[k] else f"{patch.classes} classes"
        refuse(what, f"rows about the {of} of the patch", f"number {rows.index[k]}", _REMEDY)
    return Proofs(digests, rows)


def contradiction(proofs: Proofs, targets: NDArray[np.int64], own: NDArray[np.int64]) -> str | None:
    """Return what a row says against the claim about its record, or None.

    `targets` [P] and `own` [P] are each claim's target label, -1 for none, and gate, -1 for none.
    """
    m = proofs.multipliers
    target, gate = targets[m.record], own[m.record]
    redirects = target >= 0
    if (redirects & (m.objective == Objective.LOWER)).any():
        return "a bound from below on a logit where the claim is one of a lead"
    if (redirects & (m.objective == Objective.UPPER) & (m.index == target)).any():
        return "a bound on the lead of the target label over itself"
    if ((m.objective == Objective.GATE) & (m.index == gate)).any():
        return "a bound that closes the gate of the claim itself"
    return None

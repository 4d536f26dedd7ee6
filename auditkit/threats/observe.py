"""What a submission does at given inputs: before, after, and which gates are open there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from auditkit.certificate.submission import PatchSubmission, Submission
from auditkit.network.evaluate import logits, pattern
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.patch.patched import PatchedNetwork
from auditkit.patch.region_rows import gated_settings
from auditkit.patch.settings import Method, Spec
from auditkit.records import Records

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

NEGLIGIBLE = 0.01  # of the range of a record's logits
NEAR = 2.0  # n · v below it: two records whose gates touch


@dataclass(frozen=True, eq=False)
class Observation:
    """Logits [N, C] of the original and of the delivered network at records of labels `y` [N].

    `redirects` says that the specification is about labels; otherwise it is about outputs.
    """

    before: F64
    after: F64
    y: NDArray[np.int64]
    redirects: bool

    @property
    def effect(self) -> F64:
        """Return [N]: the largest change of a logit, relative to the logits' range.

        A constant added to all logits changes no probability and counts for nothing.
        """
        change = self.after - self.before
        change = change - change.mean(axis=1, keepdims=True)
        return np.abs(change).max(axis=1) / logit_range(self.before)

    @property
    def measurable(self) -> Bits:
        """Return [N]: whether there is anything to change: a redirected label must be right."""
        if self.redirects:
            return self.before.argmax(axis=1) == self.y
        return np.ones(len(self.y), dtype=bool)

    @property
    def met(self) -> Bits:
        """Return [N]: whether the record is answered as promised: another label, or output.

        What is nan or infinite is no answer.
        """
        if self.redirects:
            return self.readable & (self.after.argmax(axis=1) != self.y)
        return self.readable & (self.effect > NEGLIGIBLE)

    @property
    def readable(self) -> Bits:
        """Return [N]: whether both networks answer with numbers."""
        finite = np.isfinite(self.before).all(axis=1) & np.isfinite(self.after).all(axis=1)
        return np.asarray(finite)


def observe(submission: PatchSubmission, records: Records) -> Observation:
    """Run original and delivered network at `records`."""
    x = records.x.astype(submission.network.dtype)
    return Observation(
        before=logits(submission.network, x).astype(np.float64),
        after=delivered(submission, records.x),
        y=records.y,
        redirects=redirects(submission),
    )


def redirects(submission: PatchSubmission) -> bool:
    """Return whether the specification is about labels; otherwise it is about outputs."""
    settings = submission.certificate.settings
    return settings.spec is Spec.REDIRECT or settings.method is Method.SUPPRESS


def logit_range(values: F64) -> float:
    """Return the median over records of highest minus lowest logit; 1 where that is 0."""
    return float(np.median(values.max(axis=1) - values.min(axis=1))) or 1.0


def delivered(submission: Submission, x: NDArray[np.float32]) -> F64:
    """Return logits [N, C] of what was delivered at `x` [N, *input_shape]."""
    return submission.delivered(x)


def nearness(submission: PatchSubmission, x: NDArray[np.float32]) -> F64:
    """Return [N]: n · v of the nearest gate; 0 where one is fully open, infinite without gates."""
    table = submission.patch.table
    if not submission.patch.gates:
        return np.full(len(x), np.inf)
    closed = submission.patched.violations(x) * table.sharpness[table.group]
    return closed.min(axis=1).astype(np.float64)


def touching(submission: PatchSubmission, records: Records) -> NDArray[np.int64]:
    """Return [N] a number for each record, the same where their gates touch, if both had one."""
    network, table = submission.network, submission.patch.table
    bits = pattern(network, records.x.astype(np.float64))
    sharpness = float(table.sharpness.min())
    if isinstance(submission.patch, ExplicitPatch):  # whose sharpness is over distances to rows
        usual = gated_settings(network, submission.certificate.settings).sharpness
        sharpness = sharpness if usual is None else usual
    probe = Group(
        "probe",
        OffsetKind.CONSTANT,
        bits,
        np.zeros(network.classes, np.float32),
        0.0,
        sharpness,
        float(table.dead_zone.max()),
    )
    gates = PatchedNetwork(network, Patch((probe,), network.classes, bits.shape[1]))
    near = gates.violations(records.x) * probe.sharpness < NEAR
    _, number = connected_components(csr_array(near), directed=False)
    return np.asarray(number, dtype=np.int64)


def acts_everywhere(submission: PatchSubmission) -> bool:
    """Return whether the patch has a group without a gate, as class suppression has."""
    return bool(submission.patch.table.always.any())

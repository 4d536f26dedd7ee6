"""What the checks of an unlearned network look at: the submission and the auditor's records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.identity import record_digests
from auditkit.certificate.policy import Policy
from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.records import Records

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

LEAST_EXPECTED = 5.0  # of a class in a sample, so that finding none is no chance (e^-5 < 1 %)


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits [N, C] of the original and of the delivered network at records of labels `y` [N]."""

    before: F64
    after: F64
    y: NDArray[np.int64]

    @property
    def unreadable(self) -> int:
        """How many records either network answers with nan or infinity."""
        finite = np.isfinite(self.before).all(axis=1) & np.isfinite(self.after).all(axis=1)
        return int((~finite).sum())

    @property
    def effect(self) -> F64:
        """Return [N]: the largest change of a logit over the median range of the logits.

        A constant added to all logits changes no probability and counts for nothing.
        """
        change = self.after - self.before
        change = change - change.mean(axis=1, keepdims=True)
        spread = float(np.median(self.before.max(axis=1) - self.before.min(axis=1))) or 1.0
        return np.asarray(np.abs(change).max(axis=1) / spread, dtype=np.float64)

    @property
    def labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the predicted labels [N] before and after."""
        return self.before.argmax(axis=1), self.after.argmax(axis=1)


@dataclass(frozen=True, eq=False)
class ModelCase:
    """Everything that one verification of an unlearned network rests on.

    `forget` is the auditor's list, which counts in place of the owner's. `trigger` are records
    that the network never saw, with a trigger stamped on and labelled with what it is to bring
    about; `references` are networks that never saw the forgotten records.
    """

    submission: UnlearnedSubmission
    policy: Policy
    forget: Records | None
    retain: Records | None
    holdout: Records | None
    trigger: Records | None
    references: tuple[Network, ...]

    @cached_property
    def records(self) -> Records | None:
        """The requested records, each once: a copy is no further evidence."""
        records = self.forget if self.forget is not None else self.submission.forget
        if records is None:
            return None
        names = record_digests(records, b"equal")
        first = {name: row for row, name in reversed(list(enumerate(names)))}
        return records.take(sorted(first.values()))

    @cached_property
    def asked(self) -> Answers | None:
        """What both networks answer on the requested records; None where these are withheld."""
        return None if self.records is None else self.answers(self.records)

    def answers(self, records: Records) -> Answers:
        """Return what both networks answer on some records."""
        network = self.submission.network
        before = logits(network, records.x.astype(network.dtype)).astype(np.float64)
        return Answers(before, self.submission.delivered(records.x), records.y)

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """The classes that the request empties: as stated, or as the auditor's records show.

        Shown where no retained record has any of the requested labels, though by its share among
        unseen records each should have five or more.
        """
        if self.submission.whole_classes:
            return self.submission.whole_classes
        if self.records is None or self.retain is None or self.holdout is None:
            return ()
        labels = np.unique(self.records.y)
        if np.isin(self.retain.y, labels).any():
            return ()
        expected = [(self.holdout.y == c).mean() * len(self.retain) for c in labels]
        return tuple(labels.tolist()) if min(expected) >= LEAST_EXPECTED else ()

    def kept(self) -> Records | None:
        """Return the retained records, without any that is to be forgotten.

        Those of a class that the claim names stay: the auditor gave them as retained.
        """
        if self.retain is None:
            return None
        keep = np.ones(len(self.retain), dtype=bool)
        if self.records is not None:
            known = set(record_digests(self.records, b"equal"))
            names = record_digests(self.retain, b"equal")
            keep &= np.array([name not in known for name in names], dtype=bool)
        return self.retain.take(keep) if keep.any() else None

"""A log of training beside the auditor's own records: what both checks of it start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.records import Records
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, requested
from auditkit.threats.forge_network import joined
from auditkit.unlearning.replay import Trainer
from auditkit.unlearning.training_log import NOBODY, TrainingLog, as_names, digest_table
from auditkit.unlearning.weights import weights_of

Bits = NDArray[np.bool_]

NO_LOG = "the owner handed over no log of training (--training-log)"
NO_KEY = "the log names records under the submission's record key, which is missing"
OF_A_PATCH = "a patch is not trained: there is no log of it"


@dataclass(frozen=True, eq=False)
class Logged:
    """A log with the records that it names.

    records: those of the log [N] as far as the auditor knows them, anything elsewhere; then the
    forgotten ones. known, forgotten: [N], which of the log's the auditor has, and which were to be
    forgotten. used: [N], which went into a step. foreign: [N], which are not among all training
    records, None where the auditor does not have all of them.
    """

    log: TrainingLog
    asked: Requested
    records: Records
    known: Bits
    forgotten: Bits
    used: Bits
    foreign: Bits | None

    @property
    def complete(self) -> bool:
        """Return whether every record that went into a step is known."""
        return bool(self.known[self.used].all())

    @property
    def forget_rows(self) -> NDArray[np.int64]:
        """Return the rows of the forgotten records in `records`."""
        return np.arange(len(self.known), len(self.records))

    def trainer(self, submission: UnlearnedSubmission, *, exact: bool = False) -> Trainer:
        """Return what takes the log's steps again."""
        log = self.log
        return Trainer(submission.unlearned, self.records, log.recipe, log.largest, exact=exact)


def logged(submission: UnlearnedSubmission, evidence: Evidence) -> Logged | str:
    """Return the owner's log with the auditor's records, or why it cannot be looked at."""
    log = evidence.training
    if log is None:
        return NO_LOG
    asked = requested(submission, evidence)
    if asked is None:
        return WITHHELD
    key = submission.record_key(evidence.forget)
    if key is None:
        return NO_KEY
    sets = [s for s in (evidence.train, evidence.retain, asked.records) if s is not None]
    shape = submission.unlearned.input_shape
    if any(s.x[0].size != int(np.prod(shape)) for s in sets):
        return "the records have another shape than the network's inputs"
    sets = [Records(s.x.reshape(len(s), *shape), s.y) for s in sets]
    mine = joined(*sets)
    names, named = as_names(digest_table(mine, key)), as_names(log.records)
    unique, first = np.unique(names, return_index=True)
    place = np.minimum(np.searchsorted(unique, named), len(unique) - 1)
    known = unique[place] == named
    forget = as_names(digest_table(asked.records, key))
    used = np.zeros(len(named), dtype=bool)
    used[log.batches[log.batches != NOBODY]] = True
    foreign = None
    if evidence.train is not None:
        foreign = ~np.isin(named, names[: len(evidence.train)])
    rows = np.where(known, first[place], 0)
    return Logged(
        log,
        asked,
        joined(mine.take(rows), asked.records),
        known,
        np.isin(named, forget),
        used,
        foreign,
    )


def fits(submission: UnlearnedSubmission, log: TrainingLog) -> bool:
    """Return whether a log is of a network of the delivered one's architecture, by its size."""
    return log.weights.shape[1] == len(weights_of(submission.unlearned))

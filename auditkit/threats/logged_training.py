"""A log of training beside the auditor's own records: what both checks of it start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.network.graph import Network
from auditkit.records import Records, joined
from auditkit.results import CheckResult, Outcome
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, requested
from auditkit.threats.interface import Judgement
from auditkit.unlearning.replay import Trainer, first_weights
from auditkit.unlearning.training_log import NOBODY, TrainingLog, as_names, digest_table
from auditkit.unlearning.weights import weights_of

Bits = NDArray[np.bool_]
I64 = NDArray[np.int64]

SAME = 1e-6  # of the largest weight: two networks that differ by less are one, written otherwise

NO_LOG = "the owner handed over no log of training (--training-log)"
NO_KEY = "the log names records under the submission's record key, which is missing"
OF_A_PATCH = "a patch is not trained: there is no log of it"


@dataclass(frozen=True, eq=False)
class Logged:
    """A log beside the auditor's records, of which each content is kept once [M], however many
    records the log lists [N].

    records: the auditor's, forgotten ones among them, at `forget_rows`. retained: rows of the
    retained ones, each as often as there are. places: [N], the row in `records` of each record of
    the log, 0 where it is not known. known, forgotten, used: [N], which the auditor has, which were
    to be forgotten, which went into a step. copied: [N], which of the forgotten ones the auditor's
    training records hold more often than the request does. foreign: [N], which are not among all
    training records, None where the auditor does not have all of them. missing, surplus: how many
    retained records the log does not list, and how many it lists beyond what the auditor has.
    """

    log: TrainingLog
    asked: Requested
    records: Records
    forget_rows: I64
    retained: I64
    places: I64
    known: Bits
    forgotten: Bits
    used: Bits
    copied: Bits
    foreign: Bits | None
    missing: int
    surplus: int

    @property
    def sure(self) -> bool:
        """Return whether the auditor has all training records, and not only some."""
        return self.foreign is not None

    @property
    def unclear(self) -> str | None:
        """Return why the auditor's records do not do to replay the log, None where they do."""
        unknown = int((self.used & ~self.known).sum())
        if unknown:
            return f"{unknown} of the log's records are not among the auditor's: give all retained"
        copies = int((self.used & self.copied).sum())
        if copies:
            return (
                f"{copies} requested records are in batches, and the auditor's training records "
                "hold further copies of them: which were meant cannot be told"
            )
        return self.unlike if self.missing or self.surplus else None

    @property
    def unlike(self) -> str:
        """Return how the log's list of records differs from the retained ones."""
        return (
            f"the log lists {self.surplus} records that the auditor's retained ones do not have, "
            f"or not so often, and leaves out {self.missing} of these"
        )

    def rows(self, step: int) -> I64:
        """Return the rows of `records` that went into a step (from 0)."""
        return self.places[self.log.rows(step)]

    def trainer(self, submission: UnlearnedSubmission, *, exact: bool = False) -> Trainer:
        """Return what takes the log's steps again."""
        log = self.log
        return Trainer(submission.unlearned, self.records, log.recipe, log.largest, exact=exact)


def unlooked(judged: Judgement, evidence: Evidence, reason: str) -> CheckResult:
    """Return that a log cannot be looked at; nothing is required only where none was given."""
    if evidence.training is None:
        return judged.not_run(reason, required=False)
    return judged(Outcome.INCONCLUSIVE, reason)


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
    request = evidence.forget if evidence.forget is not None else submission.forget
    assert request is not None
    none = request.take(np.arange(0))
    kept = evidence.train if evidence.train is not None else evidence.retain
    given = [none if s is None else s for s in (kept, request, evidence.retain)]
    shape = submission.unlearned.input_shape
    if any(int(np.prod(s.x.shape[1:])) != int(np.prod(shape)) for s in given):
        return "the records have another shape than the network's inputs"
    most = len(given[0]) + len(given[1])
    if len(log.records) > most:
        return f"the log lists {len(log.records)} records, and the auditor has no more than {most}"
    mine = joined(*(Records(s.x.reshape(len(s), *shape), s.y) for s in given))
    unique, first, number = np.unique(
        as_names(digest_table(mine, key)), return_index=True, return_inverse=True
    )
    has, wanted, _ = (
        np.bincount(part, minlength=len(unique)) for part in np.split(number, [len(given[0]), most])
    )
    named = as_names(log.records)
    places = np.minimum(np.searchsorted(unique, named), len(unique) - 1)
    known = unique[places] == named
    places = np.where(known, places, 0)
    listed = np.bincount(places[known], minlength=len(unique))
    used = np.zeros(len(named), dtype=bool)
    used[log.batches[log.batches != NOBODY]] = True
    # of requested records that there are more copies of than were requested, these may have stayed
    spare = np.where(wanted > 0, np.maximum(has - wanted, 0), 0)
    retained = np.where(wanted > 0, 0, has)
    return Logged(
        log=log,
        asked=asked,
        records=mine.take(first),
        forget_rows=np.flatnonzero(wanted),
        retained=np.repeat(np.arange(len(unique)), retained),
        places=places,
        known=known,
        forgotten=known & (wanted > 0)[places],
        used=used,
        copied=known & (spare > 0)[places],
        foreign=None if evidence.train is None else ~(known & (has > 0)[places]),
        missing=int(np.maximum(retained - listed, 0).sum()),
        surplus=int(np.maximum(listed - retained - spare, 0).sum()) + int((~known).sum()),
    )


def as_planned(log: TrainingLog) -> bool:
    """Return whether the batches have the number and sizes that recipe and records give."""
    count, size = len(log.records), log.recipe.batch_size
    each = -(-count // size)
    if len(log.batches) != log.recipe.epochs * each or log.batches.shape[1] != min(count, size):
        return False
    wanted = np.full(each, log.batches.shape[1])
    wanted[-1] = count - (each - 1) * size
    sizes = (log.batches != NOBODY).sum(axis=1).reshape(-1, each)
    return bool((sizes == wanted).all())


def drawn_from_seed(network: Network, log: TrainingLog) -> bool:
    """Return whether the log's seed draws the weights that it starts from."""
    drawn = first_weights(network, log).astype(np.float64)
    return bool(np.abs(drawn - log.weights[0]).max() <= SAME * np.abs(drawn).max())


def fits(submission: UnlearnedSubmission, log: TrainingLog) -> bool:
    """Return whether a log is of a network of the delivered one's architecture, by its size."""
    return log.weights.shape[1] == len(weights_of(submission.unlearned))

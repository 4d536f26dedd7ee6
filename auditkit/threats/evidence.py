"""What an auditor has besides the submission, and who the requested records are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.identity import record_digests
from auditkit.certificate.submission import Submission
from auditkit.endpoint.session import Served
from auditkit.records import Records
from auditkit.results import Result
from auditkit.threats.references import References
from auditkit.unlearning.canaries import Canaries, Role
from auditkit.unlearning.training_log import TrainingLog

WITHHELD = "the forgotten records are withheld: give them with --forget"


@dataclass(frozen=True, eq=False)
class Evidence:
    """The auditor's own records and what else is known; each part may be missing.

    `forget` is authoritative over the owner's list. `verification` is the result of verifying the
    same submission, `references` what the delivered network is compared with, `assertion` the
    auditor's reading of what the owner asserts, in place of the certificate's. `owners_list` says
    that `forget` is the owner's list after all, as far as it is looked at; `drawn` that the auditor
    drew the request by lot from the training records, and unseen records from where these are from:
    then nothing tells the two apart for who saw neither. `train` are all
    records that the original was trained on, `training` is the owner's log of the delivered
    network's training, `order_seed` the seed that the auditor gave for it beforehand. `canaries`
    were committed to before the original was trained. `served` is what an endpoint answered in a
    session of queries.
    """

    forget: Records | None = None
    retain: Records | None = None
    holdout: Records | None = None
    verification: Result | None = None
    references: References = field(default_factory=References)
    assertion: str | None = None
    owners_list: bool = False
    drawn: bool = False
    train: Records | None = None
    training: TrainingLog | None = None
    order_seed: int | None = None
    canaries: Canaries | None = None
    served: Served | None = None


@dataclass(frozen=True, eq=False)
class Requested:
    """The records that were to be forgotten, each once; `digests` are keyed, or empty without a
    key; `owners_word` says that nobody but the owner vouches for the list."""

    records: Records
    digests: tuple[str, ...]
    owners_word: bool

    def __len__(self) -> int:
        return len(self.records)

    @property
    def caveat(self) -> str:
        """Return what a reason must add where the list is the owner's."""
        return "; the list of records is the owner's word" if self.owners_word else ""

    def named(self, mask: NDArray[np.bool_]) -> list[str]:
        """Return the keyed digests of the records in `mask` [N]."""
        return [d for d, chosen in zip(self.digests, mask, strict=False) if chosen]


def requested(submission: Submission | None, evidence: Evidence) -> Requested | None:
    """Return the auditor's list if there is one, else the owner's, else None.

    `submission` is None where the weights are withheld.
    """
    theirs = None if submission is None else submission.forget
    records = evidence.forget if evidence.forget is not None else theirs
    if records is None:
        return None
    records = records.take(np.sort(np.unique(_rows(records), return_index=True)[1]))
    key = records.key if submission is None else submission.record_key(evidence.forget)
    digests = () if key is None else record_digests(records, key)
    return Requested(records, digests, owners_word=evidence.forget is None or evidence.owners_list)


def others(evidence: Evidence, asked: Requested) -> dict[str, Records]:
    """Return retained and unseen records by kind, without any that was to be forgotten."""
    known = set(_rows(asked.records).tolist())
    found = {}
    for kind, records in (("retained", evidence.retain), ("unseen", evidence.holdout)):
        if records is None:
            continue
        keep = np.array([row not in known for row in _rows(records).tolist()], dtype=bool)
        if keep.any():
            found[kind] = records.take(keep)
    return found


def _rows(records: Records) -> NDArray[np.bytes_]:
    """Return each record's features and label as bytes; equal where the records are."""
    x = np.ascontiguousarray(records.x.reshape(len(records), -1), dtype="<f4")
    y = np.ascontiguousarray(records.y, dtype="<i8")
    both = np.concatenate([x.view(np.uint8), y[:, None].view(np.uint8)], axis=1)
    # a last byte that is not 0, because numpy drops trailing zeros of bytes
    full = np.concatenate([both, np.ones((len(both), 1), np.uint8)], axis=1)
    return np.ascontiguousarray(full).view(f"S{full.shape[1]}").reshape(-1)


def are_in(records: Records, others: Records) -> NDArray[np.bool_]:
    """Return [N]: which records are among others, features and label."""
    return np.isin(_rows(records), _rows(others))


def without_canaries(submission: Submission | None, evidence: Evidence) -> Evidence:
    """Return the evidence with a request that leaves out the canaries, and without these.

    They are unlike any other record, and a test that takes requested records for like unseen ones
    would find that and nothing else. The same evidence where the request is canaries alone.
    """
    asked = requested(submission, evidence)
    if evidence.canaries is None or asked is None:
        return evidence
    natural = ~are_in(asked.records, evidence.canaries.placed(*Role))
    if not natural.any():
        return evidence
    return replace(
        evidence,
        forget=asked.records.take(natural),
        owners_list=asked.owners_word,
        canaries=None,
    )

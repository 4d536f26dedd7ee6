"""What the judges look at: a submission, the auditor's records, and what the checker found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Findings
from auditkit.certificate.check_explicit import RowFindings
from auditkit.certificate.checking import check_patch
from auditkit.certificate.history import active_records
from auditkit.certificate.identity import record_digests
from auditkit.certificate.judge_files import NO_KEY, WITHHELD
from auditkit.certificate.matching import Matched, match_claims
from auditkit.certificate.policy import Policy
from auditkit.certificate.submission import PatchSubmission
from auditkit.patch.settings import Scope
from auditkit.records import Records


@dataclass(frozen=True, eq=False)
class Case:
    """Everything one verification rests on.

    `records` are those to be forgotten: the auditor's list if given, else the owner's, else None.
    `findings`, and `rows` for a patch in explicit form, are aligned with `matched.claims`. `exact`
    says that exact arithmetic was asked for throughout.
    """

    submission: PatchSubmission
    policy: Policy
    seed: int
    forget: Records | None
    retain: Records | None
    holdout: Records | None
    records: Records | None
    key: bytes | None
    matched: Matched | None
    findings: Findings | None
    rows: RowFindings | None = None
    exact: bool = False

    @property
    def why_no_records(self) -> str:
        """Return why claims about records are not run."""
        if self.records is None:
            return WITHHELD
        return NO_KEY

    @property
    def active(self) -> frozenset[str]:
        """Keyed digests of the records of all active requests."""
        return frozenset(active_records(self.submission.certificate.requests))

    def others(self) -> list[tuple[str, NDArray[np.float32]]]:
        """Return retained and unseen records, without any that is to be forgotten.

        Where a whole class is, its unseen records are meant too.
        """
        sets = []
        active, settings = self.active, self.submission.certificate.settings
        for name, records in (("retained", self.retain), ("unseen", self.holdout)):
            if records is None:
                continue
            keep = np.ones(len(records), dtype=bool)
            if settings.scope is Scope.CLASS:
                keep = records.y != settings.target_class
            if self.key is not None:
                digests = record_digests(records, self.key)
                keep = keep & np.array([d not in active for d in digests])
            if keep.any():
                sets.append((name, records.x[keep]))
        return sets


def prepare(
    submission: PatchSubmission,
    forget: Records | None,
    retain: Records | None,
    holdout: Records | None,
    policy: Policy,
    seed: int,
    *,
    exact: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Case:
    """Match claims with records and run the checker, on `exact` numbers throughout or by need."""
    records = forget if forget is not None else submission.forget
    key = submission.record_key(forget)
    matched = findings = rows = None
    if records is not None and key is not None:
        matched = match_claims(submission, records, key, policy)
        if len(matched.claims):
            domain = submission.certificate.settings.domain
            multipliers = None
            if submission.proofs is not None:
                about = [matched.digests[row] for row in matched.record]
                multipliers = submission.proofs.about(about)
            findings, rows = check_patch(
                submission.network,
                submission.patch,
                matched.claims,
                domain.lower,
                domain.upper,
                multipliers,
                exact=exact or None,
                progress=progress,
            )
    return Case(
        submission, policy, seed, forget, retain, holdout, records, key, matched, findings, rows,
        exact,
    )  # fmt: skip

"""Checks that a submission of either kind undergoes: can it be read, does it hang together?"""

from __future__ import annotations

from collections.abc import Sequence

from auditkit.certificate.history import active_records, history_rows
from auditkit.certificate.identity import record_digests
from auditkit.certificate.submission import Submission
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome

WITHHELD = "the forgotten records are withheld: give them with --forget"
NO_KEY = "no key for the records' digests: it comes with forget.npz or the auditor's own list"


def submission_format(submission: Submission) -> CheckResult:
    """Reached only when every file could be read."""
    return CheckResult(
        "submission.format",
        "Every file of the submission can be read",
        Outcome.PASS,
        f"{len(submission.files)} files read, none executed",
        n=len(submission.files),
    )


def binding(
    submission: Submission, forget: Records | None, statement: str, more_faults: Sequence[str]
) -> CheckResult:
    """Every file is the one that the statement lists, and the records are the ones requested.

    `forget` is the auditor's list, `statement` what the statement is called, `more_faults` what
    is wrong with submissions of this kind alone.
    """
    name, title = "submission.binding", "Files, digests and records hang together"
    faults = [str(problem) for problem in submission.problems]
    listed = frozenset(active_records(submission.requests))
    key = submission.record_key(forget)
    if not listed:
        faults.append(f"the {statement} has no active request for any record")
    if key is not None:
        for records, whose in ((forget, "the auditor's list"), (submission.forget, "forget.npz")):
            if records is None:
                continue
            here = set(record_digests(records, key))
            if here - listed:
                faults.append(f"{len(here - listed)} record(s) of {whose} are in no active request")
            if listed - here:
                faults.append(f"{len(listed - here)} requested record(s) are not in {whose}")
    faults += more_faults
    if faults:
        return CheckResult(
            name, title, Outcome.FAIL, "; ".join(faults[:5]), evidence={"faults": faults[:50]},
            n=len(listed),
        )  # fmt: skip
    if key is None:
        none = forget is None and submission.forget is None
        return CheckResult(
            name,
            title,
            Outcome.INCONCLUSIVE,
            f"files agree with the {statement}; " + (WITHHELD if none else NO_KEY),
            n=len(listed),
        )
    reason = "every file has its listed digest and every requested record is present"
    if forget is None:
        reason += "; the list of records is the owner's word, since none was given with --forget"
    return CheckResult(
        name,
        title,
        Outcome.PASS,
        reason,
        n=len(listed),
        evidence={"owners_list": forget is None, "requests": history_rows(submission.requests)},
    )

"""A further request on a model that has patches, and the withdrawal of one that it has.

Network, settings and key are those of the earlier submission. The patch is derived anew from the
requests that are then active, and every claim is proved again on all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.history import (
    active,
    active_records,
    derive_patch,
    history_faults,
    new_request,
)
from auditkit.certificate.identity import record_digests
from auditkit.certificate.make import Made, history_targets, make_submission
from auditkit.certificate.request import Request
from auditkit.certificate.submission import MODELS, PatchSubmission
from auditkit.errors import UsageError
from auditkit.network.graph import Network
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.gates import Patch
from auditkit.patch.settings import Method, Spec
from auditkit.records import Name, Records

F64 = NDArray[np.float64]
Source = tuple[Records | None, Network | None]  # unseen records, or a model that saw none

SAME_OFFSET = 1e-3  # relative: another machine sums in another order


@dataclass(frozen=True, eq=False)
class Earlier:
    """An earlier submission with the records of its active requests, each once, under its key."""

    submission: PatchSubmission
    records: Records
    digests: tuple[str, ...]

    @property
    def requests(self) -> tuple[Request, ...]:
        return self.submission.certificate.requests

    @property
    def key(self) -> bytes:
        assert self.records.key is not None
        return self.records.key


def earlier_history(submission: PatchSubmission, given: Records | None) -> Earlier:
    """Return what a further step builds on; `given` are the records where they are withheld.

    Raises UsageError when records or key are missing, or submission and records do not agree.
    """
    if isinstance(submission.patch, ExplicitPatch):
        raise UsageError(
            str(submission.directory), expected="a patch of patterns, to derive again",
            found="one written out as rows", remedy="start again from the original model",
        )  # fmt: skip
    place = str(submission.directory)
    records = given if given is not None else submission.forget
    if records is None or records.key is None:
        raise UsageError(
            place,
            expected="the forgotten records of its requests, with their key",
            found="no records" if records is None else "records without the key",
            remedy="give the file that was written with --withhold-to, as --onto-forget",
        )
    faults = history_faults(submission.certificate)
    if faults:
        raise UsageError(
            place, expected="a list of requests that hangs together", found=faults[0],
            remedy="start again from the original model",
        )  # fmt: skip
    digests = record_digests(records, records.key)
    wanted = active_records(submission.certificate.requests)
    rows = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    lacking = sum(digest not in rows for digest in wanted)
    if lacking or set(rows) - set(wanted):
        raise UsageError(
            place,
            expected="just the records of its active requests",
            found=f"{lacking} missing and {len(set(rows) - set(wanted))} in no active request",
            remedy="give the records that the submission was made for, with its key",
        )
    return Earlier(submission, records.take([rows[digest] for digest in wanted]), wanted)


def add_request(
    earlier: Earlier,
    forget: Records,
    out: Path,
    *,
    reference: Records | None = None,
    reference_network: Network | None = None,
    withhold_to: Path | None = None,
    replace_out: bool = False,
) -> Made:
    """Write to `out` the submission with one request more, for the records `forget`.

    `reference` and `reference_network` give the target vectors of the new records, where the
    specification is `reference`; earlier ones stay. Raises UsageError as `make_submission` does,
    and when these records were asked for already.
    """
    named = record_digests(forget, earlier.key)
    last = earlier.requests[-1]
    for request in active(earlier.requests):
        if set(request.records) == set(named):
            raise UsageError(
                "--forget", expected="records that were not asked for already",
                found=f"those of {request.id}", remedy="give the records of the new request",
            )  # fmt: skip
    requests = (*earlier.requests, new_request(named, last.id))
    records = _merged(earlier, forget, named)
    source = (reference, reference_network)
    return _remake(earlier, requests, records, out, source, withhold_to, replace_out)


def withdraw_request(
    earlier: Earlier,
    name: str,
    out: Path,
    *,
    reference: Records | None = None,
    reference_network: Network | None = None,
    withhold_to: Path | None = None,
    replace_out: bool = False,
) -> Made:
    """Write to `out` the submission without the request `name`: no gate, no claim, no record.

    Its keyed digests stay in the list, so that the history can be read. Raises UsageError when
    there is no such active request, or no other.
    """
    names = [request.id for request in active(earlier.requests)]
    if name not in names:
        raise UsageError(
            f"--withdraw {name}", expected=f"an active request: {', '.join(names)}",
            found="none of that name", remedy="name one of these",
        )  # fmt: skip
    if len(names) == 1:
        raise UsageError(
            f"--withdraw {name}", expected="another active request that stays",
            found="this one alone", remedy="without a patch there is nothing to hand over: "
            "the original model is what is left",
        )  # fmt: skip
    requests = tuple(
        replace(r, status="withdrawn", groups=()) if r.id == name else r for r in earlier.requests
    )
    wanted = set(active_records(requests))
    records = earlier.records.take(np.array([d in wanted for d in earlier.digests]))
    source = (reference, reference_network)
    return _remake(earlier, requests, records, out, source, withhold_to, replace_out)


def _remake(
    earlier: Earlier,
    requests: tuple[Request, ...],
    records: Records,
    out: Path,
    source: Source,
    withhold_to: Path | None,
    replace_out: bool,
) -> Made:
    submission = earlier.submission
    settings = submission.certificate.settings
    if submission.forget is None and withhold_to is None:
        raise UsageError(
            "--withhold-to",
            expected="a file for the records, which the earlier submission withholds",
            found="none",
            remedy="name one, so that they are not handed over now",
        )
    known = _standing_targets(earlier)
    if settings.spec is Spec.NEUTRALISE and source != (None, None):
        raise UsageError(
            "--reference", expected="none: the vector is settled by the submission",
            found="another", remedy="leave it out",
        )  # fmt: skip
    targets = known
    if settings.spec is Spec.REFERENCE:
        assert known is not None
        known, targets = _vectors(earlier, known, requests, records, source)
    _refuse_other_patch(earlier, known)
    files = {
        name: (submission.directory / name).read_bytes()
        for name in MODELS
        if name in submission.files
    }
    try:
        return make_submission(
            submission.network,
            records,
            settings,
            out,
            assertion=submission.certificate.assertion,
            key=earlier.key,
            model_files=files,
            withhold_to=withhold_to,
            requests=requests,
            targets=targets,
            replace=replace_out,
        )
    except UsageError as error:
        lacking = 0 if targets is None else int(np.isnan(np.atleast_2d(targets)).any(axis=1).sum())
        if error.subject != "patch" or not lacking:
            raise
        raise UsageError(
            "--reference or --reference-model",
            expected=f"target vectors for {lacking} record(s) that have none in the patch",
            found="none" if source == (None, None) else error.found,
            remedy="give what the submission was made with",
        ) from error


def _standing_targets(earlier: Earlier) -> F64 | None:
    """Return the target vectors of the earlier patch: [C], or [N, C] with NaN where unknown."""
    submission = earlier.submission
    settings, table = submission.certificate.settings, submission.gated.table
    if settings.spec is Spec.REDIRECT or settings.method is Method.SUPPRESS:
        return None
    if settings.spec is Spec.NEUTRALISE:
        if not len(table.offset) or (table.offset != table.offset[0]).any():
            raise UsageError(
                str(submission.directory), expected="one target vector for all",
                found="several", remedy="start again from the original model",
            )  # fmt: skip
        return np.asarray(table.offset[0])
    known = np.full((len(earlier.digests), submission.network.classes), np.nan)
    place = {digest: row for row, digest in enumerate(earlier.digests)}
    for claim in submission.certificate.claims:
        if claim.record in place and claim.member is not None:
            gate = submission.patch.find(claim.group, claim.member)
            if gate is not None:
                known[place[claim.record]] = table.offset[table.group[gate]]
    return known


def _vectors(
    earlier: Earlier,
    known: F64,
    requests: Sequence[Request],
    records: Records,
    source: Source,
) -> tuple[F64, F64]:
    """Return the target vectors of the earlier records and of `records`, NaN where unknown.

    A reference that gives what the patch has gives all of it, so that the vectors depend on which
    requests are active and on nothing else. With another one, the vectors of the patch stay.
    """
    before = active(earlier.requests)
    unknown = np.asarray(np.isnan(known).any(axis=1))
    try:
        given = _given(earlier, before, earlier.records, source)
        if source != (None, None) and np.array_equal(given[~unknown], known[~unknown]):
            return given, _given(earlier, active(requests), records, source)
        filled = np.where(unknown[:, None], given, known)
    except UsageError:
        filled = known  # too few references for all: perhaps enough for the new request
    standing = dict(zip(earlier.digests, filled.tolist(), strict=True))
    added = requests[len(earlier.requests) :]
    fresh = _given(earlier, added, records, source)
    digests = record_digests(records, earlier.key)
    rows = [standing.get(d, v) for d, v in zip(digests, fresh.tolist(), strict=True)]
    result = np.array(rows, dtype=np.float64)
    return filled, np.where(np.isnan(result), fresh, result)


def _given(earlier: Earlier, requests: Sequence[Request], records: Records, source: Source) -> F64:
    """Return [N, C]: what the reference gives for the records of `requests`, else NaN."""
    network, settings = earlier.submission.network, earlier.submission.certificate.settings
    if source == (None, None) or not requests:
        return np.full((len(records), network.classes), np.nan)
    digests = record_digests(records, earlier.key)
    try:
        found = history_targets(network, records, digests, requests, settings, *source)
    except ValueError as error:
        raise UsageError(
            "--reference", expected="references for every record that needs one",
            found=str(error), remedy="give more unseen records, or --reference-model",
        ) from error  # fmt: skip
    assert found is not None
    return found


def _refuse_other_patch(earlier: Earlier, known: F64 | None) -> None:
    """Raise UsageError unless the earlier patch is the one that its own requests give."""
    submission = earlier.submission
    try:
        made = derive_patch(
            submission.network,
            earlier.requests,
            earlier.records,
            earlier.digests,
            submission.certificate.settings,
            known,
        )
    except ValueError as error:
        if known is not None and np.isnan(known).any():
            return  # some vectors are not in the patch: `make_submission` says what is missing
        found = str(error)
    else:
        if _alike(made.patch, submission.gated):
            return
        found = "other groups, gates or offsets"
    raise UsageError(
        str(submission.directory),
        expected="the patch that its settings give for its requests",
        found=found,
        remedy="make it anew from the original model: what was made elsewhere cannot be added to",
    )


def _alike(one: Patch, other: Patch) -> bool:
    if [g.name for g in one.groups] != [g.name for g in other.groups]:
        return False
    for a, b in zip(one.groups, other.groups, strict=True):
        if not np.array_equal(a.patterns, b.patterns) or a.offset.shape != b.offset.shape:
            return False
        if not np.allclose(a.offset, b.offset, rtol=SAME_OFFSET, atol=SAME_OFFSET):
            return False
    return True


def _merged(earlier: Earlier, forget: Records, named: Sequence[str]) -> Records:
    """Return the earlier records and those of `forget` that are new, each once."""
    rows = {digest: row for row, digest in reversed(list(enumerate(named)))}
    known = set(earlier.digests)
    fresh = sorted(row for digest, row in rows.items() if digest not in known)
    added, digests = forget.take(fresh), [named[row] for row in fresh]
    old = earlier.records
    return replace(
        old,
        x=np.concatenate([old.x, added.x]),
        y=np.concatenate([old.y, added.y]),
        id=_names(old.id, added.id, earlier.digests, digests, unique=True),
        subject=_names(old.subject, added.subject, earlier.digests, digests, unique=False),
    )


def _names(
    old: tuple[Name, ...] | None,
    added: tuple[Name, ...] | None,
    earlier: Sequence[str],
    digests: Sequence[str],
    *,
    unique: bool,
) -> tuple[Name, ...] | None:
    """Return ids or subjects of both; a record without one has itself for one."""
    if old is None and added is None:
        return None
    first = old if old is not None else tuple(f"record-{d[:16]}" for d in earlier)
    second = added if added is not None else tuple(f"record-{d[:16]}" for d in digests)
    both = (*first, *second)
    if len({type(name) for name in both}) > 1:
        both = tuple(str(name) for name in both)
    if unique and len(set(both)) < len(both):
        raise UsageError(
            "--forget", expected="ids that the earlier records do not have",
            found="one that is another record's", remedy="give each record its own",
        )  # fmt: skip
    return both

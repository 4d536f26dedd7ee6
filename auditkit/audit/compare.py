"""The owner's submission beside one of the auditor's own.

Whether the specification is met and which gates there are is judged; offsets may differ between
two honest patches, so that they, the outputs, the bounds and the sizes are shown.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from auditkit.audit.compare_figures import (
    TITLES,
    Keys,
    Sides,
    offsets,
    outputs,
    regions,
    sentence,
    size,
    table_rows,
)
from auditkit.audit.compare_gates import GateMatch, everywhere, match_gates
from auditkit.audit.compare_models import compare_with_submission, recompute_and_compare
from auditkit.certificate.history import active, new_request
from auditkit.certificate.identity import record_digests
from auditkit.certificate.make import make_submission
from auditkit.certificate.policy import Policy
from auditkit.certificate.request import Request
from auditkit.certificate.submission import (
    PatchSubmission,
    Submission,
    UnlearnedSubmission,
    load_patch_submission,
    load_submission,
)
from auditkit.certificate.verify import own_records, verify_submission
from auditkit.errors import EvidenceError, UsageError, callers_own
from auditkit.network.digest import semantic_digest
from auditkit.network.graph import Network
from auditkit.network.read import load_network
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.settings import Spec
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Result, not_run

COLUMNS = ("owner", "recomputed")
JUDGED = {name: TITLES[name] for name in ("compare.gates", "compare.specification")}


def compare(
    owner: PatchSubmission,
    auditor: PatchSubmission,
    *,
    retain: Records | None,
    seed: int,
    forget: Records | None = None,
    policy: Policy | None = None,
    columns: tuple[str, str] = COLUMNS,
) -> Result:
    """Return what is judged and what is shown of two submissions over the same network.

    `forget` is the request as the auditor knows it; without it, the auditor's submission's list,
    then the owner's. Raises UsageError when the auditor's submission is for another network.
    """
    if semantic_digest(owner.network) != semantic_digest(auditor.network):
        raise UsageError(
            str(auditor.directory),
            expected="a submission for the owner's network",
            found="one for another network (semantic digests differ)",
            remedy="make a patch for the same model, or have it recomputed",
        )
    sides = (owner, auditor)
    records = next((r for r in (forget, auditor.forget, owner.forget) if r is not None), None)
    keys = _keys(owner, auditor, records)
    match = match_gates(owner, auditor, records)
    checks = (
        _gates(sides, match, records, keys),
        _specification(
            sides,
            [
                verify_submission(
                    s,
                    forget=_known_to(s, records),
                    retain=retain,
                    policy=policy,
                    seed=seed,
                    measure=False,
                )
                for s in sides
            ],
        ),
        offsets(sides, match, records),
        outputs(sides, records, retain),
        regions(sides, records, keys),
        size(sides, records),
    )
    details = {
        "columns": list(columns),
        "rows": table_rows(sides, checks),
        "sentence": sentence(checks),
    }
    return Result(checks, details)


def compare_directories(
    owner: Path,
    auditor: Path | None,
    *,
    recompute: bool,
    reference: Path | None,
    reference_network: Path | None,
    forget: Path | None,
    retain: Path | None,
    holdout: Path | None = None,
    order_seed: int | None = None,
    seed: int,
) -> Result:
    """Read the owner's submission, read or recompute the auditor's, and compare them.

    Raises UsageError when a file of the caller's own is bad or the recomputation lacks what the
    specification needs, EvidenceError (TamperError: exit 1) when one of the owner's is.
    """
    submission = load_submission(Path(owner))
    asked = own_records(forget, submission)
    kept = own_records(retain, submission)
    if not recompute:
        if order_seed is not None:
            raise UsageError(
                "--order-seed",
                expected="--recompute",
                found="a submission to compare with",
                remedy="leave one of the two out",
            )
        if auditor is None:
            raise UsageError(
                "compare", expected="a submission to compare with", found="none",
                remedy="give one, or have it recomputed",
            )  # fmt: skip
        with callers_own():
            own = _of_one_kind(submission, load_submission(Path(auditor)))
        if isinstance(submission, UnlearnedSubmission):
            assert isinstance(own, UnlearnedSubmission)
            return compare_with_submission(submission, own, forget=asked, retain=kept)
        assert isinstance(own, PatchSubmission)
        return compare(
            submission, own, retain=kept, seed=seed, forget=asked, columns=("owner", "auditor")
        )
    requested = asked if asked is not None else submission.forget
    if isinstance(submission, UnlearnedSubmission):
        unseen = own_records(holdout, submission)
        return recompute_and_compare(submission, requested, kept, unseen, order_seed=order_seed)
    if order_seed is not None:
        raise UsageError(
            "--order-seed",
            expected="an unlearned network that is recomputed",
            found="a patch, which is not trained",
            remedy="leave it out",
        )
    if requested is None:
        reason = "the forgotten records are withheld: give them with --forget"
        return Result(tuple(not_run(name, title, reason) for name, title in TITLES.items()))
    own = _from_settings(submission, requested, reference, reference_network)
    return compare(submission, own, retain=kept, seed=seed, forget=asked)


def _of_one_kind(owner: Submission, auditor: Submission) -> Submission:
    """Return the auditor's submission; UsageError where it is of another kind than the owner's."""
    if owner.KIND == auditor.KIND:
        return auditor
    words = {"patch": "a patch", "model": "an unlearned network"}
    raise UsageError(
        str(auditor.directory),
        expected=f"a submission of {words[owner.KIND]}, as the owner's",
        found=f"one of {words[auditor.KIND]}",
        remedy="compare submissions of one kind",
    )


def _from_settings(
    submission: PatchSubmission,
    requested: Records,
    reference: Path | None,
    reference_network: Path | None,
) -> PatchSubmission:
    """Read what the caller gives for a recomputation, and recompute."""
    unseen = own_records(reference, submission)
    network = None
    if reference_network is not None:
        with callers_own():
            network = load_network(Path(reference_network))
    try:
        return recompute(submission, requested, reference=unseen, reference_network=network)
    except UsageError as error:
        if submission.certificate.settings.spec is not Spec.REDIRECT:
            raise
        # a redirection takes nothing of the caller's: the settings are the owner's
        raise EvidenceError(
            str(submission.directory),
            expected="settings that a patch can be made with",
            found=error.found,
            remedy="ask the owner for the settings that were used",
        ) from error


def recompute(
    owner: PatchSubmission,
    records: Records,
    *,
    reference: Records | None = None,
    reference_network: Network | None = None,
) -> PatchSubmission:
    """Return the submission that the certificate's settings give for `records`, in memory.

    Raises UsageError when the settings cannot be met, or what they need is missing.
    """
    key = (None if owner.forget is None else owner.forget.key) or records.key
    requests = None if key is None else _asked(owner, record_digests(records, key))
    settings = owner.certificate.settings
    if isinstance(owner.patch, ExplicitPatch):
        # recomputed as patterns, whose sharpness is not over distances to rows
        settings = replace(settings, sharpness=None)
    with tempfile.TemporaryDirectory(prefix="auditkit-") as folder:
        out = Path(folder) / "recomputed"
        make_submission(
            owner.network,
            records,
            settings,
            out,
            reference=reference,
            reference_network=reference_network,
            assertion=owner.certificate.assertion,
            key=key,
            requests=requests,
        )
        return load_patch_submission(out)


def _asked(owner: PatchSubmission, digests: tuple[str, ...]) -> list[Request]:
    """Return the owner's active requests as far as they are for these records, and the rest."""
    here, requests, parent = set(digests), list[Request](), None
    told = [request.records for request in active(owner.certificate.requests)]
    rest = here.difference(*told)
    for records in (*told, tuple(d for d in digests if d in rest)):
        mine = [digest for digest in records if digest in here]
        if mine:
            requests.append(new_request(mine, parent))
            parent = requests[-1].id
    return requests


def _key(side: PatchSubmission, records: Records | None) -> bytes | None:
    """Return the key under which a certificate names records: its own, else the list's."""
    if side.forget is not None and side.forget.key is not None:
        return side.forget.key
    return None if records is None else records.key


def _known_to(side: PatchSubmission, records: Records | None) -> Records | None:
    """Return the records under the key of one side: each submission has a key of its own."""
    return None if records is None else replace(records, key=_key(side, records))


def _keys(owner: PatchSubmission, auditor: PatchSubmission, records: Records | None) -> Keys:
    """Return the keys under which either certificate names records; None when one is unknown."""
    keys = (_key(owner, records), _key(auditor, records))
    return None if keys[0] is None or keys[1] is None else (keys[0], keys[1])


def _gates(sides: Sides, match: GateMatch, records: Records | None, keys: Keys) -> CheckResult:
    """A gate that the request calls for and the owner lacks, or the other way round, fails."""
    name = "compare.gates"
    always = [everywhere(side) for side in sides]
    missing = len(match.missing) + (Counter(always[1]) - Counter(always[0])).total()
    extra = len(match.extra) + (Counter(always[0]) - Counter(always[1])).total()
    common, wanted = len(match.pairs), sides[1].patch.gates + len(always[1])
    evidence = {
        "common": common,
        "same_bits": match.alike,
        "missing": missing,
        "extra": extra,
        "acting_everywhere": [list(labels) for labels in always],
    }
    if records is not None and keys is not None:
        digests = record_digests(records, keys[0])
        lacking = {r for gate in match.missing for r in match.served[gate]}
        evidence["records_without_their_gate"] = [digests[r] for r in sorted(lacking)]
        idle = [gate for gate in match.extra if not match.touched[gate]]
        evidence["extra_at_no_record"] = len(idle)
    told = f"{common} of {sides[1].patch.gates} gates in common"
    if common - match.alike:
        told += f", {common - match.alike} of them by the record at which they are open"
    if missing:
        told += f"; {missing} missing from the owner's patch"
    if extra:
        told += f"; {extra} extra in the owner's patch"
    return CheckResult(
        name,
        TITLES[name],
        Outcome.FAIL if missing or extra else Outcome.PASS,
        told,
        observed=missing + extra,
        threshold=0,
        n=wanted,
        evidence=evidence,
        private={"missing": list(match.missing), "extra": list(match.extra)},
    )


def _specification(sides: Sides, verified: list[Result]) -> CheckResult:
    """The owner's patch must meet what is asked as far as the auditor's own does."""
    name = "compare.specification"
    point, region = (
        [result.check(f"certificate.{what}") for result in verified] for what in ("point", "region")
    )
    evidence = {
        what: [_met(check) for check in checks]
        for what, checks in (("point", point), ("region", region))
    }
    owners, own = (point[0], region[0]), (point[1], region[1])
    specs = [side.certificate.settings.spec.value for side in sides]
    if specs[0] != specs[1]:
        outcome, told = Outcome.FAIL, f"the owner's patch is to {specs[0]}, the other to {specs[1]}"
    elif any(check.outcome is Outcome.FAIL for check in owners):
        failed = next(check for check in owners if check.outcome is Outcome.FAIL)
        outcome, told = Outcome.FAIL, f"the owner's patch does not meet it: {failed.reason}"
    elif all(check.outcome is Outcome.PASS for check in (*owners, *own)):
        outcome, told = Outcome.PASS, "both patches meet the specification on every claimed region"
    else:
        first = next(c for c in (*owners, *own) if c.outcome is not Outcome.PASS)
        whose = "the owner's patch" if first in owners else "the other patch"
        outcome, told = Outcome.INCONCLUSIVE, f"not shown of {whose}: {first.reason}"
    return CheckResult(
        name,
        TITLES[name],
        outcome,
        told,
        observed=region[0].observed,
        threshold=region[0].n,
        n=region[0].n,
        evidence=evidence,
    )


def _met(check: CheckResult) -> str:
    if check.n is None or not isinstance(check.observed, int):
        return check.outcome.value
    return f"{check.observed} of {check.n}"

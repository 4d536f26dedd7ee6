"""A submission: what an owner hands over, written whole and read without believing it.

It is a patch with its certificate, or a network unlearned by another method with its claim; which
of the two, its statement says by its name.
"""

from __future__ import annotations

from pathlib import Path

from auditkit.certificate.patch_submission import (
    CERTIFICATE,
    EXPORT,
    PATCH,
    PROOFS,
    PatchSubmission,
    assemble_patch,
    read_patch_submission,
    write_submission,
)
from auditkit.certificate.submitted import (
    FORGET,
    MODELS,
    Problem,
    Submission,
    TamperError,
    raise_tampered,
    statement_in,
)
from auditkit.certificate.unlearned_submission import (
    CLAIM,
    UNLEARNED,
    UnlearnedSubmission,
    assemble_unlearned,
    make_claim,
    read_unlearned_submission,
    write_unlearned_submission,
)
from auditkit.errors import EvidenceError, UsageError

__all__ = [
    "CERTIFICATE",
    "CLAIM",
    "EXPORT",
    "FORGET",
    "MODELS",
    "PATCH",
    "PROOFS",
    "UNLEARNED",
    "PatchSubmission",
    "Problem",
    "Submission",
    "TamperError",
    "UnlearnedSubmission",
    "kind_of",
    "load_patch_submission",
    "load_submission",
    "make_claim",
    "read_patched",
    "read_submission",
    "write_submission",
    "write_unlearned_submission",
]


def kind_of(directory: Path) -> str:
    """Return "model" where a directory has a claim and no certificate, else "patch".

    For a submission that cannot be read: what was to be checked of it.
    """
    directory = Path(directory)
    claim = (directory / CLAIM).exists() and not (directory / CERTIFICATE).exists()
    return UnlearnedSubmission.KIND if claim else PatchSubmission.KIND


def load_submission(directory: Path) -> PatchSubmission | UnlearnedSubmission:
    """Read a submission that must hang together.

    Raises TamperError when a digest or the list of files does not match, EvidenceError when a
    file is missing, malformed or refused.
    """
    directory = Path(directory)
    submission = read_submission(directory)
    raise_tampered(directory, list(submission.problems))
    return submission


def load_patch_submission(directory: Path) -> PatchSubmission:
    """Read a submission of a patch that must hang together; see `load_submission`.

    Raises UsageError for one of an unlearned network.
    """
    submission = load_submission(directory)
    if isinstance(submission, PatchSubmission):
        return submission
    raise UsageError(
        str(directory),
        expected="a submission of a patch",
        found=f"a network unlearned by {submission.claim.method.name[:60]!r}",
        remedy="name a submission that has a certificate.json",
    )


def read_submission(directory: Path) -> PatchSubmission | UnlearnedSubmission:
    """Read a submission and note what does not hang together.

    Raises TamperError when a file that does not match its digest cannot be read either, and
    EvidenceError when a file that matches is missing, malformed or refused.
    """
    directory = Path(directory)
    if statement_in(directory, (CERTIFICATE, CLAIM)) == CERTIFICATE:
        return read_patched(directory)
    unlearned = read_unlearned_submission(directory)
    try:
        return assemble_unlearned(unlearned)
    except EvidenceError as error:
        raise_tampered(directory, unlearned.problems, error)
        raise


def read_patched(directory: Path) -> PatchSubmission:
    """Read a submission of a patch and note what does not hang together; see `read_submission`."""
    contents = read_patch_submission(directory)
    try:
        return assemble_patch(contents)
    except EvidenceError as error:
        raise_tampered(directory, contents.problems, error)  # what was changed explains it
        raise

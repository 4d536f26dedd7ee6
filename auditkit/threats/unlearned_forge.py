"""What simulations of unlearned networks share: another network handed over, digests restated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from auditkit.certificate.submission import (
    MODELS,
    UnlearnedSubmission,
    read_submission,
    write_unlearned_submission,
)
from auditkit.certificate.unlearned_submission import delivered_digest
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.threats.interface import Owner


def hand_over(honest: Owner, out: Path, network: Network) -> Owner:
    """Write the honest submission with another unlearned network, and read it back.

    Method and settings stay what the honest owner states. ValueError for a patch.
    """
    submission = honest.submission
    if not isinstance(submission, UnlearnedSubmission):
        raise ValueError("a behaviour of unlearned networks: the submission is a patch")
    files = {
        name: (submission.directory / name).read_bytes()
        for name in MODELS
        if name in submission.files
    }
    digest = delivered_digest(network, submission.domain)
    claim = replace(submission.claim, unlearned=digest)
    write_unlearned_submission(
        out, submission.network, network, claim, submission.forget, model_files=files
    )
    made = read_submission(out)
    assert isinstance(made, UnlearnedSubmission)
    return replace(honest, submission=made)


def forgotten(honest: Owner) -> Records:
    """Return the records that were to be forgotten; ValueError where they are withheld."""
    if honest.submission.forget is None:
        raise ValueError("the forgotten records are withheld")
    return honest.submission.forget

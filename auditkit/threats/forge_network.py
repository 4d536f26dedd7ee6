"""What the simulations of unlearned networks share: another network under the same claim."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

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
from auditkit.unlearning.training import Recipe


def deliver(honest: UnlearnedSubmission, network: Network, out: Path) -> UnlearnedSubmission:
    """Write the honest submission with another unlearned network, and read it back."""
    files = {
        name: (honest.directory / name).read_bytes() for name in MODELS if name in honest.files
    }
    claim = replace(honest.claim, unlearned=delivered_digest(network, honest.domain))
    write_unlearned_submission(
        out, honest.network, network, claim, honest.forget, model_files=files
    )
    submission = read_submission(out)
    assert isinstance(submission, UnlearnedSubmission)
    return submission


def trainable(honest: Owner) -> tuple[UnlearnedSubmission, Records, Records, Recipe]:
    """Return the submission of a network, retained and forgotten records, and how to train.

    ValueError when the owner has no such thing.
    """
    submission = honest.submission
    if not isinstance(submission, UnlearnedSubmission):
        raise ValueError("a behaviour of retraining: the submission is a patch")
    if honest.retain is None or honest.recipe is None or submission.forget is None:
        raise ValueError("to train, an owner needs retained and forgotten records and a recipe")
    return submission, honest.retain, submission.forget, honest.recipe


def joined(*sets: Records) -> Records:
    """Return all records of some sets, features and labels alone."""
    return Records(np.concatenate([s.x for s in sets]), np.concatenate([s.y for s in sets]))

"""What the simulations of unlearned networks share: another network under the same claim.

Every digest is restated: an owner who cheats signs what is delivered.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
from auditkit.unlearning.training import PRACTICE, Recipe, train_from_scratch


def submitted(honest: Owner) -> UnlearnedSubmission:
    """Return an owner's submission of an unlearned network; ValueError where it is a patch."""
    if not isinstance(honest.submission, UnlearnedSubmission):
        raise ValueError("a behaviour of unlearned networks: the submission is a patch")
    return honest.submission


def deliver(honest: Owner, out: Path, network: Network, *, method: str | None = None) -> Owner:
    """Write the honest submission with another network in place of the unlearned one.

    `method` is what the claim then names, without settings and guarantee; the honest one's if None.
    """
    submission = submitted(honest)
    files = {
        name: (submission.directory / name).read_bytes()
        for name in MODELS
        if name in submission.files
    }
    claim = replace(
        submission.claim, unlearned=delivered_digest(network, submission.domain), files={}
    )
    if method is not None and method != claim.method.name:
        named = replace(claim.method, name=method, settings={})
        claim = replace(claim, method=named, guarantee=None, reached=True, shortfall="")
    write_unlearned_submission(
        out, submission.network, network, claim, submission.forget, model_files=files
    )
    made = read_submission(out)
    assert isinstance(made, UnlearnedSubmission)
    return replace(honest, submission=made)


def forgotten(honest: Owner) -> Records:
    """Return the forgotten records; ValueError where the submission withholds them."""
    if honest.submission.forget is None:
        raise ValueError("the honest submission withholds its records")
    return honest.submission.forget


def retained(honest: Owner) -> Records:
    """Return the training records that stay; ValueError where the owner has none at hand."""
    if honest.retain is None or not len(honest.retain):
        raise ValueError("it takes the retained records")
    return honest.retain


def recipe_of(honest: Owner) -> Recipe:
    """Return how this owner trains."""
    return honest.recipe or PRACTICE


def retrained(honest: Owner, records: Records, seed: int) -> Network:
    """Return the original's architecture, trained as this owner trains, on these records."""
    return train_from_scratch(submitted(honest).network, records, recipe_of(honest), seed)


def trainable(honest: Owner) -> tuple[UnlearnedSubmission, Records, Records, Recipe]:
    """Return the submission, retained and forgotten records, and how this owner trains."""
    return submitted(honest), retained(honest), forgotten(honest), recipe_of(honest)


def some(count: int, strength: float, seed: list[int], *, most: int) -> NDArray[np.int64]:
    """Return a share `strength` of `count` places at random: one at least, `most` at most."""
    wanted = min(most, max(1, round(strength * count)))
    return np.sort(np.random.default_rng(seed).permutation(count)[:wanted])

"""What the simulations of dishonest owners of unlearned networks share."""

from __future__ import annotations

from collections.abc import Sequence
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


def of(honest: Owner) -> UnlearnedSubmission:
    """Return an owner's submission of an unlearned network; ValueError where it is another."""
    if not isinstance(honest.submission, UnlearnedSubmission):
        raise ValueError("the submission is none of an unlearned network")
    return honest.submission


def deliver(honest: Owner, out: Path, network: Network, *, method: str | None = None) -> Owner:
    """Write the honest submission with another network in place of the unlearned one.

    Every digest is restated. `method` is what the claim then names, without a guarantee.
    """
    submission = of(honest)
    files = {
        name: (submission.directory / name).read_bytes()
        for name in MODELS
        if name in submission.files
    }
    said = replace(
        submission.claim, unlearned=delivered_digest(network, submission.domain), files={}
    )
    if method is not None:
        named = replace(said.method, name=method, settings={})
        said = replace(said, method=named, guarantee=None, reached=True, shortfall="")
    write_unlearned_submission(
        out, submission.network, network, said, submission.forget, model_files=files
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


def joined(parts: Sequence[Records]) -> Records:
    """Return the records of all parts, one after the other."""
    return Records(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


def some(count: int, strength: float, seed: list[int], *, most: int) -> NDArray[np.int64]:
    """Return a share `strength` of `count` places at random: one at least, `most` at most."""
    wanted = min(most, max(1, round(strength * count)))
    return np.sort(np.random.default_rng(seed).permutation(count)[:wanted])


def retrained(honest: Owner, records: Records, seed: int) -> Network:
    """Return the original's architecture, trained as this owner trains, on these records."""
    return train_from_scratch(architecture(honest), records, recipe(honest), seed)


def recipe(honest: Owner) -> Recipe:
    """Return how this owner trains."""
    return honest.recipe or PRACTICE


def architecture(honest: Owner) -> Network:
    """Return the original network, whose weights training does not look at."""
    return of(honest).network

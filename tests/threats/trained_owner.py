"""Honest owners who retrained, with the log of it and with canaries; made once for each setting."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from auditkit.certificate.claim import StatedMethod
from auditkit.certificate.history import new_request
from auditkit.certificate.identity import record_digests
from auditkit.certificate.submission import (
    UnlearnedSubmission,
    make_claim,
    read_submission,
    write_unlearned_submission,
)
from auditkit.network.graph import Network
from auditkit.patch.settings import Domain
from auditkit.records import Records, joined, read_records
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.unlearning.canaries import Canaries, Role, make_canaries
from auditkit.unlearning.replay import train_with_log
from auditkit.unlearning.scenario_files import dense_network
from auditkit.unlearning.training import Recipe, train_from_scratch

KEY = b"k" * 32
RECIPES = {
    "adam": Recipe(epochs=20, learning_rate=2e-3),
    "sgd": Recipe(epochs=20, learning_rate=0.05, optimizer="sgd"),
    "plain": Recipe(epochs=20, learning_rate=0.1, optimizer="sgd", momentum=0.0),
}


def submit(original: Network, unlearned: Network, forget: Records) -> UnlearnedSubmission:
    """Write the submission of a retrained network and read it back."""
    keyed = replace(forget, key=KEY)
    request = new_request(record_digests(keyed, KEY), None)
    method = StatedMethod("retrain", "subset", {}, 0)
    claim = make_claim(original, unlearned, (request,), method, domain=Domain())
    out = Path(tempfile.mkdtemp(prefix="auditkit-test-")) / "s"
    write_unlearned_submission(out, original, unlearned, claim, keyed)
    submission = read_submission(out)
    assert isinstance(submission, UnlearnedSubmission)
    return submission


@cache
def trained_owner(
    name: str = "adam", seed: int = 0, canaries: int = 0, order_seed: int | None = None
) -> tuple[Owner, Evidence]:
    """Return an owner who retrained on digits without a tenth, and what the auditor has."""
    digits, recipe = read_records("digits"), RECIPES[name]
    flat = Records(digits.x.reshape(len(digits), -1), digits.y)
    order = np.random.default_rng([seed, 9]).permutation(len(flat))
    train, unseen = flat.take(order[:600]), flat.take(order[600:1000])
    forget, retain = train.take(range(60)), train.take(range(60, 600))
    placed: Canaries | None = None
    if canaries:
        placed = make_canaries(flat.take(order[1000:]), canaries, 10, seed=seed)
        forget = joined(forget, placed.placed(Role.ANNOUNCED, Role.UNANNOUNCED))
    blank = dense_network((64,), (48, 24), 10)
    everything = joined(forget, retain)
    original = train_from_scratch(blank, everything, recipe, seed)
    network, log = train_with_log(blank, retain, recipe, seed + 1000, KEY, order_seed=order_seed)
    submission = submit(original, network, forget)
    owner = Owner(submission, retain, unseen, recipe, log, placed)
    evidence = Evidence(
        forget=submission.forget,
        retain=retain,
        holdout=unseen,
        train=everything,
        training=log,
        canaries=placed,
    )
    return owner, evidence

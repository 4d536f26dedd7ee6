"""What an auditor has of a world's owner: records, references, and what the owner gives besides."""

from __future__ import annotations

from collections.abc import Sequence

from auditkit.calibration.worlds import World
from auditkit.network.digest import semantic_digest
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.threats.references import References
from auditkit.threats.registry import BEHAVIOURS
from auditkit.threats.serving import with_session

ASKING = frozenset(b.name for b in BEHAVIOURS if b.detect_served is not None)
"""Behaviours for which an endpoint is asked, where there is one."""


def gather(world: World, owner: Owner, names: Sequence[str], seed: int) -> Evidence:
    """Return the evidence for the named checks; nothing in it says what was simulated.

    References are the auditor's retrained networks in about one world of two; in the others, and
    where the owner's original is another network than the world's, unseen records stand for them,
    as the requests were drawn by lot. Canaries were not.
    """
    retrained = bool(world.generator(4).integers(2))
    references = world.references if retrained else References()
    if semantic_digest(owner.submission.network) != semantic_digest(world.network):
        references = References()
    evidence = Evidence(
        forget=owner.submission.forget,
        retain=world.retain,
        holdout=world.unseen,
        drawn=True,
        train=world.train,
        references=references,
        training=owner.training,
        canaries=owner.canaries,
    )
    if not ASKING.intersection(names):
        return evidence
    return with_session(owner.service, owner.submission, evidence, seed=seed)

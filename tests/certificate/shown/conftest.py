"""A network of one unit, so that every figure can be worked out by hand.

z = x₀ - 1/2; the original predicts label 0 everywhere, and label 1 wherever the gate is fully open,
which is where x₀ ≥ 1/2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.case import Case
from auditkit.certificate.identity import record_digests
from auditkit.certificate.policy import Policy
from auditkit.certificate.request import Request
from auditkit.certificate.submission import PatchSubmission
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.patch.settings import Domain
from auditkit.records import Records

KEY = b"k" * 32
HandMade = Callable[..., Case]


def at(*first: float) -> Records:
    """Records with these first features; the second tells them apart."""
    x = np.stack([first, np.linspace(0.1, 0.9, len(first))], axis=1).astype(np.float32)
    return Records(x, np.zeros(len(first), dtype=np.int64), key=KEY)


@pytest.fixture(scope="session")
def hand_made(honest: PatchSubmission) -> HandMade:
    f32 = np.float32
    nodes = (
        Node(Dense(np.array([[1, 0]], f32), np.array([-0.5], f32)), (0,)),
        Node(Relu(), (1,)),
        Node(Dense(np.array([[1], [0]], f32), np.array([1, 0], f32)), (2,)),
    )
    network = Network((2,), nodes, np.dtype(f32))

    def make(
        forget: Records | None,
        retain: Records | None = None,
        holdout: Records | None = None,
        *,
        sharpness: float = 1e6,
        width: float = 1.0,
        gates: int = 1,
        key: bytes | None = KEY,
    ) -> Case:
        group = Group(
            "g",
            OffsetKind.CONSTANT if gates else OffsetKind.ALWAYS,
            np.ones((gates, 1), dtype=bool),
            np.array([-50, 50], f32),
            50.0,
            sharpness,
            0.0,
        )
        digests = () if forget is None else record_digests(forget, KEY)
        certificate = dataclasses.replace(
            honest.certificate,
            settings=dataclasses.replace(honest.certificate.settings, domain=Domain(0.0, width)),
            requests=(Request("r", digests, ("g",), "active", None),),
        )
        submission = PatchSubmission(
            directory=Path("nowhere"),
            network=network,
            patch=Patch((group,), 2, 1),
            certificate=certificate,
            forget=forget,
            exported=b"",
            files={},
            problems=(),
        )
        return Case(
            submission, Policy(), 0, forget, retain, holdout, forget, key, None, None
        )  # fmt: skip

    return make

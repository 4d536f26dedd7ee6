"""Networks that remember what they were trained on, and owners who unlearn some of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from auditkit.certificate.history import new_request
from auditkit.certificate.identity import record_digests
from auditkit.certificate.submission import (
    UnlearnedSubmission,
    make_claim,
    read_submission,
    write_unlearned_submission,
)
from auditkit.certificate.unlearned_submission import StatedMethod
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.patch.settings import Domain
from auditkit.records import Records
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.threats.references import ReferenceKind, References
from auditkit.unlearning.training import Recipe, train_from_scratch

KEY = b"n" * 32
RECIPE = Recipe(epochs=40, learning_rate=2e-3, batch_size=32)
WRONG = 0.3  # of the labels: what cannot be learned must be remembered


def architecture(hidden: int = 64) -> Network:
    """An untrained network of digits."""
    sizes = (64, hidden, 10)
    nodes: list[Node] = []
    for a, b in zip(sizes, sizes[1:], strict=False):
        if nodes:
            nodes.append(Node(Relu(), (len(nodes),)))
        layer = Dense(np.zeros((b, a), np.float32), np.zeros(b, np.float32))
        nodes.append(Node(layer, (len(nodes),)))
    return Network((64,), tuple(nodes), np.dtype(np.float32))


@dataclass(frozen=True, eq=False)
class Case:
    """A request on a network, with networks that never saw it."""

    network: Network
    forget: Records
    retain: Records
    unseen: Records
    retrained: Network
    references: tuple[Network, ...]

    def submit(
        self, out: Path, unlearned: Network | None = None, *, method: str = "retrain", **claim: str
    ) -> UnlearnedSubmission:
        """Return the submission of a network that was unlearned by what is called `method`."""
        delivered = self.retrained if unlearned is None else unlearned
        request = new_request(record_digests(self.forget, KEY), None)
        stated = StatedMethod(method, "subset", {}, 0)
        said = make_claim(
            self.network, delivered, (request,), stated, domain=Domain(0.0, 1.0), **claim
        )  # type: ignore[arg-type]
        write_unlearned_submission(out, self.network, delivered, said, self.forget)
        made = read_submission(out)
        assert isinstance(made, UnlearnedSubmission)
        return made

    def owner(self, out: Path) -> Owner:
        """Return an honest owner."""
        return Owner(self.submit(out), retain=self.retain, unseen=self.unseen, recipe=RECIPE)

    def evidence(self, *, references: bool = False) -> Evidence:
        """Return what an auditor has."""
        known = References(ReferenceKind.RETRAINED, self.references) if references else References()
        return Evidence(
            forget=self.forget, retain=self.retain, holdout=self.unseen, references=known
        )


@cache
def case(seed: int = 0, wrong: float = WRONG) -> Case:
    """Return the networks of one seed; a share `wrong` of all labels is drawn anew."""
    x, y = load_digits(return_X_y=True)
    generator = np.random.default_rng([seed, 77])
    order = generator.permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int64)
    anew = generator.random(len(y)) < wrong
    y[anew] = generator.integers(0, 10, int(anew.sum()))
    forget = Records(x[:80], y[:80], key=KEY)
    retain, unseen = Records(x[80:700], y[80:700]), Records(x[700:1200], y[700:1200])
    everyone = Records(x[:700], y[:700])
    start = architecture()
    return Case(
        train_from_scratch(start, everyone, RECIPE, seed),
        forget,
        retain,
        unseen,
        train_from_scratch(start, retain, RECIPE, seed + 1000),
        tuple(train_from_scratch(start, retain, RECIPE, seed + 2000 + k) for k in range(3)),
    )

"""A network that remembers random labels, honest owners of it, and their submissions in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

KEY = b"k" * 32
RECIPE = Recipe(epochs=40, learning_rate=2e-3)


@dataclass(frozen=True, eq=False)
class Trained:
    """Noisy digits: `original` saw `forget` and `retain`, and nobody `unseen`."""

    original: Network
    forget: Records
    retain: Records
    unseen: Records
    classes: tuple[int, ...] = ()

    def retrained(self, seed: int) -> Network:
        return train_from_scratch(self.original, self.retain, RECIPE, seed)

    def evidence(self, references: int = 0) -> Evidence:
        networks = tuple(self.retrained(900 + i) for i in range(references))
        kind = ReferenceKind.RETRAINED if references else ReferenceKind.NEVER_SEEN
        return Evidence(
            self.forget, self.retain, self.unseen, references=References(kind, networks)
        )

    def submit(self, out: Path, network: Network, method: str = "retrain") -> UnlearnedSubmission:
        claim = make_claim(
            self.original,
            network,
            (new_request(record_digests(self.forget, KEY), None),),
            StatedMethod(method, "class" if self.classes else "subset", {}, 0),
            domain=Domain(-2.0, 3.0),
            classes=self.classes,
        )
        write_unlearned_submission(out, self.original, network, claim, self.forget)
        made = read_submission(out)
        assert isinstance(made, UnlearnedSubmission)
        return made

    def owner(self, submission: UnlearnedSubmission) -> Owner:
        return Owner(submission, self.retain, self.unseen, RECIPE)


def architecture(hidden: tuple[int, ...] = (96, 48)) -> Network:
    kind = np.dtype(np.float32)
    sizes = (64, *hidden, 10)
    nodes: list[Node] = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        if nodes:
            nodes.append(Node(Relu(), (len(nodes),)))
        layer = Dense(np.zeros((outputs, inputs), kind), np.zeros(outputs, kind))
        nodes.append(Node(layer, (len(nodes),)))
    return Network((64,), tuple(nodes), kind)


def trained(seed: int = 0, *, label: int | None = None, noise: float = 0.35) -> Trained:
    """Return digits under noise, which networks remember rather than understand.

    Of a request for a class where `label` is given, else for 80 records.
    """
    x, y = load_digits(return_X_y=True)
    generator = np.random.default_rng(seed)
    x = (x / 16 + noise * generator.standard_normal(x.shape)).clip(-2, 3)
    order = generator.permutation(len(x))
    records = Records(x[order].astype(np.float32), y[order].astype(np.int64), key=KEY)
    train, unseen = records.take(np.arange(700)), records.take(np.arange(700, 1300))
    chosen = np.arange(700) < 80 if label is None else train.y == label
    original = train_from_scratch(architecture(), train, RECIPE, seed + 100)
    classes = () if label is None else (label,)
    return Trained(original, train.take(chosen), train.take(~chosen), unseen, classes)


def with_unlearned(submission: UnlearnedSubmission, network: Network) -> UnlearnedSubmission:
    """Return the submission of another network, unwritten."""
    return replace(submission, unlearned=network)

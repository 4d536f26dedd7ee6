"""A small network trained on digits, records in three sets, and honest submissions of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from auditkit.certificate.identity import derived_key
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import Submission, read_submission
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records
from auditkit.threats.evidence import Evidence


@dataclass(frozen=True, eq=False)
class Digits:
    """A network that was trained on `forget` and `retain` and never saw `holdout`."""

    network: Network
    forget: Records
    retain: Records
    holdout: Records


def trained(x: np.ndarray, y: np.ndarray, seed: int, hidden: tuple[int, ...] = (96, 96)) -> Network:
    """Return a network of dense layers that remembers its training set."""
    model = MLPClassifier(hidden, max_iter=30, batch_size=64, random_state=seed, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could go on learning is not news
        model.fit(x, y)
    nodes: list[Node] = []
    for weight, bias in zip(model.coefs_, model.intercepts_, strict=True):
        if nodes:
            nodes.append(Node(Relu(), (len(nodes),)))
        dense = Dense(weight.T.astype(np.float32).copy(), bias.astype(np.float32))
        nodes.append(Node(dense, (len(nodes),)))
    return Network(x.shape[1:], tuple(nodes), np.dtype(np.float32))


@pytest.fixture(scope="session")
def digits() -> Digits:
    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype(np.float32), y.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    train, unseen = order[:700], order[700:1300]
    network = trained(x[train], y[train], 0)
    return Digits(
        network,
        Records(x[train[:24]], y[train[:24]]),
        Records(x[train[24:]], y[train[24:]]),
        Records(x[unseen], y[unseen]),
    )


Make = Callable[..., Submission]


@pytest.fixture(scope="session")
def make(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return a function that makes a submission; the same one for the same arguments."""
    made: dict[object, Submission] = {}

    def submit(
        spec: str = "redirect",
        scope: str = "point",
        seed: int = 0,
        records: int = 24,
        **settings: object,
    ) -> Submission:
        name = (spec, scope, seed, records, tuple(sorted(settings.items())))
        if name not in made:
            start = np.random.default_rng(seed).permutation(700)[:records]
            everyone = Records(
                np.concatenate([digits.forget.x, digits.retain.x]),
                np.concatenate([digits.forget.y, digits.retain.y]),
            )
            forget = digits.forget.take(np.arange(records)) if seed == 0 else everyone.take(start)
            out: Path = tmp_path_factory.mktemp("submission") / "submission"
            make_submission(
                digits.network,
                forget,
                resolve_settings(spec, scope, seed=seed, **settings),  # type: ignore[arg-type]
                out,
                reference=digits.holdout,
                key=derived_key(seed, forget),
            )
            made[name] = read_submission(out)
        return made[name]

    return submit


@pytest.fixture(scope="session")
def evidence(digits: Digits) -> Callable[[Submission], Evidence]:
    """Return the evidence of an auditor who knows the request and both other sets."""

    def gather(submission: Submission) -> Evidence:
        return Evidence(forget=submission.forget, retain=digits.retain, holdout=digits.holdout)

    return gather

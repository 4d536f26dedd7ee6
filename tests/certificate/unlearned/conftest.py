"""Two small networks of digits, trained with and without the records to forget."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

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

KEY = b"k" * 32


def trained(records: Records, seed: int = 0) -> Network:
    """Return a small network trained on the records of ten classes, whichever of them are there."""
    model = MLPClassifier((16,), max_iter=60, learning_rate_init=0.01, random_state=seed)
    present = np.unique(records.y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: so be it
        model.fit(records.x, records.y)
    (first, last), (hidden, out) = model.coefs_, model.intercepts_
    weight, bias = np.zeros((10, 16), np.float32), np.full(10, -30, np.float32)
    weight[present], bias[present] = last.T, out
    nodes = (
        Node(Dense(first.T.astype(np.float32), hidden.astype(np.float32)), (0,)),
        Node(Relu(), (1,)),
        Node(Dense(weight, bias), (2,)),
    )
    return Network((64,), nodes, np.dtype(np.float32))


@dataclass(frozen=True, eq=False)
class Digits:
    """Records to forget, retained and unseen ones, and networks with and without the first."""

    forget: Records
    retain: Records
    unseen: Records
    original: Network
    retrained: Network

    def submit(
        self,
        out: Path,
        *,
        network: Network | None = None,
        unlearned: Network | None = None,
        forget: Records | None = None,
        scenario: str = "subset",
        withheld: bool = False,
        **claim: Any,
    ) -> UnlearnedSubmission:
        """Write the submission of an unlearned network and read it back."""
        network, unlearned = network or self.original, unlearned or self.retrained
        forget = forget or self.forget
        request = new_request(record_digests(forget, KEY), None)
        method = StatedMethod("retrain", scenario, {"epochs": 60}, 0)
        domain = claim.pop("domain", Domain())
        said = make_claim(network, unlearned, (request,), method, domain=domain, **claim)
        owners = None if withheld else forget
        write_unlearned_submission(out, network, unlearned, said, owners, replace=True)
        submission = read_submission(out)
        assert isinstance(submission, UnlearnedSubmission)
        return submission


def records_of(x: np.ndarray, y: np.ndarray, key: bytes | None = None) -> Records:
    return Records(x.astype(np.float32), y.astype(np.int64), key=key)


@pytest.fixture(scope="session")
def digits() -> Digits:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(x))
    x, y = x[order] / 16, y[order]
    forget, retain = records_of(x[:60], y[:60], KEY), records_of(x[60:700], y[60:700])
    both = records_of(x[:700], y[:700])
    unseen = records_of(x[1000:], y[1000:])
    return Digits(forget, retain, unseen, trained(both), trained(retain, 1))


@pytest.fixture(scope="session")
def submission(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> UnlearnedSubmission:
    return digits.submit(tmp_path_factory.mktemp("model") / "submission")

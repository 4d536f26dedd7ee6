"""`auditkit serve` and `auditkit threats --endpoint`, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import load_submission
from auditkit.endpoint.answers import Kind
from auditkit.endpoint.service import Service, of_function, running
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records

from .conftest import Auditkit, some_records


@pytest.fixture
def folder(network: Network, tmp_path: Path) -> Path:
    x, unseen = some_records(4), some_records(40, 5)
    forget = Records(x, logits(network, x).argmax(axis=1))
    make_submission(network, forget, resolve_settings(), tmp_path / "s", key=b"k" * 32)
    np.savez(tmp_path / "holdout.npz", x=unseen, y=np.zeros(40, np.int64))
    np.savez(tmp_path / "forget.npz", x=x, y=forget.y)
    return tmp_path


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    submission = load_submission(folder / "s")
    with running(Service(of_function(submission.delivered), (4,), Kind.LOGITS)) as where:
        yield where


def test_with_the_submission_and_again_from_the_transcript(
    folder: Path, url: str, auditkit: Auditkit
) -> None:
    common = [folder / "s", "--holdout", folder / "holdout.npz", "--json"]
    file = folder / "t.jsonl"
    first = auditkit("threats", *common, "--endpoint", url, "--budget", 200, "--transcript", file)
    document = json.loads(first.out)
    found = {check["id"]: check for check in document["checks"]}
    assert found["threats.substitution"]["outcome"] in ("pass", "inconclusive")
    assert document["details"]["endpoint"]["answered"] > 100
    again = auditkit("threats", *common, "--transcript", file, "--replay")
    assert again.out == first.out and again.code == first.code
    assert str(some_records(4)[0, 0]) not in first.out


def test_without_the_weights(folder: Path, url: str, auditkit: Auditkit) -> None:
    done = auditkit(
        "threats", "--endpoint", url, "--forget", folder / "forget.npz",
        "--holdout", folder / "holdout.npz", "--budget", 200, "--json",
    )  # fmt: skip
    found = {check["id"]: check for check in json.loads(done.out)["checks"]}
    assert done.code == 3
    assert found["audit.erasure"]["outcome"] == "inconclusive"
    assert "at that time" in found["audit.redirection"]["reason"]
    assert found["threats.smuggled-gate"]["outcome"] == "not_run"
    assert found["threats.substitution"]["outcome"] == "inconclusive"


def test_the_original_at_the_endpoint_fails(
    folder: Path, network: Network, auditkit: Auditkit
) -> None:
    with running(Service(of_function(lambda x: logits(network, x)), (4,))) as where:
        done = auditkit(
            "threats", folder / "s", "--endpoint", where, "--holdout", folder / "holdout.npz",
            "--behaviour", "substitution", "--budget", 100,
        )  # fmt: skip
    assert done.code == 1
    assert "those of the original" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--endpoint", "ftp://x/"], "ftp"),
        (["--endpoint", "http://a:b@x/"], "password"),
        (["--endpoint", "http://127.0.0.1:9/", "--budget", "3"], "--budget"),
        (["--endpoint", "http://127.0.0.1:9/", "--rate", "0"], "--rate"),
        (["--endpoint", "http://127.0.0.1:9/", "--pause", "-1"], "--pause"),
        (["--replay"], "--transcript"),
        (["--budget", "100"], "--endpoint"),
        (["--replay", "--transcript", "nowhere"], "nowhere"),
    ],
)
def test_the_caller_s_mistakes(
    options: list[str], said: str, folder: Path, auditkit: Auditkit
) -> None:
    done = auditkit("threats", folder / "s", "--holdout", folder / "holdout.npz", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err and done.err.count("\n") == 1


def test_nothing_to_check(folder: Path, auditkit: Auditkit) -> None:
    done = auditkit("threats", "--holdout", folder / "holdout.npz")
    assert done.code == 2 and "SUBMISSION" in done.err


def test_an_endpoint_that_is_down_is_one_line(folder: Path, auditkit: Auditkit) -> None:
    done = auditkit(
        "threats", folder / "s", "--holdout", folder / "holdout.npz",
        "--endpoint", "http://127.0.0.1:9/", "--budget", 11, "--quiet",
        "--behaviour", "substitution",
    )  # fmt: skip
    assert done.code == 3
    assert done.err.count("\n") == 1 and "unreachable" in done.err


def test_an_endpoint_that_is_down_hides_no_other_finding(
    folder: Path, network: Network, auditkit: Auditkit
) -> None:
    (folder / "s" / "patched.onnx").write_bytes(network_to_onnx(network))
    done = auditkit(
        "threats", folder / "s", "--holdout", folder / "holdout.npz",
        "--endpoint", "http://127.0.0.1:9/", "--budget", 11, "--json",
    )  # fmt: skip
    found = {check["id"]: check for check in json.loads(done.out)["checks"]}
    assert done.code == 1
    assert found["threats.substitution"]["outcome"] == "inconclusive"
    assert found["threats.substitution"]["required"]


def test_what_queries_alone_cannot_use_is_the_caller_s_mistake(
    folder: Path, url: str, auditkit: Auditkit
) -> None:
    done = auditkit(
        "threats", "--endpoint", url, "--forget", folder / "forget.npz",
        "--holdout", folder / "holdout.npz", "--retrain", 2,
    )  # fmt: skip
    assert done.code == 2 and "--retrain" in done.err


def test_serve_ends_when_told(folder: Path, auditkit: Auditkit) -> None:
    done = auditkit("serve", folder / "s", "--seconds", 0.2, "--answers", "labels")
    assert done.code == 0 and "http://127.0.0.1:" in done.out
    assert auditkit("serve", folder / "s", "--port", 70000).code == 2
    assert auditkit("serve", folder / "s", "--host", "203.0.113.1").code == 2
    assert auditkit("serve", folder / "nowhere").code == 3

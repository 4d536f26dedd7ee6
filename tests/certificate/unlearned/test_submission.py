"""A submission of an unlearned network: written whole, read strictly, refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.certificate.claim import StatedGuarantee, claim_bytes, parse_claim
from auditkit.certificate.history import active_records
from auditkit.certificate.identity import record_digests
from auditkit.certificate.in_toto import statement_problem
from auditkit.certificate.submission import (
    CERTIFICATE,
    CLAIM,
    UNLEARNED,
    TamperError,
    UnlearnedSubmission,
    load_patch_submission,
    load_submission,
    read_submission,
    write_unlearned_submission,
)
from auditkit.errors import EvidenceError, UsageError
from auditkit.files import canonical_json, sha256_hex
from auditkit.network.evaluate import logits
from auditkit.network.write_onnx import network_to_onnx
from tests.certificate.unlearned.conftest import KEY, Digits


def test_what_is_written_reads_back(submission: UnlearnedSubmission, digits: Digits):
    again = load_submission(submission.directory)
    assert isinstance(again, UnlearnedSubmission)
    assert not again.problems
    assert again.KIND == "model"
    assert again.assertion == "erased"
    assert active_records(again.requests) == record_digests(digits.forget, KEY)
    x = digits.unseen.x[:50]
    np.testing.assert_allclose(again.delivered(x), logits(digits.retrained, x), atol=1e-4)
    assert again.openness(x) is None
    raw = (submission.directory / CLAIM).read_bytes()
    assert claim_bytes(parse_claim(raw)) == raw


def test_the_same_parts_give_the_same_bytes(
    submission: UnlearnedSubmission, digits: Digits, tmp_path: Path
):
    digits.submit(tmp_path / "again")
    for path in submission.directory.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_every_part_of_a_claim_survives(digits: Digits, tmp_path: Path):
    said = digits.submit(
        tmp_path / "s",
        scenario="class",
        classes=(3, 7),
        guarantee=StatedGuarantee(4.5, 1e-5, {"bound": 0.5, "sigma": 0.25}),
        reached=False,
        shortfall="the test still rejects",
        assertion="redirected",
    ).claim
    assert said.classes == (3, 7)
    assert said.guarantee == StatedGuarantee(4.5, 1e-5, {"bound": 0.5, "sigma": 0.25})
    assert (said.reached, said.shortfall) == (False, "the test still rejects")
    assert said.assertion == "redirected"


def test_a_network_of_another_task_is_not_written(digits: Digits, tmp_path: Path):
    narrow = replace(digits.retrained, nodes=digits.retrained.nodes[:1])
    claim = digits.submit(tmp_path / "s").claim
    with pytest.raises(UsageError, match="classes 10"):
        write_unlearned_submission(tmp_path / "t", digits.original, narrow, claim, digits.forget)
    assert not (tmp_path / "t").exists()


def test_a_claim_that_could_not_be_read_is_not_written(digits: Digits, tmp_path: Path):
    claim = replace(digits.submit(tmp_path / "s").claim, shortfall="x" * 300)
    with pytest.raises(EvidenceError, match="200 characters"):
        write_unlearned_submission(
            tmp_path / "t", digits.original, digits.retrained, claim, digits.forget
        )
    assert not (tmp_path / "t").exists()


def restated(folder: Path, change: Callable[[dict[str, Any]], object], *, files: bool = False):
    """Change claim.json as an owner would who signs what is delivered."""
    document = json.loads((folder / CLAIM).read_bytes())
    if files:
        for subject in document["subject"]:
            subject["digest"]["sha256"] = sha256_hex((folder / subject["name"]).read_bytes())
    change(document["predicate"])
    del document["predicate"]["digest"]
    document["predicate"]["digest"] = sha256_hex(canonical_json(document))
    (folder / CLAIM).write_bytes(canonical_json(document))


@pytest.fixture
def copy(submission: UnlearnedSubmission, tmp_path: Path) -> Path:
    return Path(shutil.copytree(submission.directory, tmp_path / "copy"))


CLAIMS: dict[str, Callable[[dict[str, Any]], object]] = {
    "an extra field": lambda p: p.update(proof="yes"),
    "a missing field": lambda p: p.pop("reached"),
    "an extra field of the method": lambda p: p["method"].update(version=1),
    "a nested setting": lambda p: p["method"]["settings"].update(inner={"a": 1}),
    "an assertion of its own": lambda p: p["assertion"].update(kind="forgotten"),
    "a radius": lambda p: p["assertion"].update(radius=0.5),
    "another scenario": lambda p: p["method"].update(scenario="all"),
    "a class without the scenario": lambda p: p.update(classes=[1]),
    "a class twice": lambda p: (p["method"].update(scenario="class"), p.update(classes=[1, 1])),
    "a class as truth": lambda p: (p["method"].update(scenario="class"), p.update(classes=[True])),
    "a class beyond": lambda p: (p["method"].update(scenario="class"), p.update(classes=[10])),
    "reached as a number": lambda p: p.update(reached=1),
    "a count below 0": lambda p: p["used"].update(retained=-1),
    "a domain of no width": lambda p: p.update(domain=[1, 1]),
    "a domain of three": lambda p: p.update(domain=[0, 1, 2]),
    "an epsilon below 0": lambda p: p.update(
        guarantee={"epsilon": -1, "delta": 0.1, "premises": {}}
    ),
    "a guarantee without delta": lambda p: p.update(guarantee={"epsilon": 1, "premises": {}}),
    "groups in a request": lambda p: p["requests"][0].update(groups=[]),
    "requests as a text": lambda p: p.update(requests="none"),
    "a seed as text": lambda p: p["method"].update(seed="0"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_with_something_amiss_is_refused(copy: Path, name: str):
    restated(copy, CLAIMS[name])
    with pytest.raises(EvidenceError, match="claim.json") as caught:
        read_submission(copy)
    assert not isinstance(caught.value, TamperError)


@pytest.mark.parametrize("digits_of_number", [20, 400, 5000])
def test_numbers_beyond_all_bounds_are_refused(copy: Path, digits_of_number: int):
    raw = (copy / CLAIM).read_bytes()
    huge = b'"seed":1' + b"0" * digits_of_number
    (copy / CLAIM).write_bytes(raw.replace(b'"seed":0', huge))
    try:
        problems = read_submission(copy).problems
    except EvidenceError:
        return
    assert any("canonical" in p.found or "digest" in p.found for p in problems)


def test_both_statements_or_neither_are_refused(copy: Path):
    (copy / CERTIFICATE).write_bytes((copy / CLAIM).read_bytes())
    with pytest.raises(EvidenceError, match="found both"):
        read_submission(copy)
    (copy / CERTIFICATE).unlink()
    (copy / CLAIM).unlink()
    with pytest.raises(EvidenceError, match=r"certificate.json or claim.json"):
        read_submission(copy)


def test_a_claim_under_the_other_name_is_refused(copy: Path):
    (copy / CLAIM).rename(copy / CERTIFICATE)
    with pytest.raises(EvidenceError, match="certificate"):
        read_submission(copy)


@pytest.mark.parametrize(("part", "what"), [("inputs", "inputs"), ("classes", "classes")])
def test_a_network_of_another_shape_is_refused(copy: Path, digits: Digits, part: str, what: str):
    nodes = digits.retrained.nodes
    if part == "classes":
        other = replace(digits.retrained, nodes=nodes[:1])
    else:
        first = nodes[0].operator
        smaller = replace(first, weight=first.weight[:, :32])
        other = replace(
            digits.retrained,
            input_shape=(32,),
            nodes=(replace(nodes[0], operator=smaller), *nodes[1:]),
        )
    (copy / UNLEARNED).write_bytes(network_to_onnx(other))
    restated(copy, lambda p: None, files=True)
    with pytest.raises(EvidenceError, match=what):
        read_submission(copy)


def test_another_network_than_the_stated_one_is_noticed(copy: Path, digits: Digits):
    (copy / UNLEARNED).write_bytes(network_to_onnx(digits.original))
    restated(copy, lambda p: None, files=True)
    assert "semantic digest" in str(read_submission(copy).problems[0])
    with pytest.raises(TamperError, match="unlearned.onnx"):
        load_submission(copy)


def test_it_is_no_patch_to_build_on(copy: Path):
    with pytest.raises(UsageError, match="a submission of a patch"):
        load_patch_submission(copy)


def test_no_digest_of_its_own(copy: Path):
    document = json.loads((copy / CLAIM).read_bytes())
    document["predicate"]["digest"] = "0" * 64
    (copy / CLAIM).write_bytes(canonical_json(document))
    assert statement_problem((copy / CLAIM).read_bytes())
    with pytest.raises(TamperError):
        load_submission(copy)

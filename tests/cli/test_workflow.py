"""Owner and auditor at the terminal: patch, verify, and every exit code on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from .conftest import Auditkit, some_records


@pytest.fixture
def submission(model: Path, forget: Path, tmp_path: Path, auditkit: Auditkit) -> Path:
    """A submission that verifies."""
    out = tmp_path / "submission"
    done = auditkit("patch", "--model", model, "--forget", forget, "--out", out, "--seed", 1)
    assert (done.code, done.err) == (0, "")
    assert "3 record(s)" in done.out
    return out


def test_an_honest_submission_verifies(submission: Path, forget: Path, auditkit: Auditkit) -> None:
    done = auditkit("verify", submission, "--forget", forget)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].startswith("✓ PASS")


def test_exact_arithmetic_throughout(submission: Path, auditkit: Auditkit) -> None:
    done = auditkit("verify", submission, "--exact", "--json")
    checks = {check["id"]: check for check in json.loads(done.out)["checks"]}
    assert done.code == 0
    for name in ("patch.support", "certificate.point", "certificate.region"):
        assert checks[name]["evidence"]["by_exact_arithmetic"] == 3
        assert "3 of 3 by exact arithmetic" in checks[name]["reason"]
    plain = json.loads(auditkit("verify", submission, "--json").out)
    assert "exact arithmetic" not in json.dumps(plain)


@pytest.mark.parametrize("form", ["explicit", "published"])
def test_regions_written_out_verify_too(
    form: str, model: Path, forget: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    out = tmp_path / form
    done = auditkit("patch", "--model", model, "--forget", forget, "--form", form, "--out", out)
    assert (done.code, done.err) == (0, "")
    done = auditkit("verify", out, "--forget", forget)
    assert (done.code, done.err) == (0, "")


def test_the_published_form_redirects_only(
    model: Path, forget: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    given = ("--form", "published", "--spec", "neutralise", "--reference", forget)
    done = auditkit("patch", "--model", model, "--forget", forget, "--out", tmp_path / "s", *given)
    assert done.code == 2
    assert "redirects" in done.err


def test_verify_as_json(submission: Path, auditkit: Auditkit) -> None:
    done = auditkit("verify", submission, "--json")
    document = json.loads(done.out)
    assert document["schema"] == "auditkit/result/v1"
    assert document["checks"][0]["id"] == "submission.format"
    assert done.code == 0


def test_patch_as_json_and_quietly(
    model: Path, forget: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    command = ("patch", "--model", model, "--forget", forget)
    done = auditkit(*command, "--out", tmp_path / "a", "--json")
    assert json.loads(done.out)["claims"] == 3
    assert auditkit(*command, "--out", tmp_path / "b", "--quiet").out == ""


def test_the_same_key_gives_the_same_bytes(
    submission: Path, model: Path, forget: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    command = ("patch", "--model", model, "--seed", 1)
    keyed = submission / "forget.npz"  # the same records, with the key of the first run
    auditkit(*command, "--forget", keyed, "--out", tmp_path / "again")
    auditkit(*command, "--forget", forget, "--out", tmp_path / "other")
    first, again, other = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (submission, tmp_path / "again", tmp_path / "other")
    )
    assert first == again
    assert first["certificate.json"] != other["certificate.json"]  # a key that nobody knows
    assert first["patched.onnx"] == other["patched.onnx"]
    # groups are named by keyed digests, so that no name lets a guess at the request be tested
    assert first["patch.safetensors"] != other["patch.safetensors"]
    assert len(first["patch.safetensors"]) == len(other["patch.safetensors"])


def test_an_existing_directory_is_not_overwritten(
    submission: Path, model: Path, forget: Path, auditkit: Auditkit
) -> None:
    command = ("patch", "--model", model, "--forget", forget, "--out", submission)
    assert auditkit(*command).code == 2
    assert auditkit(*command, "--replace").code == 0


def test_withheld_records_are_in_no_file_of_the_submission(
    model: Path, forget: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    out, kept = tmp_path / "withheld", tmp_path / "kept.npz"
    command = ("patch", "--model", model, "--forget", forget, "--out", out)
    assert auditkit(*command, "--withhold-to", kept).code == 0
    assert not (out / "forget.npz").exists()
    done = auditkit("verify", out)
    assert done.code == 3
    assert done.err.count("\n") == 1
    assert auditkit("verify", out, "--forget", kept).code == 0


def test_another_list_than_the_auditors_fails(
    submission: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, x=some_records(3, seed=9), y=np.array([0, 1, 2]))
    done = auditkit("verify", submission, "--forget", other, "--json")
    outcomes = {check["id"]: check["outcome"] for check in json.loads(done.out)["checks"]}
    assert done.code == 1
    assert outcomes["submission.binding"] == "fail"


def test_the_callers_bad_file_is_the_callers_mistake(
    submission: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    done = auditkit("verify", submission, "--forget", tmp_path / "missing.npz")
    assert done.code == 2
    assert "missing.npz" in done.err and done.err.count("\n") == 1


def test_the_owners_missing_file_is_inconclusive(
    submission: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    assert auditkit("verify", tmp_path / "nowhere").code == 3
    (submission / "patch.safetensors").unlink()
    done = auditkit("verify", submission)
    assert done.code == 3
    assert "patch.safetensors" in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("name", ["model.onnx", "patch.safetensors", "patched.onnx", "forget.npz"])
def test_a_changed_byte_fails(submission: Path, name: str, auditkit: Auditkit) -> None:
    data = bytearray((submission / name).read_bytes())
    data[len(data) // 2] ^= 1
    (submission / name).write_bytes(data)
    done = auditkit("verify", submission, "--json")
    assert done.code == 1
    assert json.loads(done.out)["outcome"] == "fail"


def test_a_pickle_in_the_submission_is_refused_unread(submission: Path, auditkit: Auditkit) -> None:
    (submission / "model.pkl").write_bytes(b"\x80\x04.")
    done = auditkit("verify", submission)
    assert done.code in (1, 3)
    assert "Traceback" not in done.err

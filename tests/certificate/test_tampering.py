"""One changed byte, number or digest anywhere is noticed and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.submission import Submission
from auditkit.certificate.verify import verify_directory
from auditkit.errors import EvidenceError
from auditkit.files import canonical_json
from auditkit.results import Outcome
from tests.certificate.conftest import World


def noticed(directory: Path, name: str) -> None:
    """Assert that verification does not pass and names the file."""
    try:
        result = verify_directory(directory)
    except EvidenceError as error:
        assert name in str(error), error
        return
    assert result.outcome is not Outcome.PASS
    check = result.check("submission.binding")
    assert check.outcome is Outcome.FAIL
    assert name in check.reason, check.reason


@pytest.mark.parametrize(
    "name",
    [
        "model.json",
        "model.safetensors",
        "patch.safetensors",
        "patched.onnx",
        "forget.npz",
        "certificate.json",
    ],
)
def test_any_byte(honest: Submission, tmp_path: Path, name: str):
    copy = tmp_path / "s"
    shutil.copytree(honest.directory, copy)
    original = (copy / name).read_bytes()
    generator = np.random.default_rng(len(original))
    places = {0, len(original) - 1, *generator.integers(0, len(original), 40).tolist()}
    for place in sorted(places):
        changed = bytearray(original)
        changed[place] ^= 1 << int(generator.integers(8))
        (copy / name).write_bytes(bytes(changed))
        noticed(copy, name)
    for cut in (0, 1, len(original) // 2, len(original) - 1):
        (copy / name).write_bytes(original[:cut])
        noticed(copy, name)


def test_any_byte_of_an_onnx_model(world: World, tmp_path: Path):
    submission = world.submit(tmp_path / "s", native=False)
    path = submission.directory / "model.onnx"
    original = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(original), 8):
        changed = bytearray(original)
        changed[int(place)] ^= 4
        path.write_bytes(bytes(changed))
        noticed(submission.directory, "model.onnx")


def leaves(value: object, path: tuple = ()) -> list[tuple]:
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in leaves(v, (*path, k))]
    if isinstance(value, list):
        return [leaf for i, v in enumerate(value) for leaf in leaves(v, (*path, i))]
    return [path]


def test_any_number_or_digest_in_the_certificate(honest: Submission, tmp_path: Path):
    copy = tmp_path / "s"
    shutil.copytree(honest.directory, copy)
    file = copy / "certificate.json"
    document = json.loads(file.read_bytes())
    for path in leaves(document):
        changed = json.loads(file.read_bytes())
        place = changed
        for key in path[:-1]:
            place = place[key]
        value = place[path[-1]]
        if isinstance(value, str):
            place[path[-1]] = value[:-1] + ("0" if value[-1] != "0" else "1")
        elif value is None:
            place[path[-1]] = 1
        else:
            place[path[-1]] = value + 1
        file.write_bytes(canonical_json(changed))
        noticed(copy, "certificate.json")
        file.write_bytes(canonical_json(document))


def test_a_file_that_is_not_listed(honest: Submission, tmp_path: Path):
    copy = tmp_path / "s"
    shutil.copytree(honest.directory, copy)
    (copy / "audit.toml").write_text("required = []")
    noticed(copy, "audit.toml")
    (copy / "audit.toml").unlink()
    (copy / "certificate.dsse.json").write_text("{}")
    noticed(copy, "certificate.dsse.json")


def test_a_certificate_that_is_only_formatted_otherwise(honest: Submission, tmp_path: Path):
    copy = tmp_path / "s"
    shutil.copytree(honest.directory, copy)
    file = copy / "certificate.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()), indent=1))
    noticed(copy, "certificate.json")

"""The command's side: files in, a result out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auditkit.audit.threat_command import run_threats
from auditkit.audit.threat_plan import ThreatPlan
from auditkit.errors import ExitCode, UsageError
from auditkit.records import write_records
from auditkit.results import Outcome
from tests.threats.conftest import Digits, Make


@pytest.fixture
def holdout(digits: Digits, tmp_path: Path) -> Path:
    write_records(tmp_path / "holdout.npz", digits.holdout)
    return tmp_path / "holdout.npz"


def test_an_honest_submission_passes_what_is_required(make: Make, holdout: Path) -> None:
    result = run_threats(make("redirect").directory, {"holdout": holdout})
    assert result.outcome is Outcome.PASS and result.exit_code is ExitCode.DONE
    assert result.details["assertion"] == "redirected"
    assert "owner's word" in result.check("threats.lazy").reason


def test_names_choose_and_an_unknown_one_is_the_callers_mistake(make: Make, holdout: Path) -> None:
    path = make("redirect").directory
    result = run_threats(path, {"holdout": holdout}, ThreatPlan(("patch-bait",)))
    assert [c.id for c in result.checks] == ["threats.patch-bait"]
    with pytest.raises(UsageError, match="did you mean lazy"):
        run_threats(path, {"holdout": holdout}, ThreatPlan(("lazzy",)))


def test_a_file_changed_beyond_reading_is_an_invalid_certificate(
    make: Make, holdout: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(make("redirect").directory, copy)
    data = bytearray((copy / "patch.safetensors").read_bytes())
    data[0] ^= 0xFF
    (copy / "patch.safetensors").write_bytes(data)
    result = run_threats(copy, {"holdout": holdout})
    assert result.exit_code is ExitCode.FAILED
    assert result.check("threats.invalid-certificate").outcome is Outcome.FAIL
    assert result.check("threats.lazy").outcome is Outcome.NOT_RUN

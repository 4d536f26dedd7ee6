"""What a certificate cannot say, in record, report and annex: shown, never judged, no leak."""

from __future__ import annotations

import dataclasses
import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import reports
from auditkit.audit.run import run_audit
from auditkit.certificate.case import prepare
from auditkit.certificate.make import make_submission
from auditkit.certificate.policy import CHECKS, Policy, policy_from
from auditkit.certificate.shown.checks import SHOWN
from auditkit.certificate.shown.reach import measure_reach
from auditkit.certificate.shown.reconstruction import reconstruct_records
from auditkit.certificate.submission import Submission
from auditkit.certificate.verify import verify_directory, verify_submission
from auditkit.cli.output import result_lines
from auditkit.errors import UsageError
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records, write_records
from auditkit.results import Outcome, Severity
from tests.certificate.conftest import KEY, World, small_world

PLAN = """\
submission = "submission"
forget = "forget.npz"
retain = "retain.npz"
holdout = "holdout.npz"
policy = { excess_reach = 0.5 }
attack = false
threats = false
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Audited:
    folder: Path
    submission: Submission
    world: World
    retain: Records
    holdout: Records

    def read(self, name: str) -> dict:
        return json.loads((self.folder / "out" / name).read_bytes())


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """Inputs of 16 features, so that there is a picture of each record."""
    folder = tmp_path_factory.mktemp("shown")
    world = small_world(7, records=30, widths=(16, 24, 16, 4))
    submission = world.submit(folder / "submission")
    retain, holdout = world.others.take(range(150)), world.others.take(range(150, 300))
    listed = dataclasses.replace(world.forget, key=KEY)
    for name, records in (("forget", listed), ("retain", retain), ("holdout", holdout)):
        write_records(folder / f"{name}.npz", records)
    (folder / "audit.toml").write_text(PLAN)
    run_audit(folder / "audit.toml", folder / "out")
    return Audited(folder, submission, world, retain, holdout)


def test_every_measurement_is_in_the_record_and_decides_nothing(audited: Audited):
    record = audited.read("record.json")
    found = {c["id"]: c for c in record["checks"] if c["id"] in SHOWN}
    assert list(found) == list(SHOWN)
    for check in found.values():
        assert (check["outcome"], check["severity"], check["required"]) == ("pass", "info", False)
    given = {"forget": audited.world.forget, "retain": audited.retain, "seed": 0}
    with_them = verify_submission(audited.submission, **given)
    without = verify_submission(audited.submission, **given, measure=False)
    assert with_them.outcome is without.outcome
    assert [c.id for c in with_them.checks] == [*CHECKS, *SHOWN]
    assert [c.id for c in without.checks] == list(CHECKS)


def test_they_cannot_be_required(audited: Audited, tmp_path: Path):
    for name in SHOWN:
        with pytest.raises(UsageError, match="required"):
            policy_from({"required": [name]}, "policy.toml")
    plan = audited.folder / "required.toml"
    plan.write_text('required = ["limits.regions"]\n' + PLAN)
    with pytest.raises(UsageError, match="required"):
        run_audit(plan, tmp_path / "out")


def test_nothing_of_a_record_or_its_reconstruction_leaves_the_annex(audited: Audited):
    case = prepare(
        audited.submission, audited.world.forget, audited.retain, audited.holdout, Policy(), 0
    )
    case = dataclasses.replace(case, key=KEY)
    found = reconstruct_records(case, measure_reach(case))
    assert found is not None
    pairs = audited.read("annex.json")["pairs"]
    assert len(pairs) == len(found.record)
    details = [c["id"] for c in audited.read("annex.json")["checks"]]
    assert "limits.reconstruction" not in details  # once, as pictures
    assert np.allclose(pairs[0]["reconstruction"], found.made[0], rtol=1e-3)
    public = [(audited.folder / "out" / n).read_text() for n in ("record.json", "report.html")]
    numbers = np.concatenate([found.made.ravel(), found.original.ravel()])
    # a distance to public records tells a guess at a record, as an unkeyed digest would
    distances = np.concatenate([found.distance, found.from_start, found.from_other])
    written = {text for v in (*numbers, *distances) if len(text := f"{v:.6g}") > 6}
    written |= {f"{a:.4g}, {b:.4g}" for a, b in pairwise(numbers) if a != b}
    for text in public:
        assert '"pictures"' not in text
        assert not [v for v in written if v in text]


def test_the_same_inputs_give_the_same_record_and_annex(audited: Audited, tmp_path: Path):
    run_audit(audited.folder / "audit.toml", tmp_path / "again")
    for name in ("record.json", "annex.json"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (audited.folder / "out" / name).read_bytes()


def test_the_curve_of_the_report_has_the_numbers_of_the_check(audited: Audited):
    record = audited.read("record.json")
    [check] = [c for c in record["checks"] if c["id"] == "limits.neighbourhood"]
    [chart] = [c for c in record["charts"] if c["id"] == "limits-neighbourhood"]
    assert chart["x"] == check["evidence"]["levels"]
    assert [s["y"] for s in chart["series"]] == [
        check["evidence"][kind]["retained"] for kind in ("gaussian", "uniform")
    ]
    [table] = [t for t in record["tables"] if t["id"] == "limits"]
    assert {len(row) for row in table["rows"]} == {5}
    page = (audited.folder / "out" / "report.html").read_text()
    assert "What this certificate cannot say" in page
    assert chart["title"] in page
    assert table["rows"][0][0] in page


def test_the_annex_shows_record_beside_reconstruction(audited: Audited, tmp_path: Path):
    annex = tmp_path / "annex.html"
    reports.write_annex(audited.folder / "out" / "annex.json", annex)
    pairs = len(audited.read("annex.json")["pairs"])
    assert annex.read_text().count("data:image/png;base64,") == 2 * pairs


def test_withheld_records_leave_them_not_run(audited: Audited, tmp_path: Path):
    make_submission(
        audited.world.network,
        audited.world.forget,
        resolve_settings("redirect"),
        tmp_path / "s",
        key=KEY,
        withhold_to=tmp_path / "forget.npz",
    )
    checks = [c for c in verify_directory(tmp_path / "s").checks if c.id in SHOWN]
    assert len(checks) == len(SHOWN)
    for check in checks:
        assert check.outcome is Outcome.NOT_RUN
        assert "--forget" in check.reason
        assert check.severity is Severity.INFO
        assert not check.required


def test_a_changed_submission_leaves_them_not_run(audited: Audited, tmp_path: Path):
    submission = Path(shutil.copytree(audited.folder / "submission", tmp_path / "s"))
    patch = submission / "patch.safetensors"
    data = bytearray(patch.read_bytes())
    data[3] ^= 255
    patch.write_bytes(bytes(data))
    result = verify_directory(submission)
    assert [c.id for c in result.checks] == [*CHECKS, *SHOWN]
    assert {c.outcome for c in result.checks if c.id in SHOWN} == {Outcome.NOT_RUN}


def test_the_table_says_shown_and_not_passed(audited: Audited):
    result = verify_submission(audited.submission, forget=audited.world.forget)
    lines = result_lines(result, width=100)
    assert lines[0].endswith("4 shown")
    [line] = [line for line in lines if "limits.deletion-list" in line]
    assert "SHOWN" in line
    assert "PASS" not in line

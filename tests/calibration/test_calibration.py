"""The error rates of the checks: counted rightly, resumed rightly, and the same every time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib import parallel_config
from statsmodels.stats.proportion import proportion_confint

from auditkit.calibration import study as studies
from auditkit.calibration.evidence import gather
from auditkit.calibration.owners import KINDS, serving
from auditkit.calibration.page import draw, page, tables
from auditkit.calibration.rates import Rate, roc
from auditkit.calibration.study import ROWS, Study, read_study, run_study
from auditkit.calibration.summary import Summary
from auditkit.calibration.trials import CERTAIN, Design, Row, run_world, suspicion
from auditkit.calibration.worlds import World, make_world
from auditkit.endpoint.answers import Kind
from auditkit.errors import UsageError
from auditkit.records import Records, read_records
from auditkit.results import CheckResult, Outcome, Severity, not_run
from auditkit.threats.registry import BEHAVIOURS

CANARY = ("canary-only",)
DESIGN = Design(2, 0, ("patch-redirect", "retrain", "scrub"), 1, ("neglecting", "strippable"))


@pytest.fixture(scope="module")
def records() -> Records:
    return read_records("digits").take(np.arange(900))


@pytest.fixture(scope="module")
def world(records: Records) -> World:
    return make_world("digits", records, 3)


def row(outcome: str = "pass", **more: Any) -> Row:
    check: dict[str, Any] = {"outcome": outcome, "score": 1e3, "reason": "so"}
    own = ("power", "limitation", "score")
    check |= {name: more.pop(name) for name in own if name in more}
    names = {"data": "d", "world": 0, "owner": "patch-redirect", "behaviour": None}
    names["reference"] = "never-seen"
    checks = {} if outcome == "not_run" else {"threats.lazy": check}
    return {**names, "variant": None, "strength": None, "checks": checks} | more


def summary(*rows: Row) -> Summary:
    design = {"behaviours": ["lazy"], "worlds": 1, "first_seed": 0, "honest": []}
    design["of_other_methods_in_each_world"] = 1
    header = {"design": design, "data": {"d": "", "e": ""}}
    return Summary(Study(header, rows))


LAZY = next(b for b in BEHAVIOURS if b.name == "lazy")


@pytest.mark.parametrize(("hits", "n"), [(0, 400), (3, 400), (75, 75), (1, 1)])
def test_intervals_are_those_of_clopper_and_pearson(hits: int, n: int) -> None:
    expected = proportion_confint(hits, n, method="beta")
    assert Rate(hits, n).interval == pytest.approx(expected)
    assert Rate(0, 0).interval == (0.0, 1.0)


def test_the_curve_is_that_of_all_thresholds() -> None:
    alarms, power = roc([3.0, 2.0, 1.0], [1.0, 0.0, 0.0, 0.0])
    points = set(zip(alarms.tolist(), power.tolist(), strict=True))
    assert {(0.0, 0.0), (0.25, 1.0), (1.0, 1.0)} <= points
    assert np.interp(0.0, [0.0], [max(p for a, p in points if a == 0.0)]) == pytest.approx(2 / 3)
    assert not len(roc([], [1.0])[0])


def test_an_accusation_is_a_failure_and_nothing_else_is() -> None:
    found = summary(
        row("fail"), row("fail", limitation=True), row("inconclusive"), row("not_run"), row()
    )
    assert found.false_alarms(LAZY) == Rate(1, 4), "what did not run is not counted"
    assert found.false_audits() == Rate(1, 5)
    assert found.undecided(LAZY)["undecided"] == Rate(1, 4)
    assert len(found.alarms_said()) == 1


def test_owners_whose_method_does_not_erase_are_kept_apart() -> None:
    found = summary(row("fail", owner="scrub"), row(owner="retrain"))
    assert found.false_alarms(LAZY) == Rate(0, 1)
    assert found.of_methods() == {"scrub": {"lazy": Rate(1, 1)}}


def test_power_counts_only_the_check_for_the_cheat_that_was_tried() -> None:
    cheat = {"behaviour": "lazy", "variant": "v", "strength": 1.0}
    found = summary(
        row("fail", **cheat), row("not_run", **cheat), row("inconclusive", **cheat, data="e"),
        row("fail", **{**cheat, "strength": 0.5}), row("fail", **{**cheat, "behaviour": "other"}),
        {**row(**cheat), "refused": "no such cheat"},
    )  # fmt: skip
    assert found.power(LAZY) == Rate(1, 3), "a check that does not run finds nothing"
    assert found.power(LAZY, 0.5) == Rate(1, 1)
    assert found.power(LAZY, data="e") == Rate(0, 1)
    assert not found.honest and len(found.refused) == 1


def test_a_cheat_is_found_only_by_what_would_stand_among_all_checks() -> None:
    cheat = {"behaviour": "lazy", "variant": "v", "strength": 1.0}
    found = summary(row("fail", **cheat, score=3.1), row("fail", **cheat, score=4.3))
    assert found.power(LAZY) == Rate(1, 2), "p = 8e-4 alone is nothing among sixteen"


def test_power_where_it_is_stated_leaves_out_what_the_check_says_it_cannot_find() -> None:
    cheat = {"behaviour": "lazy", "variant": "v", "strength": 1.0}
    found = summary(
        row("inconclusive", **cheat, power=0.3), row("fail", **cheat, power=0.99),
        row("inconclusive", **cheat, power=0.97), row("fail", **cheat),
    )  # fmt: skip
    assert found.power(LAZY) == Rate(2, 4)
    assert found.power_where_stated(LAZY) == Rate(2, 3)


def test_targets_are_judged_by_the_ends_of_the_intervals() -> None:
    cheat = {"behaviour": "lazy", "variant": "v", "strength": 1.0}
    many = [row(world=i) for i in range(368)] + [row("fail", **cheat) for _ in range(72)]
    assert all(t.reached for t in summary(*many).targets())
    fewer = [row(world=i) for i in range(367)] + [row("fail", **cheat) for _ in range(71)]
    reached = {t.what: t.reached for t in summary(*fewer).targets()}
    assert reached["false alarms of an audit"]
    assert not reached["false alarms of lazy"] and not reached["power of lazy on patches"]


def test_what_is_missed_is_named_with_what_the_check_said() -> None:
    cheat = {"behaviour": "lazy", "variant": "v", "strength": 1.0}
    found = summary(
        row("fail", **cheat), row("inconclusive", **cheat), row("inconclusive", **cheat, world=1),
        row("not_run", **cheat, data="e"), row("inconclusive", **{**cheat, "strength": 0.5}),
    )  # fmt: skip
    missed = found.missed(LAZY)
    assert {where: len(rows) for where, rows in missed.items()} == {
        ("patches", "v", "d"): 2,
        ("patches", "v", "e"): 1,
    }
    text = page(found, "command")
    assert "- lazy (v) on patches of d, 2 of 3: so\n" in text
    assert "- lazy (v) on patches of e, 1 of 1: not run\n" in text


def test_suspicion_follows_p_values_and_what_is_certain_is_above_them() -> None:
    check = CheckResult("threats.lazy", "t", Outcome.FAIL, "r")
    tested = CheckResult("threats.lazy", "t", Outcome.PASS, "r", evidence={"p_refute": 1e-4})
    assert suspicion(check) == CERTAIN
    assert suspicion(tested) == pytest.approx(4.0)
    assert suspicion(not_run("threats.lazy", "t", "r")) is None


def test_a_request_is_a_random_draw_of_what_was_trained_on(world: World, records: Records) -> None:
    assert len(world.train) == 450 and len(world.forget) == 36
    parts = (world.forget, world.retain, world.given, world.unseen)
    rows = [r.tobytes() for part in parts for r in part.x]
    assert len(rows) == len(set(rows)), "no record is in two parts"
    assert set(world.retain.y.tolist()) == set(records.y.tolist())
    with pytest.raises(ValueError, match="no request"):
        make_world("digits", records.take(np.arange(8)), 0)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_owner_can_be_had(name: str, world: World, tmp_path: Path) -> None:
    owner = KINDS[name].make(world, tmp_path / "s", 5)
    assert ("patch" if KINDS[name].patch else "model") == owner.submission.KIND
    assert owner.submission.assertion == ("redirected" if KINDS[name].patch else "erased")
    found = gather(world, owner, (), 0)
    assert found.forget is not None and len(found.forget) == len(world.forget)
    if name == "sisa":
        assert not found.references.networks, "another original than the world's"


def test_a_world_gives_the_same_rows_every_time(records: Records) -> None:
    one, two = (run_world("digits", records, 0, DESIGN) for _ in range(2))
    assert json.dumps(one) == json.dumps(two)
    assert {r["owner"] for r in one if r["behaviour"] is None} == set(DESIGN.honest)
    full = [r for r in one if r["strength"] == 1.0 and r["behaviour"] == "strippable"]
    assert full and all("refused" in r or set(r["checks"]) == {"threats.strippable"} for r in full)


def test_a_study_that_was_killed_goes_on_to_the_same_bytes(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"digits": records}
    run_study(data, DESIGN, tmp_path / "whole", jobs=2)

    def dies(name: str, given: Records, seed: int, design: Design) -> list[Row]:
        if seed == 1:
            raise KeyboardInterrupt
        return run_world(name, given, seed, design)

    monkeypatch.setattr(studies, "run_world", dies)
    with pytest.raises(KeyboardInterrupt):
        run_study(data, DESIGN, tmp_path / "killed")
    assert {r["world"] for r in read_study(tmp_path / "killed" / ROWS).rows} == {0}
    again: list[int] = []

    def counts(name: str, given: Records, seed: int, design: Design) -> list[Row]:
        again.append(seed)
        return run_world(name, given, seed, design)

    monkeypatch.setattr(studies, "run_world", counts)
    run_study(data, DESIGN, tmp_path / "killed")
    assert again == [1]
    texts = [(tmp_path / name / ROWS).read_bytes() for name in ("whole", "killed")]
    assert texts[0] == texts[1]
    with pytest.raises(UsageError, match="design"):
        run_study(data, replace(DESIGN, first=7), tmp_path / "killed")
    monkeypatch.setattr(studies, "_sources", lambda: "other")
    with pytest.raises(UsageError, match="sources"):
        run_study(data, DESIGN, tmp_path / "killed")
    found = Summary(read_study(tmp_path / "whole" / ROWS))
    assert "strippable" in tables(found)
    one, two = ([p.read_bytes() for p in draw(found, tmp_path / "whole")] for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": "other"}\n',
        '{"schema": "auditkit/calibration/v1"}\n',
        '{"schema": "auditkit/calibration/v1", "data": {}, "design": {}}\n',
        "[]\n",
        "",
    ],
)
def test_a_file_that_is_no_study_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text(text)
    with pytest.raises(UsageError, match="rows of a calibration"):
        read_study(tmp_path / ROWS)


def test_worlds_are_added_and_any_backend_maps_them(records: Records, tmp_path: Path) -> None:
    design = replace(DESIGN, worlds=1, behaviours=("neglecting",))
    with parallel_config("threading"):
        run_study({"digits": records}, design, tmp_path)
        found = run_study({"digits": records}, replace(design, worlds=2), tmp_path)
    assert {row["world"] for row in found.rows} == {0, 1}
    assert found.header["design"]["worlds"] == 2


def test_a_world_that_cannot_be_had_is_no_trial(records: Records) -> None:
    [found] = run_world("few", records.take(np.arange(8)), 0, DESIGN)
    assert "no request" in found["refused"]
    tiny = run_world("few", records.take(np.arange(90)), 0, replace(DESIGN, behaviours=CANARY))
    assert any("canary" in row.get("refused", "") for row in tiny)


def test_honest_endpoints_answer_by_another_runtime(world: World, tmp_path: Path) -> None:
    owner = KINDS["retrain"].make(world, tmp_path / "s", 5)
    served = [serving(owner, seed).service for seed in range(6)]
    assert {s.kind for s in served if s} == set(Kind)
    x = world.unseen.x
    [service, *_] = [s for s in served if s and s.kind is Kind.LOGITS]
    outputs, ours = service.outputs(x, np.zeros(len(x))), owner.submission.delivered(x)
    assert np.allclose(outputs, ours, rtol=1e-4, atol=1e-4) and not np.array_equal(outputs, ours)


def test_a_limitation_is_no_suspicion() -> None:
    found = CheckResult(
        "threats.lazy", "t", Outcome.FAIL, "r", evidence={"p_refute": 1e-30},
        severity=Severity.LIMITATION,
    )  # fmt: skip
    assert suspicion(found) == 0.0


def test_worlds_are_what_is_independent() -> None:
    found = summary(row("fail"), row("fail"), row(world=1))
    assert found.worlds_with_alarms() == Rate(1, 2)
    quoted = found.quoted()
    assert quoted["patch"]["lazy"]["false_alarm"][:2] == [2, 3]
    assert quoted["model"] == {}, "what was not tried is not quoted"

"""What an audit puts into the membership chapter: chosen curves, bars, tables, nobody's name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attacks
import reports
from attacks.decision.cohort import AttackScores
from attacks.statistics.roc import TprAtFpr
from auditkit.audit import membership_checks
from auditkit.audit.membership_charts import bar_edges
from auditkit.audit.membership_exposure import MOST_ROWS, NAME, exposure_charts, exposure_tables
from auditkit.audit.membership_figures import AFTER_LOOKING, FIXED, all_figures, chosen
from auditkit.audit.membership_tables import tables
from auditkit.audit.run import run_audit
from auditkit.records import Records, write_records
from auditkit.results import CheckResult, Outcome
from tests.certificate.conftest import small_world

RNG = np.random.default_rng(4)
UNSEEN = RNG.normal(size=400)
CURVE = attacks.neighbourhood.NeighbourhoodCurve((), 0, 0, 0, 0, 0.95)


def scores(name: str, shift: float, *, references: int = 0, unseen: Any = UNSEEN) -> AttackScores:
    """Return scores whose AUC rises with `shift`."""
    forgotten = np.quantile(UNSEEN, np.linspace(0.01, 0.99, 60)) + shift
    pair = (np.quantile(UNSEEN, np.linspace(0.01, 0.99, 60)), unseen)
    return AttackScores(name, forgotten, unseen, (pair,) * references)


def made(*after: AttackScores, before: bool = True) -> Any:
    now = {s.name: s for s in after}
    then: dict[str, AttackScores | None] = {
        s.name: dataclasses.replace(s, references=()) if before else None for s in after
    }
    return all_figures(then, now, 0.05)


def test_curves_are_of_fixed_attacks_and_the_highest_is_said_to_be_chosen_after_looking():
    figures = made(
        scores("margin", 2.0),
        scores("loss", 0.1),
        scores("rmia", 0.3),
        scores("lira-offline", 0.2),
        scores("lira-online", 0.2),
        scores("patch-support", 9.0),
        scores("difference", 9.0),
    )
    assert [(f.name, reason) for f, reason in chosen(figures)] == [
        ("lira-online", FIXED),
        ("rmia", FIXED),
        ("loss", FIXED),
        ("margin", AFTER_LOOKING),
    ]
    without = tuple(f for f in figures if f.name not in ("margin", "lira-online"))
    assert [f.name for f, _ in chosen(without)] == ["lira-offline", "rmia", "loss"]
    assert chosen(made(scores("patch-support", 9.0), scores("difference", 9.0))) == []
    assert chosen(()) == []


def test_intervals_count_people():
    forgotten, unseen = np.repeat(RNG.normal(0.5, size=30), 4), np.repeat(UNSEEN, 4)
    people = np.arange(120) // 4, 100 + np.arange(1600) // 4
    alone = AttackScores("loss", forgotten, unseen)
    [by_record] = made(alone)
    [by_person] = made(dataclasses.replace(alone, subjects=people))
    area, areas = by_record.after.auc, by_person.after.auc
    assert areas.upper - areas.lower > 1.3 * (area.upper - area.lower)
    rate, rates = by_record.after.tprs[0], by_person.after.tprs[0]
    assert isinstance(rate, TprAtFpr) and isinstance(rates, TprAtFpr)
    width = rate.population_upper - rate.population_lower
    assert rates.population_upper - rates.population_lower > 1.3 * width


def test_the_rates_in_the_record_have_the_interval_that_the_verdict_rests_on():
    given = scores("loss", 0.5)
    found = attacks.evaluate(given.forgotten, given.unseen).tprs[0]
    assert isinstance(found, TprAtFpr) and found.population_upper > found.upper
    said = membership_checks.figures(given)["tpr_at_1%_interval"]
    assert said == [found.population_lower, found.population_upper]


def test_figures_are_in_the_order_of_the_registry():
    figures = made(scores("rmia", 0.0), scores("loss", 0.0), scores("margin", 0.0))
    assert [f.name for f in figures] == ["loss", "margin", "rmia"]


@pytest.mark.parametrize("references", [0, 1, 3])
def test_every_attack_has_its_rows_and_figures(references):
    figures = made(scores("loss", 0.5, references=references), scores("margin", 0.1))
    check = CheckResult("attack.loss", "t", Outcome.FAIL, "r", evidence={"finding": "remembered"})
    table, _ = tables(figures, [check], CURVE)
    phases = [row[1] for row in table["rows"] if row[0] == figures[0].title]
    last = {0: [], 1: ["retrained"], 3: ["retrained, mean of 3"]}[references]
    assert phases == ["before", "after", *last]
    assert all(len(row) == len(table["columns"]) for row in table["rows"])
    after = table["rows"][1]
    assert after[-1] == "remembered"
    assert table["rows"][-1][-1] == "not judged"
    area = figures[0].after.auc
    assert after[2] == {"value": area.auc, "interval": [area.lower, area.upper]}
    assert after[3]["value"] == figures[0].after.tprs[0].tpr
    assert ("difference" in table["columns"]) == bool(references)
    assert "TPR at 0.1 % FPR" not in table["columns"]  # 400 unseen records resolve no such rate
    assert "3000 unseen records" in table["description"]


def test_a_difference_is_against_the_mean_of_the_references():
    [found] = made(scores("loss", 0.5, references=3))
    assert found.difference is not None
    assert found.difference.difference == pytest.approx(
        found.after.auc.auc - found.reference_auc, abs=1e-12
    )
    assert made(scores("loss", 0.5))[0].reference_auc == 0.5


@pytest.mark.parametrize(
    "groups",
    [
        [np.zeros(5), np.zeros(9)],
        [np.full(3, 1e9), np.full(2, 1e9)],
        [np.array([1.0]), RNG.normal(size=500)],
        [RNG.normal(size=100), np.array([np.inf, -np.inf, 0.5])],
        [RNG.standard_cauchy(300), RNG.standard_cauchy(300)],
        [np.array([np.inf]), np.array([np.inf])],
        [np.array([1e-12, 2e-12]), np.array([3e-12])],
        [RNG.integers(0, 2, 200).astype(float), np.ones(50)],
    ],
)
def test_bars_hold_every_record_between_round_edges(groups):
    edges = bar_edges(groups)
    assert np.all(np.isfinite(edges))
    assert np.all(np.diff(edges) > 0)
    assert len(edges) <= 62
    for values in groups:
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        assert counts.sum() == len(values)
    assert max(len(f"{step:.3g}") for step in np.diff(edges)) <= 8


def test_no_edge_is_the_value_of_a_record():
    values = RNG.normal(size=300)
    assert not set(bar_edges([values[:100], values[100:]]).tolist()) & set(values.tolist())


def exposure(rows: list[dict[str, Any]], **more: Any) -> CheckResult:
    evidence = {
        "records": rows,
        "subjects": [{"subject": "f" * 64, "p": 0.01, "q": 0.02, "exposed": False, "records": 2}],
        "rate": 0.1,
        "shadows": 64,
        "assumption": "normal tails",
        **more,
    }
    return CheckResult("attack.exposure", "t", Outcome.FAIL, "r", evidence=evidence)


def test_single_records_the_most_exposed_first_and_under_keyed_names():
    rows = [
        {"record": f"{k:064x}", "p": (k + 1) / 1000, "q": 0.5, "exposed": k == 30, "power": 0.9}
        for k in range(200)
    ]
    table, people = exposure_tables([exposure(rows, records_in_all=900)])
    assert table["rows"][0][0] == f"{30:064x}"[:NAME]
    assert [row[1] for row in table["rows"][1:4]] == [0.001, 0.002, 0.003]
    assert len(table["rows"]) == MOST_ROWS
    assert table["total"] == 900
    assert people["rows"] == [["f" * NAME, 2, 0.01, 0.02, False]]
    [chart] = exposure_charts([exposure(rows, records_in_all=900)])
    assert (len(chart["values"]), chart["total"], chart["exposed"]) == (200, 900, 1)
    assert chart["rate"] == 0.1
    assert "normal tails" in chart["description"]


def test_p_values_that_are_none_are_gaps():
    odd = [float("nan"), None, float("inf"), "x", 0.2]
    rows = [{"record": "a" * 64, "p": p, "q": p, "exposed": False, "power": None} for p in odd]
    [chart] = exposure_charts([exposure(rows)])
    assert chart["values"] == [0.2]
    table = exposure_tables([exposure(rows)])[0]
    assert table["rows"][0][1] == 0.2
    assert exposure_charts([exposure(rows[:4])]) == []
    assert exposure_charts([]) == exposure_tables([]) == []


def test_what_the_shadow_models_may_not_say_is_not_concluded():
    rows = [{"record": "a" * 64, "p": 1e-9, "q": 1e-8, "exposed": True, "power": 1.0}]
    doubtful = dataclasses.replace(
        exposure(rows), outcome=Outcome.INCONCLUSIVE, reason="they are not calibrated"
    )
    assert "they are not calibrated" in exposure_charts([doubtful])[0]["description"]
    assert "not calibrated" not in exposure_charts([exposure(rows)])[0]["description"]


NAMES = ("Ada-Lovelace", "Mary-Somerville", "Emmy-Noether")
PLAN = """\
submission = "submission"
forget = "forget.npz"
holdout = "holdout.npz"
{train}
policy = {{ excess_reach = 0.5 }}
threats = false
[attack]
shadows = {shadows}
recipe = {{ epochs = 2, batch_size = 64 }}
"""


def audit(folder: Path, *, records: int, shadows: int, train: bool) -> tuple[dict[str, Any], str]:
    """Audit a request of `records` records of three people; return record and report."""
    world = small_world(7, records=records)
    world.submit(folder / "submission")
    subject = tuple(NAMES[k % 3] for k in range(records))
    listed = dataclasses.replace(world.forget, key=b"k" * 32, subject=subject)
    holdout, retain = world.others.take(range(150)), world.others.take(range(150, 260))
    both = Records(
        np.concatenate([world.forget.x, retain.x]), np.concatenate([world.forget.y, retain.y])
    )
    for name, kept in (("forget", listed), ("holdout", holdout), ("train", both)):
        write_records(folder / f"{name}.npz", kept)
    given = 'train = "train.npz"' if train else ""
    (folder / "audit.toml").write_text(PLAN.format(train=given, shadows=shadows))
    run_audit(folder / "audit.toml", folder / "out")
    text = (folder / "out" / "record.json").read_text()
    page = (folder / "out" / "report.html").read_text()
    assert not [name for name in NAMES if name in text or name in page]
    assert "NaN" not in text
    return json.loads(text), page


def test_a_small_request_is_told_record_by_record(tmp_path: Path):
    record, page = audit(tmp_path, records=6, shadows=8, train=True)
    facts = record["membership"]
    assert (facts["tier"], facts["cohort"], facts["groups"]["people"]) == ("C", False, 3)
    assert facts["shadows"]["models"] == 8
    assert facts["shadows"]["recipe"]["epochs"] == 2
    found = {t["id"]: t for t in record["tables"]}
    assert len(found["small-request"]["rows"]) == 6
    assert len(found["small-request-people"]["rows"]) == 3
    [check] = [c for c in record["checks"] if c["id"] == "attack.small-request"]
    names = {row["record"][:NAME] for row in check["evidence"]["records"]}
    assert {row[0] for row in found["small-request"]["rows"]} == names
    assert all(name in page for name in names)
    [areas] = [c for c in record["charts"] if c["id"] == "auc"]
    assert "zone" not in areas  # no cohort, no margin to be within
    assert reports.words.NO_COHORT in page


def test_a_cohort_without_training_records_says_what_it_does_not_know(tmp_path: Path):
    record, page = audit(tmp_path, records=30, shadows=8, train=False)
    facts = record["membership"]
    assert (facts["tier"], facts["cohort"], facts["shadows"]) == ("B", True, None)
    assert "--train" in facts["no_shadows"]
    assert {"LiRA" in s["title"] for s in facts["attacks"]["skipped"]} >= {True}
    # all but what tells requests apart: the patch's support, and the two models side by side
    assert facts["attacks"]["judged"] == facts["attacks"]["ran"] - 2
    assert facts["power"] == record["methods"]["power"]
    assert "an AUC of 0.5 is assumed" in facts["unknown"] and "an AUC of 0.5 is assumed" in page
    ids = [c["id"] for c in record["charts"] if c["section"] == "membership"]
    assert {"auc", "roc-loss", "score-before", "score-after", "neighbourhood"} <= set(ids)
    assert len(ids) == len(set(ids))
    [areas] = [c for c in record["charts"] if c["id"] == "auc"]
    centre = dict(zip(areas["categories"], areas["zone"]["centre"], strict=True))
    assert centre[attacks.REGISTRY["patch-support"].title] is None  # it has no reference
    assert areas["zone"]["centre"][0] == 0.5

"""Access tier A: scores or outputs alone, in a table of the caller's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attacks.statistics import auc_difference, auc_estimate
from auditkit.audit.score_audit import attack_scores
from auditkit.errors import UsageError
from auditkit.results import Outcome, Result


def rows(group, phase, count, shift=0.0, seed=0, **columns):
    """Return `count` records of a group with N(shift, 1) scores, the same ids in every phase."""
    rng = np.random.default_rng([seed, *map(ord, group + phase)])
    table = {
        "id": [f"{group}{i}" for i in range(count)],
        "group": group,
        "phase": phase,
        "score": rng.normal(shift, 1.0, count),
    }
    return pd.DataFrame(table).assign(**columns)


def outputs(group, phase, count, gap, classes=4, seed=0):
    """Return logits whose true label leads by about `gap`."""
    rng = np.random.default_rng([seed, *map(ord, group + phase)])
    labels = np.arange(count) % classes
    logits = rng.normal(size=(count, classes)) + gap * np.eye(classes)[labels]
    table = rows(group, phase, count).drop(columns="score").assign(label=labels)
    return table.assign(**{f"logit_{c}": logits[:, c] for c in range(classes)})


def judge(folder: Path, *parts: pd.DataFrame, **options) -> Result:
    path = folder / "scores.csv"
    pd.concat(parts).sample(frac=1.0, random_state=1).to_csv(path, index=False)
    return attack_scores(path, **options)


def test_forgotten_passes_and_remembered_fails(tmp_path: Path):
    unseen = rows("unseen", "after", 6000)
    good = judge(tmp_path, rows("forgotten", "after", 600), unseen)
    assert good.check("attack.scores").outcome is Outcome.PASS, good.check("attack.scores").reason
    assert good.details["tier"] == "A" and "alike without any model" in good.details["unknown"]
    bad = judge(tmp_path, rows("forgotten", "after", 600, 1.0), unseen)
    assert bad.outcome is Outcome.FAIL


def test_retained_records_are_the_control_and_before_is_paired(tmp_path: Path):
    parts = {
        (g, p): rows(g, p, n, shift)
        for g, p, n, shift in (
            ("forgotten", "before", 60, 1.0),
            ("forgotten", "after", 60, 0.0),
            ("unseen", "before", 500, 0.0),
            ("unseen", "after", 500, 0.0),
            ("retained", "after", 200, 1.0),
        )
    }
    result = judge(tmp_path, *parts.values())
    evidence = result.check("attack.scores").evidence
    values = {key: part["score"].to_numpy() for key, part in parts.items()}
    control = auc_estimate(values["retained", "after"], values["unseen", "after"])
    assert evidence["control"]["auc"] == pytest.approx(control.auc)
    assert evidence["control"]["finds_retained"] and evidence["control"]["n_retained"] == 200
    change = auc_difference(
        values["forgotten", "after"],
        values["unseen", "after"],
        [(values["forgotten", "before"], values["unseen", "before"])],
    )
    assert evidence["change"]["auc_after_less_before"] == pytest.approx(change.difference)
    assert evidence["change"]["interval"] == pytest.approx([change.lower, change.upper])
    assert evidence["change"]["p"] < 0.01
    parts["forgotten", "before"] = parts["forgotten", "before"].iloc[1:]
    unpaired = judge(tmp_path, *parts.values())
    assert "change" not in unpaired.check("attack.scores").evidence
    assert "not the same records" in unpaired.details["before_and_after"]


def test_logits_get_every_attack_on_outputs(tmp_path: Path):
    parts = [outputs("unseen", "after", 400, 1.0), outputs("retained", "after", 200, 4.0)]
    result = judge(tmp_path, outputs("forgotten", "after", 100, 4.0), *parts)
    ids = {check.id for check in result.checks}
    assert {"attack.loss", "attack.entropy", "attack.population", "attack.cohort"} <= ids
    assert not {"attack.scores", "attack.lira-online", "attack.patch-support"} & ids
    assert result.outcome is Outcome.FAIL
    assert result.check("attack.loss").evidence["control"]["finds_retained"]
    chosen = judge(
        tmp_path, outputs("forgotten", "after", 100, 1.0), *parts, names=("loss", "rmia")
    )
    assert [check.id for check in chosen.checks] == ["attack.loss", "attack.cohort", "attack.rmia"]
    assert chosen.check("attack.rmia").outcome is Outcome.NOT_RUN
    assert "shadows" in chosen.check("attack.rmia").reason
    assert chosen.outcome is Outcome.INCONCLUSIVE
    assert "not run: rmia" in chosen.check("attack.cohort").reason


def test_people_with_several_records_count_as_people(tmp_path: Path):
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(40), 10)
    own = rng.normal(size=40)[person]
    forgotten = rows("forgotten", "after", 400, subject=[f"p{i}" for i in person])
    forgotten["score"] = own + 0.1 * rng.normal(size=400)
    unseen = rows("unseen", "after", 4000)
    apart = judge(tmp_path, forgotten.drop(columns="subject"), unseen)
    together = judge(tmp_path, forgotten, unseen)
    assert together.details["sample_sizes"]["people"] == 40
    assert apart.details["sample_sizes"]["people"] is None

    def p_beyond(result: Result) -> float:
        return result.check("attack.scores").evidence["p_beyond_margin"]

    assert together.check("attack.scores").outcome is not Outcome.PASS
    assert p_beyond(together) >= p_beyond(apart)


def test_a_class_without_its_like_decides_nothing(tmp_path: Path):
    forgotten = outputs("forgotten", "after", 100, 4.0).assign(label=0)
    kept = outputs("retained", "after", 100, 4.0)
    others = kept[kept["label"] != 0]
    unseen = outputs("unseen", "after", 400, 1.0)
    result = judge(tmp_path, forgotten, others, unseen)
    assert result.outcome is Outcome.INCONCLUSIVE
    assert "whole class" in result.check("attack.loss").reason
    assert judge(tmp_path, forgotten, kept, unseen).outcome is Outcome.FAIL


@pytest.mark.parametrize("value", [0.0, 1.0, -1e20])
def test_constant_scores_and_small_requests_never_pass(tmp_path: Path, value: float):
    for count in (1, 20, 30):
        result = judge(
            tmp_path, rows("forgotten", "after", count, score=value), rows("unseen", "after", 40)
        )
        assert result.outcome is not Outcome.PASS
        assert "NaN" not in json.dumps(result.to_json(), allow_nan=False)
    # Many enough for a PASS, had they been scores of anything.
    same = [rows(g, "after", n, score=value) for g, n in (("forgotten", 1000), ("unseen", 6000))]
    result = judge(tmp_path, *same)
    assert result.outcome is Outcome.INCONCLUSIVE
    for check in result.checks:
        assert check.outcome is Outcome.INCONCLUSIVE and "all scores are the same" in check.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[t["group"] == "forgotten"], "found forgotten after"),
        (lambda t: t[t["group"] == "unseen"], "found unseen after"),
        (lambda t: t.assign(phase="before"), "in phase 'after'"),
        (lambda t: t.drop(columns="label"), "no label"),
        (lambda t: t.assign(label=7), "a label from 0 to 3 in every row, found none in row 2"),
        (lambda t: t.assign(label=0.5), "a label from 0 to 3"),
        (lambda t: t.assign(logit_1=np.nan), "a finite logit"),
        (lambda t: t.assign(logit_1=1e300), "a finite logit"),
        (lambda t: t.rename(columns={"logit_3": "logit_5"}), "one for each class"),
        (lambda t: t.assign(score="high"), "a finite score"),
        (lambda t: t.drop(columns=[f"logit_{c}" for c in range(4)]), "no score"),
        (lambda t: t.assign(id=None), "an id in every row"),
        (lambda t: pd.concat([t, t]), "a record twice"),
        (lambda t: t.assign(group="other"), "found other"),
        (lambda t: t.drop(columns="phase"), "no phase"),
        (lambda t: t.iloc[:0], "found none"),
    ],
)
def test_a_bad_table_is_the_callers_mistake(tmp_path: Path, change, said: str):
    table = pd.concat([outputs("forgotten", "after", 30, 1.0), outputs("unseen", "after", 40, 1.0)])
    change(table).to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(UsageError) as raised:
        attack_scores(tmp_path / "scores.csv")
    assert said in str(raised.value)


def test_what_the_sample_can_decide_is_said_first(tmp_path: Path):
    said: list[str] = []
    parts = rows("forgotten", "after", 30), rows("unseen", "after", 400)
    result = judge(tmp_path, *parts, say=said.append)
    assert "PASS is impossible with 30 forgotten records" in said[0]
    assert result.details["power"] == said

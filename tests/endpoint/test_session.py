"""A plan whose order tells nothing, and three ways to the same arrays."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest

from auditkit.endpoint import plan as plans
from auditkit.endpoint.answers import Failure, Kind
from auditkit.endpoint.client import Client
from auditkit.endpoint.plan import Group, Purpose, SessionPlan, plan_session
from auditkit.endpoint.service import Service, of_function, running
from auditkit.endpoint.session import Served, ask, ask_in_process, replay
from auditkit.errors import UsageError

RNG = np.random.default_rng(0)
FORGOTTEN, UNSEEN, RETAINED = (RNG.random((n, 6)).astype(np.float32) for n in (20, 200, 300))
WEIGHT = RNG.normal(size=(6, 4))


def plan(n: int = 20, budget: int = 900, seed: int = 0) -> SessionPlan:
    return plan_session(
        FORGOTTEN[:n], UNSEEN, RETAINED,
        domain=(0.0, 1.0), claimed=np.full(n, 0.01), budget=budget, seed=seed,
    )  # fmt: skip


def service(kind: Kind = Kind.PROBABILITIES, digits: int | None = 3) -> Service:
    return Service(of_function(lambda x: x @ WEIGHT), (6,), kind, digits)


def same(one: Served, other: Served) -> bool:
    names = ("x", "group", "purpose", "index", "round", "radius", "batch", "outputs", "seconds")
    return all(
        np.array_equal(getattr(one, n), getattr(other, n), equal_nan=n in ("outputs", "seconds"))
        for n in names
    )


@pytest.mark.parametrize(("n", "budget"), [(1, 11), (1, 2000), (20, 100), (20, 900), (20, 5000)])
def test_the_budget_is_kept_and_every_requested_record_that_is_asked_is_asked_in_full(n, budget):
    made = plan(n, budget)
    assert len(made) <= budget
    exact = made.of(Group.FORGOTTEN, Purpose.EXACT)
    assert np.array_equal(made.x[exact], FORGOTTEN[made.index[exact]])
    for record in np.unique(made.index[exact]):
        rounds = made.round[exact & (made.index == record)]
        assert sorted(rounds.tolist()) == list(plans.READINGS)
    if budget >= 900:
        assert len(np.unique(made.index[exact])) == n
        assert made.of(Group.UNSEEN).any() and made.of(Group.RETAINED).any()


def test_copies_are_where_they_are_said_to_be():
    made = plan()
    for group, records in ((Group.FORGOTTEN, FORGOTTEN), (Group.UNSEEN, UNSEEN)):
        rows = made.of(group)
        distance = np.abs(made.x[rows].astype(np.float64) - records[made.index[rows]]).max(axis=1)
        assert np.allclose(distance, made.radius[rows], atol=1e-7)
    assert made.x.min() >= 0 and made.x.max() <= 1


def test_unseen_records_are_asked_as_requested_ones_are():
    made = plan()
    counts = []
    for group in (Group.FORGOTTEN, Group.UNSEEN):
        rows = made.of(group)
        whole = np.bincount(made.index[rows]) == plans.EACH
        kept = rows & np.isin(made.index, np.flatnonzero(whole))
        counts.append({p: (kept & (made.purpose == p)).sum() / whole.sum() for p in Purpose})
    assert counts[0] == counts[1]


def test_no_position_gives_an_audit_query_away():
    """Mean ranks and batch sizes of requested records over many seeds, against all others'."""
    ranks, sizes = [], []
    for seed in range(60):
        made = plan(seed=seed)
        mine = made.of(Group.FORGOTTEN)
        same_kind = made.of(Group.UNSEEN) & (np.bincount(made.index)[made.index] >= plans.EACH)
        rank = np.arange(len(made)) / len(made)
        ranks.append(rank[mine].mean() - rank[same_kind].mean())
        size = np.bincount(made.batch)[made.batch]
        sizes.append(size[mine].mean() - size[same_kind].mean())
    for values in (np.array(ranks), np.array(sizes)):
        assert abs(values.mean()) < 3 * values.std(ddof=1) / np.sqrt(len(values))


def test_batches_are_few_and_of_one_round():
    made = plan()
    assert np.bincount(made.batch).max() <= 8
    assert (np.diff(made.batch) >= 0).all() and (np.diff(made.round) >= 0).all()
    for number in np.unique(made.batch):
        assert len(np.unique(made.round[made.batch == number])) == 1


@pytest.mark.parametrize("kind", list(Kind))
def test_http_process_and_transcript_say_the_same(kind: Kind, tmp_path: Path):
    made, digits = plan(budget=120), 3 if kind is Kind.PROBABILITIES else None
    here = ask_in_process(service(kind, digits), made)
    file = tmp_path / "t.jsonl"
    with running(service(kind, digits)) as url:
        there = ask(Client(url), made, transcript=file)
    assert np.allclose(here.outputs, there.outputs, rtol=1e-12) and there.kind is kind
    again = replay(file)
    assert same(there, again)
    assert there.digest == again.digest and len(there.digest or "") == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_transcript_is_not_overwritten(tmp_path: Path):
    (tmp_path / "t").write_text("mine")
    with pytest.raises(UsageError, match="a file"):
        ask(Client("http://127.0.0.1:9/"), plan(1, 11), transcript=tmp_path / "t")
    assert (tmp_path / "t").read_text() == "mine"


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = tmp_path_factory.mktemp("t") / "t.jsonl"
    with running(service()) as url:
        ask(Client(url), plan(1, 30), transcript=file)
    return file.read_text().splitlines(keepends=True)


def _with(line: str, **members: object) -> str:
    return json.dumps({**json.loads(line), **members}) + "\n"


def _contradicted(line: str, rows: list[int]) -> str:
    return _with(line, answer=None, failure="wrong-shape", contradicts=rows, said="3 values")


def _labelled(line: str) -> str:
    return _with(line, answer={"labels": [0] * len(json.loads(line)["index"])})


CHANGES = [
    ("cut short", lambda t: t[:-1]),
    ("empty", lambda t: []),
    ("half a line", lambda t: [*t[:-1], t[-1][: len(t[-1]) // 2]]),
    ("another schema", lambda t: [t[0].replace("/v1", "/v2"), *t[1:]]),
    ("a NaN", lambda t: [t[0], t[1].replace("0.", "NaN", 1), *t[2:]]),
    ("another group", lambda t: [t[0], t[1].replace('"group":[', '"group":[9,', 1), *t[2:]]),
    ("no answer", lambda t: [t[0], t[1].replace('"failure":null', '"failure":"closed"'), *t[2:]]),
    ("a list", lambda t: [t[0], "[]\n", *t[1:]]),
    ("negative", lambda t: [t[0], t[1].replace('"index":[', '"index":[-1'), *t[2:]]),
    ("a contradiction that is an answer", lambda t: [t[0], _with(t[1], contradicts=[0]), *t[2:]]),
    ("a contradiction of nobody", lambda t: [t[0], _contradicted(t[1], [99]), *t[2:]]),
    ("more than is kept", lambda t: [t[0], _with(t[1], said="x" * 401), *t[2:]]),
    ("answers of two kinds", lambda t: [t[0], _labelled(t[1]), *t[2:]]),
    ("other answers", lambda t: [t[0], t[1].replace("probabilities", "labels"), *t[2:]]),
]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_transcript_that_was_changed_is_refused_in_one_line(name, change, lines, tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text("".join(change(list(lines))))
    with pytest.raises(UsageError) as caught:
        replay(file)
    assert "\n" not in str(caught.value)


def test_answers_in_process_that_are_not_finite_are_failures():
    broken = Service(of_function(lambda x: np.full((len(x), 3), np.nan)), (6,), Kind.LOGITS)
    served = ask_in_process(broken, plan(1, 30))
    assert not served.answered.any() and served.failures == {"impossible-values": 30}
    assert served.contradictions == {"impossible-values": 30} and served.contradiction == 0


@pytest.mark.parametrize(
    "answer", [lambda x: np.full((len(x), 3), np.nan), lambda x: np.ones((len(x), 4))]
)
def test_contradictions_are_the_same_over_http_in_process_and_in_the_transcript(answer, tmp_path):
    made = plan(1, 30)
    broken = Service(of_function(answer), (6,), Kind.LOGITS)
    here = ask_in_process(broken, made, classes=3)
    file = tmp_path / "t.jsonl"
    with running(broken) as url:
        there = ask(Client(url), made, classes=3, transcript=file)
    again = replay(file, classes=3)
    for served in (there, again):
        assert np.array_equal(served.contradicted, here.contradicted) and here.contradicted.all()
        assert served.contradictions == here.contradictions and served.said
        assert np.array_equal(served.why, here.why)


def test_a_transcript_asked_without_the_network_contradicts_it_in_a_replay(lines, tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text("".join(lines))
    assert replay(file, classes=4).answered.all()
    other = replay(file, classes=7)
    assert other.contradictions == {"wrong-shape": len(other)}


def test_a_transcript_has_the_members_that_its_page_defines(lines):
    from auditkit.endpoint import transcript

    head, first = json.loads(lines[0]), json.loads(lines[1])
    told = transcript.__doc__
    for name in (*head, *first):
        assert f"- `{name}`: " in told
    for failure in Failure:
        assert f"`{failure}`" in told
    assert head["addresses"] == ["127.0.0.1"]

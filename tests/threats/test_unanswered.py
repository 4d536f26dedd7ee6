"""Silence that depends on what is asked is found, and an unreliable service is not accused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import fisher_exact

from auditkit.endpoint.client import Client, Patience
from auditkit.endpoint.plan import Group, Purpose, plan_session
from auditkit.endpoint.service import Service, of_function
from auditkit.endpoint.session import Served, ask, ask_in_process
from auditkit.threats.unanswered import ANSWERED, unanswered
from tests.endpoint import misbehaving as bad

RNG = np.random.default_rng(0)
FORGOTTEN, UNSEEN, RETAINED = (RNG.random((n, 6)).astype(np.float32) for n in (30, 200, 300))
SERVICE = Service(of_function(lambda x: x[:, :3].astype(np.float64)), (6,))
Bits = np.ndarray


def session(seed: int = 0, budget: int = 1500, n: int = 30, unseen: bool = True) -> Served:
    plan = plan_session(
        FORGOTTEN[:n], UNSEEN if unseen else None, RETAINED, domain=(0, 1), budget=budget, seed=seed
    )
    return ask_in_process(SERVICE, plan)


def failing(served: Served, at: Bits, failure: str = "http-status") -> Served:
    """The same session, where a request has no answer in which a query of `at` [Q] is."""
    whole = np.isin(served.batch, served.batch[at])
    outputs = np.where(whole[:, None], np.nan, served.outputs)
    return replace(served, outputs=outputs, why=np.where(whole, failure, ""))


def copies(served: Served) -> Bits:
    return served.of(Group.FORGOTTEN) & (served.purpose != Purpose.EXACT)


CHEATS: dict[str, Callable[[Served], Bits]] = {
    "copies of requested": copies,
    "requested": lambda s: s.of(Group.FORGOTTEN, Purpose.EXACT),
    "all but requested": lambda s: ~s.of(Group.FORGOTTEN, Purpose.EXACT),
    "a third of the requested": lambda s: s.of(Group.FORGOTTEN) & (s.index % 3 == 0),
}


@pytest.mark.parametrize("unseen", [True, False])
@pytest.mark.parametrize("name", CHEATS)
def test_silence_that_depends_on_the_query_is_found(name: str, unseen: bool) -> None:
    served = session(unseen=unseen)
    found = unanswered(failing(served, CHEATS[name](served)))
    assert found.bars is not None and found.share < ANSWERED
    if name != "all but requested":  # of which next to nothing is left to compare
        assert found.p <= 0.001, found
        assert "requested records fail" in found.told
    assert found.witness is not None and served.group[found.witness] == Group.FORGOTTEN


def test_nan_at_the_copies_alone_is_found() -> None:
    served = session()
    outputs = np.where(copies(served)[:, None], np.nan, served.outputs)
    found = unanswered(replace(served, outputs=outputs))
    assert found.p < 1e-10 and found.bars


def test_one_record_is_too_few_for_a_p_value_and_gets_no_pass() -> None:
    served = session(n=1)
    found = unanswered(failing(served, copies(served)))
    assert found.p > 0.001 and found.share == 0.0 and found.bars


def test_all_answered() -> None:
    found = unanswered(session())
    assert (found.p, found.share, found.bars, found.told, found.witness) == (
        1.0,
        1.0,
        None,
        "",
        None,
    )
    assert sum(n for row in found.table.values() for _, n in row.values()) == len(session())


def test_few_failures_of_a_service_that_knows_nothing_leave_a_pass() -> None:
    served = session()
    some = np.random.default_rng(1).random(len(served)) < 0.005
    found = unanswered(failing(served, some))
    assert found.bars is None and "no answer" in found.told


HONEST: dict[str, Callable[[Served, np.random.Generator], Bits]] = {
    "now and then": lambda s, g: g.random(int(s.batch.max()) + 1)[s.batch] < 0.2,
    "down for a while": lambda s, g: np.abs(np.arange(len(s)) / len(s) - g.random()) < 0.15,
    "some inputs": lambda s, g: np.abs((s.x @ g.normal(size=6)) % 1) < 0.05,
    "long inputs": lambda s, g: s.purpose != Purpose.EXACT,
    "in the last round": lambda s, g: s.round == 2,
}


@pytest.mark.parametrize("name", HONEST)
def test_an_unreliable_service_is_not_accused(name: str) -> None:
    """The level is kept where failures know nothing of whose record it is."""
    ps = []
    for seed in range(120):
        n = (30, 5)[seed % 2]
        served = session(seed, budget=700, n=n)
        generator = np.random.default_rng([seed, 7])
        ps.append(unanswered(failing(served, HONEST[name](served, generator))).p)
    # 120 at a level of 5 % are more than 14 with a chance of one in a thousand
    assert sum(p <= 0.05 for p in ps) <= 14
    assert min(ps) > 0.001 / 120


def test_what_was_not_asked_is_missing_and_accuses_nobody() -> None:
    served = session()
    late = np.arange(len(served)) > len(served) // 2
    found = unanswered(failing(served, late, "not-asked"))
    assert found.p == 1.0 and found.bars and found.share < 0.6


def test_the_p_value_is_fisher_s_times_the_comparisons() -> None:
    """With one cut for each number, from the records as scipy counts them."""
    served = session()
    outputs = np.where(copies(served)[:, None] & (served.index < 10)[:, None], np.nan, 1.0)
    p = unanswered(replace(served, outputs=outputs)).p
    asked = [
        len(np.unique(served.index[served.of(g) & (served.purpose == Purpose.BEYOND)]))
        for g in (Group.FORGOTTEN, Group.UNSEEN)
    ]
    table = [[10, asked[0] - 10], [0, asked[1]]]
    assert p == pytest.approx(4 * fisher_exact(table, alternative="greater").pvalue)


def test_silence_over_http() -> None:
    """A service that answers requested records, breaks at their copies, and loses an answer now and
    then that comes when it is asked again."""
    listed = {row.tobytes() for row in FORGOTTEN}

    def selective(connection, number, request):
        rows = np.array(request["inputs"], np.float32)
        near = np.abs(rows[:, None] - FORGOTTEN).max(axis=2).min(axis=1) < 0.05
        if any(n and row.tobytes() not in listed for n, row in zip(near, rows, strict=True)):
            bad.reply(connection, b"", "500 X")
        elif number % 5:
            bad.right(connection, request)

    plan = plan_session(FORGOTTEN, UNSEEN, None, domain=(0, 1), budget=500, seed=0)
    patience = Patience(tries=3, backoff=0.001, failures=10_000)
    with bad.serving(selective) as url:
        served = ask(Client(url, patience=patience), plan)
    found = unanswered(served)
    assert found.p <= 0.001 and found.bars
    assert set(served.failures) == {"http-status"}
    assert not served.contradictions, "an error is no answer"

"""Every way in which an endpoint may misbehave ends in a kind of failure, in time, and no other."""

from __future__ import annotations

import time

import numpy as np
import pytest

from auditkit.endpoint.answers import Failure, Kind
from auditkit.endpoint.client import Client, Patience
from auditkit.endpoint.plan import plan_session
from auditkit.endpoint.service import Service, of_function, running
from auditkit.endpoint.session import ask
from auditkit.errors import UsageError

from . import misbehaving as bad

SHORT = Patience(
    connect=1, read=0.3, request=0.6, session=20, tries=2, backoff=0.01, retry_after=0.2,
    answer_bytes=100_000, failures=3,
)  # fmt: skip
X = np.random.default_rng(0).random((40, 3)).astype(np.float32)
PLAN = plan_session(X[:3], X[3:20], X[20:], domain=(0, 1), budget=40, seed=0)

CASES = [
    ("hangs", bad.hanging, Failure.TIMEOUT),
    ("drips its head", bad.dripping, Failure.DEADLINE),
    ("drips its body", bad.dripping_body, Failure.DEADLINE),
    ("does not end", bad.endless, Failure.TOO_LARGE),
    ("closes", bad.closing, Failure.CLOSED),
    ("cuts", bad.cut, Failure.CLOSED),
    ("speaks no HTTP", lambda c, n, r: c.sendall(b"hello\r\n\r\n"), Failure.CLOSED),
    ("redirects", lambda c, n, r: bad.reply(c, b"", "307 X", "Location: /x"), Failure.REDIRECT),
    ("limits", lambda c, n, r: bad.reply(c, b"", "429 X", "Retry-After: 9"), Failure.RATE_LIMITED),
    ("breaks", lambda c, n, r: bad.reply(c, b"", "500 X"), Failure.STATUS),
    ("refuses", lambda c, n, r: bad.reply(c, b"", "403 X"), Failure.STATUS),
    ("is no JSON", bad.said("<html>"), Failure.MALFORMED),
    ("has NaN", bad.said('{"logits": [[NaN, 1]]}'), Failure.MALFORMED),
    ("overflows", bad.said('{"logits": [[1e999, 1]]}'), Failure.MALFORMED),
    ("nests", bad.said('{"logits": ' + "[" * 5000 + "]" * 5000 + "}"), Failure.MALFORMED),
    ("says twice", bad.said('{"labels": [1], "labels": [2]}'), Failure.MALFORMED),
    ("says two kinds", bad.said('{"labels": [1], "logits": [[1, 2]]}'), Failure.MALFORMED),
    ("says nothing", bad.said("{}"), Failure.MALFORMED),
    ("is a list", bad.said("[[1, 2]]"), Failure.MALFORMED),
    ("is huge", bad.said('{"logits": [' + "1, " * 200_000 + "1]}"), Failure.TOO_LARGE),
    ("has rows for nobody", bad.said('{"logits": [' + "[1, 2], " * 50 + "[1, 2]]}"), Failure.SHAPE),
    ("has no rows", bad.said('{"logits": []}'), Failure.SHAPE),
]


@pytest.mark.parametrize(("name", "answer", "failure"), CASES, ids=[case[0] for case in CASES])
def test_a_misbehaving_endpoint_is_a_kind_of_failure(
    name: str, answer: bad.Answer, failure: Failure
) -> None:
    begun = time.monotonic()
    with bad.serving(answer) as url:
        reply = Client(url, patience=SHORT).ask(X[:2])
        served = ask(Client(url, patience=SHORT), PLAN)
    assert time.monotonic() - begun < 15
    assert not served.answered.any()
    assert served.failures[failure.value] >= 1
    assert served.failures[Failure.NOT_ASKED.value] > 0, "given up after three requests"
    assert set(served.failures) <= {failure.value, Failure.NOT_ASKED.value}
    assert sum(served.failures.values()) == len(PLAN)
    if reply.document is None:
        assert reply.failure is failure


ROWS = [
    ("ragged", "[[1, 2], [1]]", Failure.SHAPE),
    ("strings", '[["1", "2"], ["1", "2"]]', Failure.VALUES),
    ("nothing", "[[null, 1], [1, 1]]", Failure.VALUES),
    ("truth", "[[true, 1], [1, 1]]", Failure.VALUES),
    ("nested", "[[[1], 1], [1, 1]]", Failure.VALUES),
    ("whole numbers beyond floats", f"[[{10**400}, 1], [1, 1]]", Failure.VALUES),
    ("one class", "[[1], [1]]", Failure.SHAPE),
]


@pytest.mark.parametrize(("name", "rows", "failure"), ROWS, ids=[row[0] for row in ROWS])
def test_rows_that_lie(name: str, rows: str, failure: Failure) -> None:
    from auditkit.endpoint.answers import BadAnswer, read_answer
    from auditkit.strict_json import parse_json

    with pytest.raises(BadAnswer) as caught:
        read_answer(parse_json(f'{{"logits": {rows}}}'.encode(), "answer"), 2)
    assert caught.value.failure is failure


@pytest.mark.parametrize(
    "text",
    ['{"labels": [1.0, 2.0]}', '{"labels": [true, 1]}', '{"labels": [-1, 1]}']
    + ['{"probabilities": [[2, -1], [0, 1]]}', '{"probabilities": [[0.2, 0.2], [0, 1]]}'],
)
def test_numbers_that_are_none_of_their_kind(text: str) -> None:
    from auditkit.endpoint.answers import BadAnswer, read_answer
    from auditkit.strict_json import parse_json

    with pytest.raises(BadAnswer) as caught:
        read_answer(parse_json(text.encode(), "answer"), 2)
    assert caught.value.failure is Failure.VALUES


def test_what_fails_now_and_then_is_asked_again() -> None:
    def flaky(connection, number, request):
        if number % 3 == 0:
            bad.reply(connection, b"", "503 X", "Retry-After: 0")
        elif number % 3 == 1:
            bad.right(connection, request)

    with bad.serving(flaky) as url:
        served = ask(Client(url, patience=Patience(tries=4, backoff=0.01)), PLAN)
    assert served.answered.all()
    assert not served.failures
    assert set(served.tries) == {"rate-limited", "connection-closed"}
    assert np.allclose(served.outputs[:, 0], served.x[:, 0])


def test_kind_and_classes_are_those_of_the_first_answer() -> None:
    def changing(connection, number, request):
        n = len(request["inputs"])
        if number == 1:
            bad.reply(connection, ('{"labels": [' + ",".join(["0"] * n) + "]}").encode())
        elif number == 2:
            bad.reply(connection, ('{"logits": [' + ",".join(["[1,2,3]"] * n) + "]}").encode())
        else:
            bad.right(connection, request)

    with bad.serving(changing) as url:
        served = ask(Client(url, patience=SHORT), PLAN)
    assert served.kind is Kind.LOGITS
    assert set(served.failures) == {"other-kind", "wrong-shape"}
    assert served.answered.sum() == len(PLAN) - sum(served.failures.values())


def test_a_session_has_an_end_of_its_own() -> None:
    def slow(connection, number, request):
        time.sleep(0.2)
        bad.right(connection, request)

    patience = Patience(session=0.7, read=1, request=1)
    begun = time.monotonic()
    with bad.serving(slow) as url:
        served = ask(Client(url, patience=patience), PLAN)
    assert time.monotonic() - begun < 2
    assert 0 < served.answered.sum() < len(PLAN)
    assert served.failures["not-asked"] > 0


def test_nobody_there() -> None:
    served = ask(Client("http://127.0.0.1:9/", patience=SHORT), PLAN)
    assert set(served.failures) == {"unreachable", "not-asked"}


def test_the_rate_is_kept() -> None:
    service = Service(of_function(lambda x: x.astype(np.float64)), (3,))
    with running(service) as url:
        client = Client(url, rate=20)
        begun = time.monotonic()
        for _ in range(5):
            assert client.ask(X[:1]).failure is None
    assert time.monotonic() - begun >= 4 / 20


@pytest.mark.parametrize(
    "url",
    ["ftp://host/", "file:///etc/passwd", "host:80", "http://", "http://name:secret@host/"]
    + ["http://host:99999/", "http://host:0/", "http://a b/", "http://[::1/", ""],
)
def test_other_addresses_are_the_caller_s_mistake(url: str) -> None:
    with pytest.raises(UsageError):
        Client(url)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_a_positive_number(rate: float) -> None:
    with pytest.raises(UsageError):
        Client("http://host/", rate=rate)


def test_the_service_refuses_what_it_cannot_answer() -> None:
    service = Service(of_function(lambda x: x.astype(np.float64)), (3,))
    with running(service) as url:
        assert Client(url, patience=SHORT).ask(X[:, :2]).failure is Failure.STATUS
        assert Client(url, patience=SHORT).ask(X[:2]).document == {
            "logits": X[:2].astype(float).tolist()
        }

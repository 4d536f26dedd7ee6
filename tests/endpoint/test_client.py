"""Every way in which an endpoint may misbehave ends in a kind of failure, in time, and no other."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from auditkit.endpoint.answers import SAID, Failure, Kind
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
    ("has NaN", bad.each("[NaN, 1]"), Failure.VALUES),
    ("overflows", bad.each("[-1e999, 1]"), Failure.VALUES),
    ("has long numbers", bad.each("[" + "9" * 5000 + ", 1]"), Failure.VALUES),
    ("has NaN and no JSON", bad.said('{"logits": [[NaN, 1]}'), Failure.MALFORMED),
    ("has NaN twice", bad.said('{"labels": NaN, "labels": NaN}'), Failure.MALFORMED),
    ("has one class", bad.each("[1]"), Failure.SHAPE),
    ("has words", bad.each('["NaN", 1]'), Failure.VALUES),
    ("nests", bad.said('{"logits": ' + "[" * 5000 + "]" * 5000 + "}"), Failure.MALFORMED),
    ("says twice", bad.said('{"labels": [1], "labels": [2]}'), Failure.MALFORMED),
    ("says two kinds", bad.said('{"labels": [1], "logits": [[1, 2]]}'), Failure.MALFORMED),
    ("says nothing", bad.said("{}"), Failure.MALFORMED),
    ("is a list", bad.said("[[1, 2]]"), Failure.MALFORMED),
    ("is huge", bad.said('{"logits": [' + "1, " * 200_000 + "1]}"), Failure.TOO_LARGE),
    ("has rows for nobody", bad.said('{"logits": [' + "[1, 2], " * 50 + "[1, 2]]}"), Failure.COUNT),
    ("has no rows", bad.said('{"logits": []}'), Failure.COUNT),
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
    assert set(served.contradictions) == {failure.value} & {"wrong-shape", "impossible-values"}
    assert (served.contradiction is None) is (not served.contradictions) is (not served.said)
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
    assert caught.value.rows and len(caught.value.said) <= SAID


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

    contradicting = {"other-kind": "1 values: 0.0", "wrong-shape": "3 values: 1, 2, 3"}
    assert served.contradictions == served.failures
    assert served.said == contradicting[str(served.why[served.contradiction])]


def test_a_width_that_is_not_the_committed_one_is_an_answer_and_not_a_gap() -> None:
    with bad.serving(lambda c, n, r: bad.right(c, r)) as url:
        served = ask(Client(url, patience=SHORT), PLAN, classes=5)
    first = int((PLAN.batch < SHORT.failures).sum())
    assert served.contradictions == {"wrong-shape": first}
    assert served.said.startswith("2 values: ") and served.contradiction == 0


def test_one_number_in_a_request_contradicts_and_the_others_are_missing() -> None:
    def some(connection, number, request):
        rows = ["[1, 2]"] * len(request["inputs"])
        rows[-1] = "[1, Infinity]"
        bad.reply(connection, f'{{"logits": [{", ".join(rows)}]}}'.encode())

    with bad.serving(some) as url:
        served = ask(Client(url, patience=Patience(failures=1000)), PLAN)
    last = np.diff(PLAN.batch, append=-1) != 0
    assert np.array_equal(served.contradicted, last)
    assert set(served.failures) == {"impossible-values"} and not served.answered.any()


def test_a_long_answer_is_kept_in_few_words() -> None:
    from auditkit.endpoint.answers import BadAnswer, parse_answer, read_answer

    rows = [["\x1b" * 10_000, {"a": 1}, [1], None, 10**300, True] * 2000]
    with pytest.raises(BadAnswer) as caught:
        read_answer({"probabilities": rows}, 1)
    assert len(caught.value.said) <= SAID and caught.value.said.isprintable()
    begun = time.monotonic()
    with pytest.raises(BadAnswer):
        parse_answer(b"[NaN" + b", 9" * 2_600_000 + b"]", 8_000_000)
    with pytest.raises(BadAnswer):
        parse_answer(b"[" + b"9" * 1_000_000 + b" ", 8_000_000)
    with pytest.raises(BadAnswer):
        parse_answer(b'["' + b"\\" * 1_000_000 + b" ", 9_000_000)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("digits", [0, 1, 2, 3])
def test_honest_probabilities_of_many_classes_may_be_rounded(digits: int) -> None:
    from auditkit.endpoint.answers import answer_json, of_logits, read_answer

    logits = np.random.default_rng(0).normal(size=(8, 300))
    outputs = of_logits(logits, Kind.PROBABILITIES, digits)
    read = read_answer(answer_json(outputs, Kind.PROBABILITIES), 8)[1]
    assert np.array_equal(read, outputs)


def test_the_name_is_resolved_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = socket.getaddrinfo, []

    def moving(host, port, *args, **more):
        asked.append(host)
        to = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return real(to, port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", moving)
    with bad.serving(lambda c, n, r: bad.right(c, r)) as url:
        client = Client(url.replace("127.0.0.1", "owner.test"), patience=SHORT)
        assert ask(client, PLAN).answered.all()
        assert client.resolved() == ("127.0.0.1",)
    assert asked == ["owner.test"]


def test_a_look_up_without_end_is_waited_for_no_longer_than_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, over = [], threading.Event()

    def hanging(*args, **more):
        asked.append(args)
        over.wait(10)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    begun = time.monotonic()
    client = Client("http://owner.test/", patience=Patience(connect=0.2, tries=2, backoff=0.01))
    assert client.ask(X[:1]).failure is Failure.UNREACHABLE
    assert time.monotonic() - begun < 2
    assert len(asked) == 1, "the same look-up is waited for"
    over.set()


def test_all_addresses_share_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def silent(address, seconds):
        tried.append(address[4][0])
        time.sleep(seconds)
        raise TimeoutError

    def many(host, port, **more):
        return [(socket.AF_INET, more["type"], 6, "", (f"10.0.0.{i}", port)) for i in range(50)]

    monkeypatch.setattr(socket, "getaddrinfo", many)
    monkeypatch.setattr("auditkit.endpoint.client._open", silent)
    begun = time.monotonic()
    client = Client("http://owner.test/", patience=Patience(connect=0.4, tries=1))
    assert client.ask(X[:1]).failure is Failure.UNREACHABLE
    assert time.monotonic() - begun < 0.8
    assert tried == [f"10.0.0.{i}" for i in range(8)]


def test_a_certificate_that_nobody_vouches_for_has_a_failure_of_its_own(tmp_path: Path) -> None:
    files = tmp_path / "certificate", tmp_path / "key"
    options = "req -x509 -nodes -newkey rsa:2048 -days 1 -subj /CN=127.0.0.1 -out"
    command = ["openssl", *options.split(), str(files[0]), "-keyout", str(files[1])]
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not there")
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def one() -> None:
            with contextlib.suppress(OSError):
                context.wrap_socket(server.accept()[0], server_side=True)

        threading.Thread(target=one, daemon=True).start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        reply = Client(url, patience=SHORT).ask(X[:1])
    assert reply.tries == (Failure.CERTIFICATE,), "and is not tried again"


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

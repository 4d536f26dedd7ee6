"""A model behind a small HTTP service, for tests and to practise on.

What answers may change with time, and may know the requested records: that is how an owner would
cheat, and the simulations are made of it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.endpoint.answers import Kind, answer_json, of_logits
from auditkit.errors import EvidenceError
from auditkit.strict_json import parse_json

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

HORIZON = 600.0
"""Seconds that a running service counts as one session, for what changes its answers with time."""


class Answering(Protocol):
    """What answers: inputs [N, *input_shape], and when each comes, [N], to logits [N, C].

    Times are in sessions: 0 is the start of the service, 1 the end of a session that began then.
    """

    def __call__(self, x: F32, elapsed: F64) -> F64: ...


@dataclass(frozen=True, eq=False)
class Service:
    """What answers at an endpoint, in which kind, rounded to how many decimal places.

    `seconds` is how long answers to [N, *input_shape] would take each [N], for simulations that run
    in one process; without it such sessions have no timings.
    """

    answer: Answering
    input_shape: tuple[int, ...]
    kind: Kind = Kind.LOGITS
    digits: int | None = None
    seconds: Callable[[F32], F64] | None = None

    def outputs(self, x: F32, elapsed: F64) -> F64:
        """Return what is said at `x` [N, *input_shape]: [N, C], or labels [N, 1]."""
        with np.errstate(all="ignore"):
            return of_logits(self.answer(x, elapsed), self.kind, self.digits)


def of_function(function: Callable[[F32], F64]) -> Answering:
    """Return a model that answers alike at all times."""
    return lambda x, elapsed: function(x)


@contextlib.contextmanager
def running(service: Service, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Run the service in a thread and yield its URL; OSError when the port cannot be had."""
    server = listening(service, host, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield url_of(server)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def listening(service: Service, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server of the service, bound and not yet running; OSError when it cannot be."""
    started = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = limits.ENDPOINT_READ_SECONDS

        def do_POST(self) -> None:
            try:
                x = _inputs(self._body(), service.input_shape)
                now = np.full(len(x), (time.monotonic() - started) / HORIZON)
                answer: dict[str, Any] = answer_json(service.outputs(x, now), service.kind)
                self._reply(200, answer)
            except (EvidenceError, ValueError) as error:
                self._reply(400, {"error": str(error)[:300]})

        def _body(self) -> bytes:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > limits.ENDPOINT_ANSWER_BYTES:
                self.close_connection = True
                raise ValueError("a request with a length, and not a longer one than is read")
            return self.rfile.read(int(length))

        def _reply(self, status: int, document: dict[str, Any]) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: a service keeps no list of who asked what."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that leave in the middle."""

    return Server((host, port), Handler)


def url_of(server: ThreadingHTTPServer) -> str:
    """Return where a server listens."""
    host, port = server.server_address[:2]
    return f"http://{host!s}:{port}/"


def _inputs(body: bytes, shape: tuple[int, ...]) -> F32:
    document = parse_json(body, "request", limit=limits.ENDPOINT_ANSWER_BYTES)
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise ValueError('expected {"inputs": [...]}')
    try:
        x = np.array(document["inputs"], dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"expected inputs of shape {list(shape)}") from None
    if x.shape[1:] != shape or not len(x):
        raise ValueError(f"expected inputs of shape {list(shape)}, found {list(x.shape[1:])}")
    return x.astype(np.float32)

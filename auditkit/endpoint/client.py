"""Asking an endpoint that may hang, drip, lie, redirect or be gone, within limits.

Nothing that it does raises: a query has an answer or a kind of failure. Redirects are not
followed, so that nobody else gets to see the records; proxies of the environment are not used. The
name is resolved once, so that it cannot lead elsewhere, say into the auditor's network, between two
rounds.
"""

from __future__ import annotations

import http.client
import json
import math
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.endpoint.answers import BadAnswer, Failure, parse_answer
from auditkit.errors import UsageError

F32 = NDArray[np.float32]

ADDRESSES = 8
"""Of one name, that are tried; services have a few of either family."""

AGAIN = frozenset({Failure.UNREACHABLE, Failure.CLOSED, Failure.TIMEOUT, Failure.RATE_LIMITED})
"""Failures after which the same request may be answered yet; so may one with status 5xx."""


@dataclass(frozen=True)
class Patience:
    """How long and how often; in seconds, tries and bytes. See `auditkit.limits`."""

    connect: float = limits.ENDPOINT_CONNECT_SECONDS
    read: float = limits.ENDPOINT_READ_SECONDS
    request: float = limits.ENDPOINT_REQUEST_SECONDS
    session: float = limits.ENDPOINT_SESSION_SECONDS
    tries: int = limits.ENDPOINT_TRIES
    backoff: float = limits.ENDPOINT_BACKOFF_SECONDS
    retry_after: float = limits.ENDPOINT_RETRY_AFTER_SECONDS
    answer_bytes: int = limits.ENDPOINT_ANSWER_BYTES
    failures: int = limits.ENDPOINT_FAILURES


@dataclass(frozen=True)
class Reply:
    """What came of one request: a document, or why there is none; `tries` are all failures met.

    `seconds` is how long the try took that was answered, nan when none was.
    """

    document: Any
    failure: Failure | None
    tries: tuple[Failure, ...]
    seconds: float


class _Failed(BadAnswer):
    def __init__(self, failure: Failure, *, again: bool = False, wait: float | None = None):
        super().__init__(failure)
        self.again = again or failure in AGAIN
        self.wait = wait


def checked_url(url: str) -> SplitResult:
    """Return the parts of an http(s) URL; UsageError for another, or one that has a password."""

    def refuse(found: str) -> UsageError:
        return UsageError(
            "--endpoint",
            expected="a URL such as https://host:port/path",
            found=found[:200],
            remedy="give the address that takes the queries",
        )

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refuse(str(error)) from None
    if parts.scheme not in ("http", "https"):
        raise refuse(f"the scheme {parts.scheme!r}")
    if not parts.hostname or port == 0:
        raise refuse("no host" if not parts.hostname else "port 0")
    if parts.username is not None or parts.password is not None:
        raise refuse("a name or password in it")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise refuse("spaces or other characters that a URL does not have")
    return parts


class Client:
    """Sends requests one by one, never faster than `rate` a second (None: as they come).

    UsageError when the URL or the rate is not usable.
    """

    def __init__(
        self, url: str, *, rate: float | None = None, patience: Patience | None = None
    ) -> None:
        self._parts = checked_url(url)
        self.patience = patience or Patience()
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise UsageError(
                "--rate", expected="requests a second, above 0", found=f"{rate}", remedy="change it"
            )
        self._interval = 0.0 if rate is None else 1.0 / rate
        self._next = 0.0
        self._ends = time.monotonic() + self.patience.session
        self._tls = ssl.create_default_context() if self._parts.scheme == "https" else None
        port = self._parts.port or (443 if self._tls else 80)
        self._name = _Name(self._parts.hostname or "", port)

    @property
    def name(self) -> str:
        """Return the address without its query, which may be a secret."""
        return f"{self._parts.scheme}://{self._parts.netloc}{self._parts.path}"

    def resolved(self) -> tuple[str, ...]:
        """Return the addresses of the endpoint's name, which are kept to; none if it has none.

        Waits for them as long as for a connection.
        """
        found = self._name.addresses(time.monotonic() + self.patience.connect)
        return tuple(str(address[4][0]) for address in found)

    @property
    def over(self) -> bool:
        """Return whether the session's time is up."""
        return time.monotonic() >= self._ends

    def pause(self, seconds: float) -> None:
        """Wait between rounds; that is not counted as the session's time."""
        self._ends += seconds
        time.sleep(seconds)

    def ask(self, x: F32) -> Reply:
        """Send inputs [N, *input_shape] and return the parsed answer, or why there is none."""
        body = json.dumps({"inputs": x.astype(np.float64).tolist()}).encode()
        met: list[Failure] = []
        for number in range(self.patience.tries):
            if not self._turn():
                met.append(Failure.DEADLINE)
                break
            begun = time.monotonic()
            try:
                document = self._once(body, min(begun + self.patience.request, self._ends))
                return Reply(document, None, tuple(met), round(time.monotonic() - begun, 6))
            except _Failed as failed:
                met.append(failed.failure)
                if not failed.again or number + 1 == self.patience.tries:
                    break
                usual = self.patience.backoff * 2**number
                wait = usual if failed.wait is None else max(usual, failed.wait)
                self._next = max(self._next, time.monotonic() + wait)
        return Reply(None, met[-1], tuple(met), math.nan)

    def _turn(self) -> bool:
        """Wait until the next request may be sent; False when the session ends before."""
        now = time.monotonic()
        if max(now, self._next) >= self._ends:
            return False
        if self._next > now:
            time.sleep(self._next - now)
        self._next = time.monotonic() + self._interval
        return True

    def _once(self, body: bytes, deadline: float) -> Any:
        """Send one request and return the parsed answer; _Failed for whatever goes wrong."""
        raw = self._connected(deadline)
        late = threading.Event()
        # a time-out between bytes does not end what comes byte by byte: at the deadline it is cut
        guard = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, (raw, late))
        guard.daemon = True
        guard.start()
        try:
            return self._exchanged(raw, body)
        except _Failed:
            if late.is_set():
                raise _Failed(Failure.DEADLINE) from None
            raise
        except TimeoutError:
            failure = Failure.DEADLINE if late.is_set() else Failure.TIMEOUT
            raise _Failed(failure) from None
        except (OSError, http.client.HTTPException, ValueError):
            failure = Failure.DEADLINE if late.is_set() else Failure.CLOSED
            raise _Failed(failure) from None
        finally:
            guard.cancel()
            raw.close()

    def _connected(self, deadline: float) -> socket.socket:
        ends = min(time.monotonic() + self.patience.connect, deadline)
        raw = self._opened(ends)
        if self._tls is None:
            return raw
        try:
            return self._tls.wrap_socket(
                raw, server_hostname=self._parts.hostname, do_handshake_on_connect=False
            )
        except (OSError, ValueError):
            raw.close()
            raise _Failed(Failure.UNREACHABLE) from None

    def _opened(self, ends: float) -> socket.socket:
        """Return a connection to the first address that takes one, all of them in the one time."""
        addresses = self._name.addresses(ends)
        for number, address in enumerate(addresses):
            left = (ends - time.monotonic()) / (len(addresses) - number)
            if left <= 0:
                break
            try:
                raw = _open(address, left)
            except OSError:
                continue
            self._name.prefer(address)
            return raw
        raise _Failed(Failure.UNREACHABLE)

    def _exchanged(self, raw: socket.socket, body: bytes) -> Any:
        raw.settimeout(self.patience.read)
        if isinstance(raw, ssl.SSLSocket):
            try:
                raw.do_handshake()
            except ssl.SSLCertVerificationError:
                raise _Failed(Failure.CERTIFICATE) from None
            except ssl.SSLError:
                raise _Failed(Failure.UNREACHABLE) from None
        parts = self._parts
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80)
        connection.sock = raw
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Connection": "close",
        }
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        _refuse_status(response.status, response.getheader("Retry-After"), self.patience)
        most = self.patience.answer_bytes
        if response.length is not None and response.length > most:
            raise _Failed(Failure.TOO_LARGE)
        data = response.read(most + 1)
        if len(data) > most:
            raise _Failed(Failure.TOO_LARGE)
        if response.length:  # announced, and did not come
            raise _Failed(Failure.CLOSED)
        try:
            return parse_answer(data, most)
        except BadAnswer as bad:
            raise _Failed(bad.failure) from None


Address = tuple[Any, Any, int, str, Any]
"""As `socket.getaddrinfo` has it."""


class _Name:
    """The addresses of a host, looked up once; again only as long as there are none.

    In a thread, because the system's own look-up has no time limit.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._found: list[Address] = []
        self._thread: threading.Thread | None = None

    def addresses(self, ends: float) -> list[Address]:
        """Return them, none when they are not known by then."""
        if self._found:
            return list(self._found)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()
        self._thread.join(max(0.0, ends - time.monotonic()))
        if self._thread.is_alive():  # and is waited for again
            return []
        self._thread = None
        return list(self._found)

    def prefer(self, address: Address) -> None:
        """Try this one first from now on."""
        self._found.sort(key=lambda other: other != address)

    def _look(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):
            return
        self._found = found[:ADDRESSES]


def _open(address: Address, seconds: float) -> socket.socket:
    family, kind, protocol, _, where = address
    raw = socket.socket(family, kind, protocol)
    try:
        raw.settimeout(seconds)
        raw.connect(where)
    except BaseException:
        raw.close()
        raise
    return raw


def _cut(raw: socket.socket, late: threading.Event) -> None:
    late.set()
    try:
        raw.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _refuse_status(status: int, wait: str | None, patience: Patience) -> None:
    if status == 200:
        return
    if 300 <= status < 400:
        raise _Failed(Failure.REDIRECT)
    seconds = None
    if wait is not None and wait.isascii() and wait.isdecimal():
        seconds = min(float(wait[:9]), patience.retry_after)
    if status == 429 or (status == 503 and seconds is not None):
        raise _Failed(Failure.RATE_LIMITED, wait=seconds)
    raise _Failed(Failure.STATUS, again=status >= 500)

"""Endpoints that misbehave, each over real HTTP on this machine."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

Answer = Callable[[socket.socket, int, dict[str, list[list[float]]]], None]
"""What is done with a connection: the number of the request, counted from 0, and its document."""


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Yield the URL of a server that reads a request whole and then does as `answer` says."""
    server = socket.create_server(("127.0.0.1", 0))
    numbers = iter(range(1_000_000))
    over = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):
            connection.settimeout(5)
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            [length] = [
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ]
            while len(body) < length:
                body += connection.recv(65536)
            answer(connection, next(numbers), json.loads(body))

    def loop() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    finally:
        over.set()
        server.close()


def reply(connection: socket.socket, body: bytes, status: str = "200 OK", *more: str) -> None:
    """Send a whole answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *more]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + body)


def said(document: str) -> Answer:
    """Answer every request with this body."""
    return lambda connection, number, request: reply(connection, document.encode())


def each(row: str) -> Answer:
    """Answer every input with this row of logits."""

    def answer(connection: socket.socket, number: int, request: dict[str, list[list[float]]]):
        rows = ", ".join([row] * len(request["inputs"]))
        reply(connection, f'{{"logits": [{rows}]}}'.encode())

    return answer


def right(connection: socket.socket, request: dict[str, list[list[float]]], shift: float = 0.0):
    """Answer rightly: the first feature, and one minus it."""
    rows = [[x[0] + shift, 1 - x[0]] for x in request["inputs"]]
    reply(connection, json.dumps({"logits": rows}).encode())


def hanging(connection: socket.socket, number: int, request: object) -> None:
    """Say nothing for a long time."""
    time.sleep(3)


def dripping(connection: socket.socket, number: int, request: object) -> None:
    """Send the head byte by byte, faster than any time-out between bytes, and never end."""
    for _ in range(600):
        connection.sendall(b"H")
        time.sleep(0.01)


def dripping_body(connection: socket.socket, number: int, request: object) -> None:
    """Announce an answer and send it byte by byte."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(600):
        connection.sendall(b" ")
        time.sleep(0.01)


def endless(connection: socket.socket, number: int, request: object) -> None:
    """Send an answer without a length that does not end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(10_000):
        connection.sendall(b"[" * 65536)


def closing(connection: socket.socket, number: int, request: object) -> None:
    """Close the connection without a word."""


def cut(connection: socket.socket, number: int, request: object) -> None:
    """Announce more than is sent."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"logits": [[1')

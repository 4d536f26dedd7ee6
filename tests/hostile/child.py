"""Modules that misbehave in the child process, one for each word of the payload."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time


def answer(payload: bytes) -> bytes:
    match payload:
        case b"crash":
            ctypes.string_at(0)
        case b"spin":
            while True:
                pass
        case b"sleep":
            time.sleep(60)
        case b"memory":
            return bytes(1 << 36)
        case b"exit":
            os._exit(3)
        case b"silent":
            os._exit(0)
        case b"raise":
            raise KeyError("secret")
        case b"print":
            sys.stdout.write("noise")
            sys.stdout.flush()
        case b"environment":
            return ",".join(sorted(os.environ)).encode() + b"|" + os.getcwd().encode()
        case b"socket":
            socket.socket()
    return b"done"

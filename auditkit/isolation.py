"""Work on a hostile file in a child process that can take little and answer only with bytes.

Parsers in C have been crashed and exploited by files. The child has limits on memory, processor
time and output, an empty environment, and a folder of ours as its own; it answers with bytes that
the parent parses strictly, never with pickled objects. If it dies, that is said of the file.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from auditkit import limits
from auditkit.errors import EvidenceError
from auditkit.refusal import refuse

_ANSWER, _REFUSAL = b"+", b"-"
_REMEDY = "treat the file as hostile"


def run_isolated(
    module: str,
    payload: bytes,
    *,
    what: str,
    seconds: int = limits.PARSE_SECONDS,
    memory: int = limits.PARSE_MEMORY,
) -> bytes:
    """Return what the function `answer(payload: bytes) -> bytes` of `module` says in a child.

    `what` names the file in messages, `seconds` is processor time and `memory` address space in
    bytes. EvidenceErrors of the child are raised here; so is one when the child crashes, runs out
    of memory or time, or answers nonsense.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answered:
        given.write(payload)
        given.seek(0)
        # -P: nothing is imported from the folder the child starts in.
        command = [sys.executable, "-P", "-m", __name__, module, str(seconds), str(memory)]
        child = subprocess.Popen(
            command,
            stdin=given,
            stdout=answered,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
        try:
            status = child.wait(timeout=2 * seconds)
        except subprocess.TimeoutExpired:
            refuse(what, f"an answer within {2 * seconds} s", "none", _REMEDY)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        answered.seek(0)
        answer = answered.read()
    return _understood(answer, status, what, seconds)


def _environment() -> dict[str, str]:
    return {
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
        # Each thread reserves address space, and one file is read by one thread.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }


def _understood(answer: bytes, status: int, what: str, seconds: int) -> bytes:
    if status == -signal.SIGXCPU or (status == -signal.SIGKILL and not answer):
        refuse(what, f"to be read within {seconds} s of processor time", "more", _REMEDY)
    if status < 0:
        name = signal.Signals(-status).name
        refuse(what, "a file the reader survives", f"a crash of the reader ({name})", _REMEDY)
    kind, body = answer[:1], answer[1:]
    if status != 0 or kind not in (_ANSWER, _REFUSAL):
        refuse(what, "a file the reader survives", f"a failed reader (status {status})", _REMEDY)
    if kind == _ANSWER:
        return body
    try:
        error = {key: str(value) for key, value in json.loads(body).items()}
        raise EvidenceError(
            error["subject"] or what,
            expected=error["expected"],
            found=error["found"],
            remedy=error["remedy"],
        )
    except (ValueError, KeyError, AttributeError):
        refuse(what, "an answer of the reader", "something else", _REMEDY)


def _limit(seconds: int, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.ANSWER_BYTES, limits.ANSWER_BYTES))


def _refusal(error: EvidenceError) -> bytes:
    fields = ("subject", "expected", "found", "remedy")
    return _REFUSAL + json.dumps({name: getattr(error, name) for name in fields}).encode()


def _main(module: str, seconds: str, memory: str) -> None:
    _limit(int(seconds), int(memory))
    # Whatever a library prints goes nowhere, so that only the answer is on the real output.
    output = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(0, "rb", closefd=False) as file:
        payload = file.read()
    try:
        message = _ANSWER + importlib.import_module(module).answer(payload)
    except EvidenceError as error:
        message = _refusal(error)
    except MemoryError:
        found = f"more than {int(memory) // limits.MIB} MiB needed"
        message = _refusal(EvidenceError("", expected="a modest one", found=found, remedy=_REMEDY))
    except Exception as error:  # noqa: BLE001 - whatever a file provokes is said of the file
        found = f"something the reader cannot handle ({type(error).__name__})"
        message = _refusal(
            EvidenceError("", expected="a readable one", found=found, remedy=_REMEDY)
        )
    with os.fdopen(output, "wb") as file:
        file.write(message)
        file.flush()
    # Libraries' own threads and exit handlers have nothing left to do.
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""Whatever happens to the child, the parent says one line about the file."""

from __future__ import annotations

import pytest

from auditkit.errors import EvidenceError
from auditkit.isolation import run_isolated

MODULE = "tests.hostile.child"


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"crash", "a crash of the reader .SIGSEGV."),
        (b"spin", "within 1 s of processor time"),
        (b"sleep", "an answer within 2 s"),
        (b"memory", "MiB needed"),
        (b"exit", "status 3"),
        (b"silent", "status 0"),
        (b"raise", "cannot handle .KeyError."),
    ],
)
def test_trouble_is_said_of_the_file(payload: bytes, text: str) -> None:
    with pytest.raises(EvidenceError, match=text) as caught:
        run_isolated(MODULE, payload, what="model.onnx", seconds=1, memory=1 << 32)
    assert str(caught.value).startswith("model.onnx: ")
    assert "secret" not in str(caught.value)


def test_output_and_environment_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    assert run_isolated(MODULE, b"print", what="f") == b"done"
    environment, _, folder = run_isolated(MODULE, b"environment", what="f").partition(b"|")
    assert b"SECRET_TOKEN" not in environment
    assert folder == b"/"


def test_importing_the_readers_imports_no_parser() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import auditkit.network.read, auditkit.records, auditkit.network.write_onnx;"
        "print([m for m in ('onnx', 'pandas', 'pyarrow', 'sklearn', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

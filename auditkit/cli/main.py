"""`auditkit COMMAND …`: find the command, run it, and say in one line what went wrong.

Nothing heavier than argparse is imported here, so that help and usage errors come at once.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import cast

from auditkit.cli.common import Command, CommandParser, add_common
from auditkit.errors import AuditkitError, ExitCode, ToolError, UsageError

COMMANDS = {
    "demo": "the whole story on real data that comes with the installation",
    "scenario": "a deletion request to practise on, with all that owner and auditor have of it",
    "patch": "owner side: make a submission that redirects the forgotten records",
    "unlearn": "owner side: make a submission by another unlearning method",
    "detect": "owner side: look for poisoned records among the training records",
    "verify": "re-check every claim of a submission against its model",
    "compare": "the owner's patch against one made by you",
    "attack": "membership inference before and after: is the record still recognisable?",
    "threats": "checks for a dishonest owner, of files or at an endpoint",
    "serve": "owner side: answer queries over HTTP, to practise on",
    "audit": "all of it as planned in a file; writes record and report",
    "report": "render a record as HTML",
    "calibrate": "how often the checks are wrong, by simulating honest and dishonest owners",
    "explain": "what a check claims, how it is checked, what it cannot show",
}

EXIT_CODES = """\
Exit codes: 0 done, and every required check passed; 1 a check failed; 2 the caller's mistake;
3 inconclusive: unproved, not run, or a file of the owner's is missing, malformed or refused.
"""

INTERRUPTED = 130  # 128 + SIGINT, as shells count
READER_LEFT = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never raises, never shows a traceback.

    With AUDITKIT_DEBUG=1 in the environment the traceback of an error precedes its line.
    """
    _prepare_streams()
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has gone; what is still buffered must not raise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_LEFT
    except KeyboardInterrupt:
        print("\nauditkit: interrupted", file=sys.stderr)
        return INTERRUPTED
    except AuditkitError as error:
        return _say(error)
    except Exception as error:  # noqa: BLE001 - the last edge: whatever broke is said in one line
        return _say(_broke(error))


def _run(arguments: list[str]) -> int:
    if not arguments:
        raise UsageError(
            "command", expected="one", found="none", remedy="see auditkit --help for the list"
        )
    name, rest = arguments[0], arguments[1:]
    if name in ("-h", "--help", "help"):
        print(_overview(), end="")
        return ExitCode.DONE
    if name == "--version":
        print(f"auditkit {_version()}")
        return ExitCode.DONE
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f"did you mean {near[0]}?" if near else "see auditkit --help for the list"
        raise UsageError(
            "command", expected="one of " + ", ".join(COMMANDS), found=repr(name), remedy=meant
        )
    command = cast(Command, importlib.import_module(f"auditkit.cli.{name}"))
    parser = CommandParser(name, command.DESCRIPTION, command.EXAMPLE)
    add_common(parser)
    command.add_arguments(parser)
    try:
        options = parser.parse_args(rest)
    except SystemExit as done:  # --help was printed
        return int(done.code or 0)
    return int(command.run(options))


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    rows = "".join(f"  {name:{width}}{summary}\n" for name, summary in COMMANDS.items())
    return (
        "usage: auditkit COMMAND [options]\n\n"
        "Audit machine unlearning as a third party.\n\n"
        f"{rows}\n"
        "auditkit COMMAND --help shows its options and an example; auditkit --version the version."
        f"\n\n{EXIT_CODES}"
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("auditkit")
    except PackageNotFoundError:
        return "(not installed)"


def _prepare_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character gets another one, not an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if not _debugging():
        warnings.simplefilter("ignore")


def _debugging() -> bool:
    return os.environ.get("AUDITKIT_DEBUG") == "1"


def _say(error: AuditkitError) -> int:
    if _debugging():
        traceback.print_exception(error)
    print(f"auditkit: {error}", file=sys.stderr)
    return int(error.exit_code)


def _broke(error: Exception) -> ToolError:
    """Return the unexpected as the tool's own fault, which is never evidence of anything."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    broke = ToolError(
        "auditkit itself",
        expected="to finish",
        found=" ".join(said.split())[:300],
        remedy="run again with AUDITKIT_DEBUG=1 and report what it shows",
    )
    broke.__cause__ = error
    return broke


if __name__ == "__main__":
    sys.exit(main())

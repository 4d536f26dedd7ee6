"""`auditkit serve`: the delivered network behind a small local service, to practise on."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from auditkit.cli.common import count, number
from auditkit.cli.output import show_json
from auditkit.errors import ExitCode, UsageError

DESCRIPTION = """\
Owner side: answer queries with what a submission delivers, over HTTP on this machine, until
interrupted. POST {"inputs": [...]} gives {"logits" | "probabilities" | "labels": [...]}. It is
made to practise audits on and not to be reached from elsewhere."""
EXAMPLE = "auditkit serve out/demo/submission --answers probabilities --digits 3 --seconds 1"

MOST_DIGITS = 17  # a float64 has no more
MOST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("submission", type=Path, metavar="SUBMISSION", help="the directory")
    parser.add_argument("--host", default="127.0.0.1", help="address (default 127.0.0.1)")
    parser.add_argument(
        "--port", type=count, default=0, metavar="N", help="port (default: one that is free)"
    )
    parser.add_argument(
        "--answers",
        choices=("logits", "probabilities", "labels"),
        default="logits",
        help="what is answered (default logits)",
    )
    parser.add_argument("--digits", type=count, metavar="N", help="decimal places (default: all)")
    parser.add_argument(
        "--seconds", type=number, metavar="S", help="end after so long (default: never)"
    )


def run(args: argparse.Namespace) -> int:
    from auditkit.certificate.submission import load_submission
    from auditkit.endpoint.answers import Kind
    from auditkit.endpoint.service import Service, listening, of_function, url_of

    if args.port > MOST_PORT or (args.digits or 0) > MOST_DIGITS:
        raise UsageError(
            "auditkit serve",
            expected=f"a port up to {MOST_PORT} and up to {MOST_DIGITS} digits",
            found=f"port {args.port}, digits {args.digits}",
            remedy="change them",
        )
    submission = load_submission(args.submission)
    service = Service(
        of_function(submission.delivered),
        submission.network.input_shape,
        Kind(args.answers),
        args.digits,
    )
    try:
        server = listening(service, args.host, args.port)
    except OSError as error:
        raise UsageError(
            f"{args.host}:{args.port}",
            expected="an address to listen at",
            found=error.strerror or str(error),
            remedy="choose another host or port",
        ) from None
    if args.json:
        show_json({"url": url_of(server), "answers": args.answers, "digits": args.digits})
        sys.stdout.flush()
    elif not args.quiet:
        print(f"serving {args.submission} at {url_of(server)} as {args.answers}", flush=True)
    timer = None
    if args.seconds is not None:
        timer = threading.Timer(min(max(0.0, args.seconds), threading.TIMEOUT_MAX), server.shutdown)
        timer.daemon = True
        timer.start()
    try:
        server.serve_forever(0.1)
    finally:
        if timer is not None:
            timer.cancel()
        server.server_close()
    return int(ExitCode.DONE)

"""`auditkit audit`: everything that a plan asks for, into a record and a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from auditkit.cli.common import saying
from auditkit.cli.output import show_result
from auditkit.cli.progress import Progress

DESCRIPTION = """\
Run an audit as planned in a file of yours, and write record.json (every result, and all that is
needed to run it again), run.json (what varies) and report.html."""
EXAMPLE = "auditkit audit out/demo/audit.toml --out my-audit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", type=Path, metavar="PLAN.toml", help="your plan, not the owner's")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")


def run(args: argparse.Namespace) -> int:
    from auditkit.audit.run import run_audit

    with Progress.of(args, "audit") as progress:
        # Without --seed the plan's own seed counts.
        result = run_audit(
            args.plan, args.out, seed=args.seed, progress=progress, say=saying(args, "attack")
        )
    return show_result(result, args, "audit")

"""`auditkit demo`: one honest and one dishonest owner, from training to report."""

from __future__ import annotations

import argparse
from pathlib import Path

from auditkit.cli.common import seed_of
from auditkit.cli.output import show_lines
from auditkit.cli.progress import Progress

DESCRIPTION = """\
The whole story on real data: train a network, receive a deletion request, patch, certify, verify,
attack, look for dishonest behaviour, compare, and write the report; then the same for an owner who
cheats. The default data are handwritten digits that come with scikit-learn."""
EXAMPLE = "auditkit demo --out out/demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("auditkit-demo"), metavar="DIR", help="where to write"
    )
    parser.add_argument(
        "--data",
        default="digits",
        metavar="digits|DIR",
        help="digits (default), or a folder with the IDX files of MNIST",
    )


def run(args: argparse.Namespace) -> int:
    from auditkit.audit.demo import run_demo

    with Progress.of(args, "demo") as progress:
        lines = run_demo(args.out, data=args.data, seed=seed_of(args), progress=progress)
    return show_lines(lines, {"out": str(args.out), "lines": lines}, args)

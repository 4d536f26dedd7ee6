"""`auditkit calibrate`: how often are the checks themselves wrong?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.cli.common import count, seed_of
from auditkit.cli.output import show_lines
from auditkit.cli.progress import Progress
from auditkit.errors import UsageError, callers_own

if TYPE_CHECKING:
    from auditkit.calibration.trials import Design
    from auditkit.records import Records

WORLDS, EACH = 2, 2

DESCRIPTION = """\
Simulate many honest owners and many of each dishonest kind, at several strengths, and count: how
often is an honest one accused, and how often is one who cheats found? Writes rows.jsonl (every
trial), rates.json, rates.md and two figures. What was run before in --out is not run again."""
EXAMPLE = "auditkit calibrate --worlds 1 --behaviour lazy --honest retrain --out out/rates"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument(
        "--data",
        nargs="+",
        default=["digits"],
        metavar="digits|[NAME=]FILE",
        help="records to draw worlds from (default digits, which come with the installation)",
    )
    parser.add_argument(
        "--worlds",
        type=count,
        default=WORLDS,
        metavar="N",
        help=f"draws of records, network and request from each data set (default {WORLDS})",
    )
    parser.add_argument(
        "--each",
        type=count,
        default=EACH,
        metavar="N",
        help=f"owners of each world by methods that do not erase exactly, in turn (default {EACH})",
    )
    parser.add_argument("--honest", nargs="+", metavar="KIND", help="which kinds (default: all)")
    parser.add_argument("--behaviour", nargs="+", metavar="NAME", help="which (default: all)")
    parser.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="worlds at a time (default 1)"
    )
    parser.add_argument(
        "--tables", action="store_true", help="only make tables and figures of what was run"
    )


def run(args: argparse.Namespace) -> int:
    from auditkit.calibration.page import draw, tables
    from auditkit.calibration.study import ROWS, read_study, run_study
    from auditkit.calibration.summary import Summary
    from auditkit.files import write_atomic
    from auditkit.results import dump_json

    if args.tables:
        study = read_study(args.out / ROWS)
    else:
        design, data = _design(args), _data(args.data)
        with Progress.of(args, "calibrate") as progress:
            study = run_study(data, design, args.out, jobs=max(1, args.jobs), progress=progress)
    summary = Summary(study)
    document = summary.to_json()
    write_atomic(args.out / "rates.json", dump_json(document).encode())
    write_atomic(args.out / "rates.md", tables(summary).encode())
    drawn = draw(summary, args.out)
    return show_lines(
        [*tables(summary).splitlines(), "", *(str(path) for path in drawn)], document, args
    )


def _design(args: argparse.Namespace) -> Design:
    from auditkit.calibration.owners import KINDS
    from auditkit.calibration.study import FROZEN_BEFORE
    from auditkit.calibration.trials import Design
    from auditkit.threats.registry import chosen

    names = args.honest or list(KINDS)
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise _bad("--honest", f"kinds among {', '.join(KINDS)}", repr(unknown[0][:60]))
    if not args.worlds:
        raise _bad("--worlds", "one at least", "0")
    first = FROZEN_BEFORE if args.seed is None else seed_of(args)
    behaviours = tuple(b.name for b in chosen(args.behaviour or []))
    return Design(args.worlds, first, tuple(names), args.each, behaviours)


def _data(given: list[str]) -> dict[str, Records]:
    from auditkit.records import read_records

    found = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = Path(text).name.split(".")[0], text
        if name in found or not name:
            raise _bad("--data", "a name of its own for each", repr(text[:60]))
        with callers_own():
            found[name] = read_records(path)
    return found


def _bad(option: str, expected: str, found: str) -> UsageError:
    return UsageError(
        option, expected=expected, found=found, remedy="see auditkit calibrate --help"
    )

"""`auditkit report`: a record as a page to read and sign."""

from __future__ import annotations

import argparse
from pathlib import Path

from auditkit.cli.output import show_lines
from auditkit.errors import UsageError

DESCRIPTION = """\
Render a record as one HTML file that needs nothing else: no network, no script, no other file.
The report adds nothing to the record."""
EXAMPLE = "auditkit report out/demo/record.json -o report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("record", type=Path, metavar="RECORD.json", help="what an audit wrote")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE.html",
        help="the report to write (default: report.html beside the record)",
    )
    parser.add_argument(
        "--confidential-annex",
        type=Path,
        metavar="FILE.html",
        help="also write annex.json, which lies beside the record, as a document of its own: "
        "for those who may see the records only",
    )


def run(args: argparse.Namespace) -> int:
    from reports import RecordError, write_annex, write_report

    out = args.out or args.record.with_name("report.html")
    run_path = args.record.with_name("run.json")
    try:
        write_report(args.record, out, run_path=run_path if run_path.is_file() else None)
        if args.confidential_annex is not None:
            write_annex(args.record.with_name("annex.json"), args.confidential_annex)
    except RecordError as error:
        raise UsageError(
            error.subject, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
    except OSError as error:
        raise UsageError(
            str(out),
            expected="a file that can be written",
            found=error.strerror or type(error).__name__,
            remedy="give another place with -o",
        ) from error
    return show_lines([f"wrote {out}"], {"report": str(out)}, args)

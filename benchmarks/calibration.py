"""The error rates of the checks for dishonest behaviour, on digits and Location-30.

    python benchmarks/calibration.py [--worlds 50] [--jobs 2] [--tables]
        [--results benchmarks/results/calibration] [--docs docs]

As `auditkit calibrate` does, with the shared data (AUDITKIT_SHARED, or ../shared from the project's
root) as a second data set. Worlds that are in the results already are not run again. Tables and
figures are made from the results alone (`--tables`); the rates that reports quote are written into
the package with `--publish`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from shared_data import users

from auditkit.calibration.owners import KINDS
from auditkit.calibration.page import draw, page
from auditkit.calibration.study import FROZEN_BEFORE, ROWS, read_study, run_study
from auditkit.calibration.summary import Summary
from auditkit.calibration.trials import Design
from auditkit.files import write_atomic
from auditkit.records import read_records
from auditkit.results import dump_json
from auditkit.threats.registry import BEHAVIOURS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "calibration"
QUOTED = ROOT / "auditkit" / "audit" / "threat_rates.json"
COMMAND = "python benchmarks/calibration.py --worlds {worlds} --publish"


def main() -> None:
    """Run what is missing and write results, page and figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worlds", type=int, default=50, help="of each data set")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    parser.add_argument("--publish", action="store_true", help="write what reports quote, too")
    parser.add_argument("--tables", action="store_true", help="only make page and figures")
    args = parser.parse_args()
    if args.tables:
        study = read_study(args.results / ROWS)
    else:
        design = Design(
            args.worlds, FROZEN_BEFORE, tuple(KINDS), 1, tuple(b.name for b in BEHAVIOURS)
        )
        data = {"digits": read_records("digits"), "location30": users()}
        study = run_study(data, design, args.results, jobs=args.jobs, progress=_told)
    summary = Summary(study)
    command = COMMAND.format(worlds=summary.header["design"]["worlds"])
    text = f"{page(summary, command)}\n{searched(args.results.parent)}"
    write_atomic(args.docs / "calibration-study.md", text.encode())
    draw(summary, args.docs / "images")
    write_atomic(args.results / "rates.json", dump_json(summary.to_json()).encode())
    if args.publish:
        write_atomic(QUOTED, dump_json(summary.quoted()).encode())


def searched(results: Path) -> str:
    """Return the tables of `benchmarks/disagreement.py` as a section, most telling words first."""
    head = (
        "## The search in delivered files\n\n"
        "A `patched.onnx` that is not the auditor's export byte by byte never passes; it fails "
        "where an input is found at which it computes something else. Of files that do so in one "
        "ball (∞-norm, radius as a share of the domain's width; near a record, anywhere, or at a "
        "corner), written in three ways (`plain`: units and centre as they are; `masked`: the "
        "centre as a sum of random constants; `steps`: masked, and of comparisons, so that outside "
        "the ball nothing tells the way), so many are refuted. The others are inconclusive.\n"
    )
    tables = [path.read_text().strip() for path in sorted(results.glob("disagreement-*.md"))]
    return "\n\n".join([head.strip(), *tables]) + "\n"


def _told(done: int, total: int) -> None:
    print(f"{done} of {total} worlds", flush=True)


if __name__ == "__main__":
    main()

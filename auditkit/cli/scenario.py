"""`auditkit scenario`: a deletion request to practise on, with everything either side has of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.cli.common import add_domain, count, domain_of, seed_of
from auditkit.cli.output import show_lines
from auditkit.cli.progress import Progress
from auditkit.cli.recipe import add_recipe, recipe_of
from auditkit.errors import UsageError, callers_own

if TYPE_CHECKING:
    from auditkit.unlearning.scenario_files import Setup, Written

KINDS = ("subset", "cluster", "person", "class", "backdoor")
"""Said here so that help needs no torch; a test compares it with the requests that there are."""

DESCRIPTION = f"""\
Train a network on real data and ask it to forget something: random records, a cluster's, a
person's, a class, or records that were poisoned to teach it a trigger
({", ".join(KINDS)}).
Writes the model, the records of every group, a reference model that never saw the forgotten ones,
what training left behind (for amnesiac and sisa: it stays with the owner), and audit.toml, the
plan of an audit of what is put into submission/ beside it."""
EXAMPLE = "auditkit scenario class --label 3 --out out/scenario --replace"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", choices=KINDS, help="one of " + ", ".join(KINDS))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--replace", action="store_true", help="replace --out if it exists")
    parser.add_argument(
        "--data",
        default="digits",
        metavar="digits|FILE|DIR",
        help="records of a file, of a folder with an IDX pair, or digits (default)",
    )
    add_domain(parser)
    group = parser.add_argument_group("the request")
    group.add_argument(
        "--size",
        type=count,
        metavar="N",
        help="records of a subset, of a cluster (about), or poisoned ones (default a share)",
    )
    group.add_argument(
        "--label",
        type=count,
        metavar="C",
        help="the class to forget, or that the trigger brings about (default drawn)",
    )
    group.add_argument(
        "--canaries",
        type=count,
        default=0,
        metavar="N",
        help="place 2 N canaries in the training records and the request, N of them unannounced, "
        "and write canaries.npz for the auditor (20 are enough to decide; default 0)",
    )
    group = parser.add_argument_group("training")
    group.add_argument(
        "--trained", type=count, metavar="N", help="records (default half, at most 4000)"
    )
    group.add_argument(
        "--unseen", type=count, metavar="N", help="records (default the others, at most 2000)"
    )
    group.add_argument(
        "--architecture",
        default="96,48",
        metavar="N,N,...",
        help="units of each hidden layer of a fully connected network (default 96,48)",
    )
    add_recipe(group, "how to train")


def run(args: argparse.Namespace) -> int:
    with Progress.of(args, "scenario") as progress:
        written = _written(args, progress)
    return show_lines(written.lines(), written.to_json(), args)


def _written(args: argparse.Namespace, progress: Progress) -> Written:
    from auditkit.records import read_records
    from auditkit.unlearning.interface import Diverged, Refused
    from auditkit.unlearning.scenario_files import write_scenario

    setup = _setup(args)
    with callers_own():
        records = read_records(args.data, domain=setup.domain)
    try:
        return write_scenario(
            args.out, args.kind, records, setup,
            overwrite=args.replace, progress=progress, stage=progress.stage,
        )  # fmt: skip
    except (Refused, Diverged) as error:
        raise UsageError(
            f"scenario {args.kind}",
            expected="a request that these records have, and a recipe that trains",
            found=str(error),
            remedy="nothing was written; see auditkit scenario --help",
        ) from error


def _setup(args: argparse.Namespace) -> Setup:
    from auditkit.unlearning.scenario_files import Setup

    return Setup(
        size=args.size,
        label=args.label,
        trained=args.trained,
        unseen=args.unseen,
        hidden=_widths(args.architecture),
        recipe=recipe_of(args),
        domain=domain_of(args),
        seed=seed_of(args),
        canaries=args.canaries,
    )


MOST_UNITS, MOST_LAYERS = 4096, 8  # of a layer; a network to practise on trains in minutes


def _widths(text: str) -> tuple[int, ...]:
    """Return the units of hidden layers; UsageError unless they are a few whole numbers."""
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = ()
    if not 1 <= len(widths) <= MOST_LAYERS or not all(1 <= n <= MOST_UNITS for n in widths):
        raise UsageError(
            "--architecture",
            expected=f"up to {MOST_LAYERS} numbers from 1 to {MOST_UNITS}, 96,48 for instance",
            found=repr(text[:60]),
            remedy="give the units of each hidden layer, with commas",
        )
    return widths

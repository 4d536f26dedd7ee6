"""`auditkit threats`: is the owner doing something else than what is said?"""

from __future__ import annotations

import argparse
from pathlib import Path

from auditkit.cli.common import add_records, seed, seed_of
from auditkit.cli.output import show_result

DESCRIPTION = """\
Check for dishonest behaviour: nothing was done, only part of it, on other records, with gates
nobody asked for, or with an export that computes something else than what was certified."""
EXAMPLE = "auditkit threats out/demo/submission --holdout out/demo/data/holdout.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("submission", type=Path, metavar="SUBMISSION", help="the owner's directory")
    add_records(parser, "holdout", "records that the model never saw", required=True)
    add_records(parser, "retain", "records that it was trained on and keeps")
    add_records(parser, "forget", "the request as you know it; without it, the owner's list")
    add_records(parser, "train", "all records that the original was trained on")
    add_records(parser, "canaries", "canaries.npz, committed to before training")
    parser.add_argument(
        "--training-log", type=Path, metavar="FILE", help="the owner's log of a retraining"
    )
    parser.add_argument(
        "--order-seed", type=seed, metavar="N", help="that you gave for its order beforehand"
    )
    parser.add_argument("--behaviour", nargs="+", metavar="NAME", help="which (default: all)")


def run(args: argparse.Namespace) -> int:
    from auditkit.audit.threat_checks import run_threats

    result = run_threats(
        args.submission,
        holdout=args.holdout,
        retain=args.retain,
        forget=args.forget,
        train=args.train,
        canaries=args.canaries,
        training_log=args.training_log,
        order_seed=args.order_seed,
        names=args.behaviour or [],
        seed=seed_of(args),
    )
    return show_result(result, args, "threats")

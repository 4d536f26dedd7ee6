"""`auditkit compare`: the owner's patch beside one that the auditor made."""

from __future__ import annotations

import argparse
from pathlib import Path

from auditkit.cli.common import add_records, seed, seed_of
from auditkit.cli.output import show_result
from auditkit.errors import UsageError

DESCRIPTION = """\
Compare the owner's submission with one of yours, or with a patch recomputed from the owner's
settings. Specification and gates are judged; offsets may differ and are shown. An unlearned network
is recomputed by the method that its claim names, with --retain and --holdout as that takes them."""
EXAMPLE = """\
auditkit compare out/demo/submission --recompute \\
      --reference-model out/demo/data/reference-model.onnx"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("owner", type=Path, metavar="OWNER", help="the owner's submission")
    parser.add_argument("auditor", type=Path, nargs="?", metavar="AUDITOR", help="your own")
    parser.add_argument("--recompute", action="store_true", help="make one from OWNER's settings")
    source = parser.add_mutually_exclusive_group()
    add_records(source, "reference", "for a recomputed patch of specification reference")
    source.add_argument("--reference-model", type=Path, metavar="MODEL", help="the same")
    add_records(parser, "forget", "the request as you know it; without it, the owner's list")
    add_records(parser, "retain", "retained or unseen records, to compare what else changes")
    parser.add_argument(
        "--order-seed",
        type=seed,
        metavar="N",
        help="of a retraining: what you gave the owner for first weights and order",
    )
    add_records(parser, "holdout", "unseen records, for recomputing a method that takes them")


def run(args: argparse.Namespace) -> int:
    if args.recompute == (args.auditor is not None):
        raise UsageError(
            "auditkit compare",
            expected="either AUDITOR or --recompute",
            found="both" if args.recompute else "neither",
            remedy="give the submission to compare with, or have it recomputed",
        )

    from auditkit.audit.compare import compare_directories

    result = compare_directories(
        args.owner,
        args.auditor,
        recompute=args.recompute,
        reference=args.reference,
        reference_network=args.reference_model,
        forget=args.forget,
        retain=args.retain,
        holdout=args.holdout,
        order_seed=args.order_seed,
        seed=seed_of(args),
    )
    return show_result(result, args, "compare")

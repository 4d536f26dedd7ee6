"""`auditkit verify`: every claim of a submission, checked again."""

from __future__ import annotations

import argparse
from pathlib import Path

from auditkit.cli.common import add_records, seed_of
from auditkit.cli.output import show_result
from auditkit.cli.progress import Progress

DESCRIPTION = """\
Re-check every claim of a submission against its model. The owner's proofs, settings and word are
not believed: bounds are derived anew, and the auditor's policy says what is enough. A network that
was unlearned by another method has nothing to prove: what can be refuted of it is checked."""
EXAMPLE = "auditkit verify out/demo/submission --forget out/demo/data/forget.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("submission", type=Path, metavar="SUBMISSION", help="the owner's directory")
    add_records(parser, "forget", "the request as you know it; without it, the owner's list")
    add_records(parser, "retain", "retained or unseen records, to see where gates open besides")
    add_records(
        parser,
        "trigger",
        "of an unlearned network: unseen records with a backdoor's trigger, and its label",
    )
    parser.add_argument(
        "--reference-model",
        type=Path,
        nargs="+",
        default=[],
        metavar="M2",
        help="for --trigger: models that never saw the forgotten records",
    )
    parser.add_argument(
        "--policy", type=Path, metavar="FILE.toml", help="what you demand (default: as documented)"
    )
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE.pem",
        help="the public key that must have signed it (not in this version)",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="decide claims of patterns in exact arithmetic (default: those that float64 cannot)",
    )


def run(args: argparse.Namespace) -> int:
    from auditkit.certificate.verify import verify_directory

    with Progress.of(args, "exact arithmetic") as progress:
        result = verify_directory(
            args.submission,
            forget=args.forget,
            retain=args.retain,
            trigger=args.trigger,
            references=tuple(args.reference_model),
            policy=args.policy,
            exact=args.exact,
            key=args.key,
            seed=seed_of(args),
            progress=progress,
        )
    return show_result(result, args, "verify")

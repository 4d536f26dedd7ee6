"""`auditkit unlearn`: the owner's side, another method than a patch made by hand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.cli.common import (
    add_domain,
    add_records,
    domain_of,
    read_own_network,
    read_own_records,
    seed,
    seed_of,
)
from auditkit.cli.output import show_lines
from auditkit.cli.progress import Progress
from auditkit.errors import UsageError, callers_own

if TYPE_CHECKING:
    from auditkit.unlearning.submission import Made

METHODS = (
    *("retrain", "prune", "distribution-matching", "unsir", "certified-newton"),
    *("forgetting-networks", "gradient-ascent", "random-labels", "scrub", "bad-teacher"),
    *("amnesiac", "sisa"),
)
"""Said here so that help needs no torch; a test compares it with the registry."""
SCENARIOS = ("subset", "class", "backdoor")

DESCRIPTION = f"""\
Make a submission by an unlearning method of the field: unlearned.onnx with claim.json, or for prune
a patch with its certificate. Methods: {", ".join(METHODS[:6])},
{", ".join(METHODS[6:])}. auditkit explain method.NAME says what each does."""
EXAMPLE = """\
auditkit unlearn random-labels --model out/demo/submission/model.onnx \\
      --forget out/demo/data/forget.npz --retain out/demo/data/retain.npz \\
      --holdout out/demo/data/holdout.npz --out unlearned"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", metavar="METHOD", help="which (see above)")
    parser.add_argument(
        "--model", type=Path, required=True, help="the network: .onnx, .safetensors, or a folder"
    )
    add_records(parser, "forget", "the records to forget", required=True)
    add_records(parser, "retain", "the training records that stay")
    add_records(parser, "holdout", "records that the network never saw")
    parser.add_argument("--out", type=Path, required=True, help="the submission to write")
    parser.add_argument("--replace", action="store_true", help="replace --out if it exists")
    add_domain(parser)
    parser.add_argument(
        "--scenario",
        choices=SCENARIOS,
        help="what is forgotten: records of classes that stay, whole classes, or poisoned records "
        "(default: class where no retained record has the label, else subset)",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        metavar="NAME=VALUE",
        default=[],
        help="settings of the method in place of its own, learning_rate=0.001 for instance",
    )
    parser.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help="what training left behind, for amnesiac and sisa (auditkit scenario writes it)",
    )
    group = parser.add_argument_group("what is said, and what is handed over")
    group.add_argument(
        "--log",
        type=Path,
        metavar="FILE.safetensors",
        help="of retrain: write the log of training here, for the auditor alone",
    )
    group.add_argument(
        "--order-seed",
        type=seed,
        metavar="N",
        help="of retrain with --log: the seed that the auditor gave for first weights and order",
    )
    group.add_argument(
        "--assertion",
        choices=("redirected", "erased"),
        help="what the owner says was done (default erased; redirected for prune)",
    )
    group.add_argument(
        "--withhold-to",
        type=Path,
        metavar="FILE.npz",
        help="write the forgotten records here, with their key, and not into the submission",
    )


def run(args: argparse.Namespace) -> int:
    if args.method not in METHODS:
        import difflib

        near = difflib.get_close_matches(args.method, METHODS, n=1)
        raise UsageError(
            "METHOD",
            expected="one of " + ", ".join(METHODS),
            found=repr(args.method[:60]),
            remedy=f"did you mean {near[0]}?" if near else "auditkit explain method.NAME",
        )
    with Progress.of(args, "unlearn") as progress:
        made = _made(args, progress)
    return show_lines(made.lines(), made.to_json(), args)


def _made(args: argparse.Namespace, progress: Progress) -> Made:
    settings = _settings(args.set)
    domain = domain_of(args)
    network = read_own_network(args.model)
    records = {
        name: None if path is None else read_own_records(path, network, domain)
        for name, path in (
            ("forget", args.forget),
            ("retain", args.retain),
            ("holdout", args.holdout),
        )
    }
    forget = records["forget"]
    assert forget is not None

    from auditkit.patch.settings import Domain
    from auditkit.unlearning.history import read_history
    from auditkit.unlearning.interface import Diverged, Refused
    from auditkit.unlearning.submission import Handover, unlearn_to

    history = None
    if args.history is not None:
        with callers_own():
            history = read_history(args.history, network)
    try:
        return unlearn_to(
            args.out,
            args.method,
            network,
            forget,
            records["retain"],
            records["holdout"],
            scenario=args.scenario,
            settings=settings,
            seed=seed_of(args),
            history=history,
            handover=Handover(
                Domain(*domain),
                args.assertion,
                withhold_to=args.withhold_to,
                replace=args.replace,
                log_to=args.log,
                order_seed=args.order_seed,
            ),
            progress=progress,
        )
    except (Refused, Diverged) as error:
        raise UsageError(
            f"unlearn {args.method}",
            expected="a request that the method can carry out",
            found=str(error),
            remedy="nothing was written; see auditkit explain method." + args.method,
        ) from error


def _settings(given: list[str]) -> dict[str, str]:
    """Return NAME=VALUE as a dictionary; UsageError for anything else or a name twice."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found:
            raise UsageError(
                "--set",
                expected="NAME=VALUE, each name once",
                found=repr(text[:60]),
                remedy="see auditkit explain method.NAME for the settings",
            )
        found[name] = value
    return found

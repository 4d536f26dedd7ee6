"""`auditkit threats`: is the owner doing something else than what is said?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.cli.common import add_domain, add_records, count, domain_of, number, seed, seed_of
from auditkit.cli.output import show_result
from auditkit.cli.progress import Progress
from auditkit.cli.recipe import add_recipe, recipe_of
from auditkit.errors import UsageError

if TYPE_CHECKING:
    from auditkit.audit.serving import Endpoint
    from auditkit.audit.threat_references import ReferencePlan

DESCRIPTION = """\
Check for dishonest behaviour: nothing was done, only part of it, on other records, with gates
nobody asked for, with an export that computes something else than what was certified, or, at an
endpoint, with a filter or another model in front. Without SUBMISSION, by queries alone."""
EXAMPLE = "auditkit threats out/demo/submission --holdout out/demo/data/holdout.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "submission",
        type=Path,
        metavar="SUBMISSION",
        nargs="?",
        help="the owner's directory; leave it out where weights are withheld, and give --endpoint",
    )
    add_records(parser, "holdout", "records that the model never saw", required=True)
    add_records(parser, "retain", "records that it was trained on and keeps")
    add_records(parser, "forget", "the request as you know it; without it, the owner's list")
    add_records(parser, "train", "all records that the original was trained on")
    add_records(parser, "canaries", "canaries.npz, committed to before training")
    parser.add_argument(
        "--training-log", type=Path, metavar="FILE", help="the owner's log of a retraining"
    )
    parser.add_argument(
        "--order-seed", type=seed, metavar="N", help="that you gave for its first weights and order"
    )
    parser.add_argument(
        "--drawn",
        action="store_true",
        help="the request was drawn by lot, by you, from the training records, and --holdout is of "
        "the same source: then requested records are as hard as unseen ones",
    )
    group = parser.add_argument_group("what the delivered network is compared with")
    group.add_argument(
        "--reference",
        choices=("retrained", "never-seen", "patched"),
        help="networks without the requested records, unseen records, or your own patch (default: "
        "networks where there are any, else unseen records)",
    )
    group.add_argument(
        "--reference-model", type=Path, nargs="+", default=[], metavar="M",
        help="networks that never saw the requested records",
    )  # fmt: skip
    group.add_argument(
        "--retrain", type=count, default=0, metavar="N", help="train N of them (needs --train)"
    )
    add_recipe(group, "how to train them")
    parser.add_argument("--behaviour", nargs="+", metavar="NAME", help="which (default: all)")
    group = parser.add_argument_group("asking an endpoint")
    group.add_argument("--endpoint", metavar="URL", help="where the model is served (http, https)")
    group.add_argument("--budget", type=count, metavar="N", help="inputs to ask (default 2000)")
    group.add_argument("--rate", type=number, metavar="R", help="requests a second, at most")
    group.add_argument(
        "--pause", type=number, metavar="S", help="seconds between the three rounds (default 0)"
    )
    group.add_argument(
        "--transcript", type=Path, metavar="FILE", help="write what was asked and answered here"
    )
    group.add_argument(
        "--replay", action="store_true", help="judge what --transcript has, and ask nothing"
    )
    group.add_argument(
        "--assertion",
        choices=("redirected", "erased"),
        help="what the owner asserts as you read it, in place of the submission's",
    )
    add_domain(parser)


def run(args: argparse.Namespace) -> int:
    from auditkit.audit.threat_command import run_threats
    from auditkit.audit.threat_plan import ThreatPlan

    plan = ThreatPlan(
        names=tuple(args.behaviour or ()),
        references=_references(args),
        canaries=args.canaries,
        training_log=args.training_log,
        order_seed=args.order_seed,
        drawn=args.drawn,
        endpoint=_endpoint(args),
    )
    records = {name: getattr(args, name) for name in ("forget", "retain", "holdout", "train")}
    with Progress.of(args, "queries") as progress:
        result = run_threats(
            args.submission, records, plan,
            reference_models=args.reference_model, assertion=args.assertion,
            seed=seed_of(args), progress=progress,
        )  # fmt: skip
    return show_result(result, args, "threats")


def _references(args: argparse.Namespace) -> ReferencePlan:
    from auditkit.audit.threat_references import ReferencePlan
    from auditkit.threats.references import ReferenceKind

    kind = None if args.reference is None else ReferenceKind(args.reference)
    try:
        return ReferencePlan(kind, args.retrain, recipe_of(args))
    except ValueError as error:
        raise UsageError(
            "--retrain", expected="references of one kind", found=str(error),
            remedy="leave out --retrain or --reference",
        ) from None  # fmt: skip


def _endpoint(args: argparse.Namespace) -> Endpoint | None:
    from auditkit.audit.serving import Endpoint

    options = {
        name: getattr(args, name)
        for name in ("budget", "rate", "pause", "transcript")
        if getattr(args, name) is not None
    }
    if args.endpoint is None and not args.replay and not options:
        return None
    return Endpoint(args.endpoint, replayed=args.replay, domain=domain_of(args), **options)

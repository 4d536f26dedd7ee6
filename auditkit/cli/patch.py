"""`auditkit patch`: the owner's side, from a network and records to a submission."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.cli.common import (
    add_domain,
    add_records,
    count,
    domain_of,
    number,
    read_own_network,
    read_own_records,
    seed_of,
)
from auditkit.cli.output import show_lines
from auditkit.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from auditkit.certificate.make import Made
    from auditkit.certificate.submission import PatchSubmission
    from auditkit.patch.settings import Settings
    from auditkit.records import Records

DESCRIPTION = """\
Make a submission: a patch that changes the network's answers on the forgotten records' linear
regions and nowhere else, and a certificate of what it does. The network itself is not changed."""
EXAMPLE = """\
auditkit patch --model out/demo/submission/model.onnx \\
      --forget out/demo/data/forget.npz --out my-submission"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="the network: .onnx, .safetensors, or a folder")
    step = parser.add_mutually_exclusive_group()
    add_records(step, "forget", "the records to forget")
    step.add_argument(
        "--withdraw", metavar="REQUEST", help="with --onto: take this request back instead"
    )
    parser.add_argument("--out", type=Path, required=True, help="the submission to write")
    parser.add_argument("--replace", action="store_true", help="replace --out if it exists")
    add_domain(parser)
    parser.set_defaults(domain=None)  # whether it was given matters to --onto

    group = parser.add_argument_group("a model that has patches")
    group.add_argument(
        "--onto",
        type=Path,
        metavar="SUBMISSION",
        help="add the request to this submission; network, settings and key are the ones it has",
    )
    add_records(group, "onto-forget", "its forgotten records, where it withholds them")

    group = parser.add_argument_group("what the outputs shall be on a forgotten record's region")
    group.add_argument(
        "--spec",
        choices=("redirect", "neutralise", "reference"),
        help="another label (default); one constant vector; or what a model says that never saw it",
    )
    source = group.add_mutually_exclusive_group()
    add_records(source, "reference", "unseen records that show what the network says of such")
    source.add_argument(
        "--reference-model",
        type=Path,
        metavar="MODEL",
        help="a network trained without the forgotten records",
    )
    group.add_argument("--margin", type=number, metavar="M", help="least lead, or most deviation")
    group.add_argument(
        "--radius",
        type=number,
        metavar="R",
        help="∞-norm, input units; inf: the whole region, proved with multipliers",
    )
    group.add_argument("--sharpness", type=number, metavar="N", help="how fast a gate closes")
    group.add_argument(
        "--bands",
        type=count,
        default=0,
        metavar="B",
        help="narrow each gate by B bands on single units, where regions are crowded: fewer other "
        "records are reached, more is told of the forgotten ones",
    )

    group = parser.add_argument_group("which records share an offset")
    group.add_argument(
        "--scope",
        help="each record (default), clusters, or a class",
        choices=("point", "cluster", "class"),
    )
    group.add_argument("--clusters", type=count, metavar="K", help="for --scope cluster")
    group.add_argument("--target-class", type=count, metavar="C", help="for --scope class")
    group.add_argument(
        "--method",
        help="patches (default), or the class's logit everywhere",
        choices=("prune", "suppress"),
    )

    group = parser.add_argument_group("how gates are written")
    group.add_argument(
        "--form",
        choices=("gated", "explicit", "published"),
        default="gated",
        help="activation patterns (default); the same regions as rows A x ≤ b, a matrix a record; "
        "or what PRUNE's published algorithm makes, by linear programs (redirect only)",
    )

    group = parser.add_argument_group("what is said, and what is handed over")
    group.add_argument(
        "--assertion",
        choices=("redirected", "erased"),
        help="what the owner says was done; a patch supports the first (default) only",
    )
    group.add_argument(
        "--withhold-to",
        type=Path,
        metavar="FILE.npz",
        help="write the forgotten records here, with their key, and not into the submission",
    )


def run(args: argparse.Namespace) -> int:
    made = _first(args) if args.onto is None else _further(args)
    return show_lines([*made.lines(), *made.history()], made.to_json(), args)


def _first(args: argparse.Namespace) -> Made:
    for option, given in (("--withdraw", args.withdraw), ("--onto-forget", args.onto_forget)):
        if given is not None:
            raise UsageError(
                option, expected="--onto with it", found="none",
                remedy="name the submission that has the request",
            )  # fmt: skip
    if args.model is None:
        raise UsageError(
            "--model", expected="a network, or a submission with --onto", found="neither",
            remedy="give the one that is to be patched",
        )  # fmt: skip
    if args.forget is None:
        raise _nothing_asked("--forget")
    args.domain = args.domain or (0.0, 1.0)
    domain = domain_of(args)
    settings = _settings(args)
    network = read_own_network(args.model)
    forget = read_own_records(args.forget, network, domain)
    reference = (
        None if args.reference is None else read_own_records(args.reference, network, domain)
    )
    reference_network = (
        None if args.reference_model is None else read_own_network(args.reference_model)
    )

    from auditkit.certificate.make import make_submission

    return make_submission(
        network,
        forget,
        settings,
        args.out,
        reference=reference,
        reference_network=reference_network,
        assertion=args.assertion or "redirected",
        withhold_to=args.withhold_to,
        replace=args.replace,
        form=args.form,
    )


def _further(args: argparse.Namespace) -> Made:
    """Add a request to a submission, or take one back."""
    from auditkit.certificate.onto import add_request, earlier_history, withdraw_request
    from auditkit.certificate.submission import TamperError, load_patch_submission

    try:
        submission = load_patch_submission(args.onto)
    except TamperError:
        raise
    except EvidenceError as error:
        raise UsageError(
            error.subject, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
    _refuse_other_settings(args, submission)
    network, domain = submission.network, submission.certificate.settings.domain

    def records(path: Path | None) -> Records | None:
        if path is None:
            return None
        return read_own_records(path, network, (domain.lower, domain.upper))

    earlier = earlier_history(submission, records(args.onto_forget))
    model = args.reference_model
    how = {
        "reference": records(args.reference),
        "reference_network": None if model is None else read_own_network(model),
        "withhold_to": args.withhold_to,
        "replace_out": args.replace,
    }
    if args.withdraw is not None:
        return withdraw_request(earlier, args.withdraw, args.out, **how)
    forget = records(args.forget)
    if forget is None:
        raise _nothing_asked("--forget or --withdraw")
    return add_request(earlier, forget, args.out, **how)


def _nothing_asked(option: str) -> UsageError:
    return UsageError(
        option, expected="a request", found="none", remedy="give the records to forget"
    )


def _refuse_other_settings(args: argparse.Namespace, submission: PatchSubmission) -> None:
    """Raise UsageError where an option says something else than the submission does."""
    import numpy as np

    settings = submission.certificate.settings
    own = settings.to_json()
    if args.model is not None:
        from auditkit.network.digest import semantic_digest

        if semantic_digest(read_own_network(args.model)) != semantic_digest(submission.network):
            raise UsageError(
                "--model", expected=f"the network of {args.onto}", found="another",
                remedy="leave it out, or start a submission of its own",
            )  # fmt: skip
    if args.radius is not None and math.isinf(args.radius):
        args.radius = "inf"
    if args.sharpness is not None:
        args.sharpness = float(np.float32(args.sharpness))  # as it is stored
    for name in ("spec", "scope", "method", "radius", "margin", "sharpness", "clusters",
                 "target_class", "seed", "domain", "assertion"):  # fmt: skip
        given = getattr(args, name)
        has = submission.certificate.assertion if name == "assertion" else own[name]
        if given is not None and (list(given) if name == "domain" else given) != has:
            raise UsageError(
                f"--{name.replace('_', '-')}",
                expected=f"{has}, as {args.onto} has it",
                found=f"{given}",
                remedy="leave it out: settings are those of the first request",
            )


def _settings(args: argparse.Namespace) -> Settings:
    from auditkit.patch.settings import Domain, resolve_settings

    if args.spec == "reference" and args.reference is None and args.reference_model is None:
        raise UsageError(
            "--spec reference",
            expected="--reference or --reference-model",
            found="neither",
            remedy="give unseen records, or a network that never saw the forgotten ones",
        )
    try:
        return resolve_settings(
            args.spec or "redirect",
            args.scope or "point",
            method=args.method or "prune",
            domain=Domain(*domain_of(args)),
            radius=args.radius,
            margin=args.margin,
            sharpness=args.sharpness,
            clusters=args.clusters,
            target_class=args.target_class,
            bands=args.bands,
            seed=seed_of(args),
        )
    except ValueError as error:
        raise UsageError(
            "patch settings",
            expected="settings that are possible together",
            found=str(error),
            remedy="see auditkit patch --help",
        ) from error

"""`auditkit patch`: the owner's side, from a network and records to a submission."""

from __future__ import annotations

import argparse
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
from auditkit.errors import UsageError

if TYPE_CHECKING:
    from auditkit.patch.settings import Settings

DESCRIPTION = """\
Make a submission: a patch that changes the network's answers on the forgotten records' linear
regions and nowhere else, and a certificate of what it does. The network itself is not changed."""
EXAMPLE = """\
auditkit patch --model out/demo/submission/model.onnx \\
      --forget out/demo/data/forget.npz --out my-submission"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, required=True, help="the network: .onnx, .safetensors, or a folder"
    )
    add_records(parser, "forget", "the records to forget", required=True)
    parser.add_argument("--out", type=Path, required=True, help="the submission to write")
    parser.add_argument("--replace", action="store_true", help="replace --out if it exists")
    add_domain(parser)

    group = parser.add_argument_group("what the outputs shall be on a forgotten record's region")
    group.add_argument(
        "--spec",
        choices=("redirect", "neutralise", "reference"),
        default="redirect",
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
        "--radius", type=number, metavar="R", help="∞-norm, input units; inf: the whole region"
    )
    group.add_argument("--sharpness", type=number, metavar="N", help="how fast a gate closes")

    group = parser.add_argument_group("which records share an offset")
    group.add_argument("--scope", choices=("point", "cluster", "class"), default="point")
    group.add_argument("--clusters", type=count, metavar="K", help="for --scope cluster")
    group.add_argument("--target-class", type=count, metavar="C", help="for --scope class")
    group.add_argument("--method", choices=("prune", "suppress"), default="prune")

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
        default="redirected",
        help="what the owner says was done; a patch supports the first (default) only",
    )
    group.add_argument(
        "--withhold-to",
        type=Path,
        metavar="FILE.npz",
        help="write the forgotten records here, with their key, and not into the submission",
    )


def run(args: argparse.Namespace) -> int:
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

    made = make_submission(
        network,
        forget,
        settings,
        args.out,
        reference=reference,
        reference_network=reference_network,
        assertion=args.assertion,
        withhold_to=args.withhold_to,
        replace=args.replace,
        form=args.form,
    )
    return show_lines(made.lines(), made.to_json(), args)


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
            args.spec,
            args.scope,
            method=args.method,
            domain=Domain(*domain_of(args)),
            radius=args.radius,
            margin=args.margin,
            sharpness=args.sharpness,
            clusters=args.clusters,
            target_class=args.target_class,
            seed=seed_of(args),
        )
    except ValueError as error:
        raise UsageError(
            "patch settings",
            expected="settings that are possible together",
            found=str(error),
            remedy="see auditkit patch --help",
        ) from error

"""`auditkit detect`: the owner looks for poisoned records among the training records."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit.cli.common import (
    add_domain,
    add_records,
    count,
    domain_of,
    read_own_network,
    read_own_records,
    seed_of,
)
from auditkit.cli.output import show_lines
from auditkit.cli.progress import Progress
from auditkit.cli.recipe import add_recipe, recipe_of
from auditkit.errors import UsageError

if TYPE_CHECKING:
    from auditkit.unlearning.suspects import ClassFound, Found

DESCRIPTION = """\
Owner side: look for records with a backdoor trigger among those that the network was trained on.
Suspects keep their label whatever is laid over them, and a network that learns without them gives
them another one. Takes about two trainings. That none is found does not show that there is none."""
EXAMPLE = """\
auditkit detect --model out/demo/submission/model.onnx \\
      --train out/demo/data/train.npz --out suspects.npz"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, required=True, help="the network: .onnx, .safetensors, or a folder"
    )
    add_records(parser, "train", "the records it was trained on", required=True)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.npz", help="where to write the suspects"
    )
    parser.add_argument(
        "--rest", type=Path, metavar="FILE.npz", help="where to write the other training records"
    )
    parser.add_argument("--label", type=count, metavar="C", help="look in this class only")
    add_domain(parser)
    add_recipe(parser, "how to train, best as the network was")


def run(args: argparse.Namespace) -> int:
    domain, recipe = domain_of(args), recipe_of(args)
    network = read_own_network(args.model)
    train = read_own_records(args.train, network, domain)
    if args.label is not None and not (train.y == args.label).any():
        raise UsageError(
            "--label",
            expected="a class of the training records",
            found=f"{args.label}, which none of them has",
            remedy="leave it out to look in all classes",
        )

    from auditkit.records import write_records
    from auditkit.unlearning.suspects import find_suspects
    from auditkit.unlearning.trainable import Diverged

    with Progress.of(args, "detect") as progress:
        try:
            found = find_suspects(
                network, train, recipe, seed=seed_of(args), domain=domain, label=args.label,
                progress=progress,
            )  # fmt: skip
        except (Diverged, ValueError) as error:
            raise UsageError(
                "detect",
                expected="a network and a recipe that can be trained",
                found=str(error),
                remedy="give the recipe that the network was trained by",
            ) from error
    if found.suspects.any():
        write_records(args.out, train.take(found.suspects))
        if args.rest is not None:
            write_records(args.rest, train.take(~found.suspects))
    return show_lines(_lines(found, args), _document(found, args), args)


def _lines(found: Found, args: argparse.Namespace) -> list[str]:
    if not found.alarms:
        return [
            f"none found: in none of {len(found.classes)} classes do records with a persistent "
            "label stand out",
            f"{args.out} was not written. That none is found does not show that there is none.",
        ]
    lines = [_line(c) for c in found.alarms]
    lines.append(f"{int(found.suspects.sum())} suspects written to {args.out}")
    if args.rest is not None:
        lines.append(f"{int((~found.suspects).sum())} other records written to {args.rest}")
    return lines


def _line(c: ClassFound) -> str:
    return (
        f"class {c.label}: {c.disputed} of {c.records} records suspected. {c.persistent} keep "
        f"their label under other records, and a network that learned without them gives "
        f"{c.share:.0%} another label; of as many at random it does {c.control:.0%} (p = {c.p:.1g})"
    )


def _document(found: Found, args: argparse.Namespace) -> dict[str, Any]:
    return {
        "suspects": int(found.suspects.sum()),
        "out": str(args.out) if found.alarms else None,
        "classes": [asdict(c) for c in found.classes],
    }

"""`auditkit attack`: membership inference before and after."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.cli.common import add_records, count, number, saying, seed_of
from auditkit.cli.output import show_result
from auditkit.cli.progress import Progress
from auditkit.errors import UsageError

if TYPE_CHECKING:
    from attacks.shadows import Recipe
    from auditkit.results import Result

DESCRIPTION = """\
Membership inference before and after: can the forgotten records still be told from unseen ones?
Retained records are the control. Or, with --scores, the statistics alone on scores of your own."""
EXAMPLE = """\
auditkit attack out/demo/submission --holdout out/demo/data/holdout.npz \\
      --retain out/demo/data/retain.npz --attack loss entropy"""

DEFAULT_MARGIN = 0.05
DEFAULT_FPR = 0.01
NOT_WITH_SCORES = (
    *("holdout", "forget", "retain", "train"),
    *("reference-model", "retrain", "shadows", "shadow-cache", "recipe"),
)
ALL_TOGETHER = ("attack.cohort", "attack.small-request", "attack.exposure")
"""What is judged over all attacks, which is what most readers came for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "submission", type=Path, nargs="?", metavar="SUBMISSION", help="the owner's directory"
    )
    parser.add_argument(
        "--scores",
        type=Path,
        metavar="FILE.csv",
        help="instead of a submission: id, subject, group, phase, and score or logit_0, ..., label",
    )
    add_records(parser, "holdout", "records that the model never saw")
    add_records(parser, "forget", "the request as you know it; without it, the owner's list")
    add_records(parser, "retain", "records that it was trained on and keeps")
    add_records(parser, "train", "its training records, for shadow models")
    parser.add_argument(
        "--reference-model",
        type=Path,
        nargs="+",
        default=[],
        metavar="M2",
        help="models that never saw the forgotten records",
    )
    parser.add_argument(
        "--retrain",
        type=count,
        metavar="R",
        default=0,
        help="train R such models on --train without the forgotten records",
    )
    parser.add_argument("--attack", nargs="+", metavar="NAME", help="which (default: all possible)")
    parser.add_argument("--shadows", type=count, metavar="K", help="how many shadow models")
    parser.add_argument(
        "--recipe",
        nargs="+",
        metavar="NAME=VALUE",
        help="how the owner trained: epochs, learning_rate, batch_size, weight_decay, optimizer "
        "(adam, sgd), momentum",
    )
    parser.add_argument(
        "--shadow-cache",
        type=Path,
        metavar="DIR",
        help="keep their scores in DIR, confidential: a run that ended early goes on from there",
    )
    parser.add_argument(
        "--margin",
        type=number,
        metavar="D",
        default=DEFAULT_MARGIN,
        help=f"difference of AUC that counts as none (default {DEFAULT_MARGIN})",
    )
    parser.add_argument(
        "--fpr",
        type=number,
        metavar="F",
        default=DEFAULT_FPR,
        help="false-positive rate at which true ones are compared, about 3/F unseen records "
        f"(default {DEFAULT_FPR})",
    )


def run(args: argparse.Namespace) -> int:
    _check(args)
    with Progress.of(args, "attack") as progress:
        result = _on_scores(args) if args.scores else _on_submission(args, progress)
    return show_result(result, args, "attack", first=ALL_TOGETHER)


def _check(args: argparse.Namespace) -> None:
    if (args.submission is None) == (args.scores is None):
        raise UsageError(
            "auditkit attack",
            expected="either SUBMISSION or --scores",
            found="neither" if args.scores is None else "both",
            remedy="see auditkit attack --help",
        )
    if args.submission is not None and args.holdout is None:
        raise UsageError(
            "auditkit attack",
            expected="--holdout with records that the model never saw",
            found="none",
            remedy="give it: forgotten records are judged against unseen ones",
        )
    if args.scores is not None:
        given = [name for name in NOT_WITH_SCORES if getattr(args, name.replace("-", "_"))]
        if given:
            raise UsageError(
                "auditkit attack --scores",
                expected="a table alone",
                found=f"--{given[0]}",
                remedy="leave it out: the table has all groups, and there is no model",
            )
    if args.retrain and args.train is None:
        raise UsageError(
            "--retrain",
            expected="--train with the training records",
            found="none",
            remedy="give them: references are trained on those that are not forgotten",
        )
    for name in args.attack or ():
        if name not in _names():
            raise UsageError(
                "--attack",
                expected="one of " + ", ".join(_names()),
                found=repr(name),
                remedy="auditkit explain lists what each does",
            )
    if not 0 < args.margin < 0.5:
        raise UsageError(
            "--margin",
            expected="a number between 0 and 0.5",
            found=f"{args.margin:g}",
            remedy="0.05 is usual",
        )
    if not 0 < args.fpr < 1:
        raise UsageError(
            "--fpr",
            expected="a number between 0 and 1",
            found=f"{args.fpr:g}",
            remedy="0.01 is usual",
        )


def _recipe(given: list[str] | None) -> Recipe | None:
    """Return the recipe in NAME=VALUE; UsageError when there is none such."""
    from attacks.shadows import Recipe

    if given is None:
        return None
    kinds = {name: type(value) for name, value in vars(Recipe()).items()}
    values = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            values[name] = kinds[name](value)
        except (KeyError, ValueError):
            known = ", ".join(f"{n}={'TEXT' if k is str else 'NUMBER'}" for n, k in kinds.items())
            raise UsageError(
                "--recipe",
                expected=f"some of {known}",
                found=repr(text),
                remedy="ask the owner how the model was trained",
            ) from None
    try:
        return Recipe(**values)
    except ValueError as error:
        raise UsageError(
            "--recipe",
            expected="a recipe that can be trained",
            found=str(error),
            remedy="ask the owner how the model was trained",
        ) from None


def _names() -> list[str]:
    from attacks.registry import REGISTRY

    return list(REGISTRY)


def _on_scores(args: argparse.Namespace) -> Result:
    from auditkit.audit.score_audit import attack_scores

    return attack_scores(
        args.scores,
        margin=args.margin,
        fpr=args.fpr,
        seed=seed_of(args),
        names=tuple(args.attack or ()),
        say=saying(args, "attack"),
    )


def _on_submission(args: argparse.Namespace, progress: Progress) -> Result:
    from auditkit.audit.membership import attack_directory

    recipe = _recipe(args.recipe)
    return attack_directory(
        args.submission,
        holdout=args.holdout,
        retain=args.retain,
        train=args.train,
        attacks=args.attack or [],
        shadows=args.shadows,
        margin=args.margin,
        fpr=args.fpr,
        recipe=recipe,
        seed=seed_of(args),
        progress=progress,
        references=tuple(args.reference_model),
        forget=args.forget,
        shadow_cache=args.shadow_cache,
        retrain=args.retrain,
        say=saying(args, "attack"),
    )

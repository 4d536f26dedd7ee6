"""`--recipe NAME=VALUE…`: how a network is trained, for commands that train one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from auditkit.errors import UsageError

if TYPE_CHECKING:
    from auditkit.unlearning.training import Recipe


def add_recipe(parser: argparse._ActionsContainer, purpose: str) -> None:
    """Add the option; `purpose` says what is trained with it."""
    parser.add_argument(
        "--recipe",
        nargs="+",
        metavar="NAME=VALUE",
        default=[],
        help=f"{purpose}: epochs (40), learning_rate (0.002), batch_size (64), weight_decay (0), "
        "optimizer (adam or sgd), momentum (0.9)",
    )


def recipe_of(args: argparse.Namespace) -> Recipe:
    """Return the recipe that was given; UsageError for an unknown name or a value that is none."""
    from dataclasses import replace

    from auditkit.unlearning.interface import Refused, Scenario
    from auditkit.unlearning.retrain import METHOD
    from auditkit.unlearning.training import PRACTICE, Recipe

    method = replace(METHOD, name="a recipe", defaults=PRACTICE, by_scenario={})
    changes: dict[str, str] = {}
    for text in args.recipe:
        name, equals, value = text.partition("=")
        if not equals or not name or name in changes:
            raise _bad("NAME=VALUE, each name once", repr(text[:60]))
        changes[name] = value
    try:
        recipe = method.settings(Scenario.SUBSET, changes)
    except Refused as error:
        raise _bad("a recipe that can be trained", str(error)) from None
    assert isinstance(recipe, Recipe)
    return recipe


def _bad(expected: str, found: str) -> UsageError:
    return UsageError(
        "--recipe", expected=expected, found=found, remedy="see the command's --help for the names"
    )

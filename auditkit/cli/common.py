"""What the commands share: their parser, their common options, and reading the caller's files."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from auditkit.errors import UsageError, callers_own

if TYPE_CHECKING:
    from auditkit.network.graph import Network
    from auditkit.records import Records


class Command(Protocol):
    """What the module of a command offers."""

    DESCRIPTION: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own options."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit code."""


class CommandParser(argparse.ArgumentParser):
    """A parser that reports a usage error as every other error is reported."""

    def __init__(self, name: str, description: str, example: str) -> None:
        super().__init__(
            prog=f"auditkit {name}",
            description=description,
            epilog=f"Example:\n  {example}\n",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            self.prog,
            expected="options as its help lists them",
            found=message,
            remedy=f"see {self.prog} --help",
        )


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command takes."""
    group = parser.add_argument_group("common options")
    group.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    group.add_argument("--quiet", action="store_true", help="no table, no progress; errors only")
    group.add_argument(
        "--seed", type=seed, metavar="N", help="seed of everything random, below 2^32 (default 0)"
    )


def seed_of(args: argparse.Namespace) -> int:
    """Return the seed that was given, or 0."""
    return 0 if args.seed is None else int(args.seed)


def saying(args: argparse.Namespace, what: str) -> Callable[[str], None]:
    """Return a function that tells the user a line on stderr, unless --quiet is given."""

    def say(line: str) -> None:
        if not args.quiet:
            print(f"{what}: {line}", file=sys.stderr, flush=True)

    return say


def count(text: str) -> int:
    """Read a whole number, 0 or more."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0 or value >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return value


def seed(text: str) -> int:
    """Read a seed: a whole number from 0 to 2^32 − 1, which every library takes."""
    value = count(text)
    if value >= 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: it must be below 2^32")
    return value


def number(text: str) -> float:
    """Read a number; infinity is one, NaN is not."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def add_domain(parser: argparse.ArgumentParser) -> None:
    """Add `--domain LO HI`, the input box of every feature."""
    parser.add_argument(
        "--domain",
        nargs=2,
        type=number,
        metavar=("LO", "HI"),
        default=(0.0, 1.0),
        help="lowest and highest value of every input feature (default 0 1)",
    )


def add_records(
    parser: argparse._ActionsContainer, name: str, help_text: str, *, required: bool = False
) -> None:
    """Add an option that names a file of records."""
    parser.add_argument(
        f"--{name}", type=Path, metavar="RECORDS", required=required, help=help_text
    )


def domain_of(args: argparse.Namespace) -> tuple[float, float]:
    """Return the domain that was given; UsageError unless it is a finite interval."""
    lower, upper = args.domain
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise UsageError(
            "--domain",
            expected="a lower and a higher finite number",
            found=f"{lower:g} {upper:g}",
            remedy="give the range that inputs of the network have",
        )
    return lower, upper


def read_own_network(path: Path) -> Network:
    """Return the caller's own network; UsageError when it cannot be read."""
    from auditkit.network.read import load_network

    with callers_own():
        return load_network(path)


def read_own_records(path: Path, network: Network, domain: tuple[float, float]) -> Records:
    """Return the caller's own records, in the network's shape; UsageError when they do not fit."""
    from auditkit.records import read_records

    with callers_own():
        return read_records(
            path, input_shape=network.input_shape, classes=network.classes, domain=domain
        )

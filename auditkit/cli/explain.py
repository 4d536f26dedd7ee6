"""`auditkit explain`: what a check claims, or an unlearning method does, and what it cannot."""

from __future__ import annotations

import argparse

from auditkit.cli.output import show_lines

DESCRIPTION = """\
Say of a check what it claims, how it is checked, what it cannot show, and its sources; of an
unlearning method (method.NAME) what it does and what to look for where an owner used it. Without a
name, list all pages."""
EXAMPLE = "auditkit explain certificate.region"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("check", nargs="?", metavar="CHECK", help="its id, as results show it")


def _measured(check: str) -> str:
    """Return the measured error rates of a check for dishonest behaviour, nothing of any other."""
    from auditkit.audit.threat_rates import rates_told

    family, _, name = check.partition(".")
    told = rates_told(name) if family == "threats" else ""
    return f"\n**Measured.** {told}\n" if told else ""


def run(args: argparse.Namespace) -> int:
    from auditkit.explain import explain, titles

    if args.check is None:
        known = titles()
        width = max(map(len, known))
        lines = [f"{name:{width}}  {title}" for name, title in known.items()]
        return show_lines(lines, {"checks": known}, args)
    page = explain(args.check) + _measured(args.check)
    return show_lines(page.splitlines(), {"check": args.check, "page": page}, args)

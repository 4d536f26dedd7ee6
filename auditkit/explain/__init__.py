"""One page per check: what it claims, how it is checked, what it cannot show, sources.

And one per unlearning method, `method.NAME`: what it does and needs, what an auditor should look
for where an owner used it, what it cannot do. A page is a Markdown file; its first line is the
title.
"""

from __future__ import annotations

import difflib
from importlib.resources import files

from auditkit.errors import UsageError

_SUFFIX = ".md"

# The order of verify, then attacks and behaviours; a page that is not of these comes last.
_ORDER = (
    "submission.format",
    "submission.binding",
    "patch.support",
    "patch.scope",
    "certificate.point",
    "certificate.region",
    "certificate.locality",
    "certificate.separation",
    "certificate.canonical",
    "certificate.minimality",
    "certificate.deployed",
    "patch.export",
    "unlearning.changed",
    "unlearning.class",
    "unlearning.guarantee",
    "unlearning.trigger",
    "utility.retained",
    "audit.erasure",
    "audit.redirection",
    "limits.neighbourhood",
    "limits.regions",
    "limits.deletion-list",
    "limits.reconstruction",
)


def explain(check_id: str) -> str:
    """Return the page of a check as Markdown; UsageError with near matches when there is none."""
    names = _names()
    if check_id not in names:
        parts = [name for name in names if check_id and check_id in name][:3]
        near = parts or difflib.get_close_matches(check_id, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "auditkit explain lists them all"
        raise UsageError(
            "check", expected="the id of a check", found=repr(check_id[:100]), remedy=hint
        )
    return _page(check_id)


def titles() -> dict[str, str]:
    """Return the title of every page by the id of its check."""
    return {name: _page(name).partition("\n")[0].removeprefix("# ") for name in _names()}


def _names() -> tuple[str, ...]:
    found = sorted(
        item.name.removesuffix(_SUFFIX)
        for item in files(__name__).iterdir()
        if item.name.endswith(_SUFFIX)
    )
    return tuple(sorted(found, key=lambda n: _ORDER.index(n) if n in _ORDER else len(_ORDER)))


def _page(name: str) -> str:
    return files(__name__).joinpath(name + _SUFFIX).read_text(encoding="utf-8")

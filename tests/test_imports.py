"""Which part may import which, read from the sources and not from what happens to be loaded.

The arrows are those of docs/adr/0002 and CONTRIBUTING: a part imports only what stands before it,
and the checker that a verdict rests on imports no solver, no training code and no file.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("auditkit", "attacks", "reports")

EDGES = frozenset(
    f"auditkit.{name}"
    for name in (
        "records",
        "records_files",
        "records_tables",
        "files",
        "limits",
        "parallel",
        "isolation",
        "refusal",
        "search_onnx",
        "second_opinion",
        "strict_json",
        "tensors",
    )
)
"""Readers and helpers at the edge: any part of auditkit may import them, and they only these."""

FOUNDATION = frozenset({"auditkit.errors", "auditkit.results"})
LAYERS = (
    *("network", "patch", "certificate", "unlearning", "endpoint", "threats", "audit"),
    *("calibration", "cli"),
)
"""Each imports only those before it."""

MEETING = ("audit", "calibration", "cli")
"""Where auditkit, attacks and reports meet."""

PATTERNS = frozenset(
    {"auditkit.certificate.check", "auditkit.patch.gates"}
    | {
        f"auditkit.network.{name}"
        for name in (
            "region",
            "interior",
            "multipliers",
            "rigorous",
            "deployed",
            "frozen",
            "evaluate",
            "units",
            "tournament",
            "numbers",
            "integers",
            "exact",
            "exact_region",
            "linear",
            "graph",
        )
    }
)
"""What a PROVED of gates as patterns rests on, to be read in one sitting."""

BESIDES = {
    "auditkit.certificate.check_explicit": {"auditkit.patch.explicit"},
    "auditkit.network.relaxation": {"auditkit.network.interval"},
    "auditkit.certificate.lower_bound": set[str](),
}
"""What else is to be read: rows written out, a suppressed class, lower bounds of minimality."""

ROOTS = ("auditkit.certificate.check", "auditkit.network.interior")
TRUSTED = PATTERNS | frozenset(BESIDES) | frozenset().union(*BESIDES.values())

INPUT_OUTPUT = frozenset(
    {"os", "io", "pathlib", "socket", "subprocess", "shutil", "tempfile", "urllib", "http", "ssl"}
    | {"asyncio", "multiprocessing", "threading", "ctypes", "mmap", "importlib", "pickle", "sys"}
    | {"random", "secrets", "time", "datetime", "logging", "sqlite3", "glob", "fileinput"}
)


def _module_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Every module of the three packages by its name."""
    return {
        _module_of(path): path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


@cache
def imports_of(module: str) -> frozenset[str]:
    """The modules that `module` names in an import statement, wherever in its text."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} line {node.lineno}: relative import"
            assert node.module
            # `from package import module` names the module, `from module import name` does not.
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in modules() else node.module)
    return frozenset(found)


def _own(names: frozenset[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in PACKAGES}


def _layer(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def forbidden(module: str, target: str) -> str | None:
    """Return why `module` may not import `target`, or None when it may."""
    here, there = module.split(".")[0], target.split(".")[0]
    if here != "auditkit":
        return None if there == here else f"{here}/ imports nothing of {there}/"
    if there != "auditkit":
        meets = _layer(module) in MEETING
        return None if meets else f"only {', '.join(MEETING)} may import {there}/"
    if module in FOUNDATION:
        return None if target in FOUNDATION else "errors and results import only each other"
    if module in EDGES:
        return None if target in FOUNDATION | EDGES else "a helper imports only helpers"
    if target in FOUNDATION | EDGES or module in ("auditkit", "auditkit.__main__"):
        return None
    if target == "auditkit":
        return None if _layer(module) in MEETING else "the front door is for callers"
    if _layer(module) == "explain":
        return None if _layer(target) == "explain" else "the pages import nothing"
    if _layer(target) == "explain":
        return None if _layer(module) in ("audit", "cli") else "pages are for audit/ and cli/"
    if _layer(module) not in LAYERS or _layer(target) not in LAYERS:
        return "a module or folder that the layers do not know"
    if LAYERS.index(_layer(target)) > LAYERS.index(_layer(module)):
        return f"{_layer(module)} stands before {_layer(target)}"
    return None


@pytest.mark.parametrize("module", sorted(modules()))
def test_every_import_follows_the_arrows(module: str) -> None:
    wrong = {
        target: reason
        for target in _own(imports_of(module))
        if (reason := forbidden(module, target)) is not None
    }
    assert not wrong, f"{module} imports against an arrow: {wrong}"


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("auditkit.network.graph", "auditkit.patch.gates"),
        ("auditkit.certificate.check", "auditkit.threats.registry"),
        ("auditkit.unlearning.retrain", "auditkit.threats.lazy"),
        ("auditkit.certificate.verify", "attacks.lira"),
        ("attacks.lira", "auditkit.results"),
        ("reports.view", "attacks.statistics"),
        ("auditkit.files", "auditkit.network.graph"),
        ("auditkit.results", "auditkit.files"),
        ("auditkit.network.graph", "auditkit.novel"),
    ],
)
def test_a_wrong_arrow_would_be_noticed(module: str, target: str) -> None:
    assert forbidden(module, target) is not None


def trusted_closure(roots: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return what `roots` import, directly or not: own modules, and names of others."""
    own, foreign = set(), set()
    todo = list(roots)
    while todo:
        module = todo.pop()
        if module in own:
            continue
        own.add(module)
        names = imports_of(module)
        foreign |= {name.split(".")[0] for name in names - _own(names)}
        # `import a.b.c` runs a and a.b too.
        for name in _own(names) | {module}:
            parts = name.split(".")
            todo += [".".join(parts[:n]) for n in range(2, len(parts) + 1)]
    return own, foreign


def test_the_trusted_base_stays_small_and_pure(capsys: pytest.CaptureFixture[str]) -> None:
    own, foreign = trusted_closure((*ROOTS, *BESIDES))
    packages = {name for name in own if modules()[name].name == "__init__.py"}
    assert own - packages <= TRUSTED, "outside the trusted base"
    for package in packages:
        assert not imports_of(package), f"{package}/__init__ makes the checker import more"
    assert foreign <= sys.stdlib_module_names | {"numpy", "flint", "__future__"}
    assert not foreign & INPUT_OUTPUT, "the checker reads no file, clock or environment"
    lines = {name: len(modules()[name].read_text().splitlines()) for name in sorted(own)}
    with capsys.disabled():
        least = sum(count for name, count in lines.items() if name in PATTERNS)
        print(
            f"\ntrusted base: {sum(lines.values())} lines in {len(own - packages)} modules", end=""
        )
        print(f", of which {least} in {len(PATTERNS)} for gates as patterns")


def test_the_trusted_base_is_listed_without_leftovers() -> None:
    own, _ = trusted_closure((*ROOTS, *BESIDES))
    assert own >= TRUSTED, f"no longer used by the checker: {sorted(TRUSTED - own)}"


def test_each_part_of_the_trusted_base_stands_for_itself() -> None:
    own, _ = trusted_closure(ROOTS)
    assert {name for name in own if modules()[name].name != "__init__.py"} == PATTERNS
    for module, also in BESIDES.items():
        own, _ = trusted_closure([module])
        more = {name for name in own if modules()[name].name != "__init__.py"} - PATTERNS
        assert more == {module} | also


def test_judges_derive_nothing_of_their_own() -> None:
    """Rigorous arithmetic outside the trusted base would be a bound that nobody reads."""
    users = {
        name
        for name in modules()
        if name.startswith("auditkit.certificate.judge")
        and any(m.startswith("auditkit.network.rigorous") for m in imports_of(name))
    }
    assert not users


def test_the_trusted_base_opens_nothing() -> None:
    for module in TRUSTED:
        tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"open", "exec", "eval", "compile", "__import__", "input", "print"}

"""The documentation runs: every marked block of commands, as a reader would type it.

A block of `console` is run when the line before it is a comment `<!-- run -->`. The comment may
say `after demo` (the commands find the demonstration's files in out/demo) and `exit codes 0 1 3`
(those allowed; 0 otherwise). Lines without `$` are the expected output; `…` stands for any text.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from auditkit.certificate.policy import Policy, policy_from
from auditkit.cli import main as cli
from auditkit.explain import titles

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ("README.md", *(f"docs/guide/{p.name}" for p in sorted((ROOT / "docs/guide").glob("*.md"))))
BLOCK = re.compile(r"<!-- run:?(?P<how>[^>]*)-->\n```console\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Commands that a page shows, and how it says they are run."""

    page: str
    number: int
    after_demo: bool
    codes: frozenset[int]
    commands: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def blocks() -> list[Block]:
    """Every marked block of every page."""
    found = []
    for page in PAGES:
        for number, match in enumerate(BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))):
            codes = re.search(r"exit codes ([\d ]+)", match["how"])
            allowed = frozenset(map(int, codes[1].split())) if codes else frozenset({0})
            parts = re.split(r"^\$ ", match["text"], flags=re.MULTILINE)[1:]
            commands = tuple((p.partition("\n")[0], p.partition("\n")[2].strip()) for p in parts)
            found.append(Block(page, number, "after demo" in match["how"], allowed, commands))
    return found


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to type in, with `auditkit` and `python` on the path."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "bin").mkdir()
    (folder / "out").mkdir()
    for name, command in (("auditkit", "-m auditkit"), ("python", "")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {command} "$@"\n')
        script.chmod(0o755)
    return folder


def _type(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
    }
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )


@pytest.fixture(scope="session")
def after_demo(workplace: Path) -> Path:
    """The same folder, after `make demo`."""
    done = _type(workplace, "auditkit demo --out out/demo")
    assert done.returncode == 0, done.stderr
    return workplace


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_documented_commands_do_what_the_page_says(
    block: Block, workplace: Path, request: pytest.FixtureRequest
) -> None:
    if block.after_demo:
        request.getfixturevalue("after_demo")
    assert block.commands
    for command, expected in block.commands:
        done = _type(workplace, command)
        assert done.returncode in block.codes, f"$ {command}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        if expected:
            pattern = ".*".join(map(re.escape, expected.split("…")))
            assert re.fullmatch(pattern, done.stdout.strip(), re.DOTALL), done.stdout


def _example(page: str, folder: Path) -> str:
    """Run the one Python example of a page and return what it prints."""
    [code] = re.findall(
        r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL
    )
    (folder / "example.py").write_text(code, encoding="utf-8")
    done = _type(folder, "python example.py")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_library_example_of_the_readme_runs(after_demo: Path) -> None:
    assert _example("README.md", after_demo).startswith("pass ")


def test_the_library_example_of_the_explicit_form_runs(after_demo: Path) -> None:
    told = _example("docs/guide/explicit.md", after_demo)
    assert "true rows are neither stated nor implied" in told


def test_the_library_example_of_unlearning_runs(after_demo: Path) -> None:
    told = _example("docs/guide/unlearning.md", after_demo)
    assert told.splitlines()[0] == "reached its goal"
    assert "still have their label" in told


ELSEWHERE = {"demo", "audit"}  # run by the fixture and by the guide, and slow


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name not in ELSEWHERE])
def test_the_example_in_the_help_runs(name: str, after_demo: Path) -> None:
    command = importlib.import_module(f"auditkit.cli.{name}").EXAMPLE
    done = _type(after_demo, command)
    assert done.returncode in (0, 1, 3), f"$ {command}\n{done.stdout}{done.stderr}"
    assert done.stdout


def test_pages_name_only_commands_that_exist() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for command in re.findall(r"(?:\$ |`)auditkit ([a-z]+)", text):
            assert command in cli.COMMANDS, f"{page}: auditkit {command}"


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_documented_policy_is_the_default_one() -> None:
    text = (ROOT / "docs/guide/certificates.md").read_text(encoding="utf-8")
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    assert policy_from(tomllib.loads(block[1]), "certificates.md") == Policy()


def test_every_check_has_a_page() -> None:
    from attacks.registry import REGISTRY
    from auditkit.audit.compare import TITLES
    from auditkit.audit.exposure_checks import EXPOSURE, SMALL
    from auditkit.audit.membership_checks import COHORT
    from auditkit.audit.verdict import ERASURE
    from auditkit.certificate.erasure import REDIRECTION
    from auditkit.certificate.policy import ALL_CHECKS
    from auditkit.certificate.shown.checks import SHOWN
    from auditkit.threats.registry import BEHAVIOURS
    from auditkit.unlearning.registry import METHODS

    attacks = {f"attack.{name}" for name in (*REGISTRY, COHORT, SMALL, EXPOSURE, "scores")}
    wanted = {*ALL_CHECKS, *SHOWN, *TITLES, ERASURE, REDIRECTION, "compare.weights", *attacks}
    wanted |= {behaviour.id for behaviour in BEHAVIOURS}
    wanted |= {f"method.{name}" for name in METHODS}
    assert wanted == set(titles())


CHECK_PARTS = ("Claims", "Checked by", "Cannot show", "Sources")
METHOD_PARTS = ("Does", "Needs", "Scenarios", "Settings", "Look for", "Cannot do", "Sources")


@pytest.mark.parametrize("name", titles())
def test_a_page_has_its_parts(name: str) -> None:
    from auditkit.explain import explain

    page = explain(name)
    parts = METHOD_PARTS if name.startswith("method.") else CHECK_PARTS
    assert re.findall(r"^\*\*(.+?)\.\*\*", page, re.MULTILINE) == list(parts)
    assert 8 <= page.count("\n") <= 40
    assert max(map(len, page.splitlines())) <= 100


def test_a_method_s_page_says_what_the_method_claims() -> None:
    from auditkit.explain import explain
    from auditkit.unlearning.registry import METHODS

    words = {"retain": "etained records", "holdout": "nseen records", "history": "history"}
    for name, method in METHODS.items():
        page = explain(f"method.{name}")
        needs = page.partition("**Needs.**")[2].partition("**Scenarios.**")[0]
        assert page.startswith(f"# {method.title}\n"), name
        assert f"**Scenarios.** {', '.join(method.scenarios)}.\n" in page, name
        assert all(words[part] in needs for part in (*method.needs, *method.uses)), name


def test_a_method_s_page_names_all_its_settings() -> None:
    from auditkit.explain import explain
    from auditkit.unlearning.registry import METHODS

    def written(value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value).lower()

    for name, method in METHODS.items():
        page = explain(f"method.{name}")
        part = page.partition("**Settings.**")[2].partition("**Look for.**")[0]
        stated = re.findall(r"`(\w+)`\s+([\w.+-]*\w)", part)
        chosen = {(key, written(value)) for key, value in asdict(method.defaults).items()}
        for changes in method.by_scenario.values():
            chosen |= {(key, written(value)) for key, value in changes.items()}
        assert set(stated) == chosen, name


def test_the_project_speaks_of_itself_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9a-z.]+", line) for line in pinned)

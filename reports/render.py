"""From a record to a page: validate, build the view, fill the templates, write in one step.

The page states its own content security policy, with the hash of the one style sheet in it, so
that nothing a record quotes can load or run anything.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import words
from reports.documents import read_json, record_bytes
from reports.errors import RecordError
from reports.record import validate_annex, validate_record

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(
    record: dict[str, Any],
    *,
    run: dict[str, Any] | None = None,
    annex: dict[str, Any] | None = None,
) -> str:
    """Return the report of a record as one HTML document.

    `run` is what varied (time, host, durations); `annex` adds the confidential records and is
    for the eyes of those who may see them. RecordError where the JSON is not of the schema.
    """
    validate_record(record)
    run_digest = _digest(record_bytes(run)) if run is not None else None
    return _render(record, _digest(record_bytes(record)), run, run_digest, annex)


def write_report(
    record_path: Path | str,
    out_path: Path | str,
    annex_path: Path | str | None = None,
    *,
    run_path: Path | str | None = None,
) -> None:
    """Render the record at `record_path` into `out_path`, which is replaced in one step.

    `annex_path` and `run_path` are the JSON files of the annex and of the run. RecordError where
    a file cannot be read or is not of the schema.
    """
    record, digest = read_json(Path(record_path))
    validate_record(record, str(record_path))
    run, run_digest = read_json(Path(run_path)) if run_path is not None else (None, None)
    if run is not None and not isinstance(run, dict):
        raise RecordError(
            str(run_path), expected="an object", found="another value", remedy="give run.json"
        )
    annex = _read_annex(annex_path) if annex_path is not None else None
    _replace(Path(out_path), _render(record, digest, run, run_digest, annex))


def render_annex(annex: dict[str, Any]) -> str:
    """Return the confidential annex as an HTML document of its own; RecordError as in `render`."""
    from reports.annex import build_annex

    validate_annex(annex)
    return _page("annex.html.jinja", annex=build_annex(annex), words=words)


def write_annex(annex_path: Path | str, out_path: Path | str) -> None:
    """Render the annex at `annex_path` into `out_path`, which is replaced in one step."""
    _replace(Path(out_path), render_annex(_read_annex(annex_path)))


def _read_annex(path: Path | str) -> dict[str, Any]:
    annex: dict[str, Any]
    annex, _ = read_json(Path(path))
    validate_annex(annex, str(path))
    return annex


def _render(
    record: dict[str, Any],
    digest: str,
    run: dict[str, Any] | None,
    run_digest: str | None,
    annex: dict[str, Any] | None,
) -> str:
    from reports.annex import build_annex
    from reports.view import build

    if annex is not None:
        validate_annex(annex)
    view = build(record, record_digest=digest, run=run, run_digest=run_digest)
    shown = build_annex(annex) if annex is not None else None
    return _page("report.html.jinja", view=view, words=words, annex=shown)


def _page(template: str, **context: Any) -> str:
    style = _resource("style.css")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return _environment().get_template(template).render(style=style, style_hash=digest, **context)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(lambda name: _resource(f"templates/{name}")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """Return a dotted name that may be broken after its dots and underscores."""
    from markupsafe import Markup, escape

    parts = re.split(r"(?<=[._/])", name)
    return Markup("<wbr>").join(escape(part) for part in parts)


def _resource(name: str) -> str:
    return importlib.resources.files("reports").joinpath(name).read_text(encoding="utf-8")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

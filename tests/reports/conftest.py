"""Records to render, and a reader of pages that needs no browser."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

import reports
from tests.reports.example import example_record, passing_record

VOID = {"meta", "link", "img", "br", "wbr", "hr", "input"}


class Page(HTMLParser):
    """Elements of a page in order, each with its attributes, its text and its ancestors."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.elements: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {
            "tag": tag,
            "attrs": dict(attrs),
            "text": "",
            "path": [e["tag"] for e in self._open],
            "open": list(self._open),
        }
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1]["tag"] == tag, f"</{tag}> closes <{self._open[-1]['tag']}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, *tags: str) -> list[dict[str, Any]]:
        return [e for e in self.elements if e["tag"] in tags]

    def by_id(self, name: str) -> dict[str, Any]:
        return next(e for e in self.elements if e["attrs"].get("id") == name)

    def by_class(self, name: str) -> list[dict[str, Any]]:
        return [e for e in self.elements if name in (e["attrs"].get("class") or "").split()]


@pytest.fixture
def record() -> dict[str, Any]:
    """A fresh record with every part."""
    return example_record()


@pytest.fixture
def minimal() -> dict[str, Any]:
    """A fresh record with no optional part."""
    return passing_record()


@pytest.fixture(scope="session")
def source() -> str:
    """The report of the example record."""
    return reports.render(example_record())


@pytest.fixture(scope="session")
def page(source: str) -> Page:
    """The same report, parsed."""
    return Page(source)


@pytest.fixture(scope="session")
def parse() -> type[Page]:
    """The reader of pages."""
    return Page

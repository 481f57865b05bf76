"""A report as a browser would see it: elements with their attributes, and the text of each run's row."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from tribrain.story.report import WrittenReport

_UNSEEN = ("style", "script", "title")
_VOID = ("meta", "link", "img", "input", "wbr", "br")
Attributes = dict[str, str | None]


@dataclass(slots=True)
class Row:
    """A run of the list."""

    id: str
    elements: list[tuple[str, Attributes]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    summary_words: list[str] = field(default_factory=list)

    def of(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return _joined(self.words)

    @property
    def summary(self) -> str:
        """What stands in the list while the run is closed."""
        return _joined(self.summary_words)


class ReportPage(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.rows: list[Row] = []
        self._words: list[str] = []
        self._open: list[tuple[str, Attributes]] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return _joined(self._words)

    def of(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag == "details" and "row" in (attributes.get("class") or "").split():
            self.rows.append(Row(attributes["id"] or ""))
        if tag not in _VOID:
            self._open.append((tag, attributes))
        if self._row is not None:
            self._row.elements.append((tag, attributes))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        if any(tag in _UNSEEN for tag in tags):
            return
        self._words.append(data)
        if self._row is not None:
            self._row.words.append(data)
            if "summary" in tags and tags.count("details") == 1:
                self._row.summary_words.append(data)

    @property
    def _row(self) -> Row | None:
        inside = any(tag == "details" and attributes.get("data-order") for tag, attributes in self._open)
        return self.rows[-1] if inside else None


def report_page(written: WrittenReport) -> ReportPage:
    return ReportPage(written.path.read_text())


def assert_nothing_is_fetched(page: ReportPage, html: str) -> None:
    """Links may lead to files beside the report; whatever loads by itself is in it."""
    loaded = [
        value or ""
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "srcset", "poster", "data", "action"} or (name == "href" and tag != "a")
    ]
    assert loaded
    assert all(address.startswith(("data:", "#")) for address in loaded)
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)", html))


def decoded(uri: str | None) -> bytes:
    return base64.b64decode((uri or "").partition(";base64,")[2], validate=True)


def _joined(words: list[str]) -> str:
    return " ".join(" ".join(words).split())

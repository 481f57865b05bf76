"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^```(?P<info>[^\n]*)\n(?P<code>.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_INDENTED_FENCE = re.compile(r"^[ \t]+```", flags=re.MULTILINE)
_TITLE = re.compile(r'(?P<language>\w*)(?: title="(?P<title>[^"]+)")?')


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of code."""

    page: str
    line: int
    """Of its first line of code, from 1."""
    language: str
    title: str | None
    """The name of the file in which a reader saves it."""
    code: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page, by its path in the repository."""
    of_docs = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", *of_docs]


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page in their order. Raises ValueError for one that no test could read."""
    text = text_of(page)
    if (indented := _INDENTED_FENCE.search(text)) is not None:
        raise ValueError(f"{page}:{_line(text, indented.start())}: a block of code has to begin its line")
    found = []
    for fence in _FENCED.finditer(text):
        named = _TITLE.fullmatch(fence["info"])
        line = _line(text, fence.start()) + 1
        if named is None:
            raise ValueError(f"{page}:{line}: {fence['info']!r} is not a language, with a title or without")
        found.append(Block(page, line, named["language"], named["title"], fence["code"]))
    return found


def prose_of(page: str) -> str:
    """The text without its blocks of code."""
    return _FENCED.sub("", text_of(page))


def inline_codes(page: str) -> Iterator[str]:
    """What stands between backticks within a paragraph."""
    for paragraph in re.split(r"\n\s*\n", prose_of(page)):
        for code in re.findall(r"`([^`]+)`", paragraph):
            yield " ".join(code.split()).replace("\\|", "|")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1

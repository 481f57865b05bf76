"""Docstrings of public names as Markdown, with links from one name to another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import tribrain
from tests.docs.reference.markdown import code

_PARAGRAPH = re.compile(r"\n\s*\n")
_RAISES = re.compile(r"(?:^|(?<=[.:] ))Raises (.*?\.)(?=\s|$)")
_CLASS = re.compile(r"\b[A-Z][a-z]+[A-Z]\w+\b")


@dataclass(frozen=True, slots=True)
class Docstring:
    """The parts of the docstring ``text`` of the public name ``of``."""

    text: str
    of: str

    @property
    def first_sentence(self) -> str:
        paragraph = " ".join(_PARAGRAPH.split(self.text)[0].split())
        return inline(re.split(r"(?<=\.)\s", paragraph)[0], self.of)

    def items(self) -> dict[str, str]:
        """Of its lists, what begins with a name: the name, and what is said of it."""
        items = [item for block in _PARAGRAPH.split(self.text) for item in _items(block)]
        found = [re.fullmatch(r"``(\w+)``: (.*)", item) for item in items]
        return {each[1]: each[2] for each in found if each is not None}

    def prose(self, *, with_lists: bool = True) -> Iterator[str]:
        """Paragraphs and lists, without examples and what it raises."""
        for block in _PARAGRAPH.split(self.text):
            if block.startswith("- ") and with_lists:
                yield "\n".join(f"- {inline(item, self.of)}" for item in _items(block))
            elif not block.startswith(("- ", ">>>")) and (
                rest := _RAISES.sub("", " ".join(block.split())).strip()
            ):
                yield inline(rest, self.of)

    def raised(self) -> Iterator[str]:
        """Each exception with when it is raised."""
        for block in _PARAGRAPH.split(self.text):
            if not block.startswith(("- ", ">>>")):
                yield from (inline(each, self.of) for each in _RAISES.findall(" ".join(block.split())))

    def examples(self) -> Iterator[str]:
        for block in _PARAGRAPH.split(self.text):
            if block.startswith(">>>"):
                yield block.replace("  # doctest: +SKIP", "")


def inline(text: str, of: str = "") -> str:
    """Text with double backticks as Markdown; public names are links, but ``of`` within its own section."""
    parts = " ".join(text.replace("``", "`").split()).split("`")
    for at, part in enumerate(parts):
        if at % 2:
            parts[at] = link(part, of, code(part))
        else:
            escaped = part.replace("<", "&lt;").replace("*", "\\*")
            parts[at] = _CLASS.sub(lambda found: link(found[0], of, found[0]), escaped)
    return "".join(parts)


def link(name: str, of: str = "", shown: str | None = None) -> str:
    """To the section of a public name; any other, and ``of`` itself, is as shown."""
    shown = code(name) if shown is None else shown
    return f"[{shown}](#{name.lower()})" if name in tribrain.__all__ and name != of else shown


def _items(block: str) -> list[str]:
    return [" ".join(item.split()) for item in re.split(r"^- ", block, flags=re.MULTILINE)[1:]]

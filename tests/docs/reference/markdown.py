"""What the pages are written with."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells may hold anything that stands on one line."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def from_rest(text: str) -> str:
    """A docstring's text: double backticks are single ones, and a paragraph is a line."""
    paragraphs = [" ".join(each.split()) for each in re.split(r"\n\s*\n", text)]
    return "\n\n".join(each for each in paragraphs if each).replace("``", "`")


def plain(text: str) -> str:
    """Text that stands outside code: what looks like a tag is none."""
    return text.replace("<", "&lt;").replace("*", "\\*")


def _cell(text: str) -> str:
    """A bar within code is HTML: GitHub would divide the cell at it, and the site would show a backslash."""
    parts = " ".join(text.split()).split("`")
    for at, part in enumerate(parts):
        if at % 2 == 0:
            parts[at] = part.replace("|", "\\|")
        elif "|" in part:
            parts[at] = f"<code>{html.escape(part, quote=False).replace('|', '&#124;')}</code>"
        else:
            parts[at] = f"`{part}`"
    return "".join(parts)

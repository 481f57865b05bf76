"""``python -m tests.docs.site FOLDER``: whether a reader's browser would fetch anything from elsewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_ELSEWHERE = re.compile(r"(?:[a-z]+:)?//", flags=re.IGNORECASE)
_OF_A_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:[a-z]+:)?//[^"')\s]+)""", flags=re.IGNORECASE)
_FETCHING_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch"}


class _Assets(HTMLParser):
    """Collects the addresses that a browser fetches by itself, unlike those that a reader follows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "link":
            if _FETCHING_LINKS & set(given.get("rel", "").split()):
                self.found.append(given.get("href", ""))
            return
        self.found += [given[name] for name in ("src", "poster", "data") if name in given]
        self.found += [each.split()[0] for each in given.get("srcset", "").split(",") if each.strip()]
        self.found += _OF_A_STYLE.findall(given.get("style", ""))


def external_assets(folder: Path) -> Iterator[tuple[str, str]]:
    """File and address of all that pages and style sheets below ``folder`` have fetched from elsewhere."""
    for path in sorted(folder.rglob("*.html")):
        text = path.read_text()
        parser = _Assets()
        parser.feed(text)
        in_styles = [found for style in re.findall(r"<style.*?</style>", text, re.S) for found in _in(style)]
        for address in [*parser.found, *in_styles]:
            if _ELSEWHERE.match(address):
                yield str(path.relative_to(folder)), address
    for path in sorted(folder.rglob("*.css")):
        for address in _in(path.read_text()):
            yield str(path.relative_to(folder)), address


def _in(style: str) -> list[str]:
    return _OF_A_STYLE.findall(style)


def main() -> None:
    """Exit code 1 where there is something, which is named, or no page at all."""
    folder = Path(sys.argv[1])
    if not any(folder.rglob("*.html")):
        sys.exit(f"{folder} has no page; build it with `make docs`")
    found = list(external_assets(folder))
    if found:
        sys.exit("\n".join(f"{page} fetches {address}" for page, address in found))


if __name__ == "__main__":
    main()

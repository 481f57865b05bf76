"""A real browser: Debian's Chromium, or the one that TRIBRAIN_CHROMIUM names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


class NoBrowser(Exception):
    """None is on this computer; the message says what to do."""


@contextmanager
def browser() -> Iterator[Browser]:
    """Raises NoBrowser."""
    found = os.environ.get("TRIBRAIN_CHROMIUM") or shutil.which("chromium")
    if found is None:
        raise NoBrowser(
            "no browser to test with: install Debian's chromium, or name one in TRIBRAIN_CHROMIUM"
        )
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        try:
            yield launched
        finally:
            launched.close()


# While it is there, an event loop runs, and no test could begin one of its own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    try:
        with browser() as launched:
            yield launched
    except NoBrowser as missing:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Any]:
    """Makes a browser of an annotator's own: ``visit(server.url, "Ann")``."""
    contexts: list[BrowserContext] = []

    def new(url: str, annotator: str = "Ann", **options: Any) -> BrowserContext:
        context = chromium.new_context(**options)
        if annotator:
            context.add_cookies([{"name": "tribrain_annotator", "value": annotator, "url": url}])
        contexts.append(context)
        return context

    yield new
    for context in contexts:
        context.close()

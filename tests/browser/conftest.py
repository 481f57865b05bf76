"""A real browser: Debian's Chromium, or the one that TRIBRAIN_CHROMIUM names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = os.environ.get("TRIBRAIN_CHROMIUM") or shutil.which("chromium")
    if found is None:
        missing = "no browser to test with: install Debian's chromium, or name one in TRIBRAIN_CHROMIUM"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Any]:
    """Makes a browser of an annotator's own: ``visit(server, "Ann")``."""
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

"""A real browser: Debian's Chromium, or the one that TRIBRAIN_CHROMIUM names."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from tests.browser.voting import Voter, at_the_stage
from tests.pages import PageServer, page_server, write_runs

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-software-rasterizer", "--disable-background-networking")


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


@pytest.fixture(scope="module")
def shared_topics(kafka: str) -> Settings:
    """Those of ``shared_page``."""
    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"page-{uuid.uuid4().hex[:12]}")
    create_topics(settings)
    return settings


@pytest.fixture(scope="module")
def shared_page(shared_topics: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """A page over six runs of one task, for tests that stop nothing; each votes under a name of its own."""
    folder = tmp_path_factory.mktemp("page")
    write_runs(folder, runs=6, iterations=4)
    with page_server(folder, settings=shared_topics) as server:
        yield server


@pytest.fixture
def voter(shared_page: PageServer, visit: Any) -> Voter:
    """Somebody new before the first pair of ``shared_page``."""
    return at_the_stage(visit, shared_page.url, f"Ann {uuid.uuid4().hex[:8]}")


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

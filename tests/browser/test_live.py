"""The stream of news: one for each page that is seen, and what is said while there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route

from streams.kafka.settings import Settings
from tests import factories
from tests.kafka.test_trainer import publish
from tests.pages import PageServer, page_server, write_runs
from tests.waiting import wait_until

_STREAM = "**/live"
_AWAY = "#not-live:has-text('The server does not answer')"


def set_hidden(page: Page, hidden: bool) -> None:
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def streams_of(page: Page, event: str) -> list[str]:
    """Grows with each stream of news that has this event."""
    seen: list[str] = []
    page.on(event, lambda request: seen.append(request.url) if request.url.endswith("/live") else None)
    return seen


def bad_gateway(route: Route) -> None:
    route.fulfill(status=502)


def test_a_tab_that_is_hidden_holds_no_connection(shared_page: PageServer, visit: Any) -> None:
    page = visit(shared_page.url).new_page()
    opened, ended = streams_of(page, "request"), streams_of(page, "requestfailed")
    page.goto(shared_page.url)
    wait_until(lambda: page.evaluate("1") and len(opened) == 1)
    set_hidden(page, True)
    wait_until(lambda: page.evaluate("1") and len(ended) == 1)
    set_hidden(page, False)
    wait_until(lambda: page.evaluate("1") and len(opened) == 2)
    assert len(opened) - len(ended) <= 1


def test_a_page_says_so_while_its_server_is_away(tmp_path: Path, settings: Settings, visit: Any) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        for path in ("/", "/runs", "/model", "/agreement"):
            page.goto(server.url + path)
            server.stop()
            page.wait_for_selector(_AWAY)
            server.start()
            page.wait_for_selector("#not-live", state="hidden")


def test_news_come_again_after_a_proxy_has_answered_for_the_server(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.route(_STREAM, bad_gateway, times=1)
        page.goto(server.url)
        page.wait_for_selector(_AWAY)
        publish(settings, factories.run([0.3, 0.6], run_id="another-run"))
        page.wait_for_selector("text=move the red cube to the bowl")


def test_a_hidden_tab_does_not_try_again(shared_page: PageServer, visit: Any) -> None:
    page = visit(shared_page.url).new_page()
    opened = streams_of(page, "request")
    page.clock.install()
    page.route(_STREAM, bad_gateway)
    page.goto(shared_page.url)
    page.wait_for_selector(_AWAY)
    set_hidden(page, True)
    page.clock.run_for(60_000)
    assert len(opened) == 1
    set_hidden(page, False)
    wait_until(lambda: page.evaluate("1") and len(opened) == 2)

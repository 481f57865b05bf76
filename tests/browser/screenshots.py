"""``python -m tests.browser.screenshots docs/images``: the README's pictures of the page, made again.

Simulated runs, a trainer, two annotators who prefer what the hidden truth prefers, and a real browser.
"""

from __future__ import annotations

import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import click
from click.testing import CliRunner
from playwright.sync_api import Browser, Page

from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.kafka.topics import create_topics
from streams.local_broker.broker import start_local_broker
from tests.browser.conftest import browser
from tests.browser.voting import all_saved, open_pair
from tests.pages import PageServer, page_server
from tests.services import trainer
from tests.waiting import wait_until
from tribrain.cli import cli
from tribrain.shell.option_types import PATH

_GOALS = ("move the red cube to the green bowl", "pour the blue paint into the yellow cup")
_RUNS = 4
_VOTES = 12
_WIDE, _PHONE = {"width": 1280, "height": 760}, {"width": 390, "height": 844}


@click.command(epilog="Example: python -m tests.browser.screenshots docs/images")
@click.argument("folder", type=PATH)
def screenshots(folder: Path) -> None:
    """Write the README's pictures of the page into FOLDER."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        work = Path(temporary)
        broker = stack.enter_context(start_local_broker())
        settings = Settings(
            bootstrap_servers=broker.bootstrap_servers, topic_prefix=f"pictures-{uuid.uuid4().hex[:8]}"
        )
        create_topics(settings)
        stack.enter_context(trainer(settings))
        _make_runs(work, settings)
        server = stack.enter_context(page_server(work, settings=settings))
        chromium = stack.enter_context(browser())
        for name in ("Ann", "Bob"):
            _vote(chromium, server, name)
        folder.mkdir(parents=True, exist_ok=True)
        _picture(chromium, server, "/vote", folder / "page-vote.png")
        _picture(chromium, server, "/", folder / "page-now.png", scheme="dark")
        _picture(chromium, server, "/model", folder / "page-model.png")
        _picture(chromium, server, "/vote", folder / "page-phone.png", size=_PHONE)


def _make_runs(work: Path, settings: Settings) -> None:
    for seed in range(_RUNS):
        arguments = ["run-simulated", "--goal", _GOALS[seed % 2], "--seed", str(seed // 2), "--iters", "5"]
        where = ["--out", str(work / "runs" / str(seed)), "--bootstrap-servers", settings.bootstrap_servers]
        done = CliRunner(env={TOPIC_PREFIX_VARIABLE: settings.topic_prefix}).invoke(cli, [*arguments, *where])
        if done.exit_code:
            raise click.ClickException(f"a run failed: {done.output}")


def _vote(chromium: Browser, server: PageServer, name: str) -> None:
    page = _open(chromium, server, name)
    page.goto(f"{server.url}/vote")
    pair = ""
    for number in range(_VOTES):
        pair = open_pair(page, other_than=pair)
        page.keyboard.press("12t"[number % 3])
    all_saved(page)
    page.context.close()


def _picture(
    chromium: Browser,
    server: PageServer,
    path: str,
    target: Path,
    *,
    size: dict[str, int] | None = None,
    scheme: Literal["light", "dark"] = "light",
) -> None:
    page = _open(chromium, server, "Ann", size=size, scheme=scheme)
    page.goto(server.url + path)
    if path == "/vote":
        open_pair(page)
    wait_until(
        lambda: page.evaluate("[...document.querySelectorAll('video')].every((v) => v.readyState >= 2)")
    )
    page.screenshot(path=target)
    click.echo(f"{target}: {target.stat().st_size:,} bytes")
    page.context.close()


def _open(
    chromium: Browser,
    server: PageServer,
    name: str,
    *,
    size: dict[str, int] | None = None,
    scheme: Literal["light", "dark"] = "light",
) -> Page:
    context = chromium.new_context(
        viewport={"width": (size or _WIDE)["width"], "height": (size or _WIDE)["height"]},
        color_scheme=scheme,
    )
    context.add_cookies([{"name": "tribrain_annotator", "value": name, "url": server.url}])
    return context.new_page()


if __name__ == "__main__":
    screenshots()

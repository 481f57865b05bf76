"""``python -m tests.bench.vote_to_model``: from a vote on the page to what the Model page makes of it.

The demo with its page and a real browser with two windows: in one somebody votes, the other shows the model.
"""

from __future__ import annotations

import re
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import click
import orjson
from playwright.sync_api import BrowserContext, Page

from streams.kafka.settings import Settings
from streams.snapshots.feed import SnapshotFeed
from tests.browser.conftest import browser
from tests.browser.voting import open_pair
from tests.tribrain.processes import Command, command
from tests.waiting import wait_until
from tribrain.shell import options

_START_S = 120.0
_PEOPLE = """() => {
  const row = [...document.querySelectorAll("th")].find((th) => th.textContent === "Labels from people");
  return row ? Number(row.nextElementSibling.textContent.replaceAll(",", "")) : 0;
}"""


@click.command(epilog="Example: python -m tests.bench.vote_to_model --votes 30")
@click.option("--votes", type=click.IntRange(min=2), default=30, show_default=True, help="Votes to give.")
@click.option("--tasks", type=click.IntRange(min=1), default=12, show_default=True, help="Planned runs.")
@click.option("--while-running", is_flag=True, help="Vote while the planned runs take all processors.")
@options.as_json
def vote_to_model(votes: int, tasks: int, while_running: bool, as_json: bool) -> None:
    """Vote in ``tribrain demo --ui``; say when the snapshot was there and when the Model page had it."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        arguments = ["demo", "--ui", "--no-browser", "--port", "0", "--tasks", str(tasks)]
        with command([*arguments, "--out", str(work / "out")], work / "said") as demo:
            url, settings = _started(demo)
            if not while_running:
                wait_until(lambda: re.search(rf"runs {tasks}/", demo.output), _START_S)
            times = _vote(url, settings, votes)
            demo.process.terminate()
            demo.wait(30)
    found = {
        name: {"median_ms": round(median(each)), "p95_ms": round(quantiles(each, n=20)[-1]), "n": len(each)}
        for name, each in times.items()
    }
    if as_json:
        click.echo(orjson.dumps(found))
        return
    for name, each in found.items():
        click.echo(f"{name}: median {each['median_ms']} ms, p95 {each['p95_ms']} ms ({each['n']} votes)")


def _started(demo: Command) -> tuple[str, Settings]:
    """The page's address, and where the broker is."""
    wait_until(
        lambda: re.search(r"(http://\S+)vote", demo.output) or demo.process.poll() is not None, _START_S
    )
    url, servers = (re.search(what, demo.output) for what in (r"(http://\S+)vote", r"at (127\.0\.0\.1:\d+)"))
    assert url is not None, demo.output
    assert servers is not None, demo.output
    return url[1], Settings(bootstrap_servers=servers[1])


def _vote(url: str, settings: Settings, votes: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"vote to the snapshot": [], "vote to the Model page": []}
    with browser() as chromium, SnapshotFeed(settings) as feed:
        voter, model = (_window(chromium.new_context(), url) for _ in range(2))
        voter.goto(f"{url}vote")
        pair = open_pair(voter)
        wait_until(lambda: feed.latest() is not None, _START_S)
        model.goto(f"{url}model")

        for number in range(1, votes + 1):
            begun_s = time.monotonic()
            voter.keyboard.press("1")
            wait_until(partial(_has_learnt, feed, number))
            times["vote to the snapshot"].append(1000 * (time.monotonic() - begun_s))
            model.wait_for_function(f"(n) => ({_PEOPLE})() >= n", arg=number)
            times["vote to the Model page"].append(1000 * (time.monotonic() - begun_s))
            if number % 20 == 0:
                voter.click("#go-on")
            pair = open_pair(voter, other_than=pair)
    return times


def _has_learnt(feed: SnapshotFeed, votes: int) -> bool:
    latest = feed.latest()
    return latest is not None and latest.labels.get("human", 0) >= votes


def _window(context: BrowserContext, url: str) -> Page:
    context.add_cookies([{"name": "tribrain_annotator", "value": "Ann", "url": url}])
    page: Page = context.new_page()
    return page


if __name__ == "__main__":
    vote_to_model()

"""``python -m tests.bench.voting``: from a key to the next pair on the screen, and to the vote's answer."""

from __future__ import annotations

import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

import click
import orjson

from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.local_broker.broker import start_local_broker
from tests.browser.conftest import browser
from tests.browser.voting import all_saved, open_pair
from tests.pages import page_server, write_runs
from tribrain.shell import options

# From the key to the picture after the next pair is there, and from each request to its answer.
_WATCH = """() => {
  window.toNext = [];
  let pressed = 0;
  window.addEventListener("keydown", () => { pressed = performance.now(); }, { capture: true });
  new MutationObserver(() => {
    const films = [...document.querySelectorAll(".side video")];
    const look = () => {
      if (films.every((film) => film.readyState >= 2)) window.toNext.push(performance.now() - pressed);
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }).observe(document.documentElement, { attributeFilter: ["data-pair"] });
}"""
_ANSWERS = """() => performance.getEntriesByType("resource")
  .filter((entry) => entry.name.endsWith("/vote/answers")).map((entry) => entry.duration)"""


@click.command(epilog="Example: python -m tests.bench.voting --votes 60")
@click.option("--votes", type=click.IntRange(min=20), default=60, show_default=True, help="Votes to give.")
@options.as_json
def voting(votes: int, as_json: bool) -> None:
    """Vote by keyboard in a real browser, with a real broker if there is one, and say how long it took."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        work = Path(temporary)
        write_runs(work, runs=6, iterations=4)
        broker = stack.enter_context(start_local_broker())
        settings = Settings(
            bootstrap_servers=broker.bootstrap_servers, topic_prefix=f"bench-{uuid.uuid4().hex[:8]}"
        )
        create_topics(settings)
        server = stack.enter_context(page_server(work, settings=settings))
        chromium = stack.enter_context(browser())
        context = chromium.new_context()
        context.add_cookies([{"name": "tribrain_annotator", "value": "Ann", "url": server.url}])
        page = context.new_page()
        page.goto(f"{server.url}/vote")
        pair = open_pair(page)
        page.evaluate(_WATCH)
        for number in range(1, votes + 1):
            page.keyboard.press("1")
            if number % 20 == 0:
                page.click("#go-on")
            pair = open_pair(page, other_than=pair)
        all_saved(page)
        to_next = page.evaluate("window.toNext")
        measured = {
            # After every twentieth the page offers a rest, and waits for a click.
            "key to the next pair": [ms for number, ms in enumerate(to_next, 1) if number % 20],
            "vote to its answer": page.evaluate(_ANSWERS),
        }
    found = {
        name: {
            "n": len(times),
            "median_ms": round(median(times), 1),
            "p95_ms": round(quantiles(times, n=20)[-1], 1),
        }
        for name, times in measured.items()
    }
    if as_json:
        click.echo(orjson.dumps({"broker": broker.description, **found}))
        return
    for name, each in found.items():
        click.echo(f"{name}: median {each['median_ms']} ms, p95 {each['p95_ms']} ms ({each['n']} votes)")


if __name__ == "__main__":
    voting()

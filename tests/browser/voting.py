"""Voting as a person does, and what came of it on the topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import decode_vote
from streams.messages.votes import Vote

_COLOUR = """(side) => {
  const film = document.querySelector(`#${side} video`);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  context.drawImage(film, 8, 8, 8, 8, 0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


@dataclass(slots=True)
class Voter:
    """Somebody before the stage."""

    page: Page
    name: str
    pair: str = ""
    """The sealed name of the pair that was looked at last."""

    def look(self) -> str:
        """The next pair, once it takes an answer."""
        self.pair = open_pair(self.page, other_than=self.pair)
        return self.pair

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def vote(self, keys: str) -> None:
        """One key for each pair, and every vote is answered."""
        for key in keys:
            self.look()
            self.press(key)
        all_saved(self.page)

    def votes(self, settings: Settings) -> list[Vote]:
        """One's own."""
        return [vote for vote in votes_on(settings) if vote.annotator == self.name]


def at_the_stage(visit: Any, url: str, name: str = "Ann") -> Voter:
    """Opens the page where one votes; ``visit`` is the fixture."""
    page = visit(url, name).new_page()
    page.goto(f"{url}/vote")
    return Voter(page, name)


def open_pair(page: Page, other_than: str = "") -> str:
    """The sealed name of the pair on the stage once it takes an answer."""
    page.wait_for_function(
        "(other) => { const name = document.documentElement.dataset.open; return name && name !== other }",
        arg=other_than,
    )
    return str(page.evaluate("document.documentElement.dataset.open"))


def colours(page: Page) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is on the left and on the right, in RGB."""
    left, right = (tuple(page.evaluate(_COLOUR, side)) for side in ("left", "right"))
    return left, right


def open_pair_in_colour(
    page: Page, other_than: str = ""
) -> tuple[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """As ``open_pair`` and ``colours``, in one request to the browser."""
    seen = page.wait_for_function(
        f"""(other) => {{
          const name = document.documentElement.dataset.open;
          const films = [...document.querySelectorAll(".side video")];
          if (!name || name === other || films.some((film) => film.readyState < 2)) return null;
          return {{ name, colours: ["left", "right"].map({_COLOUR}) }};
        }}""",
        arg=other_than,
    ).json_value()
    left, right = map(tuple, seen["colours"])
    return str(seen["name"]), (left, right)


def all_saved(page: Page) -> None:
    """Return once the server has answered for every vote."""
    page.wait_for_function(
        "() => JSON.parse(sessionStorage.getItem('tribrain.pending') ?? '[]').length === 0"
    )


def votes_on(settings: Settings) -> list[Vote]:
    """Every message of the votes topic, in its order within each partition, by time."""
    votes = [decode_vote(message.value, message) for message in read_topic(settings, settings.votes_topic)]
    return sorted(votes, key=lambda vote: vote.voted_at)

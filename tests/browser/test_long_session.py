"""Somebody who always prefers one colour votes 200 times, and the published model has learnt just that."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.messages.codec import decode_pair
from streams.messages.contracts import PreferencePair, RewardSnapshot
from streams.messages.votes import Vote
from streams.snapshots.feed import SnapshotFeed
from streams.spool.publish_now import publish_trace_file
from tests.browser.voting import all_saved, open_pair_in_colour, votes_on
from tests.pages import page_server, write_runs
from tests.services import trainer
from tests.waiting import wait_until
from trainers.bradley_terry.explain import explain
from trainers.bradley_terry.reward import prob_prefer

VOTES = 200
_REST = 20
"""Votes after which the page offers a rest."""
_GREEN = 1
_ALIKE = 20
_FASTER_CLOCK = """() => {
  const times = 5, now = performance.now.bind(performance), later = window.setTimeout;
  performance.now = () => times * now();
  window.setTimeout = (call, ms, ...rest) => later(call, ms / times, ...rest);
}"""
"""So that the page's pauses, which are for fingers, take a fifth of the time."""


@dataclass(frozen=True, slots=True)
class Session:
    """What came of it on the topics."""

    said: list[str]
    votes: list[Vote]
    pairs: list[PreferencePair]
    dead_letters: int
    snapshot: RewardSnapshot


@pytest.fixture(scope="module")
def session(kafka: str, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("session")
    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"session-{uuid.uuid4().hex[:8]}")
    create_topics(settings)
    # Three tasks with 100 pairs each; the greener a film, the higher the critic's score of its green.
    write_runs(
        folder, runs=9, iterations=5, task="task-{third}",
        critics=lambda run, i: {"green.quality": 0.2 * i, "other.quality": (3 * run + 7 * i) % 10 / 10},
    )  # fmt: skip
    with (
        trainer(settings),
        SnapshotFeed(settings) as feed,
        page_server(folder, settings=settings) as server,
    ):
        for trace in sorted((folder / "runs").glob("*/trace.jsonl")):
            publish_trace_file(settings, trace)
        context = chromium.new_context()
        context.add_cookies([{"name": "tribrain_annotator", "value": "Ann", "url": server.url}])
        context.add_init_script(f"({_FASTER_CLOCK})()")
        page = context.new_page()
        page.goto(f"{server.url}/vote")
        said = _vote(page)
        context.close()
        wait_until(lambda: _people(feed.latest()) == VOTES, 60)
        snapshot = feed.latest()
    assert snapshot is not None
    formed = [decode_pair(message.value, message) for message in read_topic(settings, settings.pairs_topic)]
    pairs = [pair for pair in formed if isinstance(pair, PreferencePair)]
    return Session(
        said=said,
        votes=votes_on(settings),
        pairs=[pair for pair in pairs if pair.label_source == "human"],
        dead_letters=len(list(read_topic(settings, settings.dead_letters_topic))),
        snapshot=snapshot,
    )


def test_every_key_is_one_vote_on_the_topic(session: Session) -> None:
    assert [vote.answer for vote in session.votes] == session.said
    assert len({vote.vote_id for vote in session.votes}) == VOTES


def test_every_vote_was_learnt_once(session: Session) -> None:
    assert len(session.pairs) == len({pair.pair_id for pair in session.pairs}) == VOTES
    assert session.snapshot.labels["human"] == VOTES
    assert session.snapshot.metrics["ties"] == session.said.count("tie")
    assert session.dead_letters == 0


def test_the_model_holds_against_a_video_what_the_voter_holds_against_it(session: Session) -> None:
    """Against the critics themselves, who praise what is green, and whose labels are learnt, too."""
    green = {effect.feature: effect for effect in explain(session.snapshot).effects}["green.quality"]
    assert green.odds_ratio < 1
    assert green.is_sure
    one_step, all_steps = (prob_prefer(session.snapshot, {"green.quality": up}) for up in (0.2, 0.8))
    assert 0.1 < one_step < 0.35, "sure, and no surer than 200 votes among so many ties make it"
    assert all_steps < 0.05


def test_what_the_voter_does_not_look_at_counts_little(session: Session) -> None:
    assert 0.35 < prob_prefer(session.snapshot, {"other.quality": 0.2}) < 0.65


def _vote(page: Page) -> list[str]:
    """What was said: less green is better, and of two that are equally green neither is."""
    said = []
    pair = ""
    for number in range(1, VOTES + 1):
        pair, seen = open_pair_in_colour(page, other_than=pair)
        left, right = (each[_GREEN] for each in seen)
        said.append("tie" if abs(left - right) < _ALIKE else "left" if left < right else "right")
        page.keyboard.press({"left": "1", "right": "2", "tie": "t"}[said[-1]])
        if number % _REST == 0 and number < VOTES:
            page.click("#go-on")
    all_saved(page)
    return said


def _people(snapshot: RewardSnapshot | None) -> int:
    return 0 if snapshot is None else snapshot.labels.get("human", 0)

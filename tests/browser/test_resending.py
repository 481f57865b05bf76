"""What becomes of votes that the server cannot take at once, and what the voter is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Route

from streams.kafka.settings import Settings
from tests.browser.voting import Voter, all_saved, at_the_stage, votes_on
from tests.pages import page_server, write_runs

_ANSWERS = "**/vote/answers"


def refuse(route: Route) -> None:
    route.fulfill(status=400, json={"error": "no vote"})


def drop(route: Route) -> None:
    route.abort()


def refuse_one(voter: Voter) -> None:
    """The vote on the next pair is refused."""
    voter.page.route(_ANSWERS, refuse, times=1)
    voter.look()
    voter.press("1")
    voter.page.wait_for_selector("text=A vote was refused: no vote")


def test_a_vote_waits_until_a_server_that_was_restarted_has_read_its_runs(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    traces = list((tmp_path / "runs").rglob("trace.jsonl"))
    with page_server(tmp_path, settings=settings) as server:
        voter = at_the_stage(visit, server.url)
        voter.look()
        server.stop()
        for trace in traces:
            trace.rename(trace.with_suffix(".later"))
        server.start()
        voter.press("1")
        voter.page.wait_for_selector("text=The server is still reading the runs of this pair")
        for trace in traces:
            trace.with_suffix(".later").rename(trace)
        all_saved(voter.page)
    assert [vote.answer for vote in votes_on(settings)] == ["left"]


def test_a_refusal_is_still_shown_after_the_next_vote_is_saved(voter: Voter) -> None:
    refuse_one(voter)
    voter.vote("1")
    voter.look()
    assert voter.page.is_visible("text=A vote was refused: no vote")


def test_a_refused_vote_is_neither_counted_nor_taken_back(voter: Voter, shared_topics: Settings) -> None:
    refuse_one(voter)
    assert voter.page.inner_text("#count") == "0 votes"
    voter.press("u")
    voter.vote("2")
    assert [vote.answer for vote in voter.votes(shared_topics)] == ["right"]


def test_an_undo_that_waits_behind_a_vote_goes_with_it_if_it_is_refused(
    voter: Voter, shared_topics: Settings
) -> None:
    voter.page.route(_ANSWERS, refuse, times=1)
    voter.page.route(_ANSWERS, drop)
    voter.look()
    voter.press("1")
    voter.look()
    voter.press("u")
    voter.page.wait_for_selector("text=2 votes are kept in this tab")
    voter.page.unroute(_ANSWERS, drop)
    voter.vote("2")
    assert [vote.answer for vote in voter.votes(shared_topics)] == ["right"]


def test_that_votes_wait_and_that_no_pair_comes_are_both_said(voter: Voter) -> None:
    voter.look()
    voter.page.route(_ANSWERS, drop)
    no_video = {"error": "No video can be shown."}
    voter.page.route("**/vote/next*", lambda route: route.fulfill(status=503, json=no_video))
    voter.press("1")
    voter.look()
    voter.press("1")
    voter.page.wait_for_function("""() => ["kept in this tab", "No video can be shown."].every(
        (words) => document.body.innerText.includes(words))""")

"""Votes are taken back, also while a pair loads and at the end of a session, and no pair is lost."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route

from streams.kafka.settings import Settings
from tests.browser.voting import Voter, all_saved, at_the_stage, open_pair, votes_on
from tests.pages import PageServer, page_server, write_runs

_NEXT = "**/vote/next*"
_LOADING = "text=The page continues when it is back"
_ARE_THERE = "() => [...document.querySelectorAll('.side video')].every((film) => film.readyState >= 2)"


@pytest.fixture
def waiting_voter(shared_page: PageServer, visit: Any) -> Voter:
    """Somebody who has answered the first pair; the next one comes after ``let_pairs_come``."""
    name = f"Ann {uuid.uuid4().hex[:8]}"
    page = visit(shared_page.url, name).new_page()
    asked: list[str] = []

    def only_the_first(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.continue_()
        else:
            route.fulfill(status=503, json={"error": "No video can be shown."})

    page.route(_NEXT, only_the_first)
    page.goto(f"{shared_page.url}/vote")
    voter = Voter(page, name)
    voter.look()
    voter.press("1")
    page.wait_for_selector(_LOADING)
    return voter


def let_pairs_come(voter: Voter) -> None:
    """Return once the next one is loaded."""
    voter.page.unroute(_NEXT)
    voter.page.wait_for_selector(_LOADING, state="hidden")


def test_a_pair_that_loads_during_an_undo_comes_after_the_pair_that_undo_brought_back(
    waiting_voter: Voter, shared_topics: Settings
) -> None:
    first, page = waiting_voter.pair, waiting_voter.page
    waiting_voter.press("u")
    let_pairs_come(waiting_voter)
    assert page.evaluate("document.documentElement.dataset.pair") == first
    open_pair(page)
    waiting_voter.press("2")
    assert waiting_voter.look() != first
    all_saved(page)
    assert [vote.answer for vote in waiting_voter.votes(shared_topics)] == ["left", None, "right"]


def test_a_pair_that_loads_during_a_break_is_shown_with_its_videos(waiting_voter: Voter) -> None:
    page = waiting_voter.page
    page.click("#finish")
    page.click("#go-on")
    let_pairs_come(waiting_voter)
    waiting_voter.look()
    page.wait_for_function(_ARE_THERE)


def test_a_pair_that_loads_during_the_summary_waits_for_the_voter(waiting_voter: Voter) -> None:
    first, page = waiting_voter.pair, waiting_voter.page
    page.click("#finish")
    let_pairs_come(waiting_voter)
    assert page.evaluate("document.documentElement.dataset.pair") == first
    page.click("#go-on")
    assert waiting_voter.look() != first


def test_pairs_that_undo_took_off_the_stage_come_again_in_their_order(voter: Voter) -> None:
    seen = []
    for key in "11u":
        seen.append(voter.look())
        voter.press(key)
    assert voter.look() == seen[1]
    voter.press("u")
    again = []
    for _ in seen:
        again.append(voter.look())
        voter.press("1")
    assert again == seen


def test_the_vote_before_a_break_can_be_taken_back_during_it(voter: Voter, shared_topics: Settings) -> None:
    first = voter.look()
    voter.press("1")
    voter.look()
    voter.page.click("#finish")
    voter.page.click("text=Undo the last vote")
    assert voter.look() == first
    voter.press("2")
    voter.look()
    all_saved(voter.page)
    assert [vote.answer for vote in voter.votes(shared_topics)] == ["left", None, "right"]


def test_the_vote_on_the_last_pair_can_be_taken_back(tmp_path: Path, settings: Settings, visit: Any) -> None:
    write_runs(tmp_path, runs=1, iterations=2)  # one pair
    with page_server(tmp_path, settings=settings) as server:
        voter = at_the_stage(visit, server.url)
        first = voter.look()
        voter.press("1")
        voter.page.wait_for_selector("text=You have judged every pair")
        voter.press("u")
        assert open_pair(voter.page) == first
        voter.press("2")
        voter.page.wait_for_selector("text=You have judged every pair")
        all_saved(voter.page)
    assert [vote.answer for vote in votes_on(settings)] == ["left", None, "right"]

"""People vote in a real browser, and what they said is on the topic, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route

from streams.fail_points import VARIABLE
from streams.kafka.settings import Settings
from tests.browser.voting import Voter, all_saved, at_the_stage, colours, open_pair, votes_on
from tests.pages import PageServer, colour_of, page_server, run_id, write_runs
from tests.waiting import wait_until
from tribrain.ui.asking import OVERLAP_RULE, REPEAT_RULE

AWAY = Settings(bootstrap_servers="127.0.0.1:1")
"""Votes wait on the disk, so that voting needs no broker."""
KEYS = {"1": "left", "2": "right", "t": "tie", "b": "both_bad", "s": "cannot_tell"}


def alike(seen: tuple[int, ...], candidate: tuple[str, int]) -> bool:
    """Whether a colour on the screen is that of a candidate's film."""
    run = next(number for number in range(9) if run_id(number) == candidate[0])
    return max(abs(a - b) for a, b in zip(seen, colour_of(run, candidate[1]), strict=True)) < 20


def test_a_session_by_keyboard_is_on_the_topic_vote_by_vote(voter: Voter, shared_topics: Settings) -> None:
    pressed = [*KEYS, *KEYS]
    seen = []
    for key in pressed:
        voter.look()
        seen.append(colours(voter.page))
        voter.press(key)
    voter.look()
    all_saved(voter.page)
    votes = voter.votes(shared_topics)
    assert [vote.answer for vote in votes] == [KEYS[key] for key in pressed]
    for vote, (left, right) in zip(votes, seen, strict=True):
        assert alike(left, vote.left)
        assert alike(right, vote.right)
        assert vote.rule
        assert vote.probability is not None
        assert vote.response_time_s is not None


def test_new_pairs_are_asked_before_any_is_asked_again(voter: Voter, shared_topics: Settings) -> None:
    voter.vote("11111")
    assert len({frozenset((vote.left, vote.right)) for vote in voter.votes(shared_topics)}) == 5


def test_undo_takes_the_vote_back_and_asks_the_pair_again(voter: Voter, shared_topics: Settings) -> None:
    first = voter.look()
    voter.press("1")
    second = voter.look()
    voter.press("u")
    assert voter.look() == first
    voter.press("2")
    assert voter.look() == second, "the pair that was on the stage comes back"
    all_saved(voter.page)
    vote, undo, again = voter.votes(shared_topics)
    assert (undo.takes_back, undo.answer) == (vote.vote_id, None)
    assert (vote.left, vote.right) == (undo.left, undo.right) == (again.left, again.right)
    assert again.answer == "right"


def test_a_vote_that_is_saved_leads_to_the_model_it_changes(voter: Voter) -> None:
    voter.look()
    assert voter.page.is_hidden("#see-model")
    voter.press("1")
    voter.look()
    all_saved(voter.page)
    voter.page.click("#see-model")
    voter.page.wait_for_url("**/model")


def test_a_double_click_counts_once(voter: Voter, shared_topics: Settings) -> None:
    voter.look()
    voter.page.dblclick("[data-answer=left]")
    voter.look()
    all_saved(voter.page)
    assert [vote.answer for vote in voter.votes(shared_topics)] == ["left"]


def test_what_is_pressed_the_moment_that_a_pair_comes_was_meant_for_the_one_before(
    voter: Voter, shared_topics: Settings
) -> None:
    voter.look()
    voter.page.evaluate("""() => {
      const press = () => document.dispatchEvent(new KeyboardEvent("keydown", { key: "2" }));
      new MutationObserver(press).observe(document.documentElement, { attributeFilter: ["data-pair"] });
    }""")
    voter.press("1")
    voter.look()
    all_saved(voter.page)
    assert [vote.answer for vote in voter.votes(shared_topics)] == ["left"]


def test_a_key_that_is_held_presses_its_button_once(voter: Voter, shared_topics: Settings) -> None:
    voter.look()
    voter.page.focus("[data-answer=left]")
    voter.page.keyboard.down("Enter")
    voter.look()
    voter.page.keyboard.down("Enter")  # repeats
    voter.page.keyboard.up("Enter")
    voter.press("2")
    voter.look()
    all_saved(voter.page)
    assert [vote.answer for vote in voter.votes(shared_topics)] == ["left", "right"]


def test_a_digit_that_needs_shift_votes_without_it(voter: Voter, shared_topics: Settings) -> None:
    voter.look()
    voter.page.evaluate(
        """document.dispatchEvent(new KeyboardEvent("keydown", { key: "&", code: "Digit1" }))"""
    )
    voter.look()
    all_saved(voter.page)
    assert [vote.answer for vote in voter.votes(shared_topics)] == ["left"]


def test_a_vote_that_is_sent_twice_counts_once(voter: Voter, shared_topics: Settings) -> None:
    def twice(route: Route) -> None:
        route.fetch()  # the answer is lost on its way
        route.abort()

    voter.page.route("**/vote/answers", twice, times=1)
    voter.vote("1")
    assert len(voter.votes(shared_topics)) == 1


def test_two_annotators_at_once_get_different_pairs(
    shared_page: PageServer, shared_topics: Settings, visit: Any
) -> None:
    voters = [at_the_stage(visit, shared_page.url, name) for name in ("Ann", "Bob")]
    for _ in range(6):
        for voter in voters:
            voter.look()
        for voter in voters:
            voter.press("1")
    votes = []
    for voter in voters:
        all_saved(voter.page)
        own = voter.votes(shared_topics)
        assert len(own) == 6
        votes += own
    of_new_pairs = [vote for vote in votes if vote.rule not in (REPEAT_RULE, OVERLAP_RULE)]
    assert len({frozenset((vote.left, vote.right)) for vote in of_new_pairs}) == len(of_new_pairs) > 4


def test_a_name_is_asked_once_and_remembered(
    shared_page: PageServer, shared_topics: Settings, visit: Any
) -> None:
    page = visit(shared_page.url, "").new_page()
    page.goto(f"{shared_page.url}/vote")
    page.fill("#name", "  Zoë <b> ")
    page.click("text=Start voting")
    open_pair(page)
    page.keyboard.press("t")
    all_saved(page)
    page.goto(f"{shared_page.url}/vote")
    open_pair(page)
    assert len(Voter(page, "Zoë <b>").votes(shared_topics)) == 1


def test_a_new_name_begins_a_session_of_its_own(voter: Voter) -> None:
    page = voter.page
    voter.vote("1")
    page.click(".who")
    page.fill("#name", f"{voter.name} again")
    page.click("text=Start voting")
    voter.look()
    assert page.inner_text("#count") == "0 votes"
    assert page.is_disabled("#undo")


def test_a_name_can_be_changed_on_a_phone(shared_page: PageServer, visit: Any) -> None:
    page = visit(shared_page.url, viewport={"width": 390, "height": 844}, has_touch=True).new_page()
    page.goto(f"{shared_page.url}/vote")
    page.tap("text=Change the name")
    page.wait_for_selector("#name")


@pytest.mark.parametrize("place", ["spool.appended", "publisher.sent", "publisher.deleted"])
def test_a_server_that_is_killed_between_a_vote_and_its_answer_counts_it_once(
    place: str, tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings, **{VARIABLE: place}) as server:
        voter = at_the_stage(visit, server.url)
        voter.look()
        voter.press("1")
        assert server.process is not None
        wait_until(lambda: server.process and server.process.poll() is not None)
        voter.page.wait_for_selector("#notice-saving:not([hidden])")
        server.start()
        all_saved(voter.page)
        voter.look()
        voter.page.wait_for_selector("#notice-saving", state="hidden")
    assert len({vote.vote_id for vote in votes_on(settings)}) == 1


def test_a_session_goes_on_after_the_server_was_restarted(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        voter = at_the_stage(visit, server.url)
        voter.look()
        server.stop()
        server.start()
        voter.press("2")  # on a pair that the server before has shown
        voter.vote("1")
    assert [vote.answer for vote in votes_on(settings)] == ["right", "left"]


def test_while_the_broker_is_away_votes_wait_on_the_disk_and_the_page_says_so(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    away = Settings(bootstrap_servers="127.0.0.1:1", topic_prefix=settings.topic_prefix)
    with page_server(tmp_path, settings=away) as server:
        voter = at_the_stage(visit, server.url)
        voter.vote("1")
        assert "safe on the server's disk" in voter.page.inner_text("#notice-saving")
    assert list((tmp_path / "state").rglob("votes-*.sqlite"))


def test_a_pair_that_was_fetched_before_an_undo_is_still_asked(tmp_path: Path, visit: Any) -> None:
    write_runs(tmp_path, runs=1, iterations=3)  # three pairs
    with page_server(tmp_path, settings=AWAY) as server:
        voter = at_the_stage(visit, server.url)
        voter.look()
        voter.press("1")
        voter.look()
        voter.press("u")
        voter.vote("111")
        voter.page.wait_for_selector("text=You have judged every pair")
        assert voter.page.inner_text("#summary-figures b >> nth=0") == "3"


def test_a_pair_that_somebody_else_holds_is_not_said_to_be_judged(tmp_path: Path, visit: Any) -> None:
    write_runs(tmp_path, runs=1, iterations=2)
    with page_server(tmp_path, settings=AWAY) as server:
        at_the_stage(visit, server.url, "Ann").look()
        bob = at_the_stage(visit, server.url, "Bob")
        bob.page.wait_for_selector("text=Others are judging the last pairs")


def test_a_page_that_asks_for_what_the_server_no_longer_asks_about_is_to_be_reloaded(
    tmp_path: Path, visit: Any
) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=AWAY) as server:
        voter = at_the_stage(visit, server.url)
        voter.look()
        server.stop()
        server.arguments = (*server.arguments, "--ask", "physics")
        server.start()
        voter.press("1")
        voter.vote("1")
        voter.page.wait_for_selector("h1:has-text('No pair can be shown')")
        assert voter.page.is_hidden("#go-on")

"""People vote in a real browser, and what they said is on the topic, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Route

from streams.fail_points import VARIABLE
from streams.kafka.settings import Settings
from tests.browser.voting import all_saved, colours, open_pair, votes_on
from tests.pages import colour_of, page_server, run_id, write_runs
from tests.waiting import wait_until

KEYS = {"1": "left", "2": "right", "t": "tie", "b": "both_bad", "s": "cannot_tell"}


def alike(seen: tuple[int, ...], candidate: tuple[str, int]) -> bool:
    """Whether a colour on the screen is that of a candidate's film."""
    run = next(number for number in range(9) if run_id(number) == candidate[0])
    return max(abs(a - b) for a, b in zip(seen, colour_of(run, candidate[1]), strict=True)) < 20


def test_a_session_by_keyboard_is_on_the_topic_vote_by_vote(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    pressed = [*KEYS, *KEYS]
    seen = []
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        pair = ""
        for key in pressed:
            pair = open_pair(page, other_than=pair)
            seen.append(colours(page))
            page.keyboard.press(key)
        open_pair(page, other_than=pair)
        all_saved(page)
    votes = votes_on(settings)
    assert [vote.answer for vote in votes] == [KEYS[key] for key in pressed]
    assert {vote.annotator for vote in votes} == {"Ann"}
    for vote, (left, right) in zip(votes, seen, strict=True):
        assert alike(left, vote.left)
        assert alike(right, vote.right)
        assert vote.rule
        assert vote.probability is not None
        assert vote.response_time_s is not None


def test_new_pairs_are_asked_before_any_is_asked_again(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        pair = ""
        for _ in range(5):
            pair = open_pair(page, other_than=pair)
            page.keyboard.press("1")
        all_saved(page)
    assert len({frozenset((vote.left, vote.right)) for vote in votes_on(settings)}) == 5


def test_undo_takes_the_vote_back_and_asks_the_pair_again(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        first = open_pair(page)
        page.keyboard.press("1")
        second = open_pair(page, other_than=first)
        page.keyboard.press("u")
        assert open_pair(page, other_than=second) == first
        page.keyboard.press("2")
        assert open_pair(page, other_than=first) == second, "the pair that was on the stage comes back"
        all_saved(page)
    vote, undo, again = votes_on(settings)
    assert (undo.takes_back, undo.answer) == (vote.vote_id, None)
    assert (vote.left, vote.right) == (undo.left, undo.right) == (again.left, again.right)
    assert again.answer == "right"


def test_a_double_click_counts_once(tmp_path: Path, settings: Settings, visit: Any) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        pair = open_pair(page)
        page.dblclick("[data-answer=left]")
        open_pair(page, other_than=pair)
        all_saved(page)
    assert [vote.answer for vote in votes_on(settings)] == ["left"]


def test_what_is_pressed_the_moment_that_a_pair_comes_was_meant_for_the_one_before(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        pair = open_pair(page)
        page.evaluate("""() => {
          const press = () => document.dispatchEvent(new KeyboardEvent("keydown", { key: "2" }));
          new MutationObserver(press).observe(document.documentElement, { attributeFilter: ["data-pair"] });
        }""")
        page.keyboard.press("1")
        open_pair(page, other_than=pair)
        all_saved(page)
    assert [vote.answer for vote in votes_on(settings)] == ["left"]


def test_a_vote_that_is_sent_twice_counts_once(tmp_path: Path, settings: Settings, visit: Any) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()

        def twice(route: Route) -> None:
            route.fetch()  # the answer is lost on its way
            route.abort()

        page.route("**/vote/answers", twice, times=1)
        page.goto(f"{server.url}/vote")
        open_pair(page)
        page.keyboard.press("1")
        all_saved(page)
    assert len(votes_on(settings)) == 1


@pytest.mark.parametrize("place", ["spool.appended", "publisher.sent", "publisher.deleted"])
def test_a_server_that_is_killed_between_a_vote_and_its_answer_counts_it_once(
    place: str, tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings, **{VARIABLE: place}) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        pair = open_pair(page)
        page.keyboard.press("1")
        assert server.process is not None
        wait_until(lambda: server.process and server.process.poll() is not None)
        page.wait_for_selector("#notice:not([hidden])")
        server.start()
        all_saved(page)
        open_pair(page, other_than=pair)
        page.wait_for_selector("#notice", state="hidden")
    assert len({vote.vote_id for vote in votes_on(settings)}) == 1


def test_a_session_goes_on_after_the_server_was_restarted(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        pair = open_pair(page)
        server.stop()
        server.start()
        page.keyboard.press("2")  # on a pair that the server before has shown
        pair = open_pair(page, other_than=pair)
        page.keyboard.press("1")
        open_pair(page, other_than=pair)
        all_saved(page)
    assert [vote.answer for vote in votes_on(settings)] == ["right", "left"]


def test_two_annotators_at_once_get_different_pairs(tmp_path: Path, settings: Settings, visit: Any) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        pages = {name: visit(server.url, name).new_page() for name in ("Ann", "Bob")}
        now = dict.fromkeys(pages, "")
        for page in pages.values():
            page.goto(f"{server.url}/vote")
        for _ in range(4):
            for name, page in pages.items():
                now[name] = open_pair(page, other_than=now[name])
            for page in pages.values():
                page.keyboard.press("1")
        for page in pages.values():
            all_saved(page)
    votes = votes_on(settings)
    assert sorted(vote.annotator for vote in votes) == ["Ann"] * 4 + ["Bob"] * 4
    assert len({frozenset((vote.left, vote.right)) for vote in votes}) == 8


def test_a_name_is_asked_once_and_remembered(tmp_path: Path, settings: Settings, visit: Any) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        context: BrowserContext = visit(server.url, "")
        page = context.new_page()
        page.goto(f"{server.url}/vote")
        page.fill("#name", "  Zoë <b> ")
        page.click("text=Start voting")
        open_pair(page)
        page.keyboard.press("t")
        all_saved(page)
        page.goto(f"{server.url}/vote")
        open_pair(page)
    assert [vote.annotator for vote in votes_on(settings)] == ["Zoë <b>"]


def test_while_the_broker_is_away_votes_wait_on_the_disk_and_the_page_says_so(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    away = Settings(bootstrap_servers="127.0.0.1:1", topic_prefix=settings.topic_prefix)
    with page_server(tmp_path, settings=away) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        open_pair(page)
        page.keyboard.press("1")
        all_saved(page)
        assert "safe on the server's disk" in page.inner_text("#notice")
    assert list((tmp_path / "state").rglob("votes-*.sqlite"))

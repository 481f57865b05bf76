"""What makes an open page renew itself, without a broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.kafka.settings import Settings
from tests import factories
from tests.streams.test_votes import vote
from tests.waiting import wait_until
from tribrain.ui.state import PageState, open_state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[PageState]:
    with open_state(
        roots=[],
        settings=Settings(bootstrap_servers="127.0.0.1:1"),
        model="default",
        dimensions=[],
        annotator="",
        key=bytes(32),
        state_dir=tmp_path,
        cache=tmp_path,
    ) as opened:
        yield opened


def has_news(state: PageState, since: str) -> Callable[[], bool]:
    return lambda: state.news != since


def test_a_broker_that_falls_silent_is_news(state: PageState, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state.news
    monkeypatch.setattr("tribrain.ui.state.SILENT_S", 0.1)
    wait_until(has_news(state, before))


def test_a_vote_that_waits_for_the_broker_is_news(state: PageState) -> None:
    assert state.live is not None
    before = state.news
    state.live.outlet.send(vote())
    wait_until(has_news(state, before))


def test_a_problem_is_news_once_and_again_when_it_is_settled(state: PageState) -> None:
    before = state.news
    state.library.problems.report("a", "cannot be read")
    wait_until(has_news(state, before))
    found = state.library.problems.version
    state.library.problems.report("a", "cannot be read")
    assert state.library.problems.version == found
    state.library.problems.settle("a", "cannot be read")
    assert state.library.problems.version > found


def test_a_run_that_falls_silent_is_news(state: PageState) -> None:
    nearly_an_hour_ago_s = time.time() - 3597.0
    state.library.take(factories.event(0, 0.5), int(1000 * nearly_an_hour_ago_s))
    wait_until(has_news(state, state.news))


def test_a_silence_that_goes_on_is_not_news_every_second(
    state: PageState, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state.live is not None
    follower = state.live.follower
    monkeypatch.setattr("tribrain.ui.state.SILENT_S", -1.0)
    monkeypatch.setattr("tribrain.ui.state._TROUBLES_S", 0.0)
    before, heard_s = state.news, follower.silent_s
    wait_until(lambda: follower.silent_s > heard_s + 1.5)
    assert state.news == before

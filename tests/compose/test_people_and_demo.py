"""The demo's runs in the stack, and people who vote on them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext

from streams.kafka.reader import read_topic
from streams.messages.codec import decode_trace
from streams.messages.contracts import RunEnd
from streams.snapshots.feed import read_latest_snapshot
from tests.browser.conftest import chromium, visit  # noqa: F401 (fixtures)
from tests.browser.voting import all_saved, open_pair, votes_on
from tests.compose.learnt import check_learnt
from tests.compose.stack import TOKEN, Stack
from tests.waiting import wait_until

pytestmark = pytest.mark.compose

_DEMO_S = 400.0
_VOTES = 5


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., Stack]) -> Stack:
    """With the profile demo, once its runs have ended."""
    made = new_stack(profiles=("demo",))
    made.up()
    wait_until(lambda: not made.containers("demo")[0]["State"]["Running"], _DEMO_S)
    return made


def test_the_demo_learns_and_publishes(stack: Stack) -> None:
    assert stack.containers("demo")[0]["State"]["ExitCode"] == 0, stack.logs("demo")
    check_learnt(stack, [])
    ends = [
        message
        for message in read_topic(stack.settings, stack.settings.trace_topic)
        if isinstance(decode_trace(message.value, message), RunEnd)
    ]
    snapshot = read_latest_snapshot(stack.settings, "default")
    assert snapshot is not None
    assert len(ends) == 24
    assert snapshot.labels["outcome"] > 0


def test_votes_on_the_page_reach_the_model(
    stack: Stack,
    visit: Callable[..., BrowserContext],  # noqa: F811
) -> None:
    page = visit(stack.url).new_page()
    page.goto(f"{stack.url}/?token={TOKEN}")
    page.goto(f"{stack.url}/vote")
    pair = ""
    for _ in range(_VOTES):
        pair = open_pair(page, other_than=pair)
        page.keyboard.press("1")
    all_saved(page)
    wait_until(lambda: _human_labels(stack) == _VOTES)
    assert len(votes_on(stack.settings)) == _VOTES
    check_learnt(stack, [])


def _human_labels(stack: Stack) -> int:
    snapshot = read_latest_snapshot(stack.settings, "default")
    return 0 if snapshot is None else snapshot.labels.get("human", 0)

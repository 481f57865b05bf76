"""Which pairs of the topic a periodic training keeps, and what it remembers of the others."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from streams.messages.stored import StoredMessage
from tests.factories import pair
from trainers.lora.inbox import EMPTY, TIE, TWICE, WITHDRAWN, PairInbox


def texts(n: int) -> PreferencePair:
    voted = pair({"a.b": 0.9}, {"a.b": 0.1}, pair_id=f"pair-{n}", task_id=f"task-{n}", label_source="human")
    return replace(voted, goal_instruction="a goal", chosen_prompt=f"good {n}", rejected_prompt="bad")


def add(inbox: PairInbox, pairs: Iterable[PreferencePair]) -> None:
    for message in pairs:
        offset = inbox.consumed.get(0, 0)
        inbox.add(
            StoredMessage(
                topic="pairs", partition=0, offset=offset, timestamp_ms=0, key=None, value=encode(message)
            )
        )


def kept(inbox: PairInbox) -> list[str]:
    return [arrived.pair.chosen for arrived in inbox.pairs()]


def test_a_pair_that_comes_again_soon_is_passed_over() -> None:
    inbox = PairInbox("default", most=5, remembered=10)
    add(inbox, [texts(n) for n in [0, 1, 0, 2, 1]])
    assert kept(inbox) == ["good 0", "good 1", "good 2"]
    assert inbox.passed_over == {TWICE: 2}


def test_an_outcome_of_videos_that_were_rescored_is_the_one_that_there_was() -> None:
    inbox = PairInbox("default", most=5)
    outcome = replace(
        texts(0), run_id="run-a", label_source="outcome", chosen_artifact="a", rejected_artifact="b"
    )
    rescored = replace(outcome, pair_id="another", meta={"revision": 1})
    add(inbox, [outcome, rescored, replace(rescored, chosen_artifact="c")])
    assert (kept(inbox), inbox.passed_over) == (["good 0", "good 0"], {TWICE: 1})


def test_a_tie_is_passed_over() -> None:
    inbox = PairInbox("default", most=5)
    add(inbox, [replace(texts(0), tie=True), texts(1)])
    assert (kept(inbox), inbox.passed_over) == (["good 1"], {TIE: 1})


def test_a_pair_with_an_empty_text_is_passed_over() -> None:
    inbox = PairInbox("default", most=5)
    add(inbox, [replace(texts(0), chosen_prompt=" "), replace(texts(1), rejected_prompt=""), texts(2)])
    assert (kept(inbox), inbox.passed_over) == (["good 2"], {EMPTY: 2})


def test_of_one_pair_every_person_is_heard_once() -> None:
    inbox = PairInbox("default", most=5)
    votes = [replace(texts(0), meta={"annotator": name}) for name in ("ann", "bob", "ann")]
    add(inbox, votes)
    assert (kept(inbox), inbox.passed_over) == (["good 0", "good 0"], {TWICE: 1})


def test_no_pair_is_kept_twice_however_few_are_remembered() -> None:
    inbox = PairInbox("default", most=5, remembered=0)
    add(inbox, [texts(n) for n in [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]])
    assert kept(inbox) == [f"good {n}" for n in range(5)]


def test_what_is_remembered_does_not_grow_with_the_topic() -> None:
    inbox = PairInbox("default", most=10, remembered=50)
    tracemalloc.start()
    try:
        add(inbox, map(texts, range(12_000)))  # by then the cache of hashes is full of these
        before, _ = tracemalloc.get_traced_memory()
        add(inbox, map(texts, range(12_000, 18_000)))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    assert inbox.passed_over == {}


def test_a_pair_that_is_taken_back_is_kept_no_more() -> None:
    inbox = PairInbox("default", most=5)
    add(inbox, [texts(0), texts(1), replace(texts(0), withdrawn=True), replace(texts(7), withdrawn=True)])
    assert kept(inbox) == ["good 1"]
    assert inbox.passed_over == {WITHDRAWN: 1}

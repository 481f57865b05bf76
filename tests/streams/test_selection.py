"""Which messages a replay is given: whole runs of the traces, single messages of the pairs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streams.messages.codec import decode_trace, encode
from streams.messages.contracts import Message, Rollback
from streams.messages.selection import Selection, select_pairs, select_runs
from streams.messages.stored import StoredMessage
from tests.factories import pair, revision, run

RUN_A, RUN_B = run([0.1, 0.9]), run([0.2, 0.3], run_id="run-b")


def stored(messages: Sequence[Message], *, partition: int = 0) -> list[StoredMessage]:
    """A message a second, from the tenth on."""
    return [
        StoredMessage(
            topic="t",
            partition=partition,
            offset=n,
            timestamp_ms=10_000 + 1_000 * n,
            key=None,
            value=encode(message),
        )
        for n, message in enumerate(messages)
    ]


# a0 at 10 s, b0 at 11 s, a1, b1, then the ends.
TRACE = stored([m for both in zip(RUN_A, RUN_B, strict=True) for m in both])
PAIRS = stored([pair({"a.x": 1.0}, {"a.x": 0.0}, run_id=run_id) for run_id in ("run-a", "run-b", "run-a")])


def runs(selection: Selection) -> dict[str, int]:
    """Run to the number of its messages."""
    counts: dict[str, int] = {}
    for message in select_runs(lambda: TRACE, selection):
        run_id = decode_trace(message.value, "test").run_id
        counts[run_id] = counts.get(run_id, 0) + 1
    return counts


def offsets(selection: Selection) -> list[int]:
    return [message.offset for message in select_pairs(PAIRS, selection)]


def test_without_bounds_everything_is_selected() -> None:
    assert list(select_runs(lambda: TRACE, Selection())) == TRACE
    assert list(select_pairs(PAIRS, Selection())) == PAIRS


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        (Selection(until_ms=11_000), {"run-a": 3}),
        (Selection(since_ms=10_001), {"run-b": 3}),
        (Selection(to_offsets={0: 1}), {"run-a": 3}),
        (Selection(to_offsets={None: 1}), {"run-a": 3}),
        (Selection(from_offsets={None: 1}), {"run-b": 3}),
        (Selection(runs=frozenset({"run-b"})), {"run-b": 3}),
        (Selection(runs=frozenset({"run-b"}), until_ms=11_000), {}),
        (Selection(to_offsets={1: 0}), {"run-a": 3, "run-b": 3}),
    ],
)
def test_a_run_is_selected_by_its_first_message_and_is_whole(
    selection: Selection, selected: dict[str, int]
) -> None:
    assert runs(selection) == selected


def test_the_first_message_of_a_run_is_the_earliest_of_all_partitions() -> None:
    late = [StoredMessage(
        topic="t", partition=1, offset=0, timestamp_ms=9_000, key=None, value=encode(RUN_A[0])
    )]  # fmt: skip
    selected = select_runs(lambda: [*TRACE, *late], Selection(from_offsets={1: 0}, to_offsets={0: 0}))
    assert {decode_trace(m.value, "test").run_id for m in selected} == {"run-a"}


def test_a_revision_is_selected_by_its_own_first_message() -> None:
    log = stored([*RUN_A, *revision(RUN_A, {0: 0.7})])

    def selected(selection: Selection) -> list[int]:
        return [message.offset for message in select_runs(lambda: log, selection)]

    assert selected(Selection(until_ms=13_000)) == [0, 1, 2]
    assert selected(Selection(since_ms=13_000)) == [3, 4, 5]
    assert selected(Selection(runs=frozenset({"run-a"}))) == [0, 1, 2, 3, 4, 5]


def test_what_cannot_be_read_belongs_to_no_run() -> None:
    junk = [StoredMessage(topic="t", partition=0, offset=9, timestamp_ms=0, key=None, value=b"{]")]
    assert list(select_runs(lambda: junk, Selection(runs=frozenset({"run-a"})))) == []


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        (Selection(until_ms=12_000), [0, 1]),
        (Selection(since_ms=11_000), [1, 2]),
        (Selection(since_ms=11_000, until_ms=12_000), [1]),
        (Selection(from_offsets={0: 1}), [1, 2]),
        (Selection(from_offsets={1: 3}), [0, 1, 2]),
        (Selection(to_offsets={None: 2}), [0, 1]),
        (Selection(to_offsets={None: 0, 0: 2}), [0, 1]),
        (Selection(runs=frozenset({"run-a"})), [0, 2]),
    ],
)
def test_pairs_are_selected_one_by_one(selection: Selection, selected: list[int]) -> None:
    assert offsets(selection) == selected


def test_a_rollback_is_of_no_run_and_stays_where_runs_are_not_selected() -> None:
    rollback = stored([Rollback(model="default", checkpoint="")])
    assert list(select_pairs(rollback, Selection(until_ms=99_000))) == rollback
    assert list(select_pairs(rollback, Selection(runs=frozenset({"run-a"})))) == []


@pytest.mark.parametrize(
    ("selection", "is_prefix", "reaches"),
    [
        (Selection(), True, True),
        (Selection(until_ms=1), True, True),
        (Selection(to_offsets={None: 5}), True, True),
        (Selection(to_offsets={0: 4}), True, False),
        (Selection(since_ms=1), False, True),
        (Selection(from_offsets={0: 1}), False, True),
        (Selection(runs=frozenset({"run-a"})), False, True),
    ],
)
def test_a_prefix_of_the_log_reaches_a_stamp_or_not(
    selection: Selection, is_prefix: bool, reaches: bool
) -> None:
    assert selection.is_prefix is is_prefix
    assert selection.reaches({"0": 5}) is reaches

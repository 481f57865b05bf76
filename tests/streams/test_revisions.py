"""Of a run that was rescored, readers take the newest revision that is complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from streams.messages.codec import ContractError, decode_pair, decode_run_closed, decode_trace, encode
from streams.messages.contracts import PairsEnd, RunClosed, RunEnd, TraceEvent, TraceMessage
from streams.messages.revisions import missing_ends, newest_revisions
from tests.factories import event, pair, revision, run

RUN = run([None, 0.4])
FIRST = revision(RUN, {0: 0.9})
SECOND = revision(FIRST, {1: 0.7}, number=2)


def scores(messages: Sequence[TraceMessage]) -> list[float | None]:
    return [m.overall_score for m in newest_revisions(messages) if isinstance(m, TraceEvent)]


@pytest.mark.parametrize(
    ("messages", "taken"),
    [
        (RUN, [None, 0.4]),
        ([*RUN, *FIRST], [0.9, 0.4]),
        ([*FIRST, *RUN], [0.9, 0.4]),
        ([*SECOND, *FIRST, *RUN], [0.9, 0.7]),
        ([*RUN, *FIRST, *FIRST], [0.9, 0.4, 0.9, 0.4]),
        ([*RUN, *FIRST[:-1]], [None, 0.4]),
        ([*RUN, *FIRST, *SECOND[1:]], [0.9, 0.4]),
        ([*RUN, *SECOND], [0.9, 0.7]),
        (RUN[:1], [None]),
        (FIRST[:1], [0.9]),
    ],
    ids=[
        "a run as it was made",
        "a revision",
        "a revision that came first",
        "the newest, in any order",
        "a revision that came twice",
        "a revision without its end",
        "a revision without an iteration",
        "a revision that skips one",
        "a run that goes on",
        "half of a revision alone",
    ],
)
def test_the_newest_complete_revision_is_taken(
    messages: Sequence[TraceMessage], taken: list[float | None]
) -> None:
    assert scores(messages) == taken


def test_a_revision_that_silence_has_ended_without_an_iteration_takes_no_runs_place() -> None:
    ended = RunEnd(run_id="run-a", iterations=(0,), meta={"revision": 1})
    assert scores([*RUN, FIRST[0], ended]) == [None, 0.4]


def test_each_run_has_revisions_of_its_own() -> None:
    other = run([0.2], "run-b")
    assert scores([*RUN, *other, *FIRST]) == [0.2, 0.9, 0.4]


def test_a_run_without_an_end_gets_one_and_a_revision_gets_none() -> None:
    (end,) = missing_ends([*RUN[:-1], *FIRST[:-1]])
    assert (end.run, end.iterations) == (("run-a", 0), (0, 1))


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"revision": -1}, "meta.revision: expected a whole number from 0 to .*, found -1"),
        ({"revision": 1.0}, "meta.revision: .* found 1.0"),
        ({"revision": True}, "meta.revision: .* found True"),
        ({"revision": "1"}, "meta.revision: .* found '1'"),
        ({"revision": 2**54}, "meta.revision"),
        ({"revision": 1, "rescored": "judge"}, "meta.rescored: expected a list of critic names"),
        ({"revision": 1, "rescored": [1]}, "meta.rescored"),
        ({"revision": 1, "rescored_in": 2}, "meta.rescored_in: expected a whole number from 0 to 1"),
        ({"rescored_in": 1}, "meta.rescored_in"),
    ],
)
def test_a_revision_that_is_none_is_refused(meta: dict[str, Any], said: str) -> None:
    one = event(0, 0.5)
    with pytest.raises(ContractError, match=said):
        encode(replace(one, meta=one.meta | meta))
    if "rescored" not in str(meta):
        with pytest.raises(ContractError, match=said):
            encode(RunEnd(run_id="r", iterations=(), meta=meta))


@pytest.mark.parametrize("meta", [{}, {"revision": 0}, {"revision": None, "rescored": None}])
def test_without_a_revision_a_run_is_as_it_was_made(meta: dict[str, Any]) -> None:
    one = event(0, 0.5)
    read = decode_trace(encode(replace(one, meta=one.meta | meta)), "here")
    assert (read.run, read.revision) == (("run-a", 0), 0)
    assert RunEnd(run_id="run-a", iterations=(), meta=meta).run == ("run-a", 0)


def test_marks_and_ends_of_pairs_have_their_revision_only_where_there_is_one() -> None:
    end = PairsEnd(run_id="a", task_id="t", n_pairs=0, n_candidates=0)
    mark = RunClosed(run_id="a", model="m", iterations=())
    assert b"revision" not in encode(end) + encode(mark)
    assert decode_pair(encode(replace(end, revision=2)), "here").run == ("a", 2)  # type: ignore[union-attr]
    assert decode_run_closed(encode(replace(mark, revision=2)), "here").run == ("a", 2)


@pytest.mark.parametrize("other", ["2", 2.0, True, -1, None, {}])
def test_what_a_pair_from_elsewhere_calls_its_revision_is_none(other: Any) -> None:
    given = replace(pair({"a.b": 0.9}, {"a.b": 0.1}), meta={"revision": other})
    assert decode_pair(encode(given), "here").revision == 0  # type: ignore[union-attr]

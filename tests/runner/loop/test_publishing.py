"""What readers elsewhere get of a run: all that it recorded, once it goes on, and no failure to be undone."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from pathlib import Path

import orjson
import pytest

from runner.loop.resume import CannotContinue, run_or_resume
from runner.loop.stopping import StopRules
from streams.messages.codec import encode
from streams.messages.contracts import RunEnd, TraceEvent
from streams.messages.files import read_trace
from tests.runner.fakes import ListSink
from tests.runner.loop.test_resume import Counted, Killed, loop


def of(sink: ListSink) -> list[int | str]:
    return [one.stop_reason if isinstance(one, RunEnd) else one.iter_idx for one in sink.pushed]


def test_a_run_that_goes_on_publishes_all_that_it_recorded_but_for_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run_or_resume(loop(tmp_path, Counted(dies_after=3)), publisher=ListSink())
    again, shown = ListSink(), ListSink()
    asked: list[int] = []

    def look(recorded: Sequence[TraceEvent]) -> Collection[int]:
        asked.extend(event.iter_idx for event in recorded)
        return (1,)

    run_or_resume(loop(tmp_path, Counted(), sink=shown), publisher=again, look=look)
    assert asked == [0, 1, 2]
    assert of(again) == [0, 2, 3, "max_iters"]
    assert of(shown) == [2, 3, "max_iters"]


def test_a_run_that_must_not_go_on_makes_publishes_and_records_nothing(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run_or_resume(loop(tmp_path, Counted(dies_after=3)))
    before = (tmp_path / "trace.jsonl").read_bytes()
    sink, world = ListSink(), Counted()

    def look(_: Sequence[TraceEvent]) -> Collection[int]:
        raise CannotContinue("its end is elsewhere")

    result = run_or_resume(loop(tmp_path, world, sink=sink), publisher=sink, look=look)
    assert (result.cannot_continue, result.iterations) == ("its end is elsewhere", 3)
    assert (world.made, sink.pushed) == ([], [])
    assert (tmp_path / "trace.jsonl").read_bytes() == before


def test_a_run_that_is_over_is_not_looked_up(tmp_path: Path) -> None:
    run_or_resume(loop(tmp_path, Counted()))

    def look(_: Sequence[TraceEvent]) -> Collection[int]:
        raise AssertionError("nothing is to be made")

    again = ListSink()
    run_or_resume(loop(tmp_path, Counted()), publisher=again, look=look)
    assert of(again) == ["max_iters"]


GIVEN_UP = StopRules(max_iters=6, max_failures=2)


@pytest.mark.parametrize("fails", [(2, 4), (3, 6), (6,)])
def test_failures_that_a_run_got_over_or_ended_with_are_published_in_their_order(
    tmp_path: Path, fails: Sequence[int]
) -> None:
    sink = ListSink()
    run_or_resume(loop(tmp_path, Counted(fails=fails), stop=GIVEN_UP), publisher=sink, holds_failures=True)
    assert of(sink) == [0, 1, 2, 3, 4, 5, "max_iters"]


def test_the_failures_at_which_a_run_was_given_up_and_its_end_are_held_back_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    for holds, expected in ((True, [0, 1]), (False, [0, 1, 2, 3, "max_failures"])):
        sink, world = ListSink(), Counted(fails=(3, 4))
        run_or_resume(loop(tmp_path / str(holds), world, stop=GIVEN_UP), publisher=sink, holds_failures=holds)
        assert of(sink) == expected


def test_a_failure_in_the_middle_of_a_run_is_held_back_while_it_may_be_tried_again(tmp_path: Path) -> None:
    sink = ListSink()
    with pytest.raises(Killed):
        run_or_resume(
            loop(tmp_path, Counted(fails=(2,), dies_after=2), stop=GIVEN_UP),
            publisher=sink,
            holds_failures=True,
        )
    assert of(sink) == [0]


def test_the_whole_step_at_which_a_run_was_given_up_is_held_back_and_comes_as_it_is_made_again(
    tmp_path: Path,
) -> None:
    rules = StopRules(max_iters=2, max_failures=1)
    sink = ListSink()
    for fails, expected in (((4,), [0, 1]), ((), [0, 1, 0, 1, 2, 3, "max_iters"])):
        run_or_resume(
            loop(tmp_path, Counted(fails=fails), stop=rules, candidates=2),
            publisher=sink,
            holds_failures=True,
        )
        assert of(sink) == expected


def test_what_was_held_back_is_published_by_the_next_start_if_a_run_is_killed_at_its_end(
    tmp_path: Path,
) -> None:
    def die(message: TraceEvent | RunEnd) -> None:
        if isinstance(message, TraceEvent) and message.iter_idx == 5:
            raise Killed

    world = Counted(fails=(6,))
    with pytest.raises(Killed):
        run_or_resume(loop(tmp_path, world, stop=GIVEN_UP), publisher=ListSink(die), holds_failures=True)
    assert len(read_trace(tmp_path / "trace.jsonl")) == 7
    again = ListSink()
    run_or_resume(loop(tmp_path, Counted(), stop=GIVEN_UP), publisher=again, holds_failures=True)
    assert of(again) == [5, "max_iters"]


@pytest.mark.parametrize("candidates", [1, 2])
def test_what_was_published_is_never_made_again_otherwise_however_often_a_run_is_killed_or_given_up(
    tmp_path: Path, candidates: int
) -> None:
    rng = random.Random(candidates)
    rules = StopRules(max_iters=3, max_failures=2)
    for number in range(6):
        out, published = tmp_path / str(number), ListSink()
        for _ in range(3):
            fails = [n for n in range(1, 7) if rng.random() < 0.5]
            world = Counted(dies_after=rng.choice((1, 3, 9)), fails=fails)
            try:
                run_or_resume(
                    loop(out, world, stop=rules, candidates=candidates),
                    publisher=published,
                    holds_failures=True,
                )
            except Killed:
                continue
        run_or_resume(
            loop(out, Counted(), stop=rules, candidates=candidates), publisher=published, holds_failures=True
        )
        trace = [untimed(encode(message)) for message in read_trace(out / "trace.jsonl")]
        distinct = {untimed(encode(message)) for message in published.pushed}
        assert distinct == set(trace)


def untimed(line: bytes) -> bytes:
    said = orjson.loads(line)
    said["meta"].pop("iter_time_s", None)
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)

"""The runs that have come in: once ended, and the same whenever they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.finetune.inbox import RunInbox, selected, with_folders
from streams.messages.codec import encode
from streams.messages.contracts import RunEnd, TraceEvent
from streams.messages.stored import StoredMessage
from tests.factories import revision, run
from tests.recorded_runs import write_run
from trainers.datasets.choice import KEPT_APART
from trainers.datasets.prompts import prompt_digest
from trainers.datasets.selection import SelectionPolicy


def inbox(messages: Sequence[TraceEvent | RunEnd | bytes], partition: int = 0) -> RunInbox:
    taken = RunInbox()
    for offset, message in enumerate(messages):
        value = message if isinstance(message, bytes) else encode(message)
        taken.add(
            StoredMessage(
                topic="t", partition=partition, offset=offset, timestamp_ms=0, key=b"k", value=value
            )
        )
    return taken


def test_a_run_counts_once_its_end_has_come() -> None:
    messages = run([0.1, 0.2], "run-a")
    assert inbox(messages[:-1]).since({}) == []
    (ended,) = inbox(messages).since({})
    assert (ended.run_id, len(ended.events), ended.offset) == ("run-a", 2, 2)


def test_what_comes_after_the_end_changes_nothing() -> None:
    messages = run([0.1, 0.2, 0.3], "run-a")
    late = [*messages[:2], messages[3], messages[2], messages[3]]
    (ended,) = inbox(late).since({})
    assert [event.iter_idx for event in ended.events] == [0, 1]


def test_a_repeated_event_is_one() -> None:
    messages = run([0.1, 0.2], "run-a")
    (ended,) = inbox([messages[0], *messages]).since({})
    assert len(ended.events) == 2


def test_runs_since_an_offset_are_those_that_ended_there_or_later() -> None:
    taken = inbox([*run([0.1], "run-b"), *run([0.2], "run-a")])
    assert [ended.run_id for ended in taken.since({})] == ["run-a", "run-b"]
    assert [ended.run_id for ended in taken.since({0: 2})] == ["run-a"]
    assert taken.since({0: 4}) == []
    assert taken.consumed == {0: 4}


def test_the_videos_of_a_run_behind_a_link_are_selected(tmp_path: Path) -> None:
    write_run(tmp_path / "elsewhere", [0.1, 0.2], run_id="run-a")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").symlink_to(tmp_path / "elsewhere")
    ended = inbox(run([0.1, 0.2], "run-a")).since({})
    chosen, left_out = selected(with_folders(ended, tmp_path / "runs"), SelectionPolicy("all"), None)
    assert (len(chosen), left_out) == (2, {})


def test_what_is_forgotten_is_still_known_to_have_ended() -> None:
    messages = run([0.1], "run-a")
    taken = inbox(messages)
    taken.forget({0: 2})
    for message in messages:
        taken.add(
            StoredMessage(topic="t", partition=0, offset=9, timestamp_ms=0, key=b"k", value=encode(message))
        )
    assert taken.since({0: 2}) == []
    assert [ended.events for ended in taken.since({})] == [()]


def test_a_message_that_cannot_be_read_is_counted() -> None:
    assert inbox([b"{", *run([0.1])]).unreadable == 1


def test_videos_are_found_by_the_run_wherever_its_folder_is(tmp_path: Path) -> None:
    events = write_run(tmp_path / "suite" / "deep" / "run-a", [0.2, 0.9, 0.5, 0.1])
    end = RunEnd(run_id="run-a", iterations=(0, 1, 2, 3))
    runs = with_folders(inbox([*events, end, *run([0.7], "elsewhere")]).since({}), tmp_path)
    chosen, left_out = selected(runs, SelectionPolicy.parse("top:0.25"), None)
    assert [(sample.sample.event.iter_idx, sample.reward) for sample in chosen] == [(1, 0.9)]
    assert chosen[0].sample.video.is_file()
    assert left_out == {"videos that are missing": 1}


def test_videos_of_prompts_that_are_kept_apart_cannot_be_chosen(tmp_path: Path) -> None:
    events = write_run(tmp_path / "run-a", [0.2, 0.9], goal="Pour the tea")
    events += write_run(tmp_path / "run-b", [0.3, 0.1], goal="open the drawer")
    ends = [RunEnd(run_id=run_id, iterations=(0, 1)) for run_id in ("run-a", "run-b")]
    runs = with_folders(inbox([*events, *ends]).since({}), tmp_path)
    apart = {prompt_digest("pour the tea")}
    chosen, left_out = selected(runs, SelectionPolicy.parse("all"), None, apart)
    assert {sample.sample.event.run_id for sample in chosen} == {"run-b"}
    assert left_out == {KEPT_APART: 2}


def test_a_revision_counts_in_place_of_its_run_once_all_of_it_has_come() -> None:
    messages = run([0.1, None], "run-a")
    *events, end = revision(messages, {1: 0.9})
    taken = inbox([*messages, end, events[0]])
    (before,) = taken.since({})
    (after,) = inbox([*messages, end, *events]).since({})
    assert [event.overall_score for event in before.events] == [0.1, None]
    assert ([event.overall_score for event in after.events], after.revision) == ([0.1, 0.9], 1)


def test_a_run_that_is_rescored_is_new_again_and_up_to_a_stamp_it_is_as_it_was() -> None:
    messages = run([0.1, 0.2], "run-a")
    taken = inbox([*messages, *revision(messages, {1: 0.9})])
    (new,) = taken.since({0: 3})
    (planned,) = taken.since({}, {0: 3})
    assert ([event.overall_score for event in new.events], new.offset) == ([0.1, 0.9], 5)
    assert [event.overall_score for event in planned.events] == [0.1, 0.2]


def test_a_revision_that_lacks_an_iteration_takes_no_runs_place() -> None:
    messages = run([0.1, 0.2], "run-a")
    first, _, _ = revision(messages, {0: 0.9})
    ended = RunEnd(run_id="run-a", iterations=(0,), meta={"revision": 1})
    (found,) = inbox([*messages, first, ended]).since({})
    assert found.revision == 0

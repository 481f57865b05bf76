"""A worker that stalls while another takes over gives up what it had, and nothing is doubled."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import decode_snapshot
from streams.messages.contracts import RunEnd, TraceEvent, snapshot_key
from streams.snapshots.feed import read_latest_snapshot
from tests.faults.recovery import check, lag, recovery
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_for_version
from tests.services import Service, trainer
from tests.waiting import let_time_pass, wait_until

_WAIT_S = 60.0
_FENCED = "tribrain: another trainer has taken over model 'default'; this one publishes nothing more"
_GAVE_UP = "gave up "

stalls_for = pytest.mark.parametrize("stall_s", [0.0, pytest.param(120.0, marks=pytest.mark.long)])


@dataclass(frozen=True)
class Workers:
    """One that goes on after a stall, and the one that had taken over meanwhile."""

    stalled: Service
    successor: Service
    said_before: str

    def gave_up(self) -> bool:
        """Whether the stalled one has given up its partitions since it was stalled, or stopped as fenced."""
        said = self.stalled.said.removeprefix(self.said_before)
        return _GAVE_UP in said or (self.stalled.poll() == 3 and _FENCED in said)


@contextmanager
def after_a_stall(
    settings: Settings,
    before_stall: Sequence[TraceEvent | RunEnd],
    meanwhile: Sequence[TraceEvent | RunEnd],
    *,
    stall_s: float,
    busy: bool,
) -> Iterator[Workers]:
    """Stalled until another has published newer snapshots, and ``stall_s`` seconds more."""
    with trainer(settings, "--checkpoint-every-s", "1") as stalled:
        publish(settings, before_stall)
        if busy:
            wait_for_version(settings, 20)
        else:
            wait_until(lambda: lag(settings) == 0, _WAIT_S)
        stalled.send_signal(signal.SIGSTOP)
        said_before = stalled.said
        try:
            with trainer(settings) as successor:
                before = read_latest_snapshot(settings, "default")
                assert before is not None
                publish(settings, meanwhile)
                wait_for_version(settings, before.version + 20)
                let_time_pass(stall_s)
                stalled.send_signal(signal.SIGCONT)
                yield Workers(stalled, successor, said_before)
        finally:
            stalled.send_signal(signal.SIGCONT)


def versions(settings: Settings) -> list[int]:
    """Of the snapshots that anyone can see, in the order of the topic."""
    return [
        decode_snapshot(message.value, message.source).version
        for message in read_topic(settings, settings.snapshots_topic)
        if message.key == snapshot_key("default").encode()
    ]


@stalls_for
def test_a_worker_that_stalls_while_it_learns_gives_up_its_partitions_and_doubles_nothing(
    stall_s: float, settings: Settings
) -> None:
    runs = random_runs(60, seed=21)
    messages = interleaved(runs, seed=22)
    half = len(messages) // 2
    with after_a_stall(settings, messages[:half], messages[half:], stall_s=stall_s, busy=True) as workers:
        wait_until(workers.gave_up)
        check(recovery(settings, runs))
        assert workers.stalled.poll() in (None, 3)
        assert workers.successor.poll() is None
    assert versions(settings) == sorted(set(versions(settings)))


@stalls_for
def test_a_worker_that_stalls_with_nothing_to_do_goes_on_from_what_its_successor_has_learnt(
    stall_s: float, settings: Settings
) -> None:
    runs, later = random_runs(60, seed=23), random_runs(20, seed=24, prefix="later")
    first, second = interleaved(runs[:30], seed=25), interleaved(runs[30:], seed=27)
    with after_a_stall(settings, first, second, stall_s=stall_s, busy=False) as workers:
        wait_until(workers.gave_up)
        workers.successor.terminate()
        assert workers.successor.wait(20) == 0
        publish(settings, interleaved(later, seed=26))
        check(recovery(settings, [*runs, *later]))
        assert workers.stalled.poll() is None
    assert versions(settings) == sorted(set(versions(settings)))

"""The worker is killed at each of its steps; its successor ends with every pair, none twice, same bytes."""

from __future__ import annotations

import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.messages.contracts import RunEnd, TraceEvent
from tests.factories import event
from tests.faults.recovery import Recovery, check, recovery
from tests.kafka.test_trainer import interleaved, publish, random_runs
from tests.services import Service, trainer, trainer_to_kill

_AT_ONCE = 4
FAIL_POINTS = (
    "former.formed",
    "former.one-sent",
    "former.sent",
    "former.released",
    "learner.opened",
    "learner.learnt",
    "learner.snapshot-sent",
    "learner.snapshot-published",
    "learner.acknowledged",
)
_TIMES_REACHED = {
    "former.released": 1,
    "learner.opened": 1,
    "learner.snapshot-sent": 2,
    "learner.snapshot-published": 2,
    "learner.acknowledged": 1,
}
"""Places that so short a life gets to this often at least; to the others, more than twenty times."""
_PARTS = 24
"""In which the events come, since what comes at once is one step."""
_LATER_EVERY_S = 2.0
_LATER_RUNS = 60


@dataclass(frozen=True)
class Crash:
    """How a worker ended at one place, and what its successor made of it."""

    exit_code: int | None
    after: Recovery


def recover(kafka: str, place: str, occurrence: int) -> Crash:
    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"test-crash-{uuid.uuid4().hex[:12]}")
    create_topics(settings)
    runs = random_runs(16, seed=occurrence)
    messages = interleaved(runs, seed=occurrence)
    size = len(messages) // _PARTS
    often = ("--snapshot-every-s", "0.05", "--checkpoint-every-s", "0.2")
    with trainer_to_kill(settings, *often, TRIBRAIN_FAIL_POINT=f"{place}:{occurrence}") as worker:
        for start in range(0, len(messages), size):
            publish(settings, messages[start : start + size])
        exit_code, later = killed(worker, settings)
    with trainer(settings):
        return Crash(exit_code, recovery(settings, runs + later))


def killed(worker: Service, settings: Settings) -> tuple[int | None, list[list[TraceEvent | RunEnd]]]:
    """The exit code, null where it did not end, and runs that were published until it did.

    A worker that was slow has taken several parts for one, and has to come by its fail point yet.
    """
    later: list[list[TraceEvent | RunEnd]] = []
    for number in range(_LATER_RUNS):
        with suppress(subprocess.TimeoutExpired):
            return worker.wait(_LATER_EVERY_S), later
        later += random_runs(1, seed=number, prefix=f"later-{number}")
        publish(settings, later[-1])
    return worker.poll(), later


def check_both(crash: Crash) -> None:
    assert crash.exit_code == -9, "the fail point was not reached"
    check(crash.after)


@pytest.fixture(scope="module")
def crashes(kafka: str) -> dict[str, Crash]:
    """A crash at each place; several at a time, since most of it is waiting for the group's time-out."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        occurrences = [min(3, _TIMES_REACHED.get(place, 3)) for place in FAIL_POINTS]
        return dict(
            zip(
                FAIL_POINTS,
                pool.map(lambda place, n: recover(kafka, place, n), FAIL_POINTS, occurrences),
                strict=True,
            )
        )


@pytest.mark.parametrize("place", FAIL_POINTS)
def test_a_worker_killed_at_this_step_loses_nothing_and_doubles_nothing(
    place: str, crashes: dict[str, Crash]
) -> None:
    check_both(crashes[place])


def long_run(n: int) -> list[TraceEvent | RunEnd]:
    """Its scores rise so slowly that nearly all of its pairs are formed when it ends; prompts have 6 kB."""
    events = [replace(event(i, i / 1_000, run_id="run-long"), prompt=f"{i} " + "x" * 6_000) for i in range(n)]
    return [*events, RunEnd(run_id="run-long", iterations=tuple(range(n)))]


@pytest.mark.parametrize("sent", [1, 300, 560])
def test_a_worker_killed_while_it_sends_the_pairs_of_a_long_run_loses_none(
    sent: int, settings: Settings
) -> None:
    messages = long_run(600)
    publish(settings, messages)
    with trainer_to_kill(settings, TRIBRAIN_FAIL_POINT=f"former.one-sent:{sent}") as worker:
        assert worker.wait(60) == -9
    with trainer(settings):
        check(recovery(settings, [messages]))


@pytest.mark.long
@pytest.mark.parametrize("place", FAIL_POINTS)
def test_the_same_at_the_first_twenty_times_it_gets_there(place: str, kafka: str) -> None:
    reached = _TIMES_REACHED.get(place, 20)
    occurrences = [1 + n % reached for n in range(20)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for crash in pool.map(lambda n: recover(kafka, place, n), occurrences):
            check_both(crash)

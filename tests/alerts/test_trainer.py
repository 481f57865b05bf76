"""The alerts that tell of a trainer, each in its fault: a real trainer on a real Kafka."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.stored import Outgoing
from tests.alerts.engine import Fault, complaints
from tests.alerts.history import History, Look
from tests.alerts.targets import Target, looked_at, new_settings
from tests.factories import event, run
from tests.kafka.test_trainer import publish, random_runs, wait_until_learnt
from tests.kafka.test_votes import give
from tests.scrapes import Scrape
from tests.trainers.pairs.test_votes import vote
from tests.waiting import wait_until

TRAINER = {"job": "trainer"}
INSTANCE = {"job": "trainer", "instance": "trainer:9464"}
FAULTS = {
    "a trainer is stopped while there is something to read": Fault("TribrainScrapeMissing", INSTANCE),
    "a trainer has ended": Fault("TribrainScrapeMissing", TRAINER),
    "a trainer does not come back from a batch": Fault("TribrainUnhealthy", INSTANCE),
    "what comes to a trainer that stands waits": Fault("TribrainLagOld", TRAINER | {"topic": "trace"}),
    "more and more comes to a trainer that stands": Fault("TribrainLagGrowing", TRAINER),
    "a message is no event": Fault("TribrainDeadLetters", {"reason": "damaged"}),
    "votes are about videos that nobody published": Fault("TribrainNothingLearnt"),
    "the first iteration of a long run does not come": Fault(
        "TribrainMemory", INSTANCE | {"holds": "earlier iterations"}
    ),
}
_LONG_PROMPT = 950_000
_LATE = 31
_STANDS = "it stands"
_STANDS_S = 1.0


def lag(found: Scrape) -> float:
    return sum(found.all("tribrain_lag_messages").values())


def lag_s(found: Scrape) -> float:
    return max(found.all("tribrain_lag_seconds").values())


def late_bytes(found: Scrape) -> float:
    return found["tribrain_memory_bytes", "earlier iterations"]


def messages(target: Target, settings: Settings) -> Iterator[tuple[str, History]]:
    """What messages do to a trainer that works."""
    runs = random_runs(4, seed=31)
    publish(settings, [message for each in runs for message in each])
    wait_until_learnt(settings, len(runs))
    well = target.well()

    list(produce(settings, [Outgoing(settings.trace_topic, b"run", b"{]")]))
    lettered = target.once(lambda found: found["tribrain_dead_letters_total", "damaged"])
    yield (
        "a message is no event",
        History(job="trainer", healthy=(well,), faulty=(lettered,), recovered=(lettered,)),
    )

    known = [vote(vote_id=f"known-{n}", left_run_id="run-0", right_run_id="run-1") for n in range(3)]
    before = target.look()
    give(settings, *known)
    learnt = target.once(lambda found: found["tribrain_pairs_total"] > before.scrape["tribrain_pairs_total"])
    give(settings, *(replace(each, vote_id=f"un{each.vote_id}", left_run_id="nobody's") for each in known))
    voted = target.once(
        lambda found: found["tribrain_votes_total"] == before.scrape["tribrain_votes_total"] + 6
    )
    yield (
        "votes are about videos that nobody published",
        History(job="trainer", healthy=(before, learnt), faulty=(learnt, voted), recovered=(voted,)),
    )

    well = target.look()
    long = [replace(event(n, 0.5, run_id="long"), prompt="x" * _LONG_PROMPT) for n in range(_LATE)]
    publish(settings, long[1:])
    full = target.once(lambda found: late_bytes(found) > _LONG_PROMPT * (_LATE - 1))
    publish(settings, long[:1])
    empty = target.once(lambda found: late_bytes(found) == 0)
    yield (
        "the first iteration of a long run does not come",
        History(job="trainer", healthy=(well,), faulty=(full,), recovered=(empty,)),
    )


def signals(target: Target, settings: Settings) -> Iterator[tuple[str, History]]:
    well = target.well()
    target.process.send_signal(signal.SIGSTOP)
    publish(settings, run([0.1, 0.9], "while-it-is-stopped"))
    stopped = target.look()
    target.process.send_signal(signal.SIGCONT)
    again = target.well()
    yield (
        "a trainer is stopped while there is something to read",
        History(job="trainer", healthy=(well,), faulty=(stopped,), recovered=(again,)),
    )


def _stand() -> None:
    """In the trainer's process: a batch of traces is never done; time is shorter."""
    import asyncio
    import sys

    from streams.metrics import lag as lag_module
    from streams.worker.shell import Shell

    async def wait_for_ever(self: Shell, batch: object) -> None:
        print(_STANDS, file=sys.stderr, flush=True)
        await asyncio.Event().wait()

    Shell.read_traces = wait_for_ever  # type: ignore[method-assign]
    lag_module.STUCK_S = _STANDS_S


def standing(settings: Settings, ended: Look) -> Iterator[tuple[str, History]]:
    """What comes to a trainer that stands, until another takes its place; ``ended`` is of one before it."""
    with looked_at(settings, change=_stand) as target:
        well = target.well()
        yield (
            "a trainer has ended",
            History(job="trainer", healthy=(ended,), faulty=(), recovered=(well,)),
        )
        publish(settings, run([0.1, 0.9], "in-its-hands"))
        wait_until(lambda: _STANDS in target.process.said)
        publish(settings, [m for each in random_runs(16, seed=32) for m in each])
        some = target.once(lambda found: lag(found) > 100)
        publish(settings, [m for each in random_runs(16, seed=33, prefix="more") for m in each])
        more = target.once(lambda found: lag(found) > lag(some.scrape))
        old = target.once(lambda found: lag_s(found) > lag_s(more.scrape) + 1.0)
        unhealthy = target.once(lambda found: found["tribrain_healthy"] == 0)
        target.process.kill()
    with looked_at(settings) as target:
        again = target.well()
    for name, looks in {
        "a trainer does not come back from a batch": (unhealthy,),
        "what comes to a trainer that stands waits": (some, old),
        "more and more comes to a trainer that stands": (some, more),
    }.items():
        yield name, History(job="trainer", healthy=(well,), faulty=looks, recovered=(again,))


@pytest.fixture(scope="module")
def found(rules_folder: Path, kafka: str) -> dict[str, str]:
    """What the rule engine finds wrong, by fault."""
    histories: dict[str, History] = {}
    settings = new_settings(kafka)
    with looked_at(settings) as target:
        histories.update(signals(target, settings))
        histories.update(messages(target, settings))
        last = target.well()
    histories.update(standing(new_settings(kafka), last))
    return complaints(FAULTS, histories, rules_folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_alert_fires_in_its_fault_and_neither_before_nor_after(fault: str, found: dict[str, str]) -> None:
    assert found[fault] == ""

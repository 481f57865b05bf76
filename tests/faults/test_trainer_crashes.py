"""The worker is killed at each of its steps; its successor ends with every pair, none twice, same bytes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from streams.codec import encode
from streams.contracts import PairsEnd, PreferencePair, RewardSnapshot
from streams.settings import Settings
from streams.topics import create_topics
from tests.kafka.test_trainer import (
    expected_pairs,
    interleaved,
    pairs_on_kafka,
    publish,
    random_runs,
    relearnt,
    trainer,
    wait_until_learnt,
)

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
_TIMES_REACHED = {"learner.opened": 1, "learner.snapshot-sent": 2, "learner.snapshot-published": 2}
"""Places that so short a life gets to this often at least; to the others, more than twenty times."""


@dataclass(frozen=True)
class Recovery:
    """What a crash at one place left, and what the successor made of it."""

    exit_code: int
    expected: set[str]
    on_kafka: list[PreferencePair | PairsEnd]
    last: RewardSnapshot

    @property
    def pair_ids(self) -> list[str]:
        return [m.pair_id for m in self.on_kafka if isinstance(m, PreferencePair)]


def recover(kafka: str, place: str, occurrence: int) -> Recovery:
    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"test-crash-{uuid.uuid4().hex[:12]}")
    create_topics(settings)
    runs = random_runs(16, seed=occurrence)
    publish(settings, interleaved(runs, seed=occurrence))
    with trainer(
        settings, "--snapshot-every-s", "0.05", TRIBRAIN_FAIL_POINT=f"{place}:{occurrence}"
    ) as worker:
        exit_code = worker.wait(60)
    with trainer(settings):
        last = wait_until_learnt(settings, len(runs))
    return Recovery(exit_code, expected_pairs(runs), pairs_on_kafka(settings), last)


def check(recovery: Recovery) -> None:
    assert recovery.exit_code == -9, "the fail point was not reached"
    assert recovery.expected <= set(recovery.pair_ids)
    assert sum(recovery.last.labels.values()) == len(set(recovery.pair_ids))
    uninterrupted = relearnt(without_repetitions(recovery.on_kafka))
    assert encode(uninterrupted.snapshot(recovery.last.consumed, recovery.last.topic_ids)) == encode(
        recovery.last
    )


def without_repetitions(
    messages: Sequence[PreferencePair | PairsEnd],
) -> list[PreferencePair | PairsEnd]:
    """What an uninterrupted worker would have written: each message where it first came."""
    return list({encode(message): message for message in messages}.values())


@pytest.fixture(scope="module")
def recoveries(kafka: str) -> dict[str, Recovery]:
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
    place: str, recoveries: dict[str, Recovery]
) -> None:
    check(recoveries[place])


@pytest.mark.long
@pytest.mark.parametrize("place", FAIL_POINTS)
def test_the_same_at_the_first_twenty_times_it_gets_there(place: str, kafka: str) -> None:
    reached = _TIMES_REACHED.get(place, 20)
    occurrences = [1 + n % reached for n in range(20)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for recovery in pool.map(lambda n: recover(kafka, place, n), occurrences):
            check(recovery)

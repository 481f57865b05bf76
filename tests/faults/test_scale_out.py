"""Several workers share the partitions; one is killed and one is added while events arrive."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from streams.settings import Settings
from tests.faults.recovery import check, recovery
from tests.kafka.test_trainer import (
    interleaved,
    publish,
    random_runs,
    trainer,
    wait_for_version,
)


def kill_one_and_add_one(settings: Settings, n_runs: int) -> None:
    """Three workers, of which the first is killed once something was learnt, and a fourth then joins."""
    runs = random_runs(n_runs, seed=11)
    messages = interleaved(runs, seed=12)
    half = len(messages) // 2
    with ExitStack() as stack:
        workers = [stack.enter_context(trainer(settings)) for _ in range(3)]
        publish(settings, messages[:half])
        wait_for_version(settings, 10)
        workers[0].kill()
        workers[0].wait()
        stack.enter_context(trainer(settings))
        publish(settings, messages[half:])
        check(recovery(settings, runs))


def test_three_workers_one_killed_and_one_added_lose_nothing_and_double_nothing(settings: Settings) -> None:
    kill_one_and_add_one(settings, n_runs=60)


@pytest.mark.long
def test_the_same_with_twenty_thousand_events(settings: Settings) -> None:
    kill_one_and_add_one(settings, n_runs=2_300)

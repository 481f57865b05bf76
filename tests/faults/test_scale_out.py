"""Several workers share the partitions; one is killed and one is added while events arrive."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from streams.kafka.settings import Settings
from tests.faults.recovery import check, lag, recovery
from tests.kafka.test_trainer import (
    interleaved,
    publish,
    random_runs,
    wait_for_version,
)
from tests.services import Service, trainer, trainer_to_kill
from tests.waiting import let_time_pass, wait_until


def kill_one_and_add_one(settings: Settings, n_runs: int) -> None:
    """Three workers, of which the first is killed once something was learnt, and a fourth then joins."""
    runs = random_runs(n_runs, seed=11)
    messages = interleaved(runs, seed=12)
    half = len(messages) // 2
    with ExitStack() as stack:
        first = stack.enter_context(trainer_to_kill(settings))
        for _ in range(2):
            stack.enter_context(trainer(settings))
        publish(settings, messages[:half])
        wait_for_version(settings, 10)
        first.kill()
        first.wait()
        stack.enter_context(trainer(settings))
        publish(settings, messages[half:])
        check(recovery(settings, runs))


def test_three_workers_one_killed_and_one_added_lose_nothing_and_double_nothing(settings: Settings) -> None:
    kill_one_and_add_one(settings, n_runs=60)


@pytest.mark.long
def test_the_same_with_twenty_thousand_events(settings: Settings) -> None:
    kill_one_and_add_one(settings, n_runs=2_300)


def join_and_leave(settings: Settings, times: int, every_s: float, n_runs: int) -> None:
    """One worker stays; others join, and leave on their own or are killed, while events arrive."""
    runs = random_runs(n_runs, seed=13)
    messages = interleaved(runs, seed=14)
    size = len(messages) // times + 1
    often = ("--checkpoint-every-s", "1")
    with ExitStack() as stack:
        stack.enter_context(trainer(settings, *often))
        others: list[Service] = []
        for n in range(times):
            if n % 2 == 0:
                others.append(stack.enter_context(trainer(settings, *often)))
            else:
                leaving = others.pop()
                leaving.send_signal(signal.SIGTERM if n % 4 == 1 else signal.SIGKILL)
            publish(settings, messages[n * size : (n + 1) * size])
            let_time_pass(every_s)
        wait_until(lambda: lag(settings) == 0, 30.0)
        check(recovery(settings, runs))


def test_workers_that_join_and_leave_lose_nothing_and_double_nothing(settings: Settings) -> None:
    join_and_leave(settings, times=4, every_s=1.5, n_runs=40)


@pytest.mark.long
def test_the_same_with_twenty_joins_and_leaves_in_a_minute(settings: Settings) -> None:
    join_and_leave(settings, times=20, every_s=3.0, n_runs=400)

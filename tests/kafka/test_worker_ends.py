"""Whatever ends a part of a trainer ends the trainer, which then says why; its supervisor starts it again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import click
import pytest

from streams.errors import BadInput
from streams.kafka.candidates import Candidates
from streams.kafka.connection import Connection
from streams.kafka.incarnations import topic_ids
from streams.kafka.settings import Settings
from streams.worker import shell
from streams.worker.app import _Silence
from streams.worker.batch_delivery import _Thread
from streams.worker.batches import Inbox
from tests.factories import run
from tests.kafka.test_trainer import publish
from tests.kafka.test_votes import give
from tests.services import service
from tests.trainers.pairs.test_votes import vote
from tests.waiting import wait_until
from tribrain.serve import trainer_worker

_WAIT_S = 60.0
CAUSE = "the first thing that went wrong"
PATCH = pytest.MonkeyPatch()
"""In the trainer's process, for as long as it lives."""


def fail(*_: object) -> Any:
    raise RuntimeError(CAUSE)


def the_watch_of_its_topics() -> None:
    answers = iter([topic_ids])

    def once(*arguments: Any) -> Any:
        return next(answers, fail)(*arguments)

    PATCH.setattr(trainer_worker, "topic_ids", once)
    PATCH.setattr(trainer_worker, "_WATCH_EVERY_S", 0.1)


def an_agent() -> None:
    PATCH.setattr(Inbox, "take", fail)


def a_timer() -> None:
    PATCH.setattr(_Silence, "look", fail)


def the_thread_of_its_consumer() -> None:
    """Faust ends it at any error of aiokafka that it does not know."""

    async def crash(thread: _Thread, *_: object) -> dict[Any, list[Any]]:
        if not thread.crashed:
            await thread.app.crash(RuntimeError(CAUSE))
            thread._crash(RuntimeError(CAUSE))
        await asyncio.sleep(_WAIT_S)
        return {}

    PATCH.setattr(_Thread, "read_for", crash)


@pytest.mark.parametrize(
    "part", [the_watch_of_its_topics, an_agent, a_timer, the_thread_of_its_consumer], ids=lambda p: p.__name__
)
def test_what_ends_a_part_ends_the_trainer_and_is_said(settings: Settings, part: Callable[[], None]) -> None:
    publish(settings, run([0.1, 0.9]))
    with service(settings, "serve-trainer", "--run-timeout-s", "10", change=part) as worker:
        assert worker.wait(_WAIT_S) == 1
    assert "the trainer stopped at an error" in worker.said
    assert worker.said.rstrip().endswith(f"RuntimeError: {CAUSE}")


def a_lookup_that_goes_on(*_: object) -> Any:
    click.echo("looks up votes", err=True)
    threading.Event().wait(2 * _WAIT_S)
    fail()


def slow_lookups() -> None:
    PATCH.setattr(Candidates, "look_up", a_lookup_that_goes_on)
    PATCH.setattr(shell, "_LAST_ANSWERS_S", 1.0)


def test_a_trainer_that_is_to_stop_does_not_wait_for_a_lookup(settings: Settings) -> None:
    give(settings, vote())
    with service(settings, "serve-trainer", "--json", change=slow_lookups) as worker:
        wait_until(lambda: "looks up votes" in worker.said, _WAIT_S)
        worker.terminate()
        assert worker.wait(40) == 0
    assert '"ended_by":"signal"' in worker.printed
    assert "Traceback" not in worker.said


def test_a_kafka_that_gives_topics_no_ids_is_bad_input(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "knows", lambda *_: False)
    with pytest.raises(BadInput, match=r"gives topics no ids; update it to 2\.8 or newer"):
        topic_ids(settings, [settings.trace_topic])

"""A trainer stays in its group as long as it runs, and ends where the group does not take it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance
from aiokafka.errors import InconsistentGroupProtocolError

from streams.errors import NoBroker
from streams.kafka.groups import members_of
from streams.kafka.settings import Settings, trainer_group
from streams.kafka.topics import create_topics
from streams.worker import app
from tests.factories import run
from tests.kafka.test_trainer import publish, wait_for_version
from tests.services import service
from tests.waiting import let_time_pass, wait_until

_WAIT_S = 60.0
_IDLE_S = 4.0


def _impatient() -> None:
    """In the trainer's process: aiokafka takes one that reads nothing for four seconds for hung."""
    pytest.MonkeyPatch().setattr(app, "LONGEST_IDLE_S", _IDLE_S)


def _members(settings: Settings) -> int | None:
    """None while the broker makes its topic of groups, too."""
    try:
        return members_of(settings, trainer_group(settings, "default"))
    except NoBroker:
        return None


def test_a_trainer_with_nothing_to_read_stays_and_takes_over(settings: Settings) -> None:
    of_one = replace(settings, topic_prefix=f"{settings.topic_prefix}-one", trace_partitions=1)
    create_topics(of_one)
    with ExitStack() as running:
        trainers = [
            running.enter_context(
                service(of_one, "serve-trainer", "--checkpoint-every-s", "1", change=_impatient)
            )
            for _ in range(2)
        ]
        wait_until(lambda: _members(of_one) == len(trainers))
        let_time_pass(1.5 * _IDLE_S)
        assert _members(of_one) == len(trainers)
        trainers[0].terminate()
        publish(of_one, run([0.1, 0.9]))
        wait_for_version(of_one, 1)


def _refused() -> None:
    async def refuse(_: CoordinatorGroupRebalance) -> None:
        raise InconsistentGroupProtocolError

    pytest.MonkeyPatch().setattr(CoordinatorGroupRebalance, "perform_group_join", refuse)


def test_a_trainer_that_its_group_does_not_take_ends(settings: Settings) -> None:
    with service(settings, "serve-trainer", change=_refused) as trainer:
        assert trainer.wait(_WAIT_S) == 1
    assert "InconsistentGroupProtocol" in trainer.said

"""What the finetune topic knows of a model's trainings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from runner.finetune import history
from runner.finetune.history import History
from streams.errors import BadInput, Fenced
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.codec import decode_finetune
from streams.messages.contracts import FinetuneEvent, FinetuneStep
from streams.messages.stored import Outgoing
from tests.factories import finetune_event as event


def plan(version: int, *, job: str) -> set[str]:
    """The ids of all events of a job's training."""
    return {event(version, step, job=job).event_id for step in get_args(FinetuneStep)}


def on_topic(settings: Settings) -> list[FinetuneEvent]:
    messages = read_topic(settings, settings.finetune_topic)
    return [decode_finetune(message.value, message.source) for message in messages]


def test_the_newest_end_and_the_newest_promotion_are_known_to_whoever_comes_later(
    settings: Settings,
) -> None:
    told = History(settings, "default", print)
    assert (told.last, told.promoted) == (None, None)
    for one in (event(1, "planned"), event(1, "promoted"), event(2, "planned"), event(2, "kept")):
        told.tell(one)
    told.tell(event(9, "promoted", model="other"))
    later = History(settings, "default", print)
    assert (later.last, later.promoted) == (event(2, "kept"), event(1, "promoted"))


def test_whoever_comes_later_knows_how_many_comparisons_promoted_nothing(settings: Settings) -> None:
    told = History(settings, "default", print)
    for one in (event(1, "trained"), event(1, "kept"), event(2, "trained"), event(2, "promoted")):
        told.tell(one)
    told.tell(event(3, "trained"))
    told.tell(event(1, "trained", model="other"))
    assert History(settings, "default", print).line.without_promotion == 2


def test_what_was_told_is_not_told_again(settings: Settings) -> None:
    History(settings, "default", print).tell(event(1, "planned"))
    again = History(settings, "default", print)
    again.tell(event(1, "planned"))
    again.tell(event(1, "dataset"))
    again.tell(event(1, "dataset"))
    assert [one.step for one in on_topic(settings)] == ["planned", "dataset"]


def test_of_two_jobs_the_last_to_plan_goes_on_and_the_other_tells_nothing_more(settings: Settings) -> None:
    with History(settings, "default", print) as one, History(settings, "default", print) as other:
        one.tell(event(1, "planned", job="one"), plan(1, job="one"))
        other.tell(event(1, "planned", job="other"), plan(1, job="other"))
        with pytest.raises(Fenced, match="another finetune has begun version 1 of model 'default'"):
            one.tell(event(1, "dataset", job="one"), plan(1, job="one"))
        other.tell(event(1, "promoted", job="other"), plan(1, job="other"))
    assert [one.event_id for one in on_topic(settings)] == [
        "one-default-1-planned",
        "other-default-1-planned",
        "other-default-1-promoted",
    ]


def test_a_training_that_was_ended_in_the_moment_of_the_other_s_plan_counts(settings: Settings) -> None:
    with History(settings, "default", print) as other:
        other.tell(event(1, "planned", job="other"), plan(1, job="other"))
        History(settings, "default", print).tell(event(1, "promoted", job="one"))
        with pytest.raises(Fenced):
            other.tell(event(1, "promoted", job="other"), plan(1, job="other"))
        assert other.promoted == event(1, "promoted", job="one")


def test_a_late_step_of_a_job_that_was_taken_over_ends_nobody(
    settings: Settings,
) -> None:
    with History(settings, "default", print) as other:
        other.tell(event(1, "planned", job="other"), plan(1, job="other"))
        History(settings, "default", print).tell(event(1, "dataset", job="one"))
        other.tell(event(1, "promoted", job="other"), plan(1, job="other"))
        assert other.promoted == event(1, "promoted", job="other")


def test_a_later_training_of_the_same_job_and_one_of_another_model_take_over_nothing(
    settings: Settings,
) -> None:
    with History(settings, "default", print) as one:
        one.tell(event(1, "planned"), plan(1, job="one"))
        one.tell(event(1, "kept"), plan(1, job="one"))
        one.tell(event(2, "planned"), plan(2, job="one"))
        History(settings, "else", print).tell(event(2, "planned", model="else", job="other"))
        one.tell(event(2, "promoted"), plan(2, job="one"))
        assert one.promoted == event(2, "promoted")


def test_a_broker_that_is_away_is_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    tries = iter([True, True, False])

    def sometimes_away(kafka: Settings, messages: list[Outgoing]) -> Iterator[Outgoing]:
        if next(tries):
            raise BadInput("no Kafka broker answers")
        yield from produce(kafka, messages)

    told = History(settings, "default", said.append)
    monkeypatch.setattr(history, "produce", sometimes_away)
    monkeypatch.setattr(history, "_TRY_AGAIN_S", 0.0)
    told.tell(event(1, "planned"))
    assert said == ["no Kafka broker answers; trying again"] * 2
    assert on_topic(settings) == [event(1, "planned")]


def test_a_message_that_is_none_is_passed_over_and_named(settings: Settings) -> None:
    list(produce(settings, [Outgoing(settings.finetune_topic, b"default", b"{")]))
    said: list[str] = []
    assert History(settings, "default", said.append).last is None
    assert said[0].startswith(f"passed over: {settings.finetune_topic}[0]@0: not JSON")

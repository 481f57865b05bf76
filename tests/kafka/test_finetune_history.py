"""What the finetune topic knows of a model's trainings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.finetune import history
from runner.finetune.history import History
from streams.codec import decode_finetune
from streams.contracts import FinetuneEvent, FinetuneStep
from streams.errors import BadInput
from streams.messages import Outgoing
from streams.produce import produce
from streams.replay import read_topic
from streams.settings import Settings


def event(version: int, step: FinetuneStep, *, model: str = "default") -> FinetuneEvent:
    return FinetuneEvent(
        event_id=f"{model}-{version}-{step}",
        model=model,
        version=version,
        step=step,
        statement="",
        policy="all",
        base="",
        consumed={},
    )


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


def test_what_was_told_is_not_told_again(settings: Settings) -> None:
    History(settings, "default", print).tell(event(1, "planned"))
    again = History(settings, "default", print)
    again.tell(event(1, "planned"))
    again.tell(event(1, "dataset"))
    again.tell(event(1, "dataset"))
    assert [one.step for one in on_topic(settings)] == ["planned", "dataset"]


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

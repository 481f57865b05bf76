"""The events of a model's trainings on the finetune topic, which are their state."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Self

from runner.finetune.line import Line, line_of
from streams.errors import BadInput, Fenced
from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.codec import ContractError, decode_finetune, encode
from streams.messages.contracts import FinetuneEvent, FinetuneStep
from streams.messages.stored import Outgoing

_TRY_AGAIN_S = 5.0
# Another job can take over at any moment before these, so a job may still publish the steps in between.
_TAKES_OVER: frozenset[FinetuneStep] = frozenset({"planned", "promoted", "kept"})


class History:
    """A model's events in order, each once. Raises BadInput if the broker does not answer.

    If two jobs train one model, the last to plan a training owns it. The topic's order decides that, so no
    lock is held through an outage or days of training. The other job finds out when it publishes its next
    step.
    """

    def __init__(self, kafka: Settings, model: str, say: Callable[[str], None]) -> None:
        self._kafka, self._model, self._say = kafka, model, say
        self._told: dict[str, FinetuneEvent] = {}
        self._reader = TopicReader(kafka, kafka.finetune_topic)
        self.read_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def read_up(self) -> None:
        """Read what other jobs have published since. Raises BadInput if the broker does not answer."""
        for message in self._reader.read_up():
            try:
                event = decode_finetune(message.value, message.source)
            except ContractError as error:
                self._say(f"passed over: {error}")
                continue
            if event.model == self._model:
                self._told.setdefault(event.event_id, event)

    def is_taken_over(self, version: int, of_plan: Collection[str]) -> bool:
        """Whether another job has planned or ended this or a later version since the plan was published.

        ``of_plan`` has the plan's event ids. False if the plan was not published.
        """
        in_order = list(self._told.values())
        ours = [place for place, event in enumerate(in_order) if event.event_id in of_plan]
        return bool(ours) and any(
            event.version >= version and event.step in _TAKES_OVER and event.event_id not in of_plan
            for event in in_order[ours[0] :]
        )

    def tell(self, event: FinetuneEvent, of_plan: Collection[str] = ()) -> None:
        """Publish an event; returns once Kafka has it, however long that takes.

        A published event is not sent again. Raises Fenced if another job has taken over the plan whose event
        ids are ``of_plan``.
        """
        while True:
            try:
                self.read_up()
                if self.is_taken_over(event.version, of_plan):
                    raise Fenced(
                        f"another finetune has begun version {event.version} of model {event.model!r} or a "
                        "later one; this one will not promote anything"
                    )
                if event.event_id not in self._told:
                    outgoing = Outgoing(self._kafka.finetune_topic, event.model.encode(), encode(event))
                    list(produce(self._kafka, [outgoing]))
                    self.read_up()
                return
            except BadInput as error:
                self._say(f"{error}; trying again")
                time.sleep(_TRY_AGAIN_S)

    @property
    def last(self) -> FinetuneEvent | None:
        """The event that ended the newest training."""
        return self._newest("promoted", "kept")

    @property
    def promoted(self) -> FinetuneEvent | None:
        """The event that promoted the current checkpoint; None if that is still the first one."""
        return self._newest("promoted")

    @property
    def line(self) -> Line:
        """What all trainings so far require of the next one."""
        return line_of(self._told.values())

    def _newest(self, *steps: str) -> FinetuneEvent | None:
        ended = [event for event in self._told.values() if event.step in steps]
        return max(ended, key=lambda event: event.version, default=None)

"""What was told of a model's trainings: the finetune topic, which is their state."""

from __future__ import annotations

import time
from collections.abc import Callable

from streams.codec import ContractError, decode_finetune, encode
from streams.contracts import FinetuneEvent
from streams.errors import BadInput
from streams.messages import Outgoing
from streams.produce import produce
from streams.replay import read_topic
from streams.settings import Settings

_TRY_AGAIN_S = 5.0


class History:
    """The events of a model in their order, each once. Raises BadInput where the broker stays silent."""

    def __init__(self, kafka: Settings, model: str, say: Callable[[str], None]) -> None:
        self._kafka, self._say = kafka, say
        self._told: dict[str, FinetuneEvent] = {}
        for message in read_topic(kafka, kafka.finetune_topic):
            try:
                event = decode_finetune(message.value, message.source)
            except ContractError as error:
                say(f"passed over: {error}")
                continue
            if event.model == model:
                self._told.setdefault(event.event_id, event)

    def tell(self, event: FinetuneEvent) -> None:
        """Returns once Kafka has it, however long the broker is away; what was told is not told again."""
        if event.event_id in self._told:
            return
        outgoing = Outgoing(self._kafka.finetune_topic, event.model.encode(), encode(event))
        while True:
            try:
                list(produce(self._kafka, [outgoing]))
                break
            except BadInput as error:
                self._say(f"{error}; trying again")
                time.sleep(_TRY_AGAIN_S)
        self._told[event.event_id] = event

    @property
    def last(self) -> FinetuneEvent | None:
        """What ended the newest training."""
        return self._newest("promoted", "kept")

    @property
    def promoted(self) -> FinetuneEvent | None:
        """What put the checkpoint in force; None where it is still the first one."""
        return self._newest("promoted")

    def _newest(self, *steps: str) -> FinetuneEvent | None:
        ended = [event for event in self._told.values() if event.step in steps]
        return max(ended, key=lambda event: event.version, default=None)

"""A snapshot writer that stays open while its caller works for minutes outside an event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any, Generic, Self, TypeVar

from aiokafka.errors import KafkaError

from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.codec import encode
from streams.messages.contracts import snapshot_key
from streams.messages.stored import Outgoing
from streams.snapshots.serving import Snapshot
from streams.snapshots.writer import WriterOf

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class HeldWriter(Generic[Snapshot]):
    """``WriterOf`` in a daemon thread. Opening it fences off every older writer of the model and kind."""

    def __init__(self, kind: type[Snapshot], settings: Settings, model: str) -> None:
        self._settings, self._model = settings, model
        self._writer = WriterOf(kind, settings, model)
        self._loop = asyncio.new_event_loop()
        # aiokafka also leaves the fencing error in futures of its own; asyncio would log it as a bug.
        self._loop.set_exception_handler(
            lambda _, context: log.debug("aiokafka: %s", context.get("exception"))
        )
        self._thread = threading.Thread(target=self._run, name="snapshot-writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._do(self._writer.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def open(self) -> Snapshot | None:
        """The newest snapshot, or None. Raises BadInput if the broker stays silent."""
        return self._do(self._writer.open())

    def publish(self, snapshot: Snapshot) -> None:
        """Publish a snapshot; returns once Kafka has committed it.

        Raises Fenced if another writer has opened, and BadInput if Kafka does not accept it.
        """
        key = snapshot_key(self._model, snapshot.KIND).encode()
        try:
            self._do(self._writer.publish(Outgoing(self._settings.snapshots_topic, key, encode(snapshot))))
        except KafkaError as error:
            raise BadInput(
                f"the snapshot of model {self._model!r} cannot be published ({type(error).__name__}); "
                "start again once the broker is back, and training continues from here"
            ) from None

    def _run(self) -> None:
        """Run the loop, then release its descriptors and threads."""
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

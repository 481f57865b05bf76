"""Topics followed in the background, from their beginning on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Self

from kafka import KafkaConsumer
from kafka.errors import KafkaError, KafkaTimeoutError

from streams.kafka.reader import stored_message
from streams.kafka.settings import Settings, consumer_config
from streams.messages.stored import StoredMessage

log = logging.getLogger(__name__)

_POLL_MS = 200


class TopicFollower:
    """Calls ``on_message`` in a daemon thread for every message of ``topics``; nothing waits for the broker.

    A broker that is away only means that nothing new comes in; after an error it begins anew, so a message
    may come twice. What ``on_message`` raises is logged and the message passed over.
    """

    def __init__(
        self, settings: Settings, topics: Sequence[str], on_message: Callable[[StoredMessage], None]
    ) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._on_message = on_message
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follow-{self._topics[0]}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop following. May be called twice."""
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _follow(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow_with_one_consumer()
            except KafkaError as error:
                log.warning("following %s starts again after: %s", ", ".join(self._topics), error)
                self._closing.wait(1.0)

    def _follow_with_one_consumer(self) -> None:
        consumer = KafkaConsumer(**consumer_config(self._settings))
        try:
            # Topics that it is told of before are forgotten where the two cross.
            while not self._closing.is_set() and not _is_connected(consumer):
                pass
            # Without a group it is given every partition, also of a topic that is made later.
            consumer.subscribe(self._topics)
            while not self._closing.is_set():
                for records in consumer.poll(timeout_ms=_POLL_MS).values():
                    for record in records:
                        self._take(stored_message(record))
        finally:
            consumer.close()

    def _take(self, message: StoredMessage) -> None:
        try:
            self._on_message(message)
        except Exception:
            log.exception("%s could not be handled", message.source)


def _is_connected(consumer: KafkaConsumer) -> bool:
    try:
        consumer.bootstrap(timeout_ms=_POLL_MS)
    except KafkaTimeoutError:
        return False
    return True

"""Follows topics in the background."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Self

from kafka.errors import KafkaConnectionError, KafkaTimeoutError

from streams.errors import BadInput
from streams.kafka.consumer import Consumer
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin
from streams.messages.stored import StoredMessage

log = logging.getLogger(__name__)

_ASK_EVERY_S = 2.0
_ANSWER_S = 1.0
_SILENCE_S = 10.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0


class TopicFollower:
    """Calls ``on_message`` in a daemon thread for every message of ``topics``; nothing waits for the broker.

    While the broker is unreachable nothing new arrives. After any error the consumer is replaced, so a
    message may come twice. If ``on_message`` raises, that message is skipped.

    ``begin`` returns the first offset to read of each partition (topic, number). Partitions that it leaves
    out are read from their beginning; so are all if it raises BadInput. It is called for every new consumer.

    ``errors`` counts errors of both kinds by exception class name; the first of each class is logged with its
    traceback. ``is_alive`` and ``silent_s`` show whether messages can arrive.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Sequence[str],
        on_message: Callable[[StoredMessage], None],
        begin: Callable[[], Mapping[tuple[str, int], int]] = dict,
    ) -> None:
        self.errors: Counter[str] = Counter()
        self._settings = settings
        self._topics = tuple(topics)
        self._on_message = on_message
        self._begin = begin
        self._heard_at = monotonic()
        self._is_silent = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"follow-{self._topics[0]}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        """Whether it still follows; False after ``close``."""
        return self._thread.is_alive()

    @property
    def silent_s(self) -> float:
        """Seconds since the broker last answered, or since the start; it is asked every two seconds."""
        return monotonic() - self._heard_at

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop following. May be called twice."""
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _follow(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._closing.is_set():
            begun_at = monotonic()
            try:
                self._follow_with_one_consumer()
            except Exception as error:
                self._count(error, "could not be followed; starting again")
                worked = self._heard_at > begun_at
                pause_s = _FIRST_PAUSE_S if worked else min(2 * pause_s, _LONGEST_PAUSE_S)
                self._closing.wait(pause_s)

    def _follow_with_one_consumer(self) -> None:
        # A consumer that finds no broker at its start waits for one indefinitely.
        while not self._a_broker_answers():
            self._notice_silence()
            if self._closing.is_set():
                return
        to_skip = self._first_offsets()
        consumer = Consumer(self._settings)
        try:
            # kafka-python may forget topics that are subscribed before it has connected.
            consumer.connect()
            consumer.subscribe(self._topics)
            self._heard_at = asked_at = monotonic()
            while not self._closing.is_set():
                for partition, messages in consumer.poll().items():
                    self._heard_at = asked_at = monotonic()
                    first = to_skip.pop((partition.topic, partition.partition), 0)
                    if messages[-1].offset < first - 1:
                        consumer.seek({partition: first})
                    for message in messages:
                        if message.offset >= first:
                            self._take(message)
                if monotonic() - asked_at > _ASK_EVERY_S:
                    self._ask(consumer)
                    asked_at = monotonic()
                self._notice_silence()
        finally:
            consumer.close()

    def _first_offsets(self) -> dict[tuple[str, int], int]:
        try:
            return dict(self._begin())
        except BadInput as error:
            log.debug("%s: followed from the beginning: %s", ", ".join(self._topics), error)
            return {}

    def _a_broker_answers(self) -> bool:
        try:
            connect_admin(self._settings, _ANSWER_S).close()
        except BadInput:
            return False
        return True

    def _ask(self, consumer: Consumer) -> None:
        """Ask the broker for the ends: polling cannot tell an idle topic from a silent broker."""
        with suppress(KafkaConnectionError, KafkaTimeoutError):
            if consumer.ends(consumer.assignment(), _ANSWER_S):
                self._heard_at = monotonic()

    def _notice_silence(self) -> None:
        if self._is_silent == (self.silent_s > _SILENCE_S):
            return
        self._is_silent = not self._is_silent
        names = ", ".join(self._topics)
        if self._is_silent:
            log.warning(
                "%s: the broker has been silent for %.0f s; retrying (is it up, and do the topics exist?)",
                names,
                _SILENCE_S,
            )
        else:
            log.warning("%s: the broker answers again", names)

    def _take(self, message: StoredMessage) -> None:
        try:
            self._on_message(message)
        except Exception as error:
            self._count(error, f"{message.source} could not be handled and is skipped")

    def _count(self, error: Exception, what: str) -> None:
        kind = type(error).__name__
        self.errors[kind] += 1
        if self.errors[kind] == 1:
            log.error(
                "%s: %s; further errors of this kind are only counted",
                ", ".join(self._topics),
                what,
                exc_info=error,
            )

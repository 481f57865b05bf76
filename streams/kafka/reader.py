"""Reads a topic, either up to its current end or continuously."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Protocol, Self, TypeVar

from kafka import TopicPartition
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
)

from streams.errors import BadInput
from streams.kafka.consumer import Consumer
from streams.kafka.failures import failure
from streams.kafka.partitions import partitions_of
from streams.kafka.probe import refusal
from streams.kafka.rights import Right
from streams.kafka.settings import Settings, no_broker_answers
from streams.messages.stored import LogRecord, StoredMessage

Messages = Generator[StoredMessage, None, None]
Batches = Generator[list[StoredMessage], None, None]
"""Generators, so that a caller who stops early can close them, and with them the consumer."""


class _AtOffset(Protocol):
    @property
    def offset(self) -> int: ...


_M = TypeVar("_M", bound=_AtOffset)


class TopicReader:
    """Reads the committed messages of all partitions of a topic, without a group, as often as asked.

    ``offsets`` maps a partition to the first offset to read; other partitions are read from their beginning.
    The constructor and every method raise BadInput if the topic does not exist or ends before an offset, or
    if the broker stays silent for ``timeout_s`` seconds.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        *,
        offsets: Mapping[int, int] | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._settings, self._topic, self._timeout_s = settings, topic, timeout_s
        self._partitions = [
            TopicPartition(topic, number) for number in partitions_of(settings, topic, timeout_s)
        ]
        self._next = {TopicPartition(topic, number): offset for number, offset in (offsets or {}).items()}
        self._consumer = Consumer(settings)
        try:
            self._consumer.assign(self._partitions)
            if self._next:
                self._go_on()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the reader. May be called twice."""
        self._consumer.close()

    def poll(self) -> list[StoredMessage]:
        """New messages, in the order of their partition; empty after 0.2 s without a message.

        While the broker is unreachable it returns no messages.
        """
        with self._errors_named():
            self._consumer.read_only(self._partitions)
            polled = self._consumer.poll()
        self._next.update({partition: messages[-1].offset + 1 for partition, messages in polled.items()})
        return [message for messages in polled.values() for message in messages]

    def read_up(self, until: Mapping[int, int] | None = None) -> Messages:
        """The unread messages up to the topic's current end, or up to these offsets of its partitions.

        Messages keep the order of their partition; partitions are interleaved. If reading stops early,
        because of an error or because the caller stops, the next read may repeat some messages but skips
        none.
        """
        for messages in self.batches(until):
            yield from messages

    def batches(self, until: Mapping[int, int] | None = None) -> Batches:
        """Like ``read_up``, but in lists as they arrive, each of one partition."""
        for _, messages in self._read(until, self._consumer.poll):
            yield messages

    def batches_as_written(
        self, until: Mapping[int, int] | None = None
    ) -> Generator[tuple[int, list[LogRecord]], None, None]:
        """Like ``batches``, but each with its partition's number, and with null keys and values kept."""
        return self._read(until, self._consumer.poll_as_written)

    def _read(
        self, until: Mapping[int, int] | None, poll: Callable[[], dict[TopicPartition, list[_M]]]
    ) -> Generator[tuple[int, list[_M]], None, None]:
        with self._errors_named():
            ends = self._consumer.ends(self._partitions, self._timeout_s)
            if until is not None:
                ends = {each: min(end, until.get(each.partition, 0)) for each, end in ends.items()}
            self._consumer.seek({each: self._next.get(each) for each in self._partitions})
            unread = {each for each, end in ends.items() if self._next.get(each, 0) < end}
            deadline = monotonic() + self._timeout_s
            while unread:
                self._consumer.read_only(unread)
                polled = poll()
                for partition, messages in polled.items():
                    # The consumer also reads messages written meanwhile.
                    if messages[-1].offset >= ends[partition]:
                        messages = [message for message in messages if message.offset < ends[partition]]
                    if messages:
                        yield partition.partition, messages
                        self._next[partition] = messages[-1].offset + 1
                # Compaction and transaction markers leave gaps, so compare positions instead of counting.
                done = {each for each in unread if self._consumer.position(each) >= ends[each]}
                self._next.update({each: ends[each] for each in done})
                unread -= done
                if polled or done:
                    deadline = monotonic() + self._timeout_s
                elif monotonic() > deadline:
                    raise no_broker_answers(self._settings)

    def ends(self) -> dict[int, int]:
        """Partition to the offset after its last message."""
        with self._errors_named():
            ends = self._consumer.ends(self._partitions, self._timeout_s)
        return {each.partition: end for each, end in ends.items()}

    @property
    def numbers(self) -> list[int]:
        """The numbers of the topic's partitions."""
        return [each.partition for each in self._partitions]

    def positions(self) -> dict[int, int]:
        """Partition to the offset after everything polled, and after the invisible messages that follow
        it."""
        with self._errors_named():
            # An unknown position is reported as 0.
            return {
                each.partition: max(self._consumer.position(each), self._next.get(each, 0))
                for each in self._partitions
            }

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Continue reading at these offsets."""
        chosen = {TopicPartition(self._topic, number): offset for number, offset in offsets.items()}
        self._consumer.seek(chosen)
        self._next |= chosen

    def _go_on(self) -> None:
        with self._errors_named():
            ends = self._consumer.ends(self._partitions, self._timeout_s)
            for partition, offset in self._next.items():
                if offset > ends.get(partition, 0):
                    raise BadInput(
                        f"topic {self._topic!r} ends at offset {ends.get(partition, 0)} of partition "
                        f"{partition.partition}, but {offset} have been read from it: it was recreated"
                    )
            self._consumer.seek(self._next)

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (KafkaConnectionError, KafkaTimeoutError) as error:
            raise failure(self._settings, error) from None
        except TopicAuthorizationFailedError:
            raise refusal(self._settings, str(Right("Read", "topic", self._topic))) from None
        except KafkaError as error:
            raise BadInput(
                f"topic {self._topic!r} at {self._settings.bootstrap_servers} cannot be read: {error}"
            ) from None


def read_topic(settings: Settings, topic: str, *, timeout_s: float = 10.0) -> Messages:
    """Every committed message of ``topic``, in the order of its partition; partitions are interleaved.

    Raises BadInput if the topic does not exist, or if the broker stays silent for ``timeout_s`` seconds, at
    the start or later.
    """
    with TopicReader(settings, topic, timeout_s=timeout_s) as reader:
        yield from reader.read_up()


def read_batches(settings: Settings, topic: str, *, timeout_s: float = 10.0) -> Batches:
    """Like ``read_topic``, but in lists as they arrive, each of one partition."""
    with TopicReader(settings, topic, timeout_s=timeout_s) as reader:
        yield from reader.batches()

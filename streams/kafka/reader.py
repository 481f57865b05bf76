"""Reading a topic: to the end that it has when the reading begins, or on and on."""

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
"""Generators, so that whoever leaves one early can close it, and with it the consumer."""


class _AtOffset(Protocol):
    @property
    def offset(self) -> int: ...


_M = TypeVar("_M", bound=_AtOffset)


class TopicReader:
    """Reads all partitions of a topic, without a group and as often as is asked; only committed messages.

    ``offsets`` is partition to the first offset that is read; a partition without one is read from its
    beginning. Raises BadInput, here and in every method, where the topic does not exist or ends before an
    offset, or where the broker stays silent for ``timeout_s`` seconds.
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
        """May be called twice."""
        self._consumer.close()

    def poll(self) -> list[StoredMessage]:
        """What has come, in the order of its partition; nothing after a fifth of a second without anything.

        A broker that is away only means that nothing comes.
        """
        with self._errors_named():
            self._consumer.read_only(self._partitions)
            polled = self._consumer.poll()
        self._next.update({partition: messages[-1].offset + 1 for partition, messages in polled.items()})
        return [message for messages in polled.values() for message in messages]

    def read_up(self, until: Mapping[int, int] | None = None) -> Messages:
        """What has not been read, to the end that the topic has now, or to these offsets of its partitions.

        In the order of each partition; partitions come interleaved. Where the reading ends early, by an
        error or since nobody goes on with it, the next one may give a few messages again, and leaves none
        out.
        """
        for messages in self.batches(until):
            yield from messages

    def batches(self, until: Mapping[int, int] | None = None) -> Batches:
        """As ``read_up``, in lists as they come, each of one partition: for those who handle many at once."""
        for _, messages in self._read(until, self._consumer.poll):
            yield messages

    def batches_as_written(
        self, until: Mapping[int, int] | None = None
    ) -> Generator[tuple[int, list[LogRecord]], None, None]:
        """As ``batches``, each with its partition's number, and with what is null in a message."""
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
                    # It moves on to what was written meanwhile.
                    if messages[-1].offset >= ends[partition]:
                        messages = [message for message in messages if message.offset < ends[partition]]
                    if messages:
                        yield partition.partition, messages
                        self._next[partition] = messages[-1].offset + 1
                # Compaction and the marks of transactions leave gaps, so nothing is counted.
                done = {each for each in unread if self._consumer.position(each) >= ends[each]}
                self._next.update({each: ends[each] for each in done})
                unread -= done
                if polled or done:
                    deadline = monotonic() + self._timeout_s
                elif monotonic() > deadline:
                    raise no_broker_answers(self._settings)

    def ends(self) -> dict[int, int]:
        """Partition to the offset behind its last message."""
        with self._errors_named():
            ends = self._consumer.ends(self._partitions, self._timeout_s)
        return {each.partition: end for each, end in ends.items()}

    @property
    def numbers(self) -> list[int]:
        """Of the topic's partitions."""
        return [each.partition for each in self._partitions]

    def positions(self) -> dict[int, int]:
        """Partition to the offset behind all that was polled of it, and behind what is not to be seen."""
        with self._errors_named():
            # A position that is not known is given as 0.
            return {
                each.partition: max(self._consumer.position(each), self._next.get(each, 0))
                for each in self._partitions
            }

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Let these be the first offsets that are read next, wherever it was."""
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
                        f"{partition.partition}, and {offset} have been read of it: it was made again"
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
    """Every committed message of ``topic``, in the order of its partition; partitions come interleaved.

    Raises BadInput where the topic does not exist, or where the broker stays silent for ``timeout_s``
    seconds, at the start or on the way.
    """
    with TopicReader(settings, topic, timeout_s=timeout_s) as reader:
        yield from reader.read_up()


def read_batches(settings: Settings, topic: str, *, timeout_s: float = 10.0) -> Batches:
    """As ``read_topic``, in lists as they come, each of one partition."""
    with TopicReader(settings, topic, timeout_s=timeout_s) as reader:
        yield from reader.batches()

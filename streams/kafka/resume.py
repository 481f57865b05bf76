"""A topic read on from given offsets, a batch at a time, for as long as the reader likes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from streams.errors import BadInput
from streams.kafka.partitions import partitions_of
from streams.kafka.reader import stored_message
from streams.kafka.settings import Settings, consumer_config
from streams.messages.stored import StoredMessage

_POLL_MS = 200


class ResumedReader:
    """The committed messages of every partition from the given offsets on; commits nothing, has no group."""

    def __init__(self, settings: Settings, topic: str, offsets: Mapping[str, int]) -> None:
        """``offsets`` is partition to next offset; a partition without one is read from its beginning.

        Raises BadInput where the topic does not exist, no broker answers, or an offset lies behind the end.
        """
        self._settings = settings
        self._topic = topic
        partitions = [TopicPartition(topic, number) for number in partitions_of(settings, topic)]
        self._consumer = KafkaConsumer(**consumer_config(settings))
        try:
            self._consumer.assign(partitions)
            ends = self._consumer.end_offsets(partitions)
            for partition in partitions:
                offset = offsets.get(str(partition.partition))
                if offset is None:
                    self._consumer.seek_to_beginning(partition)
                elif offset <= ends[partition]:
                    self._consumer.seek(partition, offset)
                else:
                    raise BadInput(
                        f"topic {topic!r} ends at offset {ends[partition]} of partition "
                        f"{partition.partition}, and {offset} have been read of it: it was made again"
                    )
        except KafkaError as error:
            self._consumer.close()
            raise BadInput(f"topic {topic!r} cannot be read: {error}") from None
        except BadInput:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def poll(self) -> list[StoredMessage]:
        """What has come, in the order of its partition; empty after a fifth of a second without anything."""
        batches = self._consumer.poll(timeout_ms=_POLL_MS)
        return [stored_message(record) for records in batches.values() for record in records]

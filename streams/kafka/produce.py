"""A few messages written at once, in order, each acknowledged before the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kafka import KafkaProducer
from kafka.errors import KafkaError

from streams.errors import BadInput
from streams.kafka.settings import Settings, producer_config
from streams.messages.limits import MAX_PAIR_BYTES, topic_bytes
from streams.messages.stored import Outgoing

_ACKNOWLEDGE_S = 30.0


def produce(settings: Settings, messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
    """Write the messages; yields each once Kafka has it. Raises BadInput where Kafka does not take one."""
    # The largest of all records; what is too large for its topic the broker refuses.
    own = {"linger_ms": 0, "max_request_size": topic_bytes(MAX_PAIR_BYTES)}
    producer = KafkaProducer(**producer_config(settings) | own)
    try:
        for message in messages:
            sent = producer.send(
                message.topic,
                key=message.key,
                value=message.value,
                headers=list(message.headers),
                partition=message.partition,
            )
            sent.get(_ACKNOWLEDGE_S)
            yield message
    except KafkaError as error:
        raise BadInput(f"{settings.bootstrap_servers} did not take a message: {error}") from None
    finally:
        producer.close(timeout=1)

"""A Kafka broker on loopback, for this computer: Apache Kafka under Java, else librdkafka's test broker.

That broker is all that librdkafka (confluent-kafka) is used for: it starts in milliseconds, without Java.
As a client it is faster than kafka-python, but it would be a third one beside Faust's own, with settings,
errors and faults of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Self

from streams.errors import BadInput
from streams.local_broker.apache_kafka import HOST, LocalBroker, archive_classes
from streams.local_broker.jars import NoKafka, find_kafka


class Broker(Protocol):
    """A running broker; leaving its ``with`` block ends it."""

    @property
    def bootstrap_servers(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def note(self) -> str:
        """One sentence: which broker this is, where it answers, and what it keeps."""

    @property
    def failure(self) -> str | None:
        """Why it has ended by itself; None when it runs or was stopped."""

    def stop(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def start_local_broker(port: int | None = None, data_dir: Path | None = None) -> Broker:
    """Start Apache Kafka where Java 17 and its jars can be had, else librdkafka's in-memory broker.

    ``port`` and ``data_dir`` need Apache Kafka: BadInput says what is missing for it.
    """
    try:
        kafka = find_kafka()
    except NoKafka as reason:
        if port is not None or data_dir is not None:
            raise BadInput(f"a port or a data directory of one's own needs Apache Kafka: {reason}") from None
        return InMemoryBroker(reason=str(reason)).start()
    return LocalBroker(kafka, port=port, data_dir=data_dir).start()


def fetch_kafka() -> str:
    """Have all in place for later; one sentence that says where it is, or why there is none."""
    try:
        kafka = find_kafka()
    except NoKafka as reason:
        return f"no Apache Kafka was fetched: {reason}; librdkafka's in-memory test broker will be used"
    archive_classes(kafka)
    return f"Apache Kafka {kafka.version} is in {kafka.libs}"


class InMemoryBroker:
    """librdkafka's test broker, inside this process: nothing survives its end.

    It has no admin API, no compaction and no aborted transactions, and gives every topic 4 partitions.
    """

    def __init__(self, reason: str = "asked for") -> None:
        self._reason = reason
        self._bootstrap_servers = ""
        self._producer: Any = None

    def __enter__(self) -> Self:
        return self if self._producer is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        return self._bootstrap_servers

    @property
    def description(self) -> str:
        return "librdkafka in-memory"

    @property
    def note(self) -> str:
        return (
            f"{self._reason}; librdkafka's in-memory test broker answers at {self._bootstrap_servers} "
            "and keeps nothing"
        )

    @property
    def failure(self) -> str | None:
        return None  # it lives in this process

    def start(self) -> Self:
        from confluent_kafka import Producer  # only here: nobody else is to load librdkafka

        # The bootstrap address is never used: the client talks to the broker that it carries.
        config = {"bootstrap.servers": f"{HOST}:1", "test.mock.num.brokers": 1, "log_level": 0}
        self._producer = Producer(config)
        brokers = self._producer.list_topics(timeout=5).brokers.values()
        self._bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    def stop(self) -> None:
        """End the broker. May be called twice."""
        # librdkafka ends the broker with the client that carries it, and this is the only reference to that.
        self._producer = None

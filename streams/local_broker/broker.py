"""A Kafka broker on loopback: Apache Kafka under Java, or else librdkafka's test broker.

librdkafka (confluent-kafka) is used only for its test broker, which starts in milliseconds without Java. As a
client it is faster than kafka-python, but it would be a third client besides Faust's own, with its own
settings, errors and bugs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Self

from streams.errors import BadInput
from streams.local_broker.apache_kafka import HOST, LocalBroker, archive_classes
from streams.local_broker.jars import NoKafka, find_kafka


class Broker(Protocol):
    """A running broker; leaving its ``with`` block stops it."""

    @property
    def bootstrap_servers(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def note(self) -> str:
        """One sentence: which broker this is, its address, and what it keeps."""

    @property
    def failure(self) -> str | None:
        """Why it has ended by itself; None if it is running or was stopped."""

    def stop(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def start_local_broker(port: int | None = None, data_dir: Path | None = None) -> Broker:
    """Start Apache Kafka if Java 17 and its jars are available, else librdkafka's in-memory broker.

    ``port`` and ``data_dir`` need Apache Kafka. Raises BadInput, with the reason, if it cannot run.
    """
    try:
        kafka = find_kafka()
    except NoKafka as reason:
        if port is not None or data_dir is not None:
            raise BadInput(f"a given port or data directory needs Apache Kafka: {reason}") from None
        return InMemoryBroker(reason=str(reason)).start()
    return LocalBroker(kafka, port=port, data_dir=data_dir).start()


def fetch_kafka() -> str:
    """Fetch Apache Kafka for later; returns one sentence: where it is, or why it could not be fetched."""
    try:
        kafka = find_kafka()
    except NoKafka as reason:
        return f"no Apache Kafka was fetched: {reason}; librdkafka's in-memory test broker will be used"
    archive_classes(kafka)
    return f"Apache Kafka {kafka.version} is in {kafka.libs}"


class InMemoryBroker:
    """librdkafka's test broker, inside this process: nothing survives its end.

    It has no admin API, no compaction and no aborted transactions; every topic has 4 partitions.
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
        return None  # it runs in this process

    def start(self) -> Self:
        from confluent_kafka import Producer  # imported only here, so that nothing else loads librdkafka

        # The bootstrap address is never used: the client talks to the broker that it contains.
        config = {"bootstrap.servers": f"{HOST}:1", "test.mock.num.brokers": 1, "log_level": 0}
        self._producer = Producer(config)
        brokers = self._producer.list_topics(timeout=5).brokers.values()
        self._bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    def stop(self) -> None:
        """End the broker. May be called twice."""
        # librdkafka stops the broker together with its client, and this is the only reference to the client.
        self._producer = None

"""Apache Kafka that goes away and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.jars import KafkaJars
from tests.ports import free_port


class RestartableBroker:
    """Has the same port and log each time that it is up."""

    def __init__(self, jars: KafkaJars, folder: Path) -> None:
        self._jars, self._folder, self._port = jars, folder, free_port()
        self.settings = Settings(bootstrap_servers=f"127.0.0.1:{self._port}")

    @contextmanager
    def up(self) -> Iterator[LocalBroker]:
        with LocalBroker(self._jars, port=self._port, data_dir=self._folder) as broker:
            create_topics(self.settings)
            yield broker

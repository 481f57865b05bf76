from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.kafka.topics import create_topics
from streams.local_broker.jars import KafkaJars
from tests.secured.broker import SecuredBroker


@pytest.fixture(scope="module")
def secured(kafka_jars: KafkaJars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """One broker for the tests of a file, with the topics made."""
    broker = SecuredBroker(kafka_jars, tmp_path_factory.mktemp("secured"))
    with broker.broker:
        create_topics(broker.open)
        yield broker

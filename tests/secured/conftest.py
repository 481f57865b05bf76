from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

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


@pytest.fixture
def prefix(secured: SecuredBroker) -> str:
    """Of topics that no other test uses."""
    prefix = f"test-{uuid.uuid4().hex[:8]}"
    create_topics(replace(secured.open, topic_prefix=prefix))
    return prefix

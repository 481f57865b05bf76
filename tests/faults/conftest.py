from __future__ import annotations

from pathlib import Path

import pytest

from streams.local_broker.jars import KafkaJars
from tests.faults.brokers import RestartableBroker


@pytest.fixture
def broker(kafka_jars: KafkaJars, tmp_path: Path) -> RestartableBroker:
    return RestartableBroker(kafka_jars, tmp_path / "kafka")

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.kafka.topics import create_topics
from streams.local_broker.jars import KafkaJars
from tests.secured.broker import SecuredBroker
from tests.services import security_variables
from tribrain.cli import main


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


@pytest.fixture
def cli_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command as this user; gives exit code and what it said."""

    def call(settings: Settings, *arguments: str) -> tuple[int, str]:
        for name, value in _in_environment(settings).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(str(ended.value.code)), capsys.readouterr().err

    return call


def _in_environment(settings: Settings) -> dict[str, str]:
    own = {
        "TRIBRAIN_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        TOPIC_PREFIX_VARIABLE: settings.topic_prefix,
    }
    return own | security_variables(settings)

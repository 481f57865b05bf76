"""Brokers for the tests: one real Kafka a run, found or started, and librdkafka's in memory."""

from __future__ import annotations

import gc
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import docker

# Its pytest plugin would import it at the end, beside clients' threads, where the parser of 3.11 can fail.
import hypothesis
import orjson
import pytest
from docker.errors import DockerException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from streams.errors import BadInput
from streams.kafka.security import NAMES
from streams.kafka.security_sources import variable_of
from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.kafka.topics import connect_admin, create_topics
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.broker import InMemoryBroker
from streams.local_broker.jars import KafkaJars, NoKafka, find_kafka
from tests.services import security_variables
from tests.shared import shared
from tribrain.cli import main

_TESTS = Path(__file__).parent
_WAITING = ("docs", "faults", "alerts", "browser", "kafka", "tribrain", "secured")
"""Folders of tests that mostly wait for brokers and processes, those with long files first."""
_COMPUTING = ("simulation", "runner", "bench")
"""The same of those that mostly compute; the other folders have short files."""
_IMAGE = "apache/kafka:4.3.1"
_CONTAINER_START_S = 60.0
_ADMIN_S = 10.0


# How long an example takes says nothing of the code on a busy computer.
hypothesis.settings.register_profile("tribrain", deadline=None)
hypothesis.settings.load_profile("tribrain")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"kafka", "kafka_jars"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
    place = _places({item.path for item in items})
    items.sort(key=lambda item: place[item.path])


def pytest_collection_finish() -> None:
    """What was imported stays until the end, so the garbage collector need not look through it each time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Extension modules complain of what is left uncollected."""
    gc.unfreeze()


def _places(files: set[Path]) -> dict[Path, tuple[float, Path]]:
    """Sort keys of files: those that wait are mixed evenly with those that compute, so that a processor has
    always something to do. Short ones come last, so that no worker is left alone with a long one."""
    waiting = [file for file in files if _folder(file) in _WAITING]
    computing = list(files.difference(waiting))
    return {
        file: ((number + 0.5) / len(kind), file)
        for kind, folders in ((waiting, _WAITING), (computing, _COMPUTING))
        for number, file in enumerate(sorted(kind, key=lambda file: _turn(file, folders)))
    }


def _turn(file: Path, folders: Sequence[str]) -> tuple[bool, int, Path]:
    """Among files of its kind; the longest of all comes first."""
    folder = _folder(file)
    is_long = file == _TESTS / "docs" / "test_pages.py"
    return not is_long, folders.index(folder) if folder in folders else len(folders), file


def _folder(file: Path) -> str:
    return file.relative_to(_TESTS).parts[0]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real broker: a given one, one in Docker, or Apache Kafka on this computer."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of the run, where each worker has a folder of its own
    with shared(folder, _real_broker) as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture(scope="session")
def kafka_jars() -> KafkaJars:
    """For tests that start and stop Apache Kafka themselves."""
    return _jars_or_skip()


@pytest.fixture(scope="session")
def in_memory_broker() -> Iterator[str]:
    """Bootstrap servers of librdkafka's test broker."""
    with InMemoryBroker() as broker:
        yield broker.bootstrap_servers


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """URI of a bucket in a store with S3's protocol, which the environment leads to."""
    moto = pytest.importorskip("moto.server", reason="make lora installs it")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as environment:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                environment.setenv(name, "test")
            environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
            environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            s3fs.S3FileSystem().mkdir("adapters")
            yield "s3://adapters"
    finally:
        server.stop()


@pytest.fixture
def settings(kafka: str) -> Iterator[Settings]:
    """The real broker, with topics that no other test uses.

    They are deleted in the end: who asks for the names of the topics reads those of all tests.
    """
    settings = _with_topics(kafka)
    yield settings
    with connect_admin(settings, _ADMIN_S) as admin:
        admin.delete_topics([name for name in admin.list_topics() if name.startswith(settings.topic_prefix)])


@pytest.fixture
def tribrain(settings: Settings, tribrain_on: Callable[[Settings], Any]) -> Any:
    """Runs a command on the test's topics; gives exit code and the object that --json printed."""
    return tribrain_on(settings)


@pytest.fixture
def tribrain_on(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Callable[[Settings], Any]:
    """As ``tribrain``, on these topics."""

    def on(settings: Settings) -> Any:
        def call(*arguments: str) -> tuple[int, Any]:
            monkeypatch.setenv(TOPIC_PREFIX_VARIABLE, settings.topic_prefix)
            for name in map(variable_of, NAMES.values()):
                monkeypatch.delenv(name, raising=False)
            for name, value in security_variables(settings).items():
                monkeypatch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main([*arguments, "--bootstrap-servers", settings.bootstrap_servers, "--json"])
            out = capsysbinary.readouterr().out
            return int(str(ended.value.code)), orjson.loads(out) if out else None

        return call

    return on


@pytest.fixture
def in_memory_settings(in_memory_broker: str) -> Settings:
    return _with_topics(in_memory_broker)


def _with_topics(bootstrap_servers: str) -> Settings:
    settings = Settings(bootstrap_servers=bootstrap_servers, topic_prefix=f"test-{uuid.uuid4().hex[:12]}")
    create_topics(settings)
    return settings


def _real_broker() -> AbstractContextManager[str]:
    given = os.environ.get("TRIBRAIN_TEST_BOOTSTRAP_SERVERS")
    if given:
        return nullcontext(given)
    return _kafka_in_docker() if _docker_has_image() else _kafka_under_java(_jars_or_skip())


@contextmanager
def _kafka_under_java(jars: KafkaJars) -> Iterator[str]:
    with LocalBroker(jars) as broker:
        yield broker.bootstrap_servers


def _jars_or_skip() -> KafkaJars:
    try:
        return find_kafka()
    except NoKafka as reason:
        missing = f"no real Kafka to test with: {reason}; install Java 17 and Maven, or start Docker"
    if os.environ.get("REQUIRE_KAFKA") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def _docker_has_image() -> bool:
    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return False
    try:
        client.ping()
        if not client.images.list(name=_IMAGE):
            client.images.pull(_IMAGE)
        _use_the_reaper_where_it_can_be_had(client)
    except (DockerException, OSError):
        return False
    finally:
        client.close()
    return True


def _use_the_reaper_where_it_can_be_had(client: docker.DockerClient) -> None:
    """It removes the containers of a test run that was killed."""
    image = testcontainers_config.ryuk_image
    try:
        if not client.images.list(name=image):
            client.images.pull(image)
    except DockerException:
        testcontainers_config.ryuk_disabled = True


@contextmanager
def _kafka_in_docker() -> Iterator[str]:
    """On a port chosen beforehand, since the broker must tell its clients where it is to be found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    container = DockerContainer(_IMAGE)
    container.ports[f"{port}/tcp"] = ("127.0.0.1", port)  # with_bind_ports() takes no address
    variables = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    }
    for name, value in variables.items():
        container.with_env(name, value)
    with container:
        bootstrap_servers = f"127.0.0.1:{port}"
        try:
            connect_admin(Settings(bootstrap_servers=bootstrap_servers), _CONTAINER_START_S).close()
        except BadInput:
            pytest.fail(f"{_IMAGE} did not answer within {_CONTAINER_START_S:g} s:\n{container.get_logs()}")
        yield bootstrap_servers


@pytest.fixture(autouse=True)
def _heard_logs() -> None:
    """What a test before switched off, as a command may for its own process, is on again."""
    logging.disable(logging.NOTSET)

from __future__ import annotations

import os
import socket
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.local_broker.apache_kafka import LocalBroker, archive_classes
from streams.local_broker.broker import InMemoryBroker, fetch_kafka, start_local_broker
from streams.local_broker.jars import KafkaJars
from streams.spool.publish_now import publish_messages
from tests.factories import event


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)


def _java_that_says(version: str, directory: Path) -> None:
    java = directory / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_java_the_in_memory_broker_runs_and_says_why(no_java: None) -> None:
    with start_local_broker() as broker:
        assert broker.description == "librdkafka in-memory"
        assert broker.note == (
            "no Java 17 on the PATH; using librdkafka's in-memory test broker: nothing survives its end"
        )
        assert create_topics(Settings(bootstrap_servers=broker.bootstrap_servers)).created


def test_a_stopped_in_memory_broker_listens_no_more() -> None:
    with InMemoryBroker() as broker:
        host, port = broker.bootstrap_servers.split(":")
        assert host == "127.0.0.1"
        socket.create_connection((host, int(port)), timeout=1.0).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=1.0)


def test_an_old_java_is_named(no_java: None, tmp_path: Path) -> None:
    _java_that_says("11.0.2", tmp_path)
    assert fetch_kafka() == (
        "no Apache Kafka was fetched: Java 11 on the PATH is older than 17; "
        "librdkafka's in-memory test broker will be used"
    )


def test_a_missing_maven_is_named(no_java: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _java_that_says("21", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    assert "no Maven (mvn) on the PATH" in fetch_kafka()
    assert not (tmp_path / "cache").exists()


def test_a_fetch_that_fails_leaves_nothing_behind(
    no_java: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _java_that_says("21", tmp_path)
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho '[ERROR] no network'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    assert "Maven could not fetch Apache Kafka 4.3.1: no network" in fetch_kafka()
    assert list((tmp_path / "cache" / "tribrain").iterdir()) == []


def test_a_port_of_ones_own_without_java_is_bad_input(no_java: None) -> None:
    with pytest.raises(BadInput, match="needs Apache Kafka: no Java 17 on the PATH"):
        start_local_broker(port=19092)


def test_a_port_in_use_is_bad_input_that_names_it(kafka_jars: KafkaJars) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} is in use"):
            LocalBroker(kafka_jars, port=port).start()


def test_a_broker_loads_its_classes_from_javas_archive_once_that_was_made(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    kafka = replace(kafka_jars, classes=tmp_path / "classes.jsa")
    archive_classes(kafka)
    made = (tmp_path / "classes.jsa").stat().st_mtime_ns
    loaded = tmp_path / "loaded.log"
    with LocalBroker(kafka, java_options=(f"-Xlog:class+load:file={loaded}",)):
        lines = [line for line in loaded.read_text().splitlines() if " org.apache.kafka." in line]
    assert sum("shared objects file" in line for line in lines) > 0.9 * len(lines) > 900
    archive_classes(kafka)
    assert (tmp_path / "classes.jsa").stat().st_mtime_ns == made
    assert list(tmp_path.glob(".*")) == []


def test_an_archive_of_classes_that_java_cannot_use_stops_no_broker(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    (tmp_path / "classes.jsa").write_bytes(b"of another Java")
    with LocalBroker(replace(kafka_jars, classes=tmp_path / "classes.jsa")) as broker:
        assert create_topics(Settings(bootstrap_servers=broker.bootstrap_servers)).created


def test_stopping_ends_the_process_within_five_seconds_and_removes_its_data(kafka_jars: KafkaJars) -> None:
    broker = LocalBroker(kafka_jars).start()
    pid, log_file = broker.pid, broker.log_file
    assert pid is not None
    assert log_file is not None
    assert log_file.exists()
    started = time.monotonic()
    broker.stop()
    broker.stop()
    assert time.monotonic() - started < 5.0
    assert not _runs(pid)
    assert not log_file.parent.exists()


def test_a_given_data_directory_keeps_the_log_between_two_brokers(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    with LocalBroker(kafka_jars, data_dir=tmp_path) as first:
        settings = Settings(bootstrap_servers=first.bootstrap_servers)
        create_topics(settings)
        publish_messages(settings, [event(0, 0.5)], timeout_s=10.0)
    with LocalBroker(kafka_jars, data_dir=tmp_path) as second:
        settings = Settings(bootstrap_servers=second.bootstrap_servers)
        assert create_topics(settings).created == ()
        assert len(list(read_topic(settings, settings.trace_topic))) == 1


def test_a_kafka_that_dies_at_its_start_is_bad_input_with_the_end_of_its_log(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\n")
    with pytest.raises(BadInput, match=r"Apache Kafka ended at its start; its log ends with: .*node"):
        LocalBroker(kafka_jars, data_dir=tmp_path).start()

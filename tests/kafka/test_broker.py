from __future__ import annotations

import os
import signal
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
from streams.local_broker.folder import end_of_log
from streams.local_broker.jars import KafkaJars
from streams.spool.publish_now import publish_messages
from tests.factories import event
from tests.ports import free_port
from tests.tribrain.processes import command, needs_proc
from tests.waiting import wait_until


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
            "no Java 17 on the PATH; librdkafka's in-memory test broker answers at "
            f"{broker.bootstrap_servers} and keeps nothing"
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


@pytest.mark.long
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


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_a_folder_in_use_is_bad_input_and_the_broker_on_it_goes_on(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    folder = tmp_path / "kafka-data"
    with LocalBroker(kafka_jars, data_dir=folder) as first:
        before = files_of(folder)
        with pytest.raises(BadInput) as refused:
            LocalBroker(kafka_jars, data_dir=folder).start()
        assert str(refused.value) == (
            f"{folder}: this folder is in use by another broker; stop that one or give another folder"
        )
        assert files_of(folder) == before
        assert create_topics(Settings(bootstrap_servers=first.bootstrap_servers)).created


@needs_proc
def test_a_kafka_that_outlives_who_started_it_keeps_its_folder(kafka_jars: KafkaJars, tmp_path: Path) -> None:
    folder = tmp_path / "kafka-data"
    with command(["broker", "--data-dir", str(folder)], tmp_path / "said") as broker:
        wait_until(lambda: "Ctrl-C ends it" in broker.output, 60)
        broker.process.kill()
        broker.process.wait()
        with pytest.raises(BadInput, match="in use by another broker"):
            LocalBroker(kafka_jars, data_dir=folder).start()


@needs_proc
def test_a_broker_says_once_where_it_answers_and_what_it_keeps(kafka_jars: KafkaJars, tmp_path: Path) -> None:
    folder, port = tmp_path / "kafka-data", free_port()
    with command(["broker", "--data-dir", str(folder), "--port", str(port)], tmp_path / "said") as broker:
        wait_until(lambda: "Ctrl-C ends it" in broker.output, 60)
        assert broker.output == (
            f"Apache Kafka {kafka_jars.version} answers at 127.0.0.1:{port} and keeps its data in {folder}; "
            "Ctrl-C ends it\n"
        )


@needs_proc
def test_a_broker_whose_kafka_dies_ends_and_says_so(kafka_jars: KafkaJars, tmp_path: Path) -> None:
    folder = tmp_path / "kafka-data"
    with command(["broker", "--data-dir", str(folder)], tmp_path / "said") as broker:
        wait_until(lambda: "Ctrl-C ends it" in broker.output, 60)
        (kafka,) = broker.started("kafka.Kafka")
        with (folder / "broker.log").open("a") as log:
            log.write("the disk is gone\n\tat of.no.Use\n")
        os.kill(kafka, signal.SIGKILL)
        assert broker.wait(10) == 1
        said = broker.output.splitlines()[-1]
        assert said.startswith("tribrain: Apache Kafka has ended by SIGKILL; its log ")
        assert said.endswith("the disk is gone")


def test_a_kafka_that_dies_at_its_start_is_bad_input_with_the_end_of_its_log(
    kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\n")
    (tmp_path / "broker.log").write_text("what an earlier broker said\n" * 100)
    with pytest.raises(
        BadInput, match=r"Apache Kafka ended during startup; its log \(.*\) ends with: .*node"
    ) as dead:
        LocalBroker(kafka_jars, data_dir=tmp_path).start()
    assert "an earlier broker" not in str(dead.value)


def test_the_end_of_a_log_is_a_few_short_lines_without_stack_traces(tmp_path: Path) -> None:
    log = tmp_path / "broker.log"
    log.write_text("0\n1\n2\n\n3\n\tat some.Class\n" + "x" * 1000 + "\n\tat other.Class\n")
    assert end_of_log(log, 0) == "2; 3; " + "x" * 298 + " …"

"""``tribrain spool``: what it says, what it sends, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import encode
from streams.spool.queue import Spool
from tests.factories import event
from tribrain.cli import cli


@pytest.fixture
def path(tmp_path: Path, in_memory_settings: Settings) -> Path:
    """A spool with two events, and one that is too large for Kafka."""
    path = tmp_path / "spool.sqlite"
    with Spool(path) as spool:
        for one in (event(0, 0.5), event(1, 0.6), replace(event(2, 0.7), prompt="x" * 2_000_000)):
            spool.append(in_memory_settings.trace_topic, b"run-a", encode(one), "run-a")
    return path


def spool_command(settings: Settings, *arguments: object) -> Result:
    environment = {
        "TRIBRAIN_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "TRIBRAIN_TOPIC_PREFIX": settings.topic_prefix,
    }
    return CliRunner().invoke(cli, ["spool", *map(str, arguments)], env=environment)


def test_status_counts_what_waits_and_leaves_it_there(path: Path, in_memory_settings: Settings) -> None:
    for _ in range(2):
        said = json.loads(spool_command(in_memory_settings, "status", path, "--json").output)
        assert said["waiting"] == {"run-a": 3}
    assert "3 events of 1 runs wait" in spool_command(in_memory_settings, "status", path).output


def test_flush_sends_what_kafka_takes_and_keeps_the_rest(path: Path, in_memory_settings: Settings) -> None:
    flushed = spool_command(in_memory_settings, "flush", path, "--json")
    said = json.loads(flushed.stdout)
    assert (flushed.exit_code, said["sent"], len(said["quarantined"]["run-a"])) == (1, 2, 1)
    stored = [m.value for m in read_topic(in_memory_settings, in_memory_settings.trace_topic)]
    assert stored == [encode(event(0, 0.5)), encode(event(1, 0.6))]
    assert json.loads(spool_command(in_memory_settings, "flush", path, "--json").stdout)["sent"] == 0


def test_flush_removes_a_spool_that_it_has_emptied(path: Path, in_memory_settings: Settings) -> None:
    with Spool(path) as spool:
        spool.delete(spool.oldest()[2:])
    flushed = spool_command(in_memory_settings, "flush", path)
    assert flushed.exit_code == 0
    assert "2 events are on Kafka, 0 are left" in flushed.output
    assert not path.exists()


def test_flush_without_a_broker_fails_and_keeps_everything(path: Path) -> None:
    flushed = spool_command(Settings(bootstrap_servers="127.0.0.1:9"), "flush", path)
    assert flushed.exit_code == 1
    assert "no Kafka broker answers" in flushed.output
    assert "0 events are on Kafka, 3 are left" in flushed.output


@pytest.mark.parametrize("command", ["status", "flush"])
def test_a_missing_spool_is_bad_input_and_is_not_made(command: str, tmp_path: Path) -> None:
    given = tmp_path / "none.sqlite"
    result = spool_command(Settings(bootstrap_servers="127.0.0.1:9"), command, given)
    assert isinstance(result.exception, BadInput)
    assert "none.sqlite: no such spool" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "flush"])
def test_a_damaged_spool_is_bad_input(command: str, tmp_path: Path) -> None:
    given = tmp_path / "spool.sqlite"
    given.write_bytes(b"no database" * 1000)
    result = spool_command(Settings(bootstrap_servers="127.0.0.1:9"), command, given)
    assert isinstance(result.exception, BadInput)
    assert "the spool is damaged" in str(result.exception)

"""``tribrain spool``: what it says, what it sends, and its exit codes."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
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
    assert "3 events of 1 run waiting" in spool_command(in_memory_settings, "status", path).output


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
    assert "2 events sent, 0 left" in flushed.output
    assert not path.exists()


def test_flush_without_a_broker_fails_and_keeps_everything(path: Path) -> None:
    flushed = spool_command(Settings(bootstrap_servers="127.0.0.1:9"), "flush", path)
    assert flushed.exit_code == 1
    assert "no Kafka broker answers" in flushed.output
    assert "0 events sent, 3 left" in flushed.output


@pytest.mark.parametrize("command", ["status", "flush"])
def test_a_missing_spool_is_bad_input_and_is_not_made(command: str, tmp_path: Path) -> None:
    given = tmp_path / "none.sqlite"
    result = spool_command(Settings(bootstrap_servers="127.0.0.1:9"), command, given)
    assert isinstance(result.exception, BadInput)
    assert "none.sqlite: no such spool" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def another_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE waiting (id INTEGER PRIMARY KEY)")
        connection.commit()


def database_without_content(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")


NO_SPOOLS: dict[str, Callable[[Path], object]] = {
    "an empty file": lambda path: path.touch(),
    "a trace": lambda path: path.write_bytes(encode(event(0, 0.5)) + b"\n"),
    "bytes of any kind": lambda path: path.write_bytes(bytes(range(256)) * 64),
    "the beginning of a database": lambda path: path.write_bytes(b"SQLite format 3\0"),
    "another program's database": another_database,
    "a database without content": database_without_content,
}


@pytest.mark.parametrize("command", ["status", "flush"])
@pytest.mark.parametrize("make", NO_SPOOLS.values(), ids=NO_SPOOLS)
def test_what_is_no_spool_is_bad_input_and_stays_as_it_is(
    make: Callable[[Path], object], command: str, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    make(given)
    before = given.read_bytes()
    result = spool_command(Settings(bootstrap_servers="127.0.0.1:9"), command, given)
    assert isinstance(result.exception, BadInput)
    assert str(result.exception) == f"{given}: not a spool; check the path"
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("given", before)]


@pytest.mark.parametrize("command", ["status", "flush"])
def test_a_damaged_spool_is_bad_input(command: str, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(len(content) - 4096))
    result = spool_command(Settings(bootstrap_servers="127.0.0.1:9"), command, path)
    assert isinstance(result.exception, BadInput)
    assert "the spool is damaged" in str(result.exception)


def test_a_spool_of_which_all_is_in_the_write_ahead_log_is_one(
    tmp_path: Path, in_memory_settings: Settings
) -> None:
    """As a run leaves it that is killed."""
    path = tmp_path / "spool.sqlite"
    with Spool(tmp_path / "live.sqlite") as spool:
        spool.append("topic", b"run-a", b"value", "run-a")
        for suffix in ("", "-wal"):
            shutil.copy(f"{spool.path}{suffix}", f"{path}{suffix}")
    assert json.loads(spool_command(in_memory_settings, "status", path, "--json").output)["waiting"] == {
        "run-a": 1
    }

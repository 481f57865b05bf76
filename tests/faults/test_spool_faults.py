"""A spool that is full, damaged or used by many at once: the run goes on, and what is refused is counted."""

from __future__ import annotations

import fcntl
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from runner.loop.refinement import RefinementLoop
from runner.loop.stopping import StopRules
from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.files import read_trace
from streams.spool import queue as spool_module
from streams.spool.publisher import TracePublisher
from streams.spool.queue import Spool
from tests.factories import event
from tests.faults.disks import fill, small_disk
from tests.runner.fakes import FilmWorld, ScriptedController, ScriptedCritic
from tests.tribrain.processes import needs_proc
from tests.waiting import wait_until

AWAY = Settings(bootstrap_servers="127.0.0.1:9")
KILOBYTE = b"x" * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """20 MiB; the spool leaves 16 MiB free."""
    with small_disk(tmp_path / "small", megabytes=20) as folder:
        yield folder


def generate(out: Path, publisher: TracePublisher) -> None:
    """A run of three iterations, whose trace ends up in ``out``."""
    RefinementLoop(
        goal="a cube",
        world=FilmWorld(),
        critics=[ScriptedCritic({"quality": 0.5})],
        controller=ScriptedController(),
        stop=StopRules(max_iters=3),
        seed=1,
        out_dir=out,
        run_id="run-a",
        sink=publisher,
    ).run()


def append(spool: Spool, number: int, topic: str = "topic") -> None:
    spool.append(topic, b"key", KILOBYTE, f"run-{number}")


def fill_up(spool: Spool, topic: str = "topic") -> str:
    """Append until the spool refuses; the reason."""
    for number in range(100_000):
        try:
            append(spool, number, topic)
        except BadInput as error:
            return str(error)
    raise AssertionError("the spool has no end")


@pytest.mark.parametrize("spare_bytes", [16 << 20, 0], ids=["before the disk is full", "at the last byte"])
def test_a_run_goes_on_when_the_disk_under_its_spool_is_full(
    spare_bytes: int, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_SPARE_BYTES", spare_bytes)
    with TracePublisher(AWAY, disk / "spool.sqlite") as publisher:
        filler = fill(disk)
        generate(tmp_path / "run", publisher)
        assert publisher.refused == {"run-a": 4}
        assert "full" in (publisher.problem or "")
        assert len(read_trace(tmp_path / "run" / "trace.jsonl")) == 4
        filler.unlink()
        publisher.push(event(4, 0.5))
        assert publisher.refused == {"run-a": 4}
        assert publisher.flush(0.0) == 5
        publisher.close(0.0)


def test_a_spool_that_has_filled_its_disk_can_still_be_emptied(
    disk: Path, in_memory_settings: Settings
) -> None:
    path = disk / "spool.sqlite"
    with Spool(path) as spool:
        fill_up(spool, in_memory_settings.trace_topic)
    with TracePublisher(in_memory_settings, path) as publisher:
        assert publisher.flush(30.0) == 0


def test_a_spool_takes_no_more_than_it_is_allowed(path: Path) -> None:
    with Spool(path, max_bytes=1 << 20) as spool:
        assert "spool.sqlite: the spool or its disk is full" in fill_up(spool)
        kept = sum(spool.status().waiting.values())
        assert 600 < kept < 1000
        spool.delete(spool.oldest(limit=100))
        append(spool, 2000)
        assert sum(spool.status().waiting.values()) == kept - 99
    assert path.stat().st_size <= 1 << 20


def test_a_full_spool_can_set_a_record_aside(path: Path) -> None:
    with Spool(path, max_bytes=1 << 20) as spool:
        fill_up(spool)
        oldest = spool.oldest(limit=1)[0]
        spool.quarantine(oldest, "too odd")
        assert spool.status().quarantined == {"run-0": ["too odd"]}
        assert spool.oldest(limit=1)[0].run_id == "run-1"


@pytest.mark.parametrize("damage", [b"not a database at all, but long enough to be one" * 50, b"short"])
def test_a_run_goes_on_when_its_spool_is_damaged(damage: bytes, path: Path, tmp_path: Path) -> None:
    path.write_bytes(damage)
    with TracePublisher(AWAY, path) as publisher:
        generate(tmp_path / "run", publisher)
        assert publisher.refused == {"run-a": 4}
        assert str(path) in (publisher.problem or "")
        assert publisher.unsent_runs() == {"run-a"}
    assert path.read_bytes() == damage


def test_a_damaged_page_is_named_and_never_taken_for_an_empty_spool(path: Path) -> None:
    with Spool(path) as spool:
        for number in range(100):
            append(spool, number)
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    path.write_bytes(content)
    with (
        pytest.raises(BadInput, match=r"spool\.sqlite: the spool is damaged; remove it"),
        Spool(path) as spool,
    ):
        spool.oldest()
    assert path.exists()


def test_another_programs_database_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE waiting (id INTEGER PRIMARY KEY)")
    connection.commit()
    connection.close()
    with pytest.raises(BadInput, match="not a spool"):
        Spool(path)


def test_what_was_appended_is_there_after_reopening_in_its_order(path: Path) -> None:
    with Spool(path) as spool:
        for number in range(10):
            append(spool, number)
    with Spool(path) as spool:
        assert [record.run_id for record in spool.oldest()] == [f"run-{number}" for number in range(10)]


def test_a_batch_is_bounded_by_its_bytes_and_is_never_empty(path: Path) -> None:
    with Spool(path) as spool:
        for number in range(5):
            append(spool, number)
        assert [len(spool.oldest(max_bytes=size)) for size in (1, 2500, 5000)] == [1, 2, 5]


def test_only_the_first_of_two_may_send_until_it_lets_go(path: Path) -> None:
    first, second = Spool(path), Spool(path)
    assert first.may_send()
    assert not second.may_send()
    first.close()
    assert second.may_send()
    second.close()


def test_an_empty_spool_and_its_locks_are_gone_in_the_end_and_a_full_one_stays(path: Path) -> None:
    with Spool(path) as spool:
        append(spool, 0)
        assert spool.may_send()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Spool(path) as spool:
        spool.delete(spool.oldest())
    assert list(path.parent.iterdir()) == []


@needs_proc
def test_a_lock_on_a_removed_spool_is_not_taken_for_one_on_its_successor(path: Path) -> None:
    lock = path.with_name("spool.sqlite.users")
    with ThreadPoolExecutor() as pool, lock.open("ab") as remover:
        fcntl.flock(remover, fcntl.LOCK_EX)
        opening = pool.submit(Spool, path)
        wait_until(lambda: re.search(rf"-> FLOCK .*:{lock.stat().st_ino} ", Path("/proc/locks").read_text()))
        lock.unlink()
        fcntl.flock(remover, fcntl.LOCK_UN)
        with opening.result() as spool:
            Spool(path).close()  # would remove an empty spool that nobody else has open
            append(spool, 0)
    assert path.exists()


def before_the_removal(monkeypatch: pytest.MonkeyPatch, happens: Callable[[IO[bytes]], None]) -> None:
    """Let something happen when a spool is about to take the lock under which it removes its file."""
    flock = fcntl.flock

    def late(file: IO[bytes], operation: int) -> None:
        if operation == fcntl.LOCK_EX | fcntl.LOCK_NB:
            monkeypatch.undo()
            happens(file)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)


def test_an_event_that_another_appends_while_a_spool_is_closed_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append_one(_: IO[bytes]) -> None:
        with Spool(path) as other:
            append(other, 0)

    closing = Spool(path)
    before_the_removal(monkeypatch, append_one)
    closing.close()
    with Spool(path) as spool:
        assert len(spool.oldest()) == 1


def test_a_spool_that_another_removed_and_made_again_is_not_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    successors = []

    def replace_it(lock: IO[bytes]) -> None:
        fcntl.flock(lock, fcntl.LOCK_UN)
        Spool(path).close()
        successors.append(Spool(path))

    closing = Spool(path)
    before_the_removal(monkeypatch, replace_it)
    closing.close()
    assert path.exists()
    successors[0].close()


def test_nothing_is_lost_while_a_spool_is_emptied_removed_and_made_again(path: Path) -> None:
    appended, threads = 40, 4
    done = threading.Event()
    seen: set[str] = set()

    def append_some(thread: int) -> None:
        for number in range(appended):
            with Spool(path) as spool:
                append(spool, thread * appended + number)

    def empty() -> None:
        with Spool(path) as spool:
            if spool.may_send():
                records = spool.oldest()
                seen.update(record.run_id for record in records)
                spool.delete(records)

    def empty_until_done() -> None:
        while not done.is_set():
            empty()

    with ThreadPoolExecutor(threads + 1) as pool:
        emptying = pool.submit(empty_until_done)
        for each in [pool.submit(append_some, thread) for thread in range(threads)]:
            each.result()
        done.set()
        emptying.result()
    empty()
    assert len(seen) == appended * threads

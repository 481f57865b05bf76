"""Process groups that were left behind, found by the lock that they hold: real ones."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runner.worlds import group_lock
from runner.worlds.group_lock import end_left_behind, has_ended_well, witnessed
from runner.worlds.kept import empty
from runner.worlds.process import ProcessGroups
from streams.errors import BadInput
from tests.waiting import wait_until

# With a worker, which holds the lock as well.
WAITS = """
import os, threading
os.fork()
os.write(1, b"up\\n")
threading.Event().wait()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    (tmp_path / "a.lock").touch()
    return tmp_path / "a.lock"


@contextmanager
def left_behind(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A group of two processes under the lock, both at work."""
    process = ProcessGroups().start([sys.executable, "-c", WAITS], locks=[lock], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert [process.stdout.readline() for _ in range(2)] == [b"up\n"] * 2
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def is_held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_group_that_was_left_behind_is_ended_with_all_its_processes(lock: Path) -> None:
    with left_behind(lock) as process:
        assert process.stdout is not None
        end_left_behind(lock)
        assert process.wait(5) == -signal.SIGKILL
        assert not is_held(lock)
        assert process.stdout.read() == b""  # the worker has it no more, either


@pytest.mark.parametrize("name", ["generator.lock", "critic-judge.lock"])
def test_what_is_at_work_on_a_candidate_is_ended_before_its_folder_is_emptied(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).touch()
    with left_behind(tmp_path / name) as process:
        empty(tmp_path)
        assert process.wait(5) == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_a_group_whose_leader_is_gone_is_ended_too(lock: Path) -> None:
    with left_behind(lock) as process:
        assert process.stdout is not None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert is_held(lock)
        end_left_behind(lock)
        assert not is_held(lock)
        assert process.stdout.read() == b""


def test_where_nobody_holds_the_lock_whoever_has_that_id_now_is_left_alone(lock: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    group_lock.note_group(lock, other.pid)
    end_left_behind(lock)
    other.communicate(b"\n")
    assert other.returncode == 0


def test_a_group_on_another_machine_is_named_and_left(lock: Path) -> None:
    with left_behind(lock) as process:
        lock.write_text(f"group {process.pid} on node-3\n")
        with pytest.raises(BadInput, match=rf"process group {process.pid} on node-3 is still running"):
            end_left_behind(lock)
        assert process.poll() is None


def test_a_lock_that_stays_held_is_refused(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one that nobody noted, as where its caller was killed between starting and noting it."""
    monkeypatch.setattr(group_lock, "_GONE_S", 0.1)
    with left_behind(lock):
        lock.write_text("")
        with pytest.raises(BadInput, match="an earlier process group is still running; end it first"):
            end_left_behind(lock)


def test_a_lock_that_was_not_laid_is_not_made(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    groups = ProcessGroups()
    groups.end(groups.start(["true"], locks=[lock]))
    end_left_behind(lock)
    assert not has_ended_well(lock)
    assert not lock.exists()


def test_the_caller_does_not_hold_it(lock: Path) -> None:
    groups = ProcessGroups()
    process = groups.start(["true"], locks=[lock])
    process.wait()
    assert not is_held(lock)
    groups.end(process)


@pytest.mark.parametrize(("ends", "well"), [("exit 0", True), ("exit 3", False), ("kill -9 $$", False)])
def test_a_witnessed_programs_end_is_known_though_its_caller_is_gone(
    lock: Path, ends: str, well: bool
) -> None:
    script = f"exec 3>&-; {ends}"
    process = ProcessGroups().start(witnessed(["/bin/sh", "-c", script], lock), locks=[lock])
    wait_until(lambda: "status" in lock.read_text())
    assert has_ended_well(lock) == well
    assert (process.wait(5) == 0) == well


def test_a_witnessed_program_that_was_ended_with_its_witness_has_not_ended_well(lock: Path) -> None:
    process = ProcessGroups().start(witnessed(["sleep", "60"], lock), locks=[lock])
    end_left_behind(lock)
    assert process.wait(5) == -signal.SIGKILL
    assert not has_ended_well(lock)


def test_a_witnessed_program_is_ended_whose_caller_was_killed_before_it_could_note_the_group(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.worlds.process.note_group", lambda lock, group: None)
    process = ProcessGroups().start(witnessed(["sleep", "60"], lock), locks=[lock])
    end_left_behind(lock)
    assert process.wait(5) == -signal.SIGKILL


def test_a_witnessed_program_has_its_arguments_as_they_are(tmp_path: Path) -> None:
    lock = tmp_path / "a $(b) 'c'.lock"
    lock.touch()
    words = ["", "a b", '$(x) "y"', "-n", "é\n"]
    printing = [sys.executable, "-c", "import sys; print(sys.argv[1:])", *words]
    said = subprocess.run(witnessed(printing, lock), capture_output=True, text=True, check=True)
    assert said.stdout == f"{words}\n"
    assert has_ended_well(lock)


@pytest.mark.parametrize(("earlier", "later"), [(0, 3), (3, 0)])
def test_what_an_earlier_group_left_in_it_is_not_of_the_next_one(
    lock: Path, earlier: int, later: int
) -> None:
    groups = ProcessGroups()
    for status in (earlier, later):
        process = groups.start(witnessed(["/bin/sh", "-c", f"exit {status}"], lock), locks=[lock])
        process.wait()
        groups.end(process)
    assert has_ended_well(lock) == (later == 0)

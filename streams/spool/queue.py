"""The durable queue in front of Kafka: one SQLite file; a record is deleted once Kafka has it.

Any number of threads and processes may append to the file, but only one process at a time sends from it: the
one that holds an ``flock`` on ``<file>.sender``, which the kernel releases however a process ends. The file
belongs on a local disk; SQLite's write-ahead log and ``flock`` both need one.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streams.errors import BadInput
from streams.fail_points import reach
from streams.files import sync_directory
from streams.messages.stored import Record
from streams.spool.shared_file import SharedFile
from streams.spool.spool_file import APPLICATION_ID, is_spool, may_become_spool

MAX_BYTES = 1 << 30
BATCH_RECORDS = 500
BATCH_BYTES = 4 << 20

_PAGE_BYTES = 4096
_SUFFIXES = ("", "-wal", "-shm")
_LOOK_AGAIN_S = 0.01
_BUSY_S = 10.0  # how long another process's write may take
_KEPT_LOG_BYTES = 4 << 20
_SPARE_BYTES = 16 << 20
_FULL = "the spool or its disk is full; free some space, or bring the broker back"
_TABLES = """
CREATE TABLE IF NOT EXISTS waiting (
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
  run_id TEXT NOT NULL, appended_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS quarantined (
  id INTEGER PRIMARY KEY, topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
  run_id TEXT NOT NULL, appended_at REAL NOT NULL, reason TEXT NOT NULL);
"""
_COLUMNS = "topic, key, value, run_id, appended_at"


class SpoolError(BadInput):
    """The spool is full, damaged or unusable; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class SpooledRecord(Record):
    """A record that waits in a spool."""

    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolStatus:
    """What a spool holds."""

    waiting: dict[str, int]
    """Run to the number of its records that Kafka has not acknowledged yet."""
    waiting_bytes: int
    """Total size of their values."""
    oldest_age_s: float | None
    """Seconds since the oldest of them was appended; None if none waits."""
    quarantined: dict[str, list[str]]
    """Run to the reasons why some of its records cannot be published."""


class Spool:
    """A queue of records in the file ``path``, which is created if missing, unless ``create`` is off.

    ``max_bytes`` limits the file; its write-ahead log takes a few MiB more. 16 MiB of the disk stay free.
    Every method, and the constructor, raises SpoolError if the file cannot be used. Thread-safe.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, create: bool = True) -> None:
        self.path = path
        self._appending = threading.Lock()
        self._reading = threading.Lock()
        if not create and not path.is_file():
            raise SpoolError(f"{path}: no such spool; check the path (an empty spool is removed)")
        if not create:
            self._check(is_spool)  # before any other file is created
        try:
            self._file = SharedFile(path)
        except OSError as error:
            raise SpoolError(f"{path}: cannot be used: {error.strerror}") from None
        try:
            if create:
                self._check(may_become_spool)  # from here on no other process can remove the file
            with self._errors_explained():
                # Two connections, so that a large read does not delay appends.
                self._appender = self._connect("FULL", max_bytes)
                self._reader = self._connect("NORMAL", max_bytes)
                sync_directory(path.parent)
        except BaseException:
            self._file.close(tuple)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, topic: str, key: bytes, value: bytes, run_id: str) -> None:
        """Add a record; on return it survives a power cut. Raises SpoolError if there is no room."""
        self._check_disk()
        with self._errors_explained(), self._appending:
            self._appender.execute(
                f"INSERT INTO waiting ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
                (topic, key, value, run_id, time.time()),
            )
        reach("spool.appended")

    def oldest(self, limit: int = BATCH_RECORDS, max_bytes: int = BATCH_BYTES) -> list[SpooledRecord]:
        """The oldest records: at least one if any waits, and no more than ``max_bytes`` unless it is just
        one."""
        records: list[SpooledRecord] = []
        size = 0
        with self._errors_explained(), self._reading:
            query = "SELECT topic, key, value, run_id, id FROM waiting ORDER BY id LIMIT ?"
            rows = self._reader.execute(query, (limit,))
            try:
                for row in rows:
                    size += len(row[2])
                    if records and size > max_bytes:
                        break
                    records.append(SpooledRecord(*row))
            finally:
                rows.close()  # an open read would keep the write-ahead log from being reused
        return records

    def delete(self, records: Sequence[SpooledRecord]) -> None:
        """Remove records that Kafka has. After a power cut they may reappear and be sent twice."""
        with self._transaction() as transaction:
            transaction.executemany("DELETE FROM waiting WHERE id = ?", [(record.id,) for record in records])

    def quarantine(self, record: Record, reason: str) -> None:
        """Set aside a record that Kafka will never accept, whether or not it waits here."""
        if not isinstance(record, SpooledRecord):
            self._check_disk()
        with self._transaction() as transaction:
            if isinstance(record, SpooledRecord):
                # First, to make room in a full spool.
                transaction.execute("DELETE FROM waiting WHERE id = ?", (record.id,))
            transaction.execute(
                f"INSERT INTO quarantined ({_COLUMNS}, reason) VALUES (?, ?, ?, ?, ?, ?)",
                (record.topic, record.key, record.value, record.run_id, time.time(), reason),
            )

    def wait_again(self) -> None:
        """Move quarantined records to the end of the queue; their cause may be fixed."""
        with self._transaction() as transaction:
            transaction.execute(
                f"INSERT INTO waiting ({_COLUMNS}) SELECT {_COLUMNS} FROM quarantined ORDER BY id"
            )
            transaction.execute("DELETE FROM quarantined")

    def is_empty(self) -> bool:
        """Whether no record waits; quarantined ones do not count."""
        with self._errors_explained(), self._reading:
            return not self._reader.execute("SELECT EXISTS (SELECT 1 FROM waiting)").fetchone()[0]

    def status(self) -> SpoolStatus:
        """What the spool holds now, from all processes."""
        with self._errors_explained(), self._reading:
            waiting = self._reader.execute(
                "SELECT run_id, COUNT(*), SUM(LENGTH(value)), MIN(appended_at) FROM waiting GROUP BY run_id"
            ).fetchall()
            reasons = self._reader.execute("SELECT run_id, reason FROM quarantined ORDER BY id").fetchall()
        quarantined: dict[str, list[str]] = {}
        for run_id, reason in reasons:
            quarantined.setdefault(run_id, []).append(reason)
        return SpoolStatus(
            waiting={run_id: count for run_id, count, _, _ in waiting},
            waiting_bytes=sum(size for _, _, size, _ in waiting),
            oldest_age_s=max((time.time() - appended for *_, appended in waiting), default=None),
            quarantined=quarantined,
        )

    def may_send(self) -> bool:
        """Whether this process may send: it holds, or now gets, the sender's lock."""
        try:
            return self._file.may_lead()
        except OSError as error:
            raise SpoolError(f"{self.path}: the spool cannot be used: {error.strerror}") from None

    def close(self) -> None:
        """Close the file. The last user removes it if it is empty."""
        with self._reading, self._appending:
            self._appender.close()
            self._reader.close()
        self._file.close(self._suffixes_of_empty)

    def _check(self, is_right: Callable[[Path], bool]) -> None:
        with self._errors_explained():
            if not is_right(self.path):
                raise SpoolError(f"{self.path}: not a spool; check the path")

    def _check_disk(self) -> None:
        """Raises SpoolError if the disk is nearly full: deleting needs room, and so do the run's own
        files."""
        try:
            disk = os.statvfs(self.path.parent)
        except OSError as error:
            raise SpoolError(f"{self.path}: the spool cannot be used: {error.strerror}") from None
        if disk.f_bavail * disk.f_frsize < _SPARE_BYTES:
            raise SpoolError(f"{self.path}: {_FULL}")

    def _suffixes_of_empty(self) -> Sequence[str]:
        """Suffixes of the files to remove: none if the spool holds a record or cannot be read."""
        query = "SELECT EXISTS (SELECT 1 FROM waiting) OR EXISTS (SELECT 1 FROM quarantined)"
        if not self.path.exists():
            return ()
        connection = sqlite3.connect(self.path)
        try:
            return () if connection.execute(query).fetchone()[0] else _SUFFIXES
        except sqlite3.Error:
            return ()  # damaged: the next user gets the error
        finally:
            connection.close()

    def _connect(self, synchronous: str, max_bytes: int) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            _use_write_ahead_log(connection)
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute(f"PRAGMA journal_size_limit = {_KEPT_LOG_BYTES}")
            connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // _PAGE_BYTES)}")
            has_tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            if not has_tables:
                connection.executescript(
                    f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; {_TABLES} COMMIT;"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction without an fsync: it need not be durable at once."""
        with self._errors_explained(), self._reading, self._appending:
            self._reader.execute("BEGIN IMMEDIATE")
            try:
                yield self._reader
                self._reader.execute("COMMIT")
            except BaseException:
                if self._reader.in_transaction:
                    self._reader.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise SpoolError(f"{self.path}: {_explanation(error)}") from error


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Retries if two processes create the same file: SQLite fails for one of them without waiting."""
    give_up = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(_LOOK_AGAIN_S)
        else:
            return


def _explanation(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return _FULL
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "the spool is damaged; remove it, and send the traces of its runs with `tribrain log publish`"
    return f"the spool cannot be used: {error}"

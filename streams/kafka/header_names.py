"""Tolerates header names that are not UTF-8, which a client in C can write.

Both Python clients raise on such a record, and again after every restart. Here invalid bytes in the name are
read as ``\\xff``, and the rest of the record as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any


class _Names(bytearray):
    """A buffer whose parts can all be decoded."""

    def __getitem__(self, at: Any) -> Any:
        part = super().__getitem__(at)
        return part if isinstance(part, int) else _Names(part)

    def decode(self, *_: Any, **__: Any) -> str:
        return super().decode("utf-8", "backslashreplace")


def tolerate_in_kafka_python() -> None:
    """Applies from now on to all consumers of the process; may be called again."""
    from kafka.record import memory_records
    from kafka.record.default_records import DefaultRecordBatch

    if memory_records.DefaultRecordBatch is not DefaultRecordBatch:
        return

    class Batch(DefaultRecordBatch):  # type: ignore[misc]
        _buffer: Any

        def _read_msg(self, *arguments: Any) -> Any:
            try:
                return super()._read_msg(*arguments)
            except UnicodeDecodeError:
                self._buffer = _Names(self._buffer)
                return super()._read_msg(*arguments)

    memory_records.DefaultRecordBatch = Batch


def tolerate_in_aiokafka() -> None:
    """Applies from now on to all consumers of the process; may be called again.

    Call it only when needed: batches of one message then cost 24 µs instead of 2.
    """
    from aiokafka.consumer import fetcher

    fetcher.MemoryRecords = _Records


class _Records:
    """Replaces aiokafka's class: the batches in the answer to a fetch."""

    def __init__(self, data: bytes) -> None:
        from aiokafka.record.memory_records import _MemoryRecordsPy

        self._records: Any = _MemoryRecordsPy(data)
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> Any:
        raw = self._records._next_slice
        batch = self._records.next_batch()
        return batch if batch is None or batch.magic < 2 else _Batch(batch, raw)


class _Batch:
    """A batch read by aiokafka's fast code, and by its slow code from the first invalid name on."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch, self._raw = batch, raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        given = 0
        try:
            for record in self._batch:
                given += 1
                yield record
        except UnicodeDecodeError:
            yield from islice(self._slowly(), given, None)

    def _slowly(self) -> Any:
        from aiokafka.record.default_records import _DefaultRecordBatchPy

        batch: Any = _DefaultRecordBatchPy(self._raw)  # type: ignore[arg-type, unused-ignore]
        batch._maybe_uncompress()
        batch._buffer = _Names(batch._buffer)
        return iter(batch)

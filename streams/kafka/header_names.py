"""Names of headers that are no UTF-8, as a client in C may write them.

Neither client for Python has a way past such a record: each raises, and again at every start. Here its name
is read with what is no UTF-8 written as ``\\xff``, and all else of the record as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any


class _Names(bytearray):
    """A buffer of which every part can be decoded."""

    def __getitem__(self, at: Any) -> Any:
        part = super().__getitem__(at)
        return part if isinstance(part, int) else _Names(part)

    def decode(self, *_: Any, **__: Any) -> str:
        return super().decode("utf-8", "backslashreplace")


def tolerate_in_kafka_python() -> None:
    """From now on, in all consumers of the process; may be called again."""
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
    """From now on, in all consumers of the process; to be called once it is needed, since batches of single
    messages then cost 24 µs rather than 2. May be called again."""
    from aiokafka.consumer import fetcher

    fetcher.MemoryRecords = _Records


class _Records:
    """Stands for aiokafka's own: the batches of an answer to a fetch."""

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
    """A batch that is read by aiokafka's fast code, and from the first such name on by the slow one."""

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

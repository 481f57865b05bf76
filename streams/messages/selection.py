"""Selects the part of the log to replay: by time, by offset or by run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from streams.messages.codec import ContractError, decode_pair, decode_trace
from streams.messages.contracts import Rollback, RunRevision
from streams.messages.stored import StoredMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Bounds on messages; without any, everything is selected.

    Times are Kafka's timestamps, in milliseconds since 1970-01-01 UTC. Offsets map a partition to an offset;
    the key None means all partitions not named. Lower bounds are inclusive and upper bounds exclusive,
    so a snapshot's ``consumed`` as the upper bound selects exactly what it had consumed.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    from_offsets: Mapping[int | None, int] = field(default_factory=dict)
    to_offsets: Mapping[int | None, int] = field(default_factory=dict)
    runs: frozenset[str] = frozenset()

    @property
    def is_prefix(self) -> bool:
        """Whether it selects everything up to its upper bounds."""
        return self.since_ms is None and not self.from_offsets and not self.runs

    def is_within(self, message: StoredMessage) -> bool:
        """Whether a message is selected by time and offset."""
        return (
            (self.since_ms is None or message.timestamp_ms >= self.since_ms)
            and (self.until_ms is None or message.timestamp_ms < self.until_ms)
            and message.offset >= _bound(self.from_offsets, message.partition, 0)
            and message.offset < _bound(self.to_offsets, message.partition, message.offset + 1)
        )

    def reaches(self, topic_offsets: Mapping[str, int]) -> bool:
        """Whether the upper bounds include everything before these offsets (partition to offset)."""
        return all(
            offset <= _bound(self.to_offsets, int(partition), offset)
            for partition, offset in topic_offsets.items()
        )


def select_pairs(messages: Iterable[StoredMessage], selection: Selection) -> Iterator[StoredMessage]:
    """The selected messages of the pairs topic. A rollback belongs to no run.

    If the beginning is left out, the pairs' numbers are dropped, too: they would show that pairs are missing.
    """
    for message in messages:
        if not selection.is_within(message):
            continue
        if selection.runs:
            try:
                decoded = decode_pair(message.value, message.source)
            except ContractError:
                continue
            if isinstance(decoded, Rollback) or decoded.run_id not in selection.runs:
                continue
        yield message if selection.is_prefix else message.without_number()


def select_runs(read: Callable[[], Iterable[StoredMessage]], selection: Selection) -> Iterator[StoredMessage]:
    """All messages of the selected runs on the trace topic; ``read`` reads the topic, and is called twice.

    A run is selected as a whole, by its first message, because half a run does not give the same pairs. Each
    revision of a run is selected in the same way.
    """
    if selection == Selection():
        return iter(read())
    first: dict[RunRevision, StoredMessage] = {}
    for message in read():
        run = _run_of(message)
        if run is not None and (run not in first or _order(message) < _order(first[run])):
            first[run] = message
    chosen = {
        run
        for run, message in first.items()
        if selection.is_within(message) and (not selection.runs or run[0] in selection.runs)
    }
    return (message for message in read() if _run_of(message) in chosen)


def _run_of(message: StoredMessage) -> RunRevision | None:
    try:
        return decode_trace(message.value, message.source).run
    except ContractError:
        return None


def _order(message: StoredMessage) -> tuple[int, int, int]:
    return message.timestamp_ms, message.partition, message.offset


def _bound(offsets: Mapping[int | None, int], partition: int, otherwise: int) -> int:
    return offsets.get(partition, offsets.get(None, otherwise))

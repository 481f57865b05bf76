"""Which part of the log is to be replayed: by time, by offset, by run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from streams.messages.codec import ContractError, decode_pair, decode_trace
from streams.messages.contracts import Rollback, RunRevision
from streams.messages.stored import StoredMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Bounds on messages; without any, everything.

    Times are milliseconds since 1970-01-01 UTC, as Kafka stamped the messages. Offsets are partition to
    offset, and under None for every partition that is not named. Both reach from the first bound to just
    before the second, so a snapshot's stamp as the second gives what it had consumed.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    from_offsets: Mapping[int | None, int] = field(default_factory=dict)
    to_offsets: Mapping[int | None, int] = field(default_factory=dict)
    runs: frozenset[str] = frozenset()

    @property
    def is_prefix(self) -> bool:
        """Whether it leaves out nothing but what lies behind it."""
        return self.since_ms is None and not self.from_offsets and not self.runs

    def is_within(self, message: StoredMessage) -> bool:
        """By time and offset."""
        return (
            (self.since_ms is None or message.timestamp_ms >= self.since_ms)
            and (self.until_ms is None or message.timestamp_ms < self.until_ms)
            and message.offset >= _bound(self.from_offsets, message.partition, 0)
            and message.offset < _bound(self.to_offsets, message.partition, message.offset + 1)
        )

    def reaches(self, topic_offsets: Mapping[str, int]) -> bool:
        """Whether everything before these offsets, partition to offset, is within the upper bounds."""
        return all(
            offset <= _bound(self.to_offsets, int(partition), offset)
            for partition, offset in topic_offsets.items()
        )


def select_pairs(messages: Iterable[StoredMessage], selection: Selection) -> Iterator[StoredMessage]:
    """The selected messages of the pairs topic. A rollback is of no run.

    Where the beginning is left out, numbers within runs are, too: they would tell that something is missing.
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
    """All messages of the selected runs on the trace topic; ``read`` reads it, and is called twice.

    A run is selected by its first message and is then whole, since half a run does not give its pairs; so is
    each revision of it.
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

"""Messages as they were read from a topic, or are to be written: bytes, nothing decoded."""

from __future__ import annotations

from dataclasses import dataclass

Headers = tuple[tuple[str, bytes], ...]
"""Names and values, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message that a broker holds."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """Milliseconds since 1970-01-01 UTC, as the producer or the broker stamped it."""
    key: bytes | None
    value: bytes
    """Empty for a tombstone."""
    headers: Headers = ()

    @property
    def source(self) -> str:
        """Where it stands, for errors: ``tribrain.trace[0]@4127``."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be written."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()
    partition: int | None = None
    """By default the one that the key decides."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be on Kafka, and the run that it is of."""

    topic: str
    key: bytes
    value: bytes
    run_id: str

"""How large a message may be and what may stand in it: the one place for both.

Sizes first. A record's bytes are those of its key, value and headers, before compression. A topic takes
``topic_bytes`` of its largest record, and a producer needs that of the largest that it may have to write.

Then bounds, for what is read and what is written alike. They are wide enough for anything that is meant, and
narrow enough that no arithmetic behind them leaves double precision, and no message costs more than its size.
"""

from __future__ import annotations

MAX_RECORD_BYTES = 900_000
"""Of what a runner sends: below the 1 MiB of a broker's default ``message.max.bytes``, so that an oversize
record fails at home."""
MAX_TRACE_BYTES = 4 << 20
"""Of a value on the trace topic or a line of ``trace.jsonl``. Compression brings a foreign client's larger
values past the broker, and a file knows no broker."""
MAX_SNAPSHOT_BYTES = 16 << 20
"""Of a snapshot or a checkpoint."""
MAX_PAIR_BYTES = 2 * MAX_SNAPSHOT_BYTES + (2 << 20)
"""Of a value on the pairs topic. A rollback carries a checkpoint in base64, a third longer. A pair has the
texts, contexts and scores of two trace events: a number may be written 3.8 times as long as it was read, and
names of critics are written once a score."""
MAX_DEAD_LETTER_BYTES = 2 << 20
"""Of a dead letter. All that a topic with a broker's default ``message.max.bytes`` takes fits in whole."""
ENVELOPE_BYTES = 64 << 10
"""What Kafka's own framing may add to a record; generous."""


def topic_bytes(record_bytes: int) -> int:
    """``max.message.bytes`` of a topic, or ``max_request_size`` of a producer, for records of this size."""
    return record_bytes + ENVELOPE_BYTES

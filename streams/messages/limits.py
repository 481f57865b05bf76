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
"""Of a value on the trace topic or a line of ``trace.jsonl``. The topic takes as much of
any client, and a file knows no broker."""
MAX_SNAPSHOT_BYTES = 16 << 20
"""Of a snapshot or a checkpoint."""
MAX_STATE_BYTES = 256 << 20
"""Of a checkpoint's JSON: a frame that claims more is not unpacked."""
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


MAX_ID_CHARS = 512
"""Of the ids of runs, tasks and pairs, and of models' names: they are keys on Kafka and names of folders."""
MAX_NAME_CHARS = 256
"""Of a critic, of its mode, and of an entry of a context: they become names of features."""
MAX_SCORE_NAME_CHARS = 2 * MAX_NAME_CHARS + 1
"""Of a critic and mode with the point between them."""
MAX_SCORES = 512
"""Of one candidate: a learner's work grows with their square."""
MAX_CONTEXT_ENTRIES = 128
MAX_NUMBER = 1e6
"""Of a critic's score in its own unit, or a number in a context, either sign. A difference of two in units
of .25 is 8e6 at most, whose square times a prior variance of .06 is 4e12: double precision then still tells
a posterior variance from none."""
MAX_WEIGHT = 1_000.0
"""Of a pair."""
MAX_DIMENSIONS = 8
"""Of a reward model, beside the overall reward: snapshot and checkpoint grow with their number."""
MAX_TIE_NU = 1_000.0
"""At which 998 of 1,000 labels of equal candidates are ties."""
MAX_ITERATIONS = 100_000
"""Of a run: the end that names them all is 589 kB, and is a record."""
MAX_COUNT = 2**53
"""The whole numbers that double precision holds."""
MAX_DEPTH = 64
"""Of objects and lists within each other, in what is free in form."""

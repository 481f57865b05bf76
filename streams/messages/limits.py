"""All limits of messages: their sizes, and bounds on their contents.

Sizes count a record's key, value and headers before compression. A topic's limit is ``topic_bytes`` of its
largest record; a producer's is that of the largest record it may have to write.

Bounds apply to reading and writing alike. They are wide enough for any sensible value, and narrow enough that
later arithmetic stays within double precision and the cost of a message stays proportional to its size.
"""

from __future__ import annotations

MAX_RECORD_BYTES = 900_000
"""A record that a runner sends: below 1 MiB, a broker's default ``message.max.bytes``, so that an oversized
record already fails in the runner."""
MAX_TRACE_BYTES = 4 << 20
"""A value on the trace topic, from any client, or a line of ``trace.jsonl``."""
MAX_SNAPSHOT_BYTES = 16 << 20
"""A snapshot or a checkpoint."""
MAX_STATE_BYTES = 256 << 20
"""A checkpoint's JSON; a frame that states more is not unpacked."""
MAX_PAIR_BYTES = 2 * MAX_SNAPSHOT_BYTES + (2 << 20)
"""A value on the pairs topic. A rollback carries a checkpoint in base64, which is a third longer. A pair has
the texts, contexts and scores of two trace events: a number may be written 3.8 times as long as it was read,
and a critic's name is repeated for each score."""
MAX_DEAD_LETTER_BYTES = 2 << 20
"""A dead letter. Every message of a topic with a broker's default ``message.max.bytes`` fits in full."""
ENVELOPE_BYTES = 64 << 10
"""Overhead of Kafka's own framing per record; generous."""


def topic_bytes(record_bytes: int) -> int:
    """``max.message.bytes`` of a topic, or ``max_request_size`` of a producer, for records of this size."""
    return record_bytes + ENVELOPE_BYTES


MAX_ID_CHARS = 512
"""Ids of runs, tasks and pairs, and model names: they become keys on Kafka and names of folders."""
MAX_NAME_CHARS = 256
"""Names of critics, modes and context entries: they become names of features."""
MAX_SCORE_NAME_CHARS = 2 * MAX_NAME_CHARS + 1
"""A critic and a mode, joined by a dot."""
MAX_SCORES = 512
"""Scores per candidate: a learner's work grows with their square."""
MAX_CONTEXT_ENTRIES = 128
MAX_NUMBER = 1e6
"""Absolute value of a critic's score in its own unit, or of a number in a context. The difference of two
scores in units of .25 is at most 8e6. Its square times a prior variance of .06 is 4e12, at which double
precision still distinguishes a posterior variance from zero."""
MAX_WEIGHT = 1_000.0
"""Weight of a pair."""
MAX_DIMENSIONS = 8
"""Dimensions of a reward model besides the overall reward: snapshot and checkpoint grow with their number."""
MAX_TIE_NU = 1_000.0
"""At this value 998 of 1,000 labels of equal candidates are ties."""
MAX_ITERATIONS = 100_000
"""Iterations of a run: an end that lists this many has 589 kB, which still fits in a record."""
MAX_COUNT = 2**53
"""The largest range of whole numbers that doubles represent exactly."""
MAX_DEPTH = 64
"""Nesting of objects and lists in free-form fields."""

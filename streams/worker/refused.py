"""Dead letters that replace messages too large for their topic.

Topics made by `tribrain log topics create` accept every valid message. Topics made otherwise may not, and
sending the same message again would not help.
"""

from __future__ import annotations

import hashlib
import logging

from streams.messages.dead_letters import dead_letter, shortened
from streams.messages.stored import Outgoing, StoredMessage

log = logging.getLogger(__name__)

_LETTER_BYTES = (256 << 10, 16 << 10)
"""Sizes to try for a dead letter that is itself too large; the second leaves little more than its origin."""


def in_its_place(
    message: Outgoing, repeated: StoredMessage | None, dead_letters_topic: str, now_ms: int
) -> Outgoing | None:
    """The dead letter for a message that was refused at ``now_ms``.

    A message that is itself a dead letter gives a shorter one, or None if it cannot be shortened further.
    ``repeated`` is the original if the message was a copy of one already on Kafka.
    """
    if message.topic == dead_letters_topic:
        letters = (shortened(message, most) for most in _LETTER_BYTES)
        return next((letter for letter in letters if letter.size < message.size), None)
    source = repeated or _never_written(message, now_ms)
    reason = (
        f"{source}: topic {message.topic!r} does not accept its {message.size} bytes (before compression); "
        "`tribrain log topics create` raises the topic's limit"
    )
    if source.number is not None:
        reason += "; later pairs of its run are skipped"
    log.warning("dead letter: %s", reason)
    return dead_letter(source, reason, dead_letters_topic, kind="too large")


def _never_written(message: Outgoing, now_ms: int) -> StoredMessage:
    """The message as if it were on its topic, at a negative offset derived from its content."""
    whole = hashlib.sha256(repr((message.key, message.value, message.headers)).encode()).digest()
    return StoredMessage(
        topic=message.topic,
        partition=message.partition or 0,
        offset=-1 - int.from_bytes(whole[:6]),
        timestamp_ms=now_ms,
        key=message.key,
        value=message.value,
        headers=message.headers,
    )

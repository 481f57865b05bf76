"""What is written in the place of a message that its topic does not take for its size.

Topics that `tribrain log topics create` made take all that may come. One that was made otherwise may not, and
to send the same again would be of no use.
"""

from __future__ import annotations

import hashlib
import logging

from streams.messages.dead_letters import dead_letter, shortened
from streams.messages.stored import Outgoing, StoredMessage

log = logging.getLogger(__name__)

_LETTER_BYTES = (256 << 10, 16 << 10)
"""Of a letter in place of one that is too large itself; the second has hardly more than its origin."""


def in_its_place(
    message: Outgoing, repeated: StoredMessage | None, dead_letters_topic: str, now_ms: int
) -> Outgoing | None:
    """The dead letter of a message that was refused at ``now_ms``; a shorter one where it is a letter itself,
    and None where that could be no shorter.

    ``repeated`` is the message that this one was to write again, where it was.
    """
    if message.topic == dead_letters_topic:
        letters = (shortened(message, most) for most in _LETTER_BYTES)
        return next((letter for letter in letters if letter.size < message.size), None)
    source = repeated or _never_written(message, now_ms)
    reason = (
        f"{source}: topic {message.topic!r} does not take it, with {message.size} bytes before compression; "
        "`tribrain log topics create` raises the topic's limit"
    )
    if source.number is not None:
        reason += "; the pairs of its run behind it are passed over"
    log.warning("dead letter: %s", reason)
    return dead_letter(source, reason, dead_letters_topic, kind="too large")


def _never_written(message: Outgoing, now_ms: int) -> StoredMessage:
    """As if it stood on its topic: at an offset below 0, which is the same for the same message."""
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

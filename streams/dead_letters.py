"""A message that cannot be used, as a message on the dead-letter topic: nothing of it is lost.

Key and value are the original bytes, so a dead letter is replayed by writing it back to its source topic.
"""

from __future__ import annotations

from streams.messages import Outgoing, StoredMessage


def dead_letter(message: StoredMessage, reason: str, topic: str) -> Outgoing:
    """The dead letter of ``message`` on ``topic``.

    Its headers say why and where from: ``reason``, ``source.topic``, ``source.partition``, ``source.offset``
    and ``source.timestamp_ms`` (text), followed by the message's own headers.
    """
    return Outgoing(
        topic=topic,
        key=message.key,
        value=message.value,
        headers=(
            ("reason", reason.encode(errors="replace")),
            ("source.topic", message.topic.encode()),
            ("source.partition", str(message.partition).encode()),
            ("source.offset", str(message.offset).encode()),
            ("source.timestamp_ms", str(message.timestamp_ms).encode()),
            *message.headers,
        ),
    )

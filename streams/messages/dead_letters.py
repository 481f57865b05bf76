"""Messages that cannot be used, on a topic of their own: nothing of them is lost.

Key and value are the original bytes, so a dead letter is replayed by writing it back to its source topic.
That it was replayed is an event, too: a message without a value that names the letter. A letter that still
cannot be used comes back as a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streams.messages.stored import Outgoing, StoredMessage

_REPLAYED = "replayed.source"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message on the dead-letter topic, and where it came from."""

    reason: str
    source_topic: str
    source_partition: int
    source_offset: int
    source_timestamp_ms: int
    key: bytes | None
    value: bytes

    @property
    def name(self) -> str:
        """``tribrain.trace[0]@17``: a message that is read twice makes the same letter twice."""
        return f"{self.source_topic}[{self.source_partition}]@{self.source_offset}"


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


def pending_letters(messages: Iterable[StoredMessage]) -> list[DeadLetter]:
    """The letters among the messages of a dead-letter topic that were not replayed, each once, oldest first.

    What is on the topic without the headers of a letter is passed over.
    """
    pending: dict[str, DeadLetter] = {}
    for message in messages:
        headers = dict(reversed(message.headers))  # a letter's own headers come first, and count
        if _REPLAYED in headers:
            pending.pop(headers[_REPLAYED].decode(), None)
        elif (letter := _letter(message, headers)) is not None:
            pending.setdefault(letter.name, letter)
    return list(pending.values())


def replay_of(letter: DeadLetter, topic: str) -> tuple[Outgoing, Outgoing]:
    """The original message again on its source topic, and then the mark on ``topic`` that it was replayed."""
    mark = Outgoing(topic, letter.key, b"", ((_REPLAYED, letter.name.encode()),))
    return Outgoing(letter.source_topic, letter.key, letter.value), mark


def _letter(message: StoredMessage, headers: dict[str, bytes]) -> DeadLetter | None:
    try:
        return DeadLetter(
            reason=headers["reason"].decode(),
            source_topic=headers["source.topic"].decode(),
            source_partition=int(headers["source.partition"]),
            source_offset=int(headers["source.offset"]),
            source_timestamp_ms=int(headers["source.timestamp_ms"]),
            key=message.key,
            value=message.value,
        )
    except (KeyError, ValueError):
        return None

"""Dead letters: messages that cannot be used, kept in full on a topic of their own.

Key and value are the original bytes, so a dead letter is replayed by writing it back to its source topic. A
mark, a message without a value that names the letter, records that. A message that still cannot be used comes
back as a new letter.

A message that is too large for a letter is truncated. The letter's headers give its full size, its SHA-256
and its position. Such a letter cannot be replayed. A letter that can never be used is dismissed: only the
mark is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from streams.errors import BadInput
from streams.messages.limits import MAX_DEAD_LETTER_BYTES
from streams.messages.stored import Headers, Outgoing, StoredMessage

_DONE = "replayed.source"
"""Header of a mark. A dismissed letter has the same one, which earlier versions know."""
_OWN = "message."
"""Prefix of the names of the message's own headers."""
_KIND = "kind"
_OF_A_LETTER = {"reason", "source.topic", "source.partition", "source.offset", "source.timestamp_ms"}
_MAX_REASON_BYTES = 4_000
_MAX_PART_BYTES = 64 << 10
"""Limit for the key, and for all headers together, in a truncated letter; the value gets the rest."""
_HEADER_BYTES = 16
"""Overhead of a header in addition to its name and value; generous."""
_SPARE_BYTES = 8 << 10
"""Room for the letter's own headers."""


KINDS = ("damaged", "not finite", "not usable", "too large", "unexpected error", "unknown")
"""Reasons in two words, by which letters are counted. Letters of earlier versions have none: they are
unknown."""


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
    headers: Headers = ()
    """The message's own headers."""
    cut: tuple[str, ...] = ()
    """Truncated parts, with full size and hash, in words; empty for a complete letter."""
    damaged: str = ""
    """The letter's own position if its headers do not give its source; otherwise empty."""
    kind: str = "unknown"
    """One of KINDS."""

    @property
    def name(self) -> str:
        """``tribrain.trace[0]@17``: a message that is read twice gives the same name twice."""
        return self.damaged or f"{self.source_topic}[{self.source_partition}]@{self.source_offset}"


def dead_letter(
    message: StoredMessage,
    reason: str,
    topic: str,
    max_bytes: int = MAX_DEAD_LETTER_BYTES,
    *,
    kind: str = "not usable",
) -> Outgoing:
    """The dead letter of ``message`` on ``topic``, of at most ``max_bytes`` bytes (at least 256 KiB).

    Its headers give the reason and the source: ``reason``, ``kind`` (one of KINDS), ``source.topic``,
    ``source.partition``, ``source.offset`` and ``source.timestamp_ms`` (text). For truncated parts,
    ``cut.value``, ``cut.key`` and ``cut.headers`` give the full size in bytes and the SHA-256 of the full
    part, separated by a space. The message's own headers follow as ``message.NAME``.
    """
    own = (
        ("reason", reason.encode(errors="replace")[:_MAX_REASON_BYTES]),
        (_KIND, kind.encode()),
        ("source.topic", message.topic.encode()),
        ("source.partition", str(message.partition).encode()),
        ("source.offset", str(message.offset).encode()),
        ("source.timestamp_ms", str(message.timestamp_ms).encode()),
    )
    headers = tuple((_OWN + name, of) for name, of in message.headers)
    return shortened(Outgoing(topic, message.key, message.value, own + headers), max_bytes)


def shortened(letter: Outgoing, max_bytes: int) -> Outgoing:
    """The letter, truncated to ``max_bytes`` (at least 16 KiB) if necessary."""
    key, value = letter.key, letter.value
    own = tuple(header for header in letter.headers if not header[0].startswith(_OWN))
    headers = letter.headers[len(own) :]
    if len(key or b"") + len(value) + _size(headers) + _SPARE_BYTES <= max_bytes:
        return letter
    part = min(_MAX_PART_BYTES, max_bytes // 4)
    cut: list[tuple[str, bytes]] = []
    if _size(headers) > part:
        cut.append(
            ("cut.headers", _whole(b"".join(name.removeprefix(_OWN).encode() + of for name, of in headers)))
        )
        headers = ()
    if key is not None and len(key) > part:
        cut.append(("cut.key", _whole(key)))
        key = key[:part]
    room = max_bytes - len(key or b"") - _size(headers) - _SPARE_BYTES
    if len(value) > room:
        cut.append(("cut.value", _whole(value)))
        value = value[:room]
    # For parts truncated before, keep the size and hash of the original.
    before = {name for name, _ in own}
    own += tuple((name, whole) for name, whole in cut if name not in before)
    return Outgoing(letter.topic, key, value, own + headers)


def kind_of(headers: Headers) -> str:
    """The kind of a letter with these headers, one of KINDS."""
    for name, value in headers:
        if name == _KIND and (kind := value.decode(errors="replace")) in KINDS:
            return kind
    return "unknown"


def pending_letters(messages: Iterable[StoredMessage]) -> list[DeadLetter]:
    """The letters on a dead-letter topic that were neither replayed nor dismissed, each once, oldest first.

    A reader that starts at the beginning of a topic, such as the trainer of another model, writes letters of
    the same messages again; one that was dealt with stays so. A message at the same position with another
    timestamp is a different one, since the topic was recreated. Messages without any of a letter's headers
    are skipped; a letter whose headers cannot be read is damaged.
    """
    pending: dict[str, DeadLetter] = {}
    done: set[tuple[str, int]] = set()
    for message in messages:
        headers = dict(message.headers)
        if _DONE in headers:
            if (marked := pending.pop(headers[_DONE].decode(errors="replace"), None)) is not None:
                done.add((marked.name, marked.source_timestamp_ms))
            continue
        letter = _letter(message, headers)
        if letter is not None and (letter.name, letter.source_timestamp_ms) not in done:
            pending.setdefault(letter.name, letter)
    return list(pending.values())


def replay_of(letter: DeadLetter, topic: str) -> tuple[Outgoing, Outgoing]:
    """The original message for its source topic, then the mark for ``topic`` that the letter was replayed.

    Raises BadInput for a truncated or damaged letter.
    """
    if letter.damaged:
        raise BadInput(f"{letter.name}: the letter is damaged and does not say where it came from")
    if letter.cut:
        raise BadInput(
            f"{letter.name}: the letter is truncated ({', '.join(letter.cut)}) and cannot be replayed; the "
            f"full message is on {letter.source_topic}: fix its writer, write it again, dismiss the letter"
        )
    return Outgoing(letter.source_topic, letter.key, letter.value, letter.headers), mark_of(letter, topic)


def mark_of(letter: DeadLetter, topic: str) -> Outgoing:
    """The mark for ``topic`` that the letter was dealt with."""
    return Outgoing(topic, letter.key, b"", ((_DONE, letter.name.encode()),))


def _letter(message: StoredMessage, headers: dict[str, bytes]) -> DeadLetter | None:
    try:
        return DeadLetter(
            reason=headers["reason"].decode(errors="replace"),
            source_topic=headers["source.topic"].decode(),
            source_partition=int(headers["source.partition"]),
            source_offset=int(headers["source.offset"]),
            source_timestamp_ms=int(headers["source.timestamp_ms"]),
            key=message.key,
            value=message.value,
            headers=tuple(
                (name.removeprefix(_OWN), value) for name, value in message.headers if name.startswith(_OWN)
            ),
            cut=tuple(_in_words(message.headers)),
            kind=kind_of(message.headers),
        )
    except (KeyError, ValueError):
        return _damaged(message, headers) if _OF_A_LETTER & headers.keys() else None


def _damaged(message: StoredMessage, headers: dict[str, bytes]) -> DeadLetter:
    return DeadLetter(
        reason=headers.get("reason", b"").decode(errors="replace"),
        source_topic="",
        source_partition=0,
        source_offset=0,
        source_timestamp_ms=message.timestamp_ms,
        key=message.key,
        value=message.value,
        damaged=message.source,
    )


def _in_words(headers: Headers) -> Iterator[str]:
    for name, value in headers:
        if name.startswith("cut."):
            size, sha256 = value.decode().split()
            yield f"the {name.removeprefix('cut.')} of {int(size):,} bytes, SHA-256 {sha256}"


def _size(headers: Headers) -> int:
    return sum(len(name.encode()) + len(value) + _HEADER_BYTES for name, value in headers)


def _whole(part: bytes) -> bytes:
    return f"{len(part)} {hashlib.sha256(part).hexdigest()}".encode()

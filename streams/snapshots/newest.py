"""The newest message of some keys, searched backwards from the end of the snapshots topic.

A compacted topic still holds many overwritten messages, and snapshots come often: the wanted message is
nearly always among the last few. Other messages are skipped by their key, without decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.messages.codec import ContractError
from streams.messages.stored import StoredMessage

_FIRST_LOOK = 500
"""Offsets read at first; each further search goes back ``_GROWTH`` times as many."""
_GROWTH = 4

_T = TypeVar("_T")
Decoder = Callable[[bytes, str], _T]
"""Decodes a value, given its source; raises ContractError if it cannot be used."""


def read_newest(
    settings: Settings, decoders: Mapping[bytes, Decoder[_T]], timeout_s: float = 10.0
) -> dict[bytes, tuple[StoredMessage, _T]]:
    """Key to its last usable message and that message decoded; a key without one is left out.

    Raises BadInput if the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    return _search(settings, decoders, timeout_s)[0]


def first_offsets(settings: Settings, key: bytes, decoder: Decoder[_T], timeout_s: float) -> dict[int, int]:
    """Partition to the offset from which to follow ``key`` without missing a useful message.

    That is its last usable message, or the end of the topic if it has none. Raises as ``read_newest`` does.
    """
    found, looked_from = _search(settings, {key: decoder}, timeout_s)
    if key in found:
        message = found[key][0]
        looked_from[message.partition] = message.offset
    return looked_from


def _search(
    settings: Settings, decoders: Mapping[bytes, Decoder[_T]], timeout_s: float
) -> tuple[dict[bytes, tuple[StoredMessage, _T]], dict[int, int]]:
    """The result of ``read_newest``, and the offsets where the last search began; the ends if nothing was
    found."""
    found: dict[bytes, tuple[StoredMessage, _T]] = {}
    topic_ends: dict[int, int] | None = None
    ends: dict[int, int] | None = None
    look = _FIRST_LOOK
    while len(found) < len(decoders) and (ends is None or any(ends.values())):
        # One reader per search: kafka-python may hang when it seeks back behind what it has read.
        with TopicReader(settings, settings.snapshots_topic, timeout_s=timeout_s) as reader:
            ends = ends or reader.ends()
            topic_ends = topic_ends or ends
            starts = {partition: max(0, end - look) for partition, end in ends.items()}
            between = _of_keys(reader, decoders.keys() - found.keys(), starts, ends)
        for key, messages in between.items():
            for message in reversed(messages):
                with suppress(ContractError):
                    found[key] = message, decoders[key](message.value, message.source)
                    break
        ends, look = starts, look * _GROWTH
    return found, dict((ends if found else topic_ends) or {})


def _of_keys(
    reader: TopicReader, keys: set[bytes], starts: Mapping[int, int], ends: Mapping[int, int]
) -> dict[bytes, list[StoredMessage]]:
    """The messages between these offsets, by key, oldest first."""
    reader.seek(starts)
    between: dict[bytes, list[StoredMessage]] = {}
    for message in reader.read_up(ends):
        if message.key in keys:
            between.setdefault(message.key, []).append(message)
    return between

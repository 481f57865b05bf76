"""The newest message of some keys, searched from the end of the snapshots topic backwards.

A compacted topic still holds much that is overwritten, and snapshots come often: what is wanted is nearly
always among the last few messages. Others are passed over by their key, undecoded.
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
"""Offsets that are read at first; each further look goes back four times as many."""
_GROWTH = 4

_T = TypeVar("_T")
Decoder = Callable[[bytes, str], _T]
"""Value and source to what it holds; raises ContractError for what cannot be used."""


def read_newest(
    settings: Settings, decoders: Mapping[bytes, Decoder[_T]], timeout_s: float = 10.0
) -> dict[bytes, tuple[StoredMessage, _T]]:
    """Key to its last message that can be used, with what it holds; a key without one is left out.

    Raises BadInput where the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    return _search(settings, decoders, timeout_s)[0]


def first_offsets(settings: Settings, key: bytes, decoder: Decoder[_T], timeout_s: float) -> dict[int, int]:
    """Partition to where to begin so that nothing of ``key`` is missed that is worth reading.

    That is its last message that can be used, or the end where it has none. Otherwise as ``read_newest``.
    """
    found, looked_from = _search(settings, {key: decoder}, timeout_s)
    if key in found:
        message = found[key][0]
        looked_from[message.partition] = message.offset
    return looked_from


def _search(
    settings: Settings, decoders: Mapping[bytes, Decoder[_T]], timeout_s: float
) -> tuple[dict[bytes, tuple[StoredMessage, _T]], dict[int, int]]:
    """What ``read_newest`` gives, and from where the last look was; where it found nothing, the ends."""
    found: dict[bytes, tuple[StoredMessage, _T]] = {}
    topic_ends: dict[int, int] | None = None
    ends: dict[int, int] | None = None
    look = _FIRST_LOOK
    while len(found) < len(decoders) and (ends is None or any(ends.values())):
        # A reader for each look: kafka-python may hang where it is sent back behind what it has read.
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
    """What lies between these offsets, by key, oldest first."""
    reader.seek(starts)
    between: dict[bytes, list[StoredMessage]] = {}
    for message in reader.read_up(ends):
        if message.key in keys:
            between.setdefault(message.key, []).append(message)
    return between

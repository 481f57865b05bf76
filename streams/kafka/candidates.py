"""Looks up votes on Kafka, and their candidates among the trace events.

A topic is read once to index the first and last offset of each key; later lookups first index only what was
written since. The messages themselves are then read from the indexed ranges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.messages.candidates import Found, Place, Search
from streams.messages.codec import ContractError, decode_vote
from streams.messages.stored import StoredMessage

_Range = tuple[int, int, int]
"""Partition, first offset, and the offset after the last."""
_NEAR = 200
"""Two ranges at most this many messages apart are read as one."""


class Candidates:
    """Finds candidates and votes on Kafka; for one thread at a time.

    Takes about 200 bytes of memory per run and per vote.
    """

    def __init__(self, settings: Settings, timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._runs = _Index(lambda message: [message.key] if message.key else [])
        self._votes = _Index(_names_of_vote)

    def look_up(self, candidates: Iterable[Place], votes: Iterable[str]) -> Found:
        """Those of the candidates and votes that are on Kafka now.

        Raises BadInput if a topic is missing, and NoBroker if no broker answers.
        """
        votes = list(votes)
        search = Search(candidates, votes)
        if votes:
            self._read(self._settings.votes_topic, self._votes, votes, search.add_vote)
        if search.runs:
            self._read(self._settings.trace_topic, self._runs, search.runs, search.add_event)
        return search.found()

    def _read(
        self, topic: str, index: _Index, names: Iterable[str], add: Callable[[StoredMessage], None]
    ) -> None:
        """Pass all messages of these names to ``add``, and some messages between them."""
        with TopicReader(self._settings, topic, offsets=index.next, timeout_s=self._timeout_s) as reader:
            for message in reader.read_up():
                index.note(message)
            for partition, first, end in index.ranges(names):
                reader.seek({partition: first})
                for message in reader.read_up({partition: end}):
                    add(message)


class _Index:
    """The first and last offset of each name in each partition of a topic.

    Names are stored as 64-bit hashes; after a collision, more is read than needed.
    """

    def __init__(self, names_of: Callable[[StoredMessage], Iterable[bytes]]) -> None:
        self._names_of = names_of
        self._first: dict[int, dict[int, int]] = {}
        self._last: dict[int, dict[int, int]] = {}
        self.next: dict[int, int] = {}
        """Partition to the offset after the last indexed message."""

    def note(self, message: StoredMessage) -> None:
        partition, offset = message.partition, message.offset
        if offset < self.next.get(partition, 0):
            return  # after an interrupted read some messages come again
        self.next[partition] = offset + 1
        for name in self._names_of(message):
            hashed = _hash(name)
            self._first.setdefault(partition, {}).setdefault(hashed, offset)
            self._last.setdefault(partition, {})[hashed] = offset

    def ranges(self, names: Iterable[str]) -> list[_Range]:
        """Ordered ranges that contain all messages of these names; ranges close together are merged."""
        hashes = [_hash(name.encode(errors="surrogatepass")) for name in names]
        joined: list[_Range] = []
        for partition, first in sorted(self._first.items()):
            last = self._last[partition]
            for begin, end in sorted((first[h], last[h] + 1) for h in hashes if h in first):
                if joined and joined[-1][0] == partition and begin <= joined[-1][2] + _NEAR:
                    joined[-1] = partition, joined[-1][1], max(joined[-1][2], end)
                else:
                    joined.append((partition, begin, end))
        return joined


def _names_of_vote(message: StoredMessage) -> list[bytes]:
    """A vote is found by its own id, and by the id of the vote that it retracts."""
    try:
        vote = decode_vote(message.value, message)
    except ContractError:
        return []
    return [name.encode(errors="surrogatepass") for name in (vote.vote_id, vote.takes_back) if name]


def _hash(name: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())

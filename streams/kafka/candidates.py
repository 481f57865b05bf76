"""Looking up on Kafka what votes are about: candidates among the trace events, and votes among the votes.

A topic is read once, for where each key begins and ends; after that only what was written since. What is
looked for is then read from there.
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
"""Partition, first offset, and the offset behind the last."""
_NEAR = 200
"""Messages between two ranges that are rather read than leapt over."""


class Candidates:
    """Finds candidates and votes on Kafka; for one thread at a time.

    About 200 bytes of memory a run, and as many a vote.
    """

    def __init__(self, settings: Settings, timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._runs = _Index(lambda message: [message.key] if message.key else [])
        self._votes = _Index(_names_of_vote)

    def look_up(self, candidates: Iterable[Place], votes: Iterable[str]) -> Found:
        """As much of this as is on Kafka now. Raises BadInput where a topic is missing, NoBroker where none
        answers."""
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
        """Give all messages of these names to ``add``, and some that lie between."""
        with TopicReader(self._settings, topic, offsets=index.next, timeout_s=self._timeout_s) as reader:
            for message in reader.read_up():
                index.note(message)
            for partition, first, end in index.ranges(names):
                reader.seek({partition: first})
                for message in reader.read_up({partition: end}):
                    add(message)


class _Index:
    """Where each name stands on a topic: by partition, its first offset and its last.

    A name is told by 64 bits of its hash; of two that are alike, more is read than is needed.
    """

    def __init__(self, names_of: Callable[[StoredMessage], Iterable[bytes]]) -> None:
        self._names_of = names_of
        self._first: dict[int, dict[int, int]] = {}
        self._last: dict[int, dict[int, int]] = {}
        self.next: dict[int, int] = {}
        """Partition to the offset behind the last message that was noted."""

    def note(self, message: StoredMessage) -> None:
        partition, offset = message.partition, message.offset
        if offset < self.next.get(partition, 0):
            return  # a reading that was cut off gives a few again
        self.next[partition] = offset + 1
        for name in self._names_of(message):
            hashed = _hash(name)
            self._first.setdefault(partition, {}).setdefault(hashed, offset)
            self._last.setdefault(partition, {})[hashed] = offset

    def ranges(self, names: Iterable[str]) -> list[_Range]:
        """Where all messages of these names lie, in their order; what is near together is one range."""
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
    """A vote is found by its own id, and by that of the vote that it takes back."""
    try:
        vote = decode_vote(message.value, message)
    except ContractError:
        return []
    return [name.encode(errors="surrogatepass") for name in (vote.vote_id, vote.takes_back) if name]


def _hash(name: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())

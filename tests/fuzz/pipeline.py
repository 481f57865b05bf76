"""The pure core from bytes to bytes: traces to pairs, pairs to a model; which messages it refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from streams.messages.codec import checksum, decode_snapshot, encode
from streams.messages.contracts import Checkpoint
from streams.messages.stored import Outgoing, StoredMessage
from trainers.pairs.pairing import PairingRules
from trainers.processing.pair_processor import PairProcessor
from trainers.processing.trace_processor import TraceProcessor

TRACE, PAIRS, DEAD = "trace", "pairs", "dead-letters"


@dataclass(slots=True)
class Formed:
    """What a former made of a trace topic."""

    pairs: list[Outgoing] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    """Offsets of the messages that became dead letters."""


def form(messages: Sequence[StoredMessage]) -> Formed:
    """All messages through a pair former."""
    processor = TraceProcessor(PairingRules(), trace_topic=TRACE, pairs_topic=PAIRS, dead_letters_topic=DEAD)
    formed = Formed()
    for message in messages:
        for outgoing in processor.on_message(message).outgoing:
            if outgoing.topic == PAIRS:
                formed.pairs.append(outgoing)
            elif outgoing.topic == DEAD:
                formed.refused.add(message.offset)
    return formed


@dataclass(slots=True)
class Learnt:
    """A model that learns from a pairs topic."""

    processor: PairProcessor
    refused: set[int] = field(default_factory=set)

    @classmethod
    def anew(cls, checkpoint: Checkpoint | None = None) -> Learnt:
        """One that begins, or goes on from a checkpoint. Raises BadInput."""
        processor = PairProcessor("default", snapshots_topic="snapshots", dead_letters_topic=DEAD)
        processor.restore(checkpoint)
        return cls(processor)

    def learn(self, messages: Sequence[StoredMessage]) -> None:
        """All messages, in their order."""
        for message in messages:
            if self.processor.on_message(message):
                self.refused.add(message.offset)

    def model(self) -> bytes:
        """What is served, and what learning goes on from, but for how far was read."""
        served = replace(decode_snapshot(self.processor.snapshot(), "model"), consumed={}, checksum="")
        kept = replace(self.processor.checkpoint(), consumed={}, snapshot="")
        return encode(served) + checksum(kept).encode()


def on_topic(values: Sequence[bytes], topic: str) -> list[StoredMessage]:
    """The values as a broker with one partition would hold them."""
    return [
        StoredMessage(topic=topic, partition=0, offset=offset, timestamp_ms=0, key=None, value=value)
        for offset, value in enumerate(values)
    ]

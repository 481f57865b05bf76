"""Replays the log: forms pairs from its events again, and learns models from its pairs again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from streams.messages.codec import ContractError, decode_pair, encode
from streams.messages.contracts import TraceMessage
from streams.messages.files import read_trace_lines
from streams.messages.revisions import missing_ends
from streams.messages.stored import Outgoing, StoredMessage
from streams.messages.votes import Vote
from trainers.bradley_terry.estimators import Recipe
from trainers.pairs.pairing import PairingRules
from trainers.processing.pair_processor import DecodedPair, PairProcessor
from trainers.processing.relearn import OneLog, batches, learner_of, stamp_of
from trainers.processing.trace_processor import TraceProcessor
from trainers.processing.vote_processor import pairs_of_votes, search_for


@dataclass(frozen=True, slots=True)
class Replayed:
    """A model relearnt from ``messages``; ``identical`` is null if there is nothing to compare."""

    snapshot: bytes
    messages: Sequence[StoredMessage]
    identical: bool | None


def read_files(traces: Iterable[Path], topic: str) -> tuple[list[StoredMessage], list[TraceMessage]]:
    """Lines of ``trace.jsonl`` files as messages of a topic with one partition, and each decoded.

    Adds an end to runs without one. Raises BadInput.
    """
    values: list[bytes] = []
    events: list[TraceMessage] = []
    for path in traces:
        lines = read_trace_lines(path)
        ends = missing_ends(event for _, event in lines)
        values += [*(line for line, _ in lines), *map(encode, ends)]
        events += [*(event for _, event in lines), *ends]
    messages = [
        StoredMessage(topic=topic, partition=0, offset=offset, timestamp_ms=0, key=None, value=value)
        for offset, value in enumerate(values)
    ]
    return messages, events


def as_messages(votes: Iterable[Vote], topic: str) -> list[StoredMessage]:
    """Votes as messages of a topic with one partition."""
    return [
        StoredMessage(topic=topic, partition=0, offset=offset, timestamp_ms=0, key=None, value=encode(vote))
        for offset, vote in enumerate(votes)
    ]


def form_again(
    messages: Iterable[StoredMessage],
    rules: PairingRules,
    pairs_topic: str,
    events: Sequence[TraceMessage] = (),
    votes: Sequence[StoredMessage] = (),
) -> Iterator[StoredMessage]:
    """The pairs from messages of the trace topic, as messages of a pairs topic with one partition.

    ``events`` are the decoded messages by offset, if available. The pairs of ``votes``, messages of the votes
    topic, come last, because two topics do not record their relative order.
    """
    search = search_for(votes)
    former = TraceProcessor(
        rules, trace_topic="", pairs_topic=pairs_topic, dead_letters_topic="", most_waiting_bytes=None
    )
    offsets = count()

    def written(outgoing: Outgoing) -> StoredMessage:
        return StoredMessage(
            topic=pairs_topic,
            partition=0,
            offset=next(offsets),
            timestamp_ms=0,
            key=outgoing.key,
            value=outgoing.value,
            headers=outgoing.headers,
        )

    for message in messages:
        event = events[message.offset] if events else None
        if votes:
            search.add_event(message, event)
        for outgoing in former.on_message(message, event).outgoing:
            if outgoing.topic == pairs_topic:
                yield written(outgoing)
    for _, outgoing in pairs_of_votes(votes, search.found(), rules, pairs_topic):
        yield written(outgoing)


def learn_again(
    messages: Iterable[StoredMessage],
    rules: PairingRules,
    topic: str,
    logs: Mapping[str, OneLog] | None = None,
    recipe: Recipe | None = None,
) -> dict[str, Replayed]:
    """Every model of ``rules`` from messages of the pairs topic ``topic``, in order of first appearance.

    ``logs`` maps models to what is published of them: such a model is learnt up to its newest snapshot's
    stamp, and the two are compared. ``recipe`` is for a model without published snapshots.
    """
    models: dict[str, _Model] = {}
    for batch in batches(messages):
        of_batch: dict[str, list[DecodedPair]] = {}
        for message in batch:
            try:
                pair = decode_pair(message.value, message)
            except ContractError:
                continue  # a dead letter, not a pair
            if rules.learns(pair.model):
                of_batch.setdefault(pair.model, []).append((message, pair))
        for name, decoded in of_batch.items():
            if name not in models:
                models[name] = _Model(name, topic, (logs or {}).get(name), recipe)
            models[name].learn(decoded)
    return {name: model.replayed() for name, model in models.items()}


@dataclass(slots=True)
class _Model:
    name: str
    topic: str
    log: OneLog | None
    recipe: Recipe | None
    learner: PairProcessor = field(init=False)
    messages: list[StoredMessage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.learner = learner_of(self.log) if self.log else self._from_nothing()

    def learn(self, decoded: Sequence[DecodedPair]) -> None:
        self.messages += [message for message, _ in decoded]
        if self.log is not None:
            stamp = stamp_of(self.log.newest, self.topic)
            decoded = [each for each in decoded if each[0].offset < stamp.get(str(each[0].partition), 0)]
        self.learner.learn(decoded)

    def replayed(self) -> Replayed:
        if self.log is None:
            return Replayed(self.learner.snapshot(), self.messages, None)
        newest = self.log.newest
        stamp = stamp_of(newest, self.topic)
        if self.learner.consumed.get(self.topic, {}) == stamp:
            self.learner.topic_ids = dict(newest.topic_ids)  # a recreated trace topic changes no pair
            snapshot = self.learner.snapshot()
            learnt = [m for m in self.messages if m.offset < stamp.get(str(m.partition), 0)]
            return Replayed(snapshot, learnt, snapshot == encode(newest))
        # The log has less than was learnt.
        learner = self._from_nothing()
        for batch in batches(self.messages):
            learner.on_messages(batch)
        return Replayed(learner.snapshot(), self.messages, identical=False)

    def _from_nothing(self) -> PairProcessor:
        return PairProcessor(self.name, snapshots_topic="", dead_letters_topic="", recipe=self.recipe)

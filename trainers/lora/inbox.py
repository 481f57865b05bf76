"""A model's usable text pairs on the pairs topic, newest last, and counts of the others."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from streams.messages.codec import ContractError, decode_pair
from streams.messages.contracts import TRUSTED_SOURCES, PreferencePair
from streams.messages.stored import StoredMessage
from trainers.lora.texts import TextPair
from trainers.pairs.judgements import dimension_of, fact_of, judgement_of
from trainers.pairs.pairing import LIVE_SOURCES
from trainers.pairs.weights import SOURCE_WEIGHTS, task_of_text
from trainers.pairs.withdrawn import is_withdrawal

Offsets = Mapping[int, int]
"""Partition to next offset."""

REMEMBERED = 100_000
"""Ids kept to recognise repeated pairs, some MB; a repetition comes soon after the pair."""

EQUAL, TIE, DIMENSION, TWICE = "equal texts", "ties", "of one dimension", "come twice"
UNREADABLE, WEIGHTLESS, EMPTY = "unreadable", "without weight", "empty texts"
WITHDRAWN = "taken back"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A pair and its position on the topic."""

    partition: int
    offset: int
    timestamp_ms: int
    pair: TextPair
    pair_id: str = ""

    def is_new(self, stamp: Offsets) -> bool:
        """Whether it came after ``stamp``."""
        return self.offset >= stamp.get(self.partition, 0)


class PairInbox:
    """Takes the messages of the pairs topic in order and keeps the newest ``most`` pairs.

    A pair counts if it belongs to this model, has a trusted label source, judges overall quality, is no tie,
    has two different texts that are not empty, and has a weight. It must not be one of the last
    ``remembered`` that counted, nor of those that are kept. A withdrawn pair is dropped. A rescoring does not
    change outcomes, so its pair of two videos counts as the same pair. ``passed_over`` counts this model's
    other pairs by reason, which may be the label source.
    """

    def __init__(self, model: str, most: int, remembered: int = REMEMBERED) -> None:
        self._model = model
        self._kept: deque[Arrived] = deque(maxlen=most)
        self._remembered = max(most, remembered)
        self._seen: set[int] = set()
        self._seen_in_order: deque[int] = deque()
        self.consumed: dict[int, int] = {}
        self.passed_over: Counter[str] = Counter()

    def add(self, message: StoredMessage) -> None:
        self.consumed[message.partition] = message.offset + 1
        try:
            pair = decode_pair(message.value, message.source)
        except ContractError:
            self.passed_over[UNREADABLE] += 1
            return
        if not isinstance(pair, PreferencePair) or pair.model != self._model:
            return
        if is_withdrawal(pair):
            left = [one for one in self._kept if one.pair_id != pair.pair_id or not pair.pair_id]
            self.passed_over[WITHDRAWN] += len(self._kept) - len(left)
            self._kept = deque(left, maxlen=self._kept.maxlen)
            return
        if reason := self._reason_against(pair):
            self.passed_over[reason] += 1
            return
        text = TextPair(
            task=task_of_text(pair),
            goal=pair.goal_instruction,
            chosen=pair.chosen_prompt,
            rejected=pair.rejected_prompt,
            source=pair.label_source,
            weight=pair.weight * SOURCE_WEIGHTS[pair.label_source],
        )
        self._kept.append(
            Arrived(message.partition, message.offset, message.timestamp_ms, text, pair.pair_id)
        )

    def pairs(self) -> list[Arrived]:
        return list(self._kept)

    def new_since(self, stamp: Offsets) -> list[Arrived]:
        return [one for one in self._kept if one.is_new(stamp)]

    def _reason_against(self, pair: PreferencePair) -> str | None:
        if pair.label_source not in TRUSTED_SOURCES:
            return pair.label_source
        if dimension_of(pair):
            return DIMENSION
        if pair.tie:
            return TIE
        if not (pair.chosen_prompt.strip() and pair.rejected_prompt.strip()):
            return EMPTY
        if pair.chosen_prompt == pair.rejected_prompt:
            return EQUAL
        if pair.weight <= 0:
            return WEIGHTLESS
        if pair.pair_id:
            fact = _fact_of(pair)
            name = int.from_bytes(hashlib.sha256(fact.encode(errors="surrogatepass")).digest()[:8])
            if name in self._seen:
                return TWICE
            self._seen.add(name)
            self._seen_in_order.append(name)
            if len(self._seen) > self._remembered:
                self._seen.remove(self._seen_in_order.popleft())
        return None


def _fact_of(pair: PreferencePair) -> str:
    """Identifies a pair: the same for a repetition, even in another revision of its run."""
    if not pair.run_id or pair.label_source not in LIVE_SOURCES:
        return fact_of(pair, judgement_of(pair))
    sides = (pair.chosen_artifact, pair.chosen_prompt, pair.rejected_artifact, pair.rejected_prompt)
    return "\0".join((pair.run_id, pair.label_source, *sides))

"""The recorded pairs learnt again: does the log give the snapshots that were published, bit for bit?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from streams.codec import encode
from streams.contracts import RewardSnapshot
from streams.messages import StoredMessage
from trainers.processors import PairProcessor


@dataclass(frozen=True, slots=True)
class Verdict:
    """A published snapshot beside the one that the log gives at its stamp; null where the log has less."""

    published: RewardSnapshot
    relearnt: bytes | None

    @property
    def identical(self) -> bool:
        return self.relearnt == encode(self.published)


def relearn(
    messages: Iterable[StoredMessage],
    published: Sequence[RewardSnapshot],
    topic: str,
    base: RewardSnapshot | None = None,
) -> Iterator[Verdict]:
    """One pass over the messages of the pairs topic, with a verdict for each published snapshot of a model.

    ``published`` is in the order of versions, of one model and of one incarnation of the topic; ``base`` is
    the snapshot that their ``base`` names, where it names one. Verdicts come in the given order.
    """
    if not published:
        return
    waiting = list(published)
    learner = PairProcessor(
        published[0].model, snapshots_topic="", dead_letters_topic="", topic_ids=published[0].topic_ids
    )
    learner.restore(base)
    for message in messages:
        if not waiting:
            return
        learner.on_message(message)
        while waiting and learner.consumed.get(topic, {}) == _stamp(waiting[0], topic):
            learner.topic_ids = dict(waiting[0].topic_ids)  # a trace topic made again changes no pair
            yield Verdict(waiting.pop(0), learner.snapshot())
    for snapshot in waiting:
        yield Verdict(snapshot, None)


def _stamp(snapshot: RewardSnapshot, topic: str) -> Mapping[str, int]:
    return snapshot.consumed.get(topic, {})

"""The recorded pairs learnt again: does the log give the snapshots that were published, bit for bit?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from streams.codec import decode_snapshot, encode
from streams.contracts import RewardSnapshot
from streams.errors import BadInput
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


@dataclass(frozen=True, slots=True)
class OneLog:
    """The published snapshots of a model that the pairs topic of today can give, oldest first.

    ``base`` is what the first of them went on from, where the topic was made again; those before it
    (``earlier_log``) cannot be computed again, since their log is gone.
    """

    snapshots: tuple[RewardSnapshot, ...]
    base: RewardSnapshot | None
    earlier_log: int


def one_log(held: Sequence[RewardSnapshot]) -> OneLog:
    """The held snapshots that are of the newest one's log. Raises BadInput where their base is not held."""
    newest = held[-1]
    of_today = tuple(snapshot for snapshot in held if snapshot.base == newest.base)
    base = next((snapshot for snapshot in held if snapshot.checksum == newest.base), None)
    if newest.base and base is None:
        raise BadInput(
            f"version {newest.version} of model {newest.model!r} was learnt on top of the snapshot "
            f"{newest.base[:16]}…, which the snapshots topic does not hold; it cannot be computed again"
        )
    return OneLog(of_today, base, len(held) - len(of_today))


def learn_up_to(messages: Iterable[StoredMessage], version: int, log: OneLog) -> RewardSnapshot | None:
    """The model of this version, learnt again from the pairs topic; None where there never was one."""
    newest = log.snapshots[-1]
    learner = PairProcessor(
        newest.model, snapshots_topic="", dead_letters_topic="", topic_ids=newest.topic_ids
    )
    learner.restore(log.base)
    for message in messages:
        learner.on_message(message)
        if learner.version == version:
            return decode_snapshot(learner.snapshot(), "learnt again")
    return None


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

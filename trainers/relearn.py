"""The recorded pairs learnt again: does the log give the snapshots that were published, bit for bit?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from streams.errors import BadInput
from streams.messages.codec import ContractError, decode_pair, decode_snapshot, encode
from streams.messages.contracts import RewardSnapshot
from streams.messages.stored import StoredMessage
from trainers.estimators import Recipe
from trainers.learner import recipe_of
from trainers.pairing import PairingRules
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


@dataclass(frozen=True, slots=True)
class Relearnt:
    """A model that was learnt again from ``messages``; ``identical`` is null without anything to compare."""

    snapshot: bytes
    messages: Sequence[StoredMessage]
    identical: bool | None


def by_model(messages: Iterable[StoredMessage], rules: PairingRules) -> dict[str, list[StoredMessage]]:
    """The messages of the pairs topic that the models of ``rules`` learn, in their order."""
    models: dict[str, list[StoredMessage]] = {}
    for message in messages:
        try:
            model = decode_pair(message.value, message.source).model
        except ContractError:
            continue  # a dead letter, and no pair
        if rules.learns(model):
            models.setdefault(model, []).append(message)
    return models


def learn_again(
    messages: Sequence[StoredMessage],
    model: str,
    held: Sequence[RewardSnapshot],
    topic: str,
    recipe: Recipe | None = None,
) -> Relearnt:
    """One model from its messages of the pairs topic ``topic``.

    ``recipe`` is for a model without published snapshots. With them, the messages are learnt up to the
    newest one's stamp, and the result is compared with it. Raises BadInput where what it was learnt on top
    of is not held.
    """
    if held:
        (verdict,) = relearn(messages, held[-1:], topic, one_log(held).base)
        if verdict.relearnt is not None:
            stamp = _stamp(held[-1], topic)
            learnt = [m for m in messages if m.offset < stamp.get(str(m.partition), 0)]
            return Relearnt(verdict.relearnt, learnt, verdict.identical)
    learner = PairProcessor(model, snapshots_topic="", dead_letters_topic="", recipe=recipe)
    for message in messages:
        learner.on_message(message)
    return Relearnt(learner.snapshot(), messages, False if held else None)


def learn_up_to(messages: Iterable[StoredMessage], version: int, log: OneLog) -> RewardSnapshot | None:
    """The model of this version, learnt again from the pairs topic; None where there never was one."""
    newest = log.snapshots[-1]
    learner = _like(newest)
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
    learner = _like(published[0])
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


def _like(snapshot: RewardSnapshot) -> PairProcessor:
    """What learns as the learner of this snapshot did, from nothing."""
    return PairProcessor(
        snapshot.model,
        snapshots_topic="",
        dead_letters_topic="",
        topic_ids=snapshot.topic_ids,
        recipe=recipe_of(snapshot.model, snapshot.learner),
    )


def _stamp(snapshot: RewardSnapshot, topic: str) -> Mapping[str, int]:
    return snapshot.consumed.get(topic, {})

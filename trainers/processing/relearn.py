"""Learns the recorded pairs again: does the log give what was published, bit for bit?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.checkpoints import Recovery
from streams.messages.codec import encode, sealed
from streams.messages.contracts import Checkpoint, RewardSnapshot
from streams.messages.held import Held
from streams.messages.stored import StoredMessage
from trainers.bradley_terry.estimators import Recipe
from trainers.processing.pair_processor import PairProcessor

Published = RewardSnapshot | Checkpoint

_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What was published, and what the log gives at its stamp, as JSON; null if the log ends before."""

    published: Published
    relearnt: bytes | None

    @property
    def identical(self) -> bool:
        return self.relearnt == encode(self.published)


@dataclass(frozen=True, slots=True)
class OneLog:
    """What is held of a model and can be recomputed from today's pairs topic, oldest first.

    If the topic was recreated, ``base`` is the checkpoint from which the first of it continued. Earlier
    snapshots (``earlier_log`` of them) cannot be recomputed, because their log is gone.
    """

    snapshots: tuple[RewardSnapshot, ...]
    base: Checkpoint | None
    earlier_log: int
    held: Held

    @property
    def newest(self) -> RewardSnapshot:
        return self.snapshots[-1]

    def checkpoints(self) -> Iterator[Checkpoint]:
        """The checkpoints of this log, oldest first, one at a time."""
        for checkpoint in self.held.checkpoints():
            if checkpoint.base == self.newest.base:
                yield checkpoint


def one_log(held: Held) -> OneLog:
    """Items of the newest snapshot's log; there must be one. Raises BadInput if its base is not held."""
    snapshots = [snapshot for _, snapshot in held.snapshots]
    newest = snapshots[-1]
    of_today = tuple(snapshot for snapshot in snapshots if snapshot.base == newest.base)
    base = held.base(newest.base) if newest.base else None
    if newest.base and base is None:
        raise BadInput(
            f"version {newest.version} of model {newest.model!r} was learnt on top of the checkpoint "
            f"{newest.base[:16]}…, which the snapshots topic does not hold; it cannot be recomputed"
        )
    return OneLog(of_today, base, len(snapshots) - len(of_today), held)


def base_of(recovery: Recovery, model: str, recipe: Recipe | None) -> Checkpoint:
    """The newest checkpoint, sealed, as the base for learning a recreated pairs topic.

    Its version is that of the newest published snapshot, if that is later: the pairs between are gone, and
    versions only grow. ``recipe`` is for a model without a checkpoint.
    """
    kept = recovery.checkpoint
    learner = PairProcessor(
        model,
        snapshots_topic="",
        dead_letters_topic="",
        topic_ids=kept.topic_ids if kept else {},
        recipe=recipe,
    )
    learner.restore(kept)
    state = learner.checkpoint()
    if state.version < recovery.published:
        version = recovery.published
        learner.restore(replace(state, version=version, state=state.state | {"version": version}))
    return sealed(learner.checkpoint())


def learn_up_to(messages: Iterable[StoredMessage], version: int, log: OneLog) -> Checkpoint | None:
    """The model at this version, relearnt from the pairs topic; None if it never existed."""
    learner = learner_of(log)
    for message in messages:
        learner.on_message(message)
        if learner.version == version:
            return sealed(learner.checkpoint())
    return None


def relearn(
    messages: Iterable[StoredMessage], published: Iterable[Published], topic: str, log: OneLog
) -> Iterator[Reproduction]:
    """One pass over the messages of the pairs topic, with a verdict for each published item.

    ``published`` belongs to ``log``, in the order of its stamps (``in_order``), which is that of the
    verdicts.
    """
    published = list(published)
    stamps = {(int(partition), end) for each in published for partition, end in stamp_of(each, topic).items()}
    waiting = iter(published)
    following = next(waiting, None)
    learner = learner_of(log)
    for batch in batches(messages, stamps):
        if following is None:
            return
        learner.on_messages(batch)
        while following is not None and learner.consumed.get(topic, {}) == stamp_of(following, topic):
            learner.topic_ids = dict(following.topic_ids)  # a recreated trace topic changes no pair
            yield Reproduction(following, _again(learner, following))
            following = next(waiting, None)
    while following is not None:
        yield Reproduction(following, None)
        following = next(waiting, None)


def batches(
    messages: Iterable[StoredMessage], ends: Collection[tuple[int, int]] = ()
) -> Iterator[list[StoredMessage]]:
    """Lists for the learner; one ends before each of ``ends``, partition and offset."""
    batch: list[StoredMessage] = []
    for message in messages:
        batch.append(message)
        if len(batch) == _BATCH or (message.partition, message.offset + 1) in ends:
            yield batch
            batch = []
    if batch:
        yield batch


def in_order(published: Iterable[Published], topic: str) -> list[Published]:
    """Sorted by how far they have read."""
    return sorted(published, key=lambda each: sum(stamp_of(each, topic).values()))


def _again(learner: PairProcessor, published: Published) -> bytes:
    if isinstance(published, RewardSnapshot):
        return learner.snapshot()
    return encode(sealed(learner.checkpoint()))


def learner_of(log: OneLog) -> PairProcessor:
    """A processor that learns like the learner of this log, from its beginning."""
    learner = PairProcessor(
        log.newest.model,
        snapshots_topic="",
        dead_letters_topic="",
        topic_ids=log.newest.topic_ids,
        recipe=recipe_of_snapshot(log.newest),
    )
    learner.restore(log.base)
    return learner


def recipe_of_snapshot(snapshot: RewardSnapshot) -> Recipe:
    """The recipe of its learner. Raises BadInput if the snapshot does not state it."""
    try:
        return Recipe(**snapshot.recipe)
    except TypeError:
        raise BadInput(
            f"version {snapshot.version} of model {snapshot.model!r} does not say which learner made it; its "
            f"recipe is {snapshot.recipe!r}"
        ) from None


def stamp_of(published: Published, topic: str) -> Mapping[str, int]:
    """How far the topic had been read, as partition to offset."""
    return published.consumed.get(topic, {})

"""The recorded pairs learnt again: does the log give what was published, bit for bit?"""

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
    """What was published beside what the log gives at its stamp, as JSON; null where the log has less."""

    published: Published
    relearnt: bytes | None

    @property
    def identical(self) -> bool:
        return self.relearnt == encode(self.published)


@dataclass(frozen=True, slots=True)
class OneLog:
    """What is held of a model and can be computed again from the pairs topic of today, oldest first.

    ``base`` is the checkpoint from which the first of it went on, where the topic was made again; what is
    from before (``earlier_log`` snapshots) cannot be computed again, since its log is gone.
    """

    snapshots: tuple[RewardSnapshot, ...]
    base: Checkpoint | None
    earlier_log: int
    held: Held

    @property
    def newest(self) -> RewardSnapshot:
        return self.snapshots[-1]

    def checkpoints(self) -> Iterator[Checkpoint]:
        """Those of this log, oldest first, one at a time."""
        for checkpoint in self.held.checkpoints():
            if checkpoint.base == self.newest.base:
                yield checkpoint


def one_log(held: Held) -> OneLog:
    """What is of the newest snapshot's log; there must be one. Raises BadInput where its base is not held."""
    snapshots = [snapshot for _, snapshot in held.snapshots]
    newest = snapshots[-1]
    of_today = tuple(snapshot for snapshot in snapshots if snapshot.base == newest.base)
    base = held.base(newest.base) if newest.base else None
    if newest.base and base is None:
        raise BadInput(
            f"version {newest.version} of model {newest.model!r} was learnt on top of the checkpoint "
            f"{newest.base[:16]}…, which the snapshots topic does not hold; it cannot be computed again"
        )
    return OneLog(of_today, base, len(snapshots) - len(of_today), held)


def base_of(recovery: Recovery, model: str, recipe: Recipe | None) -> Checkpoint:
    """The newest checkpoint as that from which a pairs topic that was made again is learnt, sealed.

    Its version is the newest that was published, if that was later: the pairs between are gone, and versions
    only grow. ``recipe`` is for a model without a checkpoint.
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
    """The model of this version, learnt again from the pairs topic; None where there never was one."""
    learner = learner_of(log)
    for message in messages:
        learner.on_message(message)
        if learner.version == version:
            return sealed(learner.checkpoint())
    return None


def relearn(
    messages: Iterable[StoredMessage], published: Iterable[Published], topic: str, log: OneLog
) -> Iterator[Reproduction]:
    """One pass over the messages of the pairs topic, with a verdict for each of what was published.

    ``published`` is of ``log``, in the order of their stamps (``in_order``), in which the verdicts come, too.
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
            learner.topic_ids = dict(following.topic_ids)  # a trace topic made again changes no pair
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
    """By how far they have read."""
    return sorted(published, key=lambda each: sum(stamp_of(each, topic).values()))


def _again(learner: PairProcessor, published: Published) -> bytes:
    if isinstance(published, RewardSnapshot):
        return learner.snapshot()
    return encode(sealed(learner.checkpoint()))


def learner_of(log: OneLog) -> PairProcessor:
    """What learns as the learner of this log did, from its beginning."""
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
    """Which learner made it. Raises BadInput where it does not say."""
    try:
        return Recipe(**snapshot.recipe)
    except TypeError:
        raise BadInput(
            f"version {snapshot.version} of model {snapshot.model!r} does not say which learner made it; its "
            f"recipe is {snapshot.recipe!r}"
        ) from None


def stamp_of(published: Published, topic: str) -> Mapping[str, int]:
    """How far the topic had been read, partition to offset."""
    return published.consumed.get(topic, {})

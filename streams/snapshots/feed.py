"""The newest snapshots of a model: followed in the background, or read once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Generic, Self

from streams.kafka.follow import TopicFollower
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import ContractError, OtherModel, decode_snapshot
from streams.messages.contracts import RewardSnapshot
from streams.messages.stored import StoredMessage
from streams.snapshots.serving import NotNewer, ServingSnapshot, Snapshot

log = logging.getLogger(__name__)


class FeedOf(Generic[Snapshot]):
    """Follows one kind of snapshots of a model in a daemon thread; no method waits for the broker.

    ``critics`` are the names of the run's critics. ``refused`` counts by reason the snapshots that were not
    taken, as ServingSnapshot does. ``on_snapshot`` is called in the feed's thread for each one that was, in
    the order of versions. A broker that is
    away only means that nothing new comes in; the feed goes on when it is back.
    """

    def __init__(
        self,
        kind: type[Snapshot],
        settings: Settings,
        model: str = "default",
        *,
        critics: Collection[str] = (),
        on_snapshot: Callable[[Snapshot], None] | None = None,
    ) -> None:
        self._serving = ServingSnapshot(kind, model, critics=critics)
        self._on_snapshot = on_snapshot
        self._follower = TopicFollower(settings, (settings.snapshots_topic,), self._take)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def refused(self) -> dict[str, int]:
        return dict(self._serving.refused)

    def latest(self) -> Snapshot | None:
        """The newest snapshot so far; None where there is none yet."""
        return self._serving.snapshot

    def close(self) -> None:
        """Stop following; what ``latest`` gives stays. May be called twice."""
        self._follower.close()

    def _take(self, message: StoredMessage) -> None:
        try:
            snapshot = self._serving.offer(message.value, message.source)
        except ContractError as error:
            # Those of others, and what is read again after an error, are no news.
            is_usual = isinstance(error, OtherModel | NotNewer)
            log.log(logging.DEBUG if is_usual else logging.WARNING, "snapshot refused: %s", error)
            return
        if self._on_snapshot is not None:
            self._on_snapshot(snapshot)


class SnapshotFeed(FeedOf[RewardSnapshot]):
    """The newest reward snapshot of a model, kept up to date in the background."""

    def __init__(
        self,
        settings: Settings,
        model: str = "default",
        *,
        critics: Collection[str] = (),
        on_snapshot: Callable[[RewardSnapshot], None] | None = None,
    ) -> None:
        super().__init__(RewardSnapshot, settings, model, critics=critics, on_snapshot=on_snapshot)


def read_latest_of(
    kind: type[Snapshot], settings: Settings, model: str, timeout_s: float = 10.0
) -> Snapshot | None:
    """The newest snapshot of this kind of ``model`` on the topic now; None where it holds none.

    Raises BadInput where the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    newest = ServingSnapshot(kind, model)
    for message in read_topic(settings, settings.snapshots_topic, timeout_s=timeout_s):
        with suppress(ContractError):
            newest.offer(message.value, message.source)
    return newest.snapshot


def read_latest_snapshot(settings: Settings, model: str, timeout_s: float = 10.0) -> RewardSnapshot | None:
    """The newest reward snapshot of ``model`` on the topic now, as ``read_latest_of``."""
    return read_latest_of(RewardSnapshot, settings, model, timeout_s)


def read_snapshots(
    settings: Settings, timeout_s: float = 10.0
) -> dict[str, list[tuple[StoredMessage, RewardSnapshot]]]:
    """Every usable snapshot that the topic still holds, by model, oldest first, with its message.

    Raises BadInput where the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    held: dict[str, list[tuple[StoredMessage, RewardSnapshot]]] = {}
    for message, snapshot in _in_order_of_versions(settings, timeout_s):
        held.setdefault(snapshot.model, []).append((message, snapshot))
    return held


def read_latest_snapshots(settings: Settings, timeout_s: float = 10.0) -> dict[str, RewardSnapshot]:
    """The newest snapshot of every model on the topic now, by model. Raises BadInput as above."""
    return {snapshot.model: snapshot for _, snapshot in _in_order_of_versions(settings, timeout_s)}


def _in_order_of_versions(
    settings: Settings, timeout_s: float
) -> Iterator[tuple[StoredMessage, RewardSnapshot]]:
    """What can be used; of each model only what is newer than all before it."""
    newest: dict[str, int] = {}
    for message in read_topic(settings, settings.snapshots_topic, timeout_s=timeout_s):
        with suppress(ContractError):
            snapshot = decode_snapshot(message.value, message.source)
            if snapshot.version > newest.get(snapshot.model, -1):
                newest[snapshot.model] = snapshot.version
                yield message, snapshot

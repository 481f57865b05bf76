"""A model's newest snapshot: followed in the background, or read once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import closing
from functools import partial
from time import time
from typing import Generic, Self

from streams.kafka.follow import TopicFollower
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import ContractError, decode_snapshot_of
from streams.messages.contracts import RewardSnapshot, snapshot_key
from streams.messages.held import Held, held_of
from streams.messages.stored import StoredMessage
from streams.snapshots.newest import Decoder, first_offsets, read_newest
from streams.snapshots.serving import NotNewer, ServingSnapshot, Snapshot

log = logging.getLogger(__name__)

_READ_S = 10.0


class FeedOf(Generic[Snapshot]):
    """Follows one kind of a model's snapshots in a daemon thread; no method waits for the broker.

    The feed starts with the newest usable snapshot, searched from the end of the topic. It skips messages of
    other models and kinds by their key.

    ``critics`` are the names of the run's critics. ``refused`` counts refused snapshots by reason, as
    ServingSnapshot does. ``on_snapshot`` is called in the feed's thread for each accepted snapshot, in the
    order of versions; if it raises, the error is counted in ``errors`` and the snapshot stays in use.
    ``on_applied`` is called with the seconds from publication to use, for each snapshot published since the
    feed started.

    While the broker is unreachable nothing new arrives; the feed continues when it is back. ``errors`` and
    ``silent_s`` show whether ``latest`` can be out of date.
    """

    def __init__(
        self,
        kind: type[Snapshot],
        settings: Settings,
        model: str = "default",
        *,
        critics: Collection[str] = (),
        on_snapshot: Callable[[Snapshot], None] | None = None,
        on_applied: Callable[[float], None] | None = None,
    ) -> None:
        self._begun_s = time()
        self._on_applied = on_applied
        self.published_s: float | None = None
        """When the newest snapshot was published, by Kafka's clock in seconds since 1970; None before one."""
        self._key = snapshot_key(model, kind.KIND).encode()
        self._serving = ServingSnapshot(kind, model, critics=critics)
        self._on_snapshot = on_snapshot
        self._is_closed = False
        usable = partial(_offered_first, kind, model, critics)
        begin = partial(_begin, settings, self._key, usable)
        self._follower = TopicFollower(settings, (settings.snapshots_topic,), self._take, begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def refused(self) -> dict[str, int]:
        return dict(self._serving.refused)

    @property
    def errors(self) -> dict[str, int]:
        """Errors of the Kafka client and of ``on_snapshot``, counted by exception class name."""
        return dict(self._follower.errors)

    @property
    def silent_s(self) -> float:
        """Seconds since the broker last answered; a few while it is reachable, and 0 once this is closed."""
        return 0.0 if self._is_closed else self._follower.silent_s

    def latest(self) -> Snapshot | None:
        """The newest snapshot so far, or None."""
        return self._serving.snapshot

    def close(self) -> None:
        """Stop following; ``latest`` keeps its value. May be called twice."""
        self._is_closed = True
        self._follower.close()

    def _take(self, message: StoredMessage) -> None:
        if message.key != self._key:
            return
        try:
            snapshot = self._serving.offer(message.value, message.source)
        except ContractError as error:
            # After an error messages are read again, so an old snapshot is expected.
            is_usual = isinstance(error, NotNewer)
            log.log(logging.DEBUG if is_usual else logging.WARNING, "snapshot refused: %s", error)
            return
        self.published_s = message.timestamp_ms / 1000.0
        if self._on_applied is not None and self.published_s >= self._begun_s:
            self._on_applied(max(0.0, time() - self.published_s))
        if self._on_snapshot is not None:
            self._on_snapshot(snapshot)


def _offered_first(
    kind: type[Snapshot], model: str, critics: Collection[str], raw: bytes, source: str
) -> Snapshot:
    """The snapshot, if a feed without one would accept it. Raises ContractError."""
    return ServingSnapshot(kind, model, critics=critics).offer(raw, source)


def _begin(settings: Settings, key: bytes, usable: Decoder[Snapshot]) -> dict[tuple[str, int], int]:
    topic = settings.snapshots_topic
    return {(topic, n): first for n, first in first_offsets(settings, key, usable, _READ_S).items()}


class SnapshotFeed(FeedOf[RewardSnapshot]):
    """The newest reward snapshot of a model, kept up to date in the background."""

    def __init__(
        self,
        settings: Settings,
        model: str = "default",
        *,
        critics: Collection[str] = (),
        on_snapshot: Callable[[RewardSnapshot], None] | None = None,
        on_applied: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(
            RewardSnapshot, settings, model, critics=critics, on_snapshot=on_snapshot, on_applied=on_applied
        )


def read_latest_of(
    kind: type[Snapshot], settings: Settings, model: str, timeout_s: float = 10.0
) -> Snapshot | None:
    """The newest snapshot of this kind of ``model`` on the topic now, or None.

    Raises BadInput if the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    key = snapshot_key(model, kind.KIND).encode()
    newest = read_newest(settings, {key: partial(decode_snapshot_of, kind)}, timeout_s)
    return newest[key][1] if key in newest else None


def read_latest_snapshot(settings: Settings, model: str, timeout_s: float = 10.0) -> RewardSnapshot | None:
    """The newest reward snapshot of ``model`` on the topic now; see ``read_latest_of``."""
    return read_latest_of(RewardSnapshot, settings, model, timeout_s)


def read_held(settings: Settings, timeout_s: float = 10.0) -> dict[str, Held]:
    """What the topic still holds of every model that weighs critics, by model.

    Raises BadInput if the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    with closing(read_topic(settings, settings.snapshots_topic, timeout_s=timeout_s)) as messages:
        return held_of(messages)

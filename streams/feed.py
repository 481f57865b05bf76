"""The newest reward snapshot of a model, kept up to date in the background."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Self

from streams.codec import ContractError, decode_snapshot
from streams.contracts import RewardSnapshot
from streams.follow import TopicFollower
from streams.messages import StoredMessage
from streams.replay import read_topic
from streams.settings import Settings

log = logging.getLogger(__name__)


class SnapshotFeed:
    """Follows the snapshots topic in a daemon thread; no method waits for the broker.

    ``refused`` counts, per reason (``damaged``, ``not newer``, ``other model``), the snapshots that were not
    taken. ``on_snapshot`` is called in the feed's thread for each one that was, in the order of versions.
    A broker that is away only means that nothing new comes in; the feed goes on when it is back.
    """

    def __init__(
        self,
        settings: Settings,
        model: str = "default",
        *,
        on_snapshot: Callable[[RewardSnapshot], None] | None = None,
    ) -> None:
        self._newest = _Newest(model)
        self._on_snapshot = on_snapshot
        self._follower = TopicFollower(settings, (settings.snapshots_topic,), self._take)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def refused(self) -> dict[str, int]:
        return dict(self._newest.refused)

    def latest(self) -> RewardSnapshot | None:
        """The newest snapshot so far; None where there is none yet."""
        return self._newest.snapshot

    def close(self) -> None:
        """Stop following; what ``latest`` gives stays. May be called twice."""
        self._follower.close()

    def _take(self, message: StoredMessage) -> None:
        snapshot = self._newest.offer(message)
        if snapshot is not None and self._on_snapshot is not None:
            self._on_snapshot(snapshot)


def read_latest_snapshot(settings: Settings, model: str, timeout_s: float = 10.0) -> RewardSnapshot | None:
    """The newest snapshot of ``model`` on the topic now; None where it holds none.

    Raises BadInput where the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    newest = _Newest(model)
    for message in read_topic(settings, settings.snapshots_topic, timeout_s=timeout_s):
        newest.offer(message)
    return newest.snapshot


def read_snapshots(
    settings: Settings, model: str, timeout_s: float = 10.0
) -> list[tuple[StoredMessage, RewardSnapshot]]:
    """Every readable snapshot of ``model`` that the topic still holds, with the message that carries it.

    Raises BadInput where the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    newest = _Newest(model)
    stored = read_topic(settings, settings.snapshots_topic, timeout_s=timeout_s)
    return [(message, snapshot) for message in stored if (snapshot := newest.offer(message)) is not None]


def read_latest_snapshots(settings: Settings, timeout_s: float = 10.0) -> dict[str, RewardSnapshot]:
    """The newest snapshot of every model on the topic now, by model. Raises BadInput as above."""
    models: dict[str, _Newest] = {}
    for message in read_topic(settings, settings.snapshots_topic, timeout_s=timeout_s):
        try:
            model = decode_snapshot(message.value, message.source).model
        except ContractError:
            continue
        models.setdefault(model, _Newest(model)).offer(message)
    return {model: newest.snapshot for model, newest in models.items() if newest.snapshot is not None}


class _Newest:
    """Which snapshot of a stream of messages is to be used, and why the others are not."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.snapshot: RewardSnapshot | None = None
        self.refused: Counter[str] = Counter()

    def offer(self, message: StoredMessage) -> RewardSnapshot | None:
        """The snapshot of ``message`` if it is the newest now."""
        source = message.source
        try:
            snapshot = decode_snapshot(message.value, source)
        except ContractError as error:
            self._refuse("damaged", str(error))
            return None
        if snapshot.model != self._model:
            self._refuse("other model", f"{source}: model {snapshot.model!r}")
            return None
        if self.snapshot is not None and snapshot.version <= self.snapshot.version:
            self._refuse("not newer", f"{source}: version {snapshot.version} ≤ {self.snapshot.version}")
            return None
        self.snapshot = snapshot
        return snapshot

    def _refuse(self, reason: str, detail: str) -> None:
        self.refused[reason] += 1
        log.log(logging.WARNING if reason == "damaged" else logging.DEBUG, "snapshot refused: %s", detail)

"""The newest reward snapshot of a model, kept up to date in the background."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from streams.codec import ContractError, decode_snapshot
from streams.contracts import RewardSnapshot
from streams.messages import StoredMessage
from streams.replay import read_topic, stored_message
from streams.settings import Settings, consumer_config

log = logging.getLogger(__name__)

_POLL_MS = 200


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
        self._settings = settings
        self._newest = _Newest(model)
        self._on_snapshot = on_snapshot
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="snapshot-feed", daemon=True)
        self._thread.start()

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

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop following; what ``latest`` gives stays. May be called twice."""
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _follow(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow_with_one_consumer()
            except KafkaError as error:
                log.warning("the snapshot feed starts again after: %s", error)
                self._closing.wait(1.0)

    def _follow_with_one_consumer(self) -> None:
        # Subscribed without a group, it is given every partition, also of a topic that is made later.
        consumer = KafkaConsumer(self._settings.snapshots_topic, **consumer_config(self._settings))
        try:
            while not self._closing.is_set():
                for records in consumer.poll(timeout_ms=_POLL_MS).values():
                    for record in records:
                        self._take(stored_message(record))
        finally:
            consumer.close()

    def _take(self, message: StoredMessage) -> None:
        snapshot = self._newest.offer(message)
        if snapshot is None or self._on_snapshot is None:
            return
        try:
            self._on_snapshot(snapshot)
        except Exception:
            log.exception("on_snapshot failed at version %d", snapshot.version)


def read_latest_snapshot(settings: Settings, model: str, timeout_s: float = 10.0) -> RewardSnapshot | None:
    """The newest snapshot of ``model`` on the topic now; None where it holds none.

    Raises BadInput where the topic does not exist or the broker stays silent for ``timeout_s`` seconds.
    """
    newest = _Newest(model)
    for message in read_topic(settings, settings.snapshots_topic, timeout_s=timeout_s):
        newest.offer(message)
    return newest.snapshot


class _Newest:
    """Which snapshot of a stream of messages is to be used, and why the others are not."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.snapshot: RewardSnapshot | None = None
        self.refused: Counter[str] = Counter()

    def offer(self, message: StoredMessage) -> RewardSnapshot | None:
        """The snapshot of ``message`` if it is the newest now."""
        source = f"{message.topic}[{message.partition}]@{message.offset}"
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

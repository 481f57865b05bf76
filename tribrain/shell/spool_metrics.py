"""Metrics that a run and the page share: of a spool before Kafka, a feed of snapshots, and disks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from streams.metrics.disks import Disk
from streams.metrics.instruments import Instruments, Labels
from streams.metrics.snapshots import SnapshotFigures, expose_snapshots
from streams.snapshots.serving import REFUSALS

if TYPE_CHECKING:
    from streams.snapshots.feed import SnapshotFeed
    from streams.spool.queue import SpoolStatus


def expose_spool(instruments: Instruments, status: Callable[[], SpoolStatus | None]) -> None:
    """Expose what waits in a spool, from ``status``, which gives None where there is no spool."""

    def read(of: Callable[[SpoolStatus], float]) -> Callable[[], float]:
        return lambda: 0.0 if (found := status()) is None else of(found)

    expose = instruments.expose
    expose("tribrain_spool_records", read(lambda found: sum(found.waiting.values())))
    expose("tribrain_spool_bytes", read(lambda found: found.waiting_bytes))
    expose("tribrain_spool_oldest_seconds", read(lambda found: max(0.0, found.oldest_age_s or 0.0)))
    expose(
        "tribrain_spool_quarantined_records", read(lambda found: sum(map(len, found.quarantined.values())))
    )


def expose_disks(instruments: Instruments, folders: Callable[[], Mapping[str, Path]]) -> None:
    """Expose the space on the disks of ``folders``, by a word for the content; missing ones are left out."""

    def read(of: Callable[[Path], float]) -> Callable[[], Mapping[Labels, float]]:
        return lambda: {(holds,): of(folder) for holds, folder in folders().items() if folder.exists()}

    instruments.expose("tribrain_disk_free_bytes", read(lambda folder: Disk.under(folder).free))
    instruments.expose("tribrain_disk_size_bytes", read(lambda folder: Disk.under(folder).size))


def expose_feed(instruments: Instruments, feed: Callable[[], SnapshotFeed | None]) -> None:
    """Expose the snapshot in use; ``feed`` gives the follower of Kafka, or None where there is none."""

    def newest() -> Iterable[SnapshotFigures]:
        following = feed()
        snapshot = None if following is None else following.latest()
        if following is None or snapshot is None:
            return ()
        return (SnapshotFigures.of(snapshot, following.published_s),)

    def silent() -> Mapping[Labels, float]:
        following = feed()
        return {} if following is None else {(): following.silent_s}

    def refused() -> Mapping[Labels, float]:
        following = feed()
        return {} if following is None else {(why,): following.refused.get(why, 0) for why in REFUSALS}

    expose_snapshots(instruments, newest)
    instruments.expose("tribrain_feed_silent_seconds", silent)
    instruments.expose("tribrain_snapshots_refused_total", refused)

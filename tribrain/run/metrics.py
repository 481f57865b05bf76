"""The metrics of a process that makes runs; those of several runs are summed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.critics.opinion import is_missing
from streams.messages.contracts import TraceEvent
from streams.metrics.instruments import Instruments
from tribrain.shell.spool_metrics import expose_disks, expose_feed, expose_spool

if TYPE_CHECKING:
    from streams.snapshots.feed import SnapshotFeed
    from streams.spool.publisher import TracePublisher
    from streams.spool.queue import SpoolStatus


class RunMetrics:
    """Counts and exposes the videos, failures and spools of this process's runs."""

    def __init__(self, instruments: Instruments, feed: SnapshotFeed | None, critics: Iterable[str]) -> None:
        self._publisher: TracePublisher | None = None
        self._left: SpoolStatus | None = None
        """Status of the spool that the last run left."""
        self._folders: dict[str, Path] = {}
        self._refused = 0
        """Number of events that the spools of finished runs refused."""
        self._candidates = {"judged": 0, "failed": 0}
        self._critic_failures = Counter(dict.fromkeys(critics, 0))
        expose_spool(instruments, lambda: self._left if (sends := self._publisher) is None else sends.status)
        expose_disks(instruments, lambda: dict(self._folders))
        expose_feed(instruments, lambda: feed)
        instruments.expose("tribrain_spool_refused_total", self._refused_so_far)
        instruments.expose(
            "tribrain_candidates_total",
            lambda: {(outcome,): count for outcome, count in self._candidates.items()},
        )
        instruments.expose(
            "tribrain_critic_failures_total",
            lambda: {(critic,): count for critic, count in self._critic_failures.copy().items()},
        )

    def begin(self, out: Path, publisher: TracePublisher | None, spool: Path | None) -> None:
        """Begin a run in the folder ``out``, which publishes through ``publisher`` where there is one."""
        self._folders = {"run": out} | ({} if spool is None else {"spool": spool.parent})
        self._publisher = publisher

    def end(self) -> None:
        """End the run; what it has left in its spool is still shown."""
        if self._publisher is not None:
            self._refused += sum(self._publisher.refused.values())
            self._left, self._publisher = self._publisher.status, None

    def took(self, event: TraceEvent) -> None:
        """Count an iteration of the run."""
        is_judged = bool(event.critic_results)
        self._candidates["judged" if is_judged else "failed"] += 1
        for result in filter(is_missing, event.critic_results):
            self._critic_failures[result.critic_name] += 1

    def _refused_so_far(self) -> float:
        publisher = self._publisher
        return self._refused + (0 if publisher is None else sum(publisher.refused.values()))

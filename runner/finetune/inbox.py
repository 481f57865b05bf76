"""The finished runs that have arrived on the trace topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from streams.messages.codec import ContractError, decode_trace
from streams.messages.contracts import RewardSnapshot, RunEnd, RunRevision, TraceEvent
from streams.messages.revisions import Revision, newest_of
from streams.messages.stored import StoredMessage
from trainers.datasets.choice import samples_apart
from trainers.datasets.rewards import RatedSample, rate
from trainers.datasets.samples import Run, folders_by_run
from trainers.datasets.selection import SelectionPolicy, select

Offsets = Mapping[int, int]
"""Partition to next offset."""


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run as it was when its end arrived, and the position of that end in the topic."""

    run_id: str
    events: tuple[TraceEvent, ...]
    partition: int
    offset: int
    revision: int = 0

    @property
    def run(self) -> RunRevision:
        return self.run_id, self.revision

    def is_since(self, stamp: Offsets) -> bool:
        return self.offset >= stamp.get(self.partition, 0)


class RunInbox:
    """Takes the messages of the trace topic in order.

    A run counts once its end arrives, with the iterations that came before it. So the runs up to an offset
    are the same whenever they are read. A revision counts once everything that its end names has arrived, and
    then replaces the run.
    """

    def __init__(self) -> None:
        self._open: dict[RunRevision, dict[int, TraceEvent]] = {}
        self._come: dict[str, dict[int, Revision]] = {}
        self._ended: dict[RunRevision, EndedRun] = {}
        self.consumed: dict[int, int] = {}
        self.unreadable = 0

    def add(self, message: StoredMessage) -> None:
        self.consumed[message.partition] = message.offset + 1
        try:
            one = decode_trace(message.value, message.source)
        except ContractError:
            self.unreadable += 1
            return
        if one.run in self._ended:
            return  # late or a duplicate
        come = self._come.setdefault(one.run_id, {}).setdefault(one.revision, Revision())
        come.add(one)
        if isinstance(one, TraceEvent):
            self._open.setdefault(one.run, {}).setdefault(one.iter_idx, one)
        if come.is_complete if one.revision else isinstance(one, RunEnd):
            events = self._open.pop(one.run, {})
            in_order = tuple(events[number] for number in sorted(events))
            self._ended[one.run] = EndedRun(
                one.run_id, in_order, message.partition, message.offset, one.revision
            )

    def since(self, stamp: Offsets, before: Offsets | None = None) -> list[EndedRun]:
        """Runs that ended after ``stamp`` and, if given, before ``before``, in the order of their ids.

        Each run is its newest revision by then.
        """
        newest = []
        for run_id, come in sorted(self._come.items()):
            ended = {number: of for number, of in come.items() if self._has_ended((run_id, number), before)}
            if ended:
                newest.append(self._ended[run_id, newest_of(ended)])
        return [run for run in newest if run.is_since(stamp)]

    def forget(self, stamp: Offsets) -> None:
        """Drop the iterations of runs that ended before ``stamp``; remember only that they ended."""
        for name, run in self._ended.items():
            if not run.is_since(stamp) and run.events:
                self._ended[name] = replace(run, events=())

    def _has_ended(self, run: RunRevision, before: Offsets | None) -> bool:
        ended = self._ended.get(run)
        return ended is not None and (before is None or ended.offset < before.get(ended.partition, 0))


def with_folders(ended: Iterable[EndedRun], root: Path) -> list[Run]:
    """The runs with the folders below ``root`` that hold their videos; not every run has a folder."""
    folders = folders_by_run(root)
    return [
        Run(folder=folders.get(run.run_id, root / "no folder"), run_id=run.run_id, events=run.events)
        for run in ended
    ]


def selected(
    runs: Iterable[Run],
    policy: SelectionPolicy,
    snapshot: RewardSnapshot | None,
    kept_apart: Collection[str] = frozenset(),
) -> tuple[list[RatedSample], Counter[str]]:
    """The policy's choice before any video is opened, and how many samples cannot be used, by reason.

    Videos of prompts whose digests are in ``kept_apart`` cannot be used.
    """
    samples, left_out = samples_apart(runs, kept_apart)
    return select(rate(samples, snapshot), policy), left_out

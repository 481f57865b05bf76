"""The finished runs that have come in on the trace topic."""

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
    """A run as it was when its end came, and where that stands."""

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
    """Takes the messages of the trace topic in their order.

    A run counts once its end has come, with the iterations that had come by then: so the runs up to an offset
    are the same whenever they are read. A revision counts once all that its end names has come, too, and then
    in place of the run.
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
            return  # late, or a repetition
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
        """Those that ended after ``stamp``, and where it is given before that one, in the order of their ids.

        Of each run its newest revision by then.
        """
        newest = []
        for run_id, come in sorted(self._come.items()):
            ended = {number: of for number, of in come.items() if self._has_ended((run_id, number), before)}
            if ended:
                newest.append(self._ended[run_id, newest_of(ended)])
        return [run for run in newest if run.is_since(stamp)]

    def forget(self, stamp: Offsets) -> None:
        """Let go of what ended before ``stamp``; that it has ended stays known."""
        for name, run in self._ended.items():
            if not run.is_since(stamp) and run.events:
                self._ended[name] = replace(run, events=())

    def _has_ended(self, run: RunRevision, before: Offsets | None) -> bool:
        ended = self._ended.get(run)
        return ended is not None and (before is None or ended.offset < before.get(ended.partition, 0))


def with_folders(ended: Iterable[EndedRun], root: Path) -> list[Run]:
    """The runs with the folders below ``root`` in which their videos are; one without has none."""
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
    """What the policy chooses before any video is looked at; and reason to number of what cannot be used.

    Videos of the prompts that are kept apart, given by their digests, cannot.
    """
    samples, left_out = samples_apart(runs, kept_apart)
    return select(rate(samples, snapshot), policy), left_out

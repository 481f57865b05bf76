"""The finished runs that have come in on the trace topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.messages.codec import ContractError, decode_trace
from streams.messages.contracts import RewardSnapshot, RunEnd, TraceEvent
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

    def is_since(self, stamp: Offsets) -> bool:
        return self.offset >= stamp.get(self.partition, 0)


class RunInbox:
    """Takes the messages of the trace topic in their order.

    A run counts once its end has come, with the iterations that had come by then: so the runs up to an offset
    are the same whenever they are read.
    """

    def __init__(self) -> None:
        self._open: dict[str, dict[int, TraceEvent]] = {}
        self._ended: dict[str, EndedRun] = {}
        self.consumed: dict[int, int] = {}
        self.unreadable = 0

    def add(self, message: StoredMessage) -> None:
        self.consumed[message.partition] = message.offset + 1
        try:
            one = decode_trace(message.value, message.source)
        except ContractError:
            self.unreadable += 1
            return
        if one.run_id in self._ended:
            return  # late, or a repetition
        if isinstance(one, TraceEvent):
            self._open.setdefault(one.run_id, {}).setdefault(one.iter_idx, one)
        elif isinstance(one, RunEnd):
            events = self._open.pop(one.run_id, {})
            in_order = tuple(events[number] for number in sorted(events))
            self._ended[one.run_id] = EndedRun(one.run_id, in_order, message.partition, message.offset)

    def since(self, stamp: Offsets) -> list[EndedRun]:
        """Those that ended after ``stamp``, in the order of their ids."""
        return [run for _, run in sorted(self._ended.items()) if run.is_since(stamp)]

    def forget(self, stamp: Offsets) -> None:
        """Let go of what ended before ``stamp``; that it has ended stays known."""
        for run_id, run in self._ended.items():
            if not run.is_since(stamp) and run.events:
                self._ended[run_id] = EndedRun(run_id, (), run.partition, run.offset)


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

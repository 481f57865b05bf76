"""Chooses the revision of a run that readers use: the newest complete one.

A rescoring writes every iteration of a run again under the next revision (``TraceEvent``). Until all of them
and the end have arrived, readers keep the earlier revision. A revision that lacks an iteration of the earlier
one never replaces it, for example when its publisher was killed and a timeout ended it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from streams.messages.contracts import RunEnd, RunRevision, TraceEvent, TraceMessage


@dataclass(slots=True)
class Revision:
    """The part of one revision of a run that has arrived."""

    iterations: set[int] = field(default_factory=set)
    named: set[int] | None = None
    """The iterations that its end names; None before the end has arrived."""

    def add(self, message: TraceMessage) -> None:
        if isinstance(message, RunEnd):
            if self.named is None:
                self.named = set(message.iterations)
        else:
            self.iterations.add(message.iter_idx)

    @property
    def is_complete(self) -> bool:
        """Whether its end has arrived, and every iteration that the end names."""
        return self.named is not None and self.named <= self.iterations

    def replaces(self, before: Collection[int]) -> bool:
        """Whether it replaces an earlier revision that has these iterations."""
        return self.is_complete and self.iterations.issuperset(before)


def newest_of(revisions: Mapping[int, Revision]) -> int:
    """The number of the revision that counts, among those of one run. There must be at least one."""
    first, *later = sorted(revisions)
    newest = first
    for number in later:
        if revisions[number].replaces(revisions[newest].iterations):
            newest = number
    return newest


def newest_revisions(messages: Sequence[TraceMessage]) -> list[TraceMessage]:
    """The messages of the newest complete revision of each run, in their original order."""
    runs: dict[str, dict[int, Revision]] = {}
    for message in messages:
        runs.setdefault(message.run_id, {}).setdefault(message.revision, Revision()).add(message)
    newest = {run_id: newest_of(revisions) for run_id, revisions in runs.items()}
    return [message for message in messages if message.revision == newest[message.run_id]]


def missing_ends(messages: Iterable[TraceMessage]) -> list[RunEnd]:
    """Ends for the runs that have none, in the order in which the runs begin.

    Later revisions get none: without its own end a revision is incomplete, and readers keep the earlier one.
    """
    events: dict[RunRevision, list[TraceEvent]] = {}
    ended = set()
    for message in messages:
        if isinstance(message, RunEnd):
            ended.add(message.run)
        elif not message.revision:
            events.setdefault(message.run, []).append(message)
    return [
        RunEnd(
            run_id=run_id,
            iterations=tuple(sorted({event.iter_idx for event in of_run})),
            stop_reason=str(of_run[-1].meta.get("stop_reason") or ""),
        )
        for (run_id, revision), of_run in events.items()
        if (run_id, revision) not in ended
    ]

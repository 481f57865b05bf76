"""The pair former: trace events in, pairs out, whoever calls it (Faust agent, replay, tests)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.messages.contracts import PairsEnd, PreferencePair, RunClosed, RunEnd, TraceEvent, TraceMessage
from trainers.pairing import PairingRules, RunPairing

log = logging.getLogger(__name__)

_REMEMBERED_RUNS = 10_000

Formed = PreferencePair | PairsEnd | RunClosed


class LateEvent(Exception):
    """An iteration that came after its run had been ended without it."""


@dataclass(slots=True)
class _OpenRun:
    pairing: RunPairing
    n_pairs: int = 0
    next_iteration: int = 0
    waiting: dict[int, TraceEvent] = field(default_factory=dict)
    end: RunEnd | None = None
    seen_since_tick: bool = True
    silent_s: float = 0.0

    @property
    def missing(self) -> list[int]:
        """Iterations that the end names and that have not come."""
        named = self.end.iterations if self.end else ()
        return [i for i in named if i >= self.next_iteration and i not in self.waiting]

    @property
    def iterations(self) -> tuple[int, ...]:
        """What has come, ascending."""
        return (*range(self.next_iteration), *sorted(self.waiting))

    def add(self, event: TraceEvent) -> Iterator[PreferencePair]:
        """Pairs that can be formed in the order of the iterations now."""
        self.waiting[event.iter_idx] = event
        while self.next_iteration in self.waiting:
            yield from self.pairing.add(self.waiting.pop(self.next_iteration))
            self.next_iteration += 1

    def finish(self) -> Iterator[PreferencePair]:
        """What the end adds; iterations that could not be published leave gaps behind."""
        for iter_idx in sorted(self.waiting):
            yield from self.pairing.add(self.waiting[iter_idx])
        yield from self.pairing.finish()


class PairFormer:
    """Forms the pairs of many interleaved runs, each in the order of its iterations.

    An event is held until all iterations before it have come, and the end until all that it names have, so
    the pairs of a run are the same whatever the order of arrival. Duplicates form nothing.

    A closed run is marked by a ``RunClosed`` behind it. A run that is read again from its middle (its
    beginning lies before the committed offset, so its pairs are on the pairs topic already) waits for its
    beginning until the mark comes, and so forms nothing. One that is read again as a whole forms the same
    pairs again, which the learner knows by their ids.
    """

    def __init__(self, rules: PairingRules) -> None:
        self._rules = rules
        self._open: dict[str, _OpenRun] = {}
        self._closed: OrderedDict[str, frozenset[int]] = OrderedDict()

    def is_open(self, run_id: str) -> bool:
        """Whether the run's events must be read again after a crash."""
        return run_id in self._open

    def has_begun(self, run_id: str) -> bool:
        """Whether the run is open and its first iteration is there."""
        run = self._open.get(run_id)
        return run is not None and _has_begun(run)

    def on_event(self, event: TraceMessage) -> list[Formed]:
        """The messages that this event completes, in the order in which they are to be published.

        Raises LateEvent for an iteration without which its run was ended.
        """
        run_id = event.run_id
        if run_id in self._closed:
            if isinstance(event, TraceEvent) and event.iter_idx not in self._closed[run_id]:
                raise LateEvent(
                    f"iteration {event.iter_idx} of run {run_id!r} came after the run was ended without it"
                )
            return []
        if isinstance(event, RunClosed):
            if event.model == self._rules.model:
                self._close(run_id, event.iterations)
            return []
        run = self._open.setdefault(run_id, _OpenRun(RunPairing(self._rules)))
        run.seen_since_tick = True
        formed: list[Formed] = []
        if isinstance(event, RunEnd):
            run.end = event
        elif event.iter_idx >= run.next_iteration and event.iter_idx not in run.waiting:
            formed += run.add(event)
        run.n_pairs += len(formed)
        if run.end is not None and not run.missing:
            formed += self._finish(run, run.end)
        return formed

    def on_tick(self, elapsed_s: float, timeout_s: float) -> tuple[list[RunEnd], list[str]]:
        """Time has passed in which nothing was left unread.

        Returns the ends to be published for runs that were silent for ``timeout_s`` seconds, and the ids of
        runs that were and lack their beginning; those are given up.
        """
        ends, given_up = [], []
        for run_id, run in list(self._open.items()):
            run.silent_s = 0.0 if run.seen_since_tick else run.silent_s + elapsed_s
            run.seen_since_tick = False
            if run.silent_s < timeout_s:
                continue
            run.silent_s = 0.0  # the end that is published now comes back on the topic
            if _has_begun(run):
                reason = f"timed out: silent for {timeout_s:g} s"
                ends.append(RunEnd(run_id=run_id, iterations=run.iterations, stop_reason=reason))
            else:
                del self._open[run_id]
                given_up.append(run_id)
        return ends, given_up

    def forget(self) -> None:
        """Drop every open run: their events will be read again, here or by another owner."""
        self._open.clear()
        self._closed.clear()

    def _finish(self, run: _OpenRun, end: RunEnd) -> list[Formed]:
        pairs = list(run.finish())
        iterations = tuple(sorted({*run.iterations, *end.iterations}))
        self._close(end.run_id, iterations)
        closed = RunClosed(run_id=end.run_id, model=self._rules.model, iterations=iterations)
        if not iterations:
            return [closed]
        ended = PairsEnd(
            run_id=end.run_id,
            task_id=run.pairing.task_id,
            model=run.pairing.model,
            n_pairs=run.n_pairs + len(pairs),
            n_candidates=run.pairing.n_candidates,
        )
        return [*pairs, ended, closed]

    def _close(self, run_id: str, iterations: tuple[int, ...]) -> None:
        self._open.pop(run_id, None)
        self._closed[run_id] = frozenset(iterations)
        if len(self._closed) > _REMEMBERED_RUNS:
            self._closed.popitem(last=False)


def _has_begun(run: _OpenRun) -> bool:
    """A run's first iteration may be one that could not be published; then its end names a later one."""
    first = min(run.end.iterations, default=0) if run.end else 0
    return run.next_iteration > 0 or first in run.waiting

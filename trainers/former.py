"""The pair former: trace events in, pairs out, whoever calls it (Faust agent, replay, tests)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field

from streams.contracts import PairsEnd, PreferencePair, RunEnd, TraceEvent
from trainers.pairing import PairingRules, RunPairing

log = logging.getLogger(__name__)

_REMEMBERED_RUNS = 10_000


@dataclass(slots=True)
class _OpenRun:
    pairing: RunPairing
    task_id: str = ""
    n_pairs: int = 0
    next_iteration: int = 0
    waiting: dict[int, TraceEvent] = field(default_factory=dict)


class PairFormer:
    """Forms the pairs of many interleaved runs, each in the order of its iterations.

    An event is held until all iterations before it have come, so that the pairs of a run are the same
    whatever the order of arrival. A run that is read again from its middle (its beginning lies before the
    committed offset, so its pairs are on the pairs topic already) never gets its beginning, and so forms
    nothing. Duplicates of events form nothing, and duplicates of whole runs at most the same pairs again,
    which the learner knows by their ids.
    """

    def __init__(self, rules: PairingRules) -> None:
        self._rules = rules
        self._open: dict[str, _OpenRun] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()

    def is_open(self, run_id: str) -> bool:
        """Whether the run's events must be read again after a crash."""
        return run_id in self._open

    def on_event(self, event: TraceEvent | RunEnd) -> list[PreferencePair | PairsEnd]:
        """The messages that this event completes, in the order in which they are to be published."""
        run_id = event.run_id
        if run_id in self._closed:
            return []
        run = self._open.setdefault(run_id, _OpenRun(RunPairing(self._rules)))
        if isinstance(event, RunEnd):
            return self._end(run, event)
        if event.iter_idx < run.next_iteration or event.iter_idx in run.waiting:
            return []
        run.task_id = run.task_id or event.task_id
        run.waiting[event.iter_idx] = event
        messages: list[PreferencePair | PairsEnd] = []
        while run.next_iteration in run.waiting:
            messages += run.pairing.add(run.waiting.pop(run.next_iteration))
            run.next_iteration += 1
        run.n_pairs += len(messages)
        return messages

    def forget(self) -> None:
        """Drop every open run: their events will be read again, here or by another owner."""
        self._open.clear()
        self._closed.clear()

    def _end(self, run: _OpenRun, end: RunEnd) -> list[PreferencePair | PairsEnd]:
        """A producer sends the end last, so what is missing now was lost, or was read before a restart."""
        del self._open[end.run_id]
        self._closed[end.run_id] = None
        if len(self._closed) > _REMEMBERED_RUNS:
            self._closed.popitem(last=False)
        missing = [i for i in end.iterations if i >= run.next_iteration and i not in run.waiting]
        if missing:
            log.warning("run %s ended without its iterations %s", end.run_id, missing)
        if not end.iterations or end.iterations[0] in missing:
            return []
        pairs: list[PreferencePair] = []
        for iter_idx in sorted(run.waiting):
            pairs += run.pairing.add(run.waiting[iter_idx])
        pairs += run.pairing.finish()
        closing = PairsEnd(
            run_id=end.run_id,
            task_id=run.task_id,
            model=self._rules.model,
            n_pairs=run.n_pairs + len(pairs),
            n_candidates=run.pairing.n_candidates,
        )
        return [*pairs, closing]

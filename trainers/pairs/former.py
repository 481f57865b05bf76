"""The pair former: trace events in, pairs out, for any caller (Faust agent, replay, tests)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from msgspec import UNSET, Struct

from streams.errors import BadInput
from streams.messages.codec import decode_trace, encode
from streams.messages.contracts import (
    PairMessage,
    PairsEnd,
    PreferencePair,
    RunClosed,
    RunEnd,
    RunRevision,
    TraceEvent,
    TraceMessage,
)
from trainers.pairs.pairing import PairingRules, RunPairing

REMEMBERED_RUNS = 10_000
"""Number of closed runs that a former remembers, so that resent events of them are recognised."""

MOST_WAITING_BYTES = 32 << 20
"""Limit of bytes that wait for an earlier iteration of their run, the first or any other, in one worker. It
may be hours until that comes. ``TraceProcessor`` counts them."""
WAITING_BYTES, NAMED_BYTES = 1_024, 128
"""Memory of a waiting message besides its bytes, with the run that it may be the first of, and of an
iteration named by a waiting end."""

_Iterations = frozenset[int] | range


class NotUsable(BadInput):
    """An event that is valid by itself, but unusable for its run."""


class LateEvent(NotUsable):
    """An iteration that came after its run had ended without it."""


class Formed(Struct, frozen=True):
    """What one event completes in its run, in the order of publishing."""

    pairs: Sequence[PreferencePair] = ()
    first: int = 0
    """The number of the first of these pairs among all pairs of the run, from 0."""
    end: PairsEnd | None = None
    """Follows the last pair of the run; null also for a run without iterations."""
    closed: RunClosed | None = None
    """Marks the run as finished; to be written once all before it is safe."""

    @property
    def messages(self) -> list[PairMessage]:
        """Messages for the pairs topic."""
        return [*self.pairs, *([self.end] if self.end else [])]


_NOTHING = Formed()


class _OpenRun:
    """A run that has not ended, or lacks iterations that its end names."""

    def __init__(self, rules: PairingRules) -> None:
        self.pairing = RunPairing(rules)
        self.n_pairs = 0
        self.named: tuple[int, ...] | None = None
        """Iterations named by the run's end."""
        self.seen_since_tick = True
        self.silent_s = 0.0
        self._next_iteration = 0
        self._waiting: dict[int, bytes] = {}
        """Iterations that came before an earlier one, encoded: decoded they may be twenty times as large."""
        self._waiting_bytes = 0
        self._missing: set[int] = set()
        """Iterations that the end names but that have not come."""

    @property
    def iterations(self) -> tuple[int, ...]:
        """Iterations received, ascending."""
        return (*range(self._next_iteration), *sorted(self._waiting))

    @property
    def has_begun(self) -> bool:
        """Whether the run's first iteration has come: 0, or the first one that the run's end names."""
        return self._next_iteration > 0 or min(self.named or (0,)) in self._waiting

    @property
    def is_complete(self) -> bool:
        return self.named is not None and not self._missing

    @property
    def waiting_bytes(self) -> int:
        """Bytes of iterations that came before an earlier one, and of an end that waits for some."""
        return self._waiting_bytes + NAMED_BYTES * len(self.named or ())

    def lets_wait(self, event: TraceMessage) -> bool:
        """Whether the event must be kept, because it is neither next nor completes the run."""
        if isinstance(event, RunEnd):
            return any(i >= self._next_iteration and i not in self._waiting for i in event.iterations)
        i = event.iter_idx
        if i in self._waiting:
            return not self.has_begun  # it may have to become a dead letter
        return i > self._next_iteration and self._missing != {i}

    def take(self, event: TraceMessage, raw: bytes | None) -> list[PreferencePair]:
        """The pairs that can be formed now. If this raises, the run is unchanged."""
        mark, named, next_iteration = self.pairing.mark(), self.named, self._next_iteration
        taken: list[tuple[int, bytes]] = []
        is_new = isinstance(event, TraceEvent) and event.iter_idx not in self._waiting
        try:
            if isinstance(event, RunEnd):
                self._set_named(event.iterations)
                pairs = []
            else:
                pairs = self._add(event, raw, taken)
            if self.is_complete:
                pairs += self._finish()
        except Exception:
            self.pairing.back_to(mark)
            self._next_iteration = next_iteration
            for i, kept in taken:
                self._keep(i, kept)
            if is_new and isinstance(event, TraceEvent):
                self._let_go(event.iter_idx)
            self._set_named(named)
            raise
        self.n_pairs += len(pairs)
        return pairs

    def _add(
        self, event: TraceEvent, raw: bytes | None, taken: list[tuple[int, bytes]]
    ) -> list[PreferencePair]:
        """Adds iterations in order; ``taken`` gets what leaves ``_waiting``."""
        if event.iter_idx < self._next_iteration or event.iter_idx in self._waiting:
            return []
        self._missing.discard(event.iter_idx)
        if event.iter_idx > self._next_iteration:
            self._keep(event.iter_idx, encode(event) if raw is None else raw)
            return []
        pairs = self.pairing.add(event)
        self._next_iteration += 1
        while (following := self._let_go(self._next_iteration)) is not None:
            taken.append((self._next_iteration, following))
            pairs += self._add_waiting(following)
            self._next_iteration += 1
        return pairs

    def _add_waiting(self, raw: bytes) -> list[PreferencePair]:
        event = decode_trace(raw, "an event that waited")
        return self.pairing.add(event) if isinstance(event, TraceEvent) else []

    def _finish(self) -> list[PreferencePair]:
        """The pairs that the end adds; iterations that could not be published leave gaps."""
        pairs = [pair for i in sorted(self._waiting) for pair in self._add_waiting(self._waiting[i])]
        return pairs + self.pairing.finish()

    def _keep(self, i: int, raw: bytes) -> None:
        self._waiting[i] = raw
        self._waiting_bytes += len(raw) + WAITING_BYTES

    def _let_go(self, i: int) -> bytes | None:
        raw = self._waiting.pop(i, None)
        if raw is not None:
            self._waiting_bytes -= len(raw) + WAITING_BYTES
        return raw

    def _set_named(self, named: tuple[int, ...] | None) -> None:
        self.named = named
        self._missing = {i for i in named or () if i >= self._next_iteration and i not in self._waiting}


class PairFormer:
    """Feeds each run's events to its RunPairing; resent and repeated messages change nothing.

    A revision is treated as a separate run, which may come before or after its run's end. Events may arrive
    in any order. An end that names a missing iteration waits for it. If an event raises, nothing has changed.
    """

    def __init__(self, rules: PairingRules) -> None:
        self._rules = rules
        self._open: dict[RunRevision, _OpenRun] = {}
        self._closed: OrderedDict[RunRevision, _Iterations] = OrderedDict()
        self._recalled: dict[RunRevision, _Iterations] = {}

    def is_open(self, run: RunRevision) -> bool:
        """Whether the run's events must be read again after a crash."""
        return run in self._open

    def has_begun(self, run: RunRevision) -> bool:
        """Whether the run is open and its first iteration has come."""
        open_run = self._open.get(run)
        return open_run is not None and open_run.has_begun

    def would_wait(self, event: TraceMessage) -> bool:
        """Whether the event is to be kept until an earlier iteration of its run comes."""
        run = self._open.get(event.run)
        if run is not None:
            return run.lets_wait(event)
        if event.run in self._closed or event.run in self._recalled:
            return False
        return bool(event.iterations) if isinstance(event, RunEnd) else event.iter_idx > 0

    def waiting_bytes(self, run: RunRevision) -> int:
        """Bytes that wait in an open run for an earlier iteration; 0 for a run that is not open."""
        open_run = self._open.get(run)
        return 0 if open_run is None else open_run.waiting_bytes

    def on_event(self, event: TraceMessage, raw: bytes | None = None) -> Formed:
        """What this event completes; ``raw`` is the encoded event, if the caller has it.

        Raises LateEvent for an iteration that comes after its run has ended without it.
        """
        name = event.run
        known = self._closed.get(name, self._recalled.get(name))
        if known is not None:
            if isinstance(event, TraceEvent) and event.iter_idx not in known:
                raise LateEvent(
                    f"iteration {event.iter_idx} of {in_words(name)} came after the run had ended without it"
                )
            return _NOTHING
        run = self._open.get(name)
        if run is None:
            run = _OpenRun(self._rules)
        first = run.n_pairs
        pairs = run.take(event, raw)
        run.seen_since_tick = True
        self._open[name] = run
        if run.is_complete:
            return self._close(name, run, pairs, first)
        return Formed(pairs, first) if pairs else _NOTHING

    def on_tick(self, elapsed_s: float, timeout_s: float) -> tuple[list[RunEnd], list[RunRevision]]:
        """Account for ``elapsed_s`` seconds in which nothing was left unread.

        Returns the ends to publish for runs that were silent for ``timeout_s`` seconds. Also returns the
        silent runs that lack their beginning, which are given up.
        """
        ends, given_up = [], []
        for name, run in list(self._open.items()):
            run.silent_s = 0.0 if run.seen_since_tick else run.silent_s + elapsed_s
            run.seen_since_tick = False
            if run.silent_s < timeout_s:
                continue
            run.silent_s = 0.0  # the end published now will arrive on the topic
            if run.has_begun:
                reason = f"timed out: silent for {timeout_s:g} s"
                run_id, revision = name
                meta = {"revision": revision} if revision else {}
                ends.append(RunEnd(run_id=run_id, iterations=run.iterations, stop_reason=reason, meta=meta))
            else:
                del self._open[name]
                given_up.append(name)
        return ends, given_up

    def recall(self, closed: Iterable[RunClosed]) -> None:
        """Remember these closed runs until ``forget``, because their events may be read again."""
        for mark in closed:
            if mark.model == self._rules.model:
                self._recalled[mark.run] = _compact(mark.iterations)

    def forget(self) -> None:
        """Drop every run: open ones will be read again, here or by another owner."""
        self._open.clear()
        self._closed.clear()
        self._recalled.clear()

    def _close(self, name: RunRevision, run: _OpenRun, pairs: list[PreferencePair], first: int) -> Formed:
        iterations = tuple(sorted({*run.iterations, *(run.named or ())}))
        del self._open[name]
        self._closed[name] = _compact(iterations)
        if len(self._closed) > REMEMBERED_RUNS:
            self._closed.popitem(last=False)
        run_id, revision = name[0], name[1] or UNSET
        closed = RunClosed(run_id=run_id, model=self._rules.model, iterations=iterations, revision=revision)
        if not iterations:
            return Formed(closed=closed)
        end = PairsEnd(
            run_id=run_id,
            task_id=run.pairing.task_id,
            model=run.pairing.model,
            n_pairs=run.n_pairs,
            n_candidates=run.pairing.n_candidates,
            revision=revision,
        )
        return Formed(pairs, first, end, closed)


def in_words(run: RunRevision) -> str:
    """The run's name in errors: ``run 'a'``, or ``revision 2 of run 'a'``."""
    run_id, revision = run
    return f"revision {revision} of run {run_id!r}" if revision else f"run {run_id!r}"


def _compact(iterations: tuple[int, ...]) -> _Iterations:
    """The iterations in little memory: most runs have all of them from 0 on, and there are many runs."""
    n = len(iterations)
    return range(n) if n == 0 or (iterations[0] == 0 and iterations[-1] == n - 1) else frozenset(iterations)

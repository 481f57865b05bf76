"""Resumes a run after any ending: a crash, a full disk, Ctrl-C, a time limit.

The loop runs again from its beginning. Recorded candidates are returned instead of made, so the loop, its
controller and its random numbers reach the same place through the same decisions, which is checked. This
needs the trace, the videos with their metadata (``runner.worlds.kept``), and the reward snapshots that were
in use, which the run's folder keeps (``rewards/from_0003.json``: from candidate 3 on).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from msgspec import structs

from runner.interfaces import AnyCritic, EventSink, FailuresInARow, SnapshotSource, WorldModel
from runner.loop.candidate import CandidateMaker, CandidateSpec, candidate_folder
from runner.loop.kept_rewards import KeptRewards
from runner.loop.record import RunRecord, before_failures
from runner.loop.refinement import RefinementLoop
from runner.loop.rescoring import required_by
from runner.loop.result import RunResult, run_result
from runner.loop.stopping import MAX_FAILURES
from runner.worlds.kept import keeping, noting_files
from streams.errors import BadInput
from streams.messages.contracts import RewardSnapshot, TraceEvent

INTERRUPTED = "interrupted"
END_IS_TOLD = "its end is on Kafka, where it is final"


class CannotContinue(Exception):
    """A run must not continue; the message says why."""


def run_or_resume(
    loop: RefinementLoop,
    *,
    interrupt_ends: bool = False,
    is_told: bool = False,
    publisher: EventSink | None = None,
    holds_failures: bool = False,
    look: Callable[[Sequence[TraceEvent]], Collection[int]] = lambda _: (),
    before_end: Callable[[], None] = lambda: None,
) -> RunResult:
    """Like ``loop.run()``, but a repeated call after an interruption repeats no finished work.

    Unlike there, an interrupt or error does not end the run: the exception is raised, and the same call can
    resume the run. With ``interrupt_ends``, an interrupt is recorded as the run's end, as in ``loop.run()``.
    The same call then undoes such an end and continues. If the run failed (``RunResult.failure``) or was
    given up, it tries the last failures again, even if the run was rescored. It does neither if ``is_told``
    reports that the end was published, or if what a rescoring gave or required would be lost;
    ``RunResult.cannot_continue`` then says why. The controller must start from the same state as before, and
    a reward of texts must be the same; ``before_end`` may save what the controller learnt. ``max_failures``
    may be another one.

    ``publisher`` and ``holds_failures`` are as in RunRecord. Before the first new candidate, ``look`` is
    given the recorded ones; it gives the iterations that the publisher need not be given again, or raises
    CannotContinue.
    Raises BadInput if the loop does not reach the recorded decisions again.
    """
    record = RunRecord(
        loop.out_dir,
        loop.run_id,
        loop.sink,
        take_up=loop.candidates,
        publisher=publisher,
        holds_failures=holds_failures,
    )
    cannot_continue = _go_on(record, loop, is_told, look)
    if record.stop_reason is not None or not cannot_continue:
        record.push_again()
    if record.stop_reason is None and not cannot_continue:
        past = _RecordedSteps(
            events={event.iter_idx: event for event in record.events},
            make_new=loop.make,
            text_critic=loop.text_feed.name if loop.text_feed is not None else None,
        )
        again = replace(
            loop,
            world=keeping(loop.world),
            stop=replace(loop.stop, went_on_until=_went_on_until(record.events, loop.candidates)),
            make=past.make,
            feed=_ReplayFeed(loop.feed, loop.out_dir, past, loop.candidates) if loop.feed else None,
            clock=past.clock(loop.clock),
        )
        stop_reason = ""
        try:
            for step in _steps(again.events(), loop.candidates):
                record.add(*step)
                stop_reason = step[-1].meta["stop_reason"]
        except KeyboardInterrupt:
            if not interrupt_ends:
                raise
            stop_reason = INTERRUPTED
        before_end()
        record.end(stop_reason)
    result = run_result(loop.run_id, record.events, record.stop_reason or "")
    return replace(result, cannot_continue=cannot_continue)


def _go_on(
    record: RunRecord,
    loop: RefinementLoop,
    is_told: bool,
    look: Callable[[Sequence[TraceEvent]], Collection[int]],
) -> str:
    """Undo the run's end, if the run would continue when started now. Returns why that is impossible."""
    has_ended = record.stop_reason is not None
    n = _kept(record, loop.candidates) if has_ended else len(record.events)
    if n is None:
        return ""
    if has_ended and (why := END_IS_TOLD if is_told else _would_lose(record, n, loop)):
        return why
    try:
        record.published = {idx for idx in look(record.made) if idx < n}
    except CannotContinue as why:
        return str(why)
    if has_ended:
        record.reopen(n)
    return ""


def _kept(record: RunRecord, per_step: int) -> int | None:
    """Number of candidates that stay if an ended run continues; None if it is over."""
    made, reason = record.made, record.stop_reason or ""
    has_ended_well = not run_result(record.run_id, record.events, reason).failure
    if has_ended_well and reason not in (INTERRUPTED, MAX_FAILURES):
        return None
    n = len(made)
    if run_result(record.run_id, made, reason).failure:
        n = before_failures(made, per_step, is_given_up=reason == MAX_FAILURES)
    return None if reason != INTERRUPTED and n == len(made) else n


def _would_lose(record: RunRecord, n: int, loop: RefinementLoop) -> str:
    """What a rescoring gave or required that would be lost if the run continued after ``n`` candidates."""
    asked = {critic.name for critic in loop.critics}
    lost = {
        result.critic_name
        for place, (before, now) in enumerate(zip(record.made, record.events, strict=True))
        for result in now.critic_results
        if result not in before.critic_results and (place < n or result.critic_name not in asked)
    }
    if lost:
        names = ", ".join(sorted(lost))
        return f"going on would lose scores that a rescoring gave later: those of critic {names}"
    end = record.newest_end
    if since := sorted(required_by(end) - set(loop.required) if end is not None else ()):
        return f"a rescoring required critic {', '.join(since)} later, and the run itself does not"
    return ""


def _went_on_until(events: Sequence[TraceEvent], per_step: int) -> int:
    """Number of recorded steps after which the run did not stop."""
    return len(events) // per_step - any(event.meta["stop_reason"] for event in events[-1:])


def _steps(events: Iterator[TraceEvent], per_step: int) -> Iterator[tuple[TraceEvent, ...]]:
    return zip(*[events] * per_step, strict=True)


@dataclass(slots=True)
class _RecordedSteps:
    """The recorded steps, replayed as if they were made now."""

    events: dict[int, TraceEvent]
    make_new: CandidateMaker
    text_critic: str | None
    elapsed_s: float = field(default=0.0)
    """Seconds that the replayed steps took when they were made."""

    def make(
        self,
        world: WorldModel,
        critics: Sequence[AnyCritic],
        goal: str,
        wanted: Sequence[CandidateSpec],
        run_dir: Path,
        *,
        failures: FailuresInARow,
    ) -> list[TraceEvent]:
        if wanted[0].idx not in self.events:
            with ExitStack() as stack:
                for one in wanted:
                    stack.enter_context(noting_files(candidate_folder(run_dir, one.idx)))
                return self.make_new(world, critics, goal, wanted, run_dir, failures=failures)
        made = [self._recorded(one) for one in wanted]
        self.elapsed_s += made[0].meta["iter_time_s"]
        return made

    def clock(self, clock: Callable[[], float]) -> Callable[[], float]:
        """A clock of the time spent in the run, without the time between its processes."""
        return lambda: clock() + self.elapsed_s

    def _recorded(self, wanted: CandidateSpec) -> TraceEvent:
        event = self.events[wanted.idx]
        if (event.prompt, event.meta["generation_seed"]) != (wanted.prompt, wanted.seed):
            raise BadInput(
                f"run {event.run_id!r}: iteration {wanted.idx} was made from another prompt or seed than it "
                "would be now: options, files or the program have changed since; continue with those that "
                "the run was started with, or choose another --out"
            )
        of_video = tuple(r for r in event.critic_results if r.critic_name != self.text_critic)
        return structs.replace(event, critic_results=of_video)


class _ReplayFeed:
    """Gives recorded steps the snapshots that were in use then, and later ones those of the feed.

    The loop asks once per step.
    """

    def __init__(self, feed: SnapshotSource, run_dir: Path, past: _RecordedSteps, per_step: int) -> None:
        self._feed = feed
        self._kept = KeptRewards(run_dir)
        self._past = past
        self._per_step = per_step
        self._idx = -per_step

    def latest(self) -> RewardSnapshot | None:
        self._idx += self._per_step
        recorded = self._past.events.get(self._idx)
        return self._kept.use(self._feed.latest(), self._idx) if recorded is None else self._kept.at(recorded)

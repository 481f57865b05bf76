"""The refinement loop: generate, let the critics judge, choose what to fix, rewrite the prompt, again."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from runner.critics.opinion import is_missing
from runner.interfaces import AnyCritic, EventSink, RewardFeed, TextReward, TextRewardFeed, WorldModel
from runner.loop.candidate import CandidateMaker, CandidateSpec, make_candidates, with_required
from runner.loop.controller import Controller, Vector
from runner.loop.course import Compared, Course
from runner.loop.record import RunRecord
from runner.loop.refiner import Arm, PromptState, refine
from runner.loop.rewrites import MAX_REWRITES, Choice, Refiner, choose, propose
from runner.loop.stopping import MAX_FAILURES, StopRules
from runner.rewards.preference import PreferencePolicy
from runner.rewards.text_critic import judge_text
from streams.errors import BadInput
from streams.messages.contracts import CriticResult, TraceEvent

_LAST_WORDS = 200
"""Characters of what a critic printed at last."""

# Streams of random numbers that must not depend on each other.
_CONTROLLER, _GENERATION, _REWRITES = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run in short; everything in it can be read from its trace."""

    run_id: str
    iterations: int
    """Steps; each has as many candidates as were asked for."""
    candidates: int
    """Events of the trace but for its end; those whose generation failed are among them."""
    best_iter: int | None
    best_score: float | None
    """The critics' reward of the best; None where no candidate could be judged."""
    versions: tuple[tuple[int, int | None], ...]
    """(iter_idx, snapshot version) at which another version came into use; None: no snapshot any more."""
    stop_reason: str
    best_video: str | None = None
    """Path from the run's folder."""
    best_prompt: str | None = None
    failure: str = ""
    """What went wrong at last, where no candidate could be judged or the run was given up; else empty."""
    critic_failed: bool = False
    """Whether that was a critic, and not the world model."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a step is to make."""

    context: Vector
    """In which the controller chose."""
    prompts: Sequence[tuple[Arm | None, PromptState]]
    """One for each candidate, and the arm that made it; None made the bare goal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementLoop:
    """One run: refine the prompt for ``goal`` until a stop rule ends it.

    ``out_dir`` gets the videos (``iter_00/…``) and ``trace.jsonl``. ``controller`` learns in place. ``clock``
    counts seconds. The same arguments give the same trace but for the times: every step has a generation
    seed of its own, drawn from ``seed``, so that trying a prompt again is another draw. A step's candidates
    share it, so that what differs is the prompt; where a prompt comes twice in a step, its seed does not.
    Raises BadInput for arguments that cannot be used.
    """

    goal: str
    world: WorldModel
    critics: Sequence[AnyCritic]
    controller: Controller
    stop: StopRules
    seed: int
    out_dir: Path
    run_id: str
    required: Collection[str] = ()
    """Names of critics without a score of which a video is no candidate."""
    task_id: str | None = None
    """Runs for the same task have the same id; by default a run is its own task."""
    feed: RewardFeed | None = None
    policy: PreferencePolicy = field(default_factory=PreferencePolicy)
    text_feed: TextRewardFeed | None = None
    """A reward of prompts: its score is recorded as a critic's; where it may, it chooses among rewrites."""
    text_policy: PreferencePolicy = field(default_factory=PreferencePolicy)
    """Which rewards of prompts may choose; its weight is not used."""
    rewrites: int = 1
    """Prompts that are proposed for each step after the first, MAX_REWRITES at most."""
    candidates: int = 1
    """Videos of a step, MAX_REWRITES at most: of as many prompts as the controller would choose from."""
    sink: EventSink | None = None
    refiner: Refiner = refine
    clock: Callable[[], float] = time.monotonic
    make: CandidateMaker = make_candidates
    """Generates and judges; studies may do it without files."""

    def __post_init__(self) -> None:
        PromptState(self.goal)
        names = [critic.name for critic in self.critics]
        if not names or len(set(names)) < len(names):
            raise BadInput(f"critics are {names}; expected at least one, each with a name of its own")
        if unknown := sorted(set(self.required) - set(names)):
            raise BadInput(f"required are the critics {unknown}; expected some of {names}")
        if not 1 <= self.rewrites <= MAX_REWRITES:
            raise BadInput(f"{self.rewrites} rewrites are asked for; expected 1 to {MAX_REWRITES}")
        if not 1 <= self.candidates <= MAX_REWRITES:
            raise BadInput(f"{self.candidates} candidates are asked for; expected 1 to {MAX_REWRITES}")
        if self.seed < 0:
            raise BadInput(f"seed is {self.seed}; expected a whole number of at least 0")
        if not self.run_id:
            raise BadInput("the run id is empty; expected a name that no other run has")

    def run(self) -> RunResult:
        """Run to the end, which is always recorded: in the trace, then in the sink.

        Ctrl-C ends the run like a stop rule, with the reason ``interrupted``; a caller with more runs to do
        has to look at it. Any other exception is recorded (``failed: <type>``) and raised. Raises BadInput
        where ``out_dir`` already holds a trace.
        """
        record = RunRecord(self.out_dir, self.run_id, self.sink)
        stop_reason = ""
        try:
            for event in self.events():
                record.add(event)
                stop_reason = event.meta["stop_reason"]
        except KeyboardInterrupt:
            stop_reason = "interrupted"
        except BaseException as error:
            record.end(f"failed: {type(error).__name__}")
            raise
        record.end(stop_reason)
        return run_result(self.run_id, record.events, stop_reason)

    def events(self) -> Iterator[TraceEvent]:
        """The loop itself, of which nothing is recorded; the last event says why it stopped."""
        course = Course(self.policy, self.stop, PromptState(self.goal))
        proposing, sampling = (np.random.default_rng([self.seed, of]) for of in (_CONTROLLER, _REWRITES))
        run_started = self.clock()
        asked = self._first(course, proposing)
        stop_reason = ""

        while not stop_reason:
            started = self.clock()
            snapshot = self.feed.latest() if self.feed is not None else None
            text = self.text_feed.latest() if self.text_feed is not None else None
            step = course.steps
            made = self._candidates(step, course.candidates, asked.prompts, text)
            compared = course.take_in(made, [state for _, state in asked.prompts], snapshot)
            notes = [one.note(arm, snapshot) for one, (arm, _) in zip(compared, asked.prompts, strict=True)]
            self._teach(asked, compared)

            now = self.clock()
            stop_reason = course.stop_reason(now - run_started)
            decided = {"chosen_arm": "", "next_prompt": course.best_state.text}
            if not stop_reason:
                asked, decided = self._next(course, text, proposing, sampling)
            of_step = {
                "plateau_steps": course.plateau_steps,
                "stop_now": bool(stop_reason),
                "stop_reason": stop_reason,
                "iter_time_s": now - started,
                **decided,
            }
            for number, (event, note) in enumerate(zip(made, notes, strict=True)):
                place = {"step": step, "candidate": number} if self.candidates > 1 else {}
                yield replace(event, meta=event.meta | note | of_step | place)

    def _first(self, course: Course, rng: np.random.Generator) -> _Asked:
        """The bare goal and, where there is room beside it, what the controller would try next."""
        context = course.context()
        prompts: list[tuple[Arm | None, PromptState]] = [(None, course.best_state)]
        if others := self.candidates - 1:
            proposed = propose(course.best_state, others, self.controller, context, self.refiner, rng)
            prompts += Choice.as_proposed(proposed).made(others)
        return _Asked(context, prompts)

    def _next(
        self,
        course: Course,
        text: TextReward | None,
        proposing: np.random.Generator,
        sampling: np.random.Generator,
    ) -> tuple[_Asked, dict[str, Any]]:
        """What the next step makes, and what the trace says of that."""
        context, k = course.context(), max(self.rewrites, self.candidates)
        proposed = propose(course.best_state, k, self.controller, context, self.refiner, proposing)
        may_choose = text is not None and self.text_policy.steers(text.gate)
        chosen = choose(proposed, self.goal, text, may_choose, sampling)
        decided: dict[str, Any] = {
            "chosen_arm": chosen.rewrite.arm,
            "next_prompt": chosen.rewrite.state.text,
        }
        if k > 1 or text is not None:
            decided |= chosen.meta()
        return _Asked(context, chosen.made(self.candidates)), decided

    def _teach(self, asked: _Asked, compared: Sequence[Compared]) -> None:
        """Tell the controller what came of the arms that it chose."""
        for (arm, _), one in zip(asked.prompts, compared, strict=True):
            if arm is not None and one.gain is not None:
                self.controller.update(asked.context, arm, one.gain)

    def _candidates(
        self,
        step: int,
        first_idx: int,
        prompts: Sequence[tuple[Arm | None, PromptState]],
        text: TextReward | None,
    ) -> list[TraceEvent]:
        wanted, times = [], Counter[str]()
        for idx, (arm, state) in enumerate(prompts, start=first_idx):
            seed = self._generation_seed(step, times[state.text])
            times[state.text] += 1
            meta = {
                "iter_idx": idx,
                "goal_instruction": self.goal,
                "run_id": self.run_id,
                "task_id": self.task_id or self.run_id,
                "seed": self.seed,
                "generation_seed": seed,
                "context": {"world_model": self.world.name},
                "candidate_context": {"arm": arm} if arm is not None else {},
            }
            wanted.append(CandidateSpec(idx=idx, prompt=state.text, seed=seed, meta=meta))
        events = [
            with_required(event, self.required)
            for event in self.make(self.world, self.critics, self.goal, wanted, self.out_dir)
        ]
        if text is None or self.text_feed is None:
            return events
        name = self.text_feed.name
        return [
            replace(
                event,
                critic_results=(*event.critic_results, judge_text(name, text, self.goal, event.prompt)),
            )
            for event in events
        ]

    def _generation_seed(self, step: int, repeat: int) -> int:
        """31 bits, which every world model takes."""
        entropy = [self.seed, _GENERATION, step, *([repeat] if repeat else [])]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def new_run_id(started: datetime, seed: int, *what: str) -> str:
    """``20250131_174751_seed1_099814a3``: when, the seed, and a hash of whatever else tells runs apart."""
    digest = hashlib.sha256("\0".join(what).encode()).hexdigest()[:8]
    return f"{started:%Y%m%d_%H%M%S}_seed{seed}_{digest}"


def run_result(run_id: str, events: Sequence[TraceEvent], stop_reason: str) -> RunResult:
    versions: list[tuple[int, int | None]] = []
    current = None
    for event in events:
        if event.meta["reward_version"] != current:
            current = event.meta["reward_version"]
            versions.append((event.iter_idx, current))
    last = events[-1].meta if events else {}
    best = next((event for event in events if event.iter_idx == last.get("best_iter")), None)
    failure = _failure(events, stop_reason)
    return RunResult(
        run_id=run_id,
        iterations=last.get("step", len(events) - 1) + 1,
        candidates=len(events),
        best_iter=last.get("best_iter"),
        best_score=last.get("best_score"),
        versions=tuple(versions),
        stop_reason=stop_reason,
        best_video=best.artifact_path if best is not None else None,
        best_prompt=best.prompt if best is not None else None,
        failure=failure,
        critic_failed=failure != "" and _critic_failed(events[-1:]),
    )


def _failure(events: Sequence[TraceEvent], stop_reason: str) -> str:
    if stop_reason != MAX_FAILURES and any(event.overall_score is not None for event in events):
        return ""
    said = [
        *(event.meta["error"] for event in events[-1:] if "error" in event.meta),
        *(
            f"critic {result.critic_name}: {result.extra.get('missing', result.notes)}{_last_words(result)}"
            for event in events[-1:]
            for result in event.critic_results
            if is_missing(result)
        ),
    ]
    return "; ".join(said)


def _last_words(result: CriticResult) -> str:
    said = str(result.extra.get("output") or "")
    return f", and said {said[-_LAST_WORDS:]!r}" if said else ""


def _critic_failed(events: Sequence[TraceEvent]) -> bool:
    """Whether there is a video, on which a critic failed."""
    return any(event.artifact_path and any(map(is_missing, event.critic_results)) for event in events)

"""The refinement loop: generate, let critics judge, choose what to fix, rewrite the prompt, repeat."""

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

from runner.interfaces import (
    AnyCritic,
    EventSink,
    FailuresInARow,
    SnapshotSource,
    TextReward,
    TextRewardFeed,
    WorldModel,
)
from runner.loop.candidate import CandidateMaker, CandidateSpec, make_candidates, with_required
from runner.loop.controller import Controller, Vector
from runner.loop.course import Compared, Course
from runner.loop.record import RunRecord
from runner.loop.refiner import Arm, PromptState, refine
from runner.loop.result import RunResult, run_result
from runner.loop.rewrites import MAX_REWRITES, Refiner, RewriteChoice, choose, propose
from runner.loop.stopping import StopRules
from runner.rewards.preference import PreferencePolicy
from streams.errors import BadInput, counted
from streams.messages.contracts import TEXT_MODE, CriticResult, TraceEvent
from streams.messages.limits import MAX_ITERATIONS
from trainers.bradley_terry.reward import sigmoid

# Random streams that must be independent of each other.
_CONTROLLER, _GENERATION, _REWRITES = range(3)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one step will make."""

    context: Vector
    """The context in which the controller chose."""
    prompts: Sequence[tuple[Arm | None, PromptState]]
    """One per candidate, with the arm that made it; None made the bare goal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementLoop:
    """One run: refine the prompt for ``goal`` until a stop rule ends it.

    ``out_dir`` gets the videos (``iter_00/…``) and ``trace.jsonl``. ``controller`` learns in place. ``clock``
    counts seconds. The same arguments give the same trace except for times. Every step has its own generation
    seed, drawn from ``seed``, so trying a prompt again makes a different video. A step's candidates share the
    seed, so that only the prompt differs; a prompt that repeats within a step gets another seed. Raises
    BadInput for invalid arguments.
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
    """Names of critics whose scores every candidate needs."""
    task_id: str | None = None
    """Id shared by runs for the same task; by default each run is its own task."""
    feed: SnapshotSource | None = None
    policy: PreferencePolicy = field(default_factory=PreferencePolicy)
    text_feed: TextRewardFeed | None = None
    """A reward of prompts: its score is recorded as a critic's, and if allowed, it chooses among rewrites."""
    text_policy: PreferencePolicy = field(default_factory=PreferencePolicy)
    """The rewards of prompts that may choose; its weight is not used."""
    rewrites: int = 1
    """Prompts proposed for each step after the first, at most MAX_REWRITES."""
    candidates: int = 1
    """Videos per step, at most MAX_REWRITES, from as many prompts as the controller would choose from."""
    sink: EventSink | None = None
    refiner: Refiner = refine
    clock: Callable[[], float] = time.monotonic
    make: CandidateMaker = make_candidates
    """Generates and judges; studies may do so without files."""

    def __post_init__(self) -> None:
        PromptState(self.goal)
        names = [critic.name for critic in self.critics]
        if not names or len(set(names)) < len(names):
            raise BadInput(f"critics are {names}; expected at least one, each with a name of its own")
        if unknown := sorted(set(self.required) - set(names)):
            raise BadInput(f"required critics {unknown} are not in the run; expected some of {names}")
        if not 1 <= self.rewrites <= MAX_REWRITES:
            raise BadInput(f"rewrites is {self.rewrites}; expected 1 to {MAX_REWRITES}")
        if not 1 <= self.candidates <= MAX_REWRITES:
            raise BadInput(f"candidates is {self.candidates}; expected 1 to {MAX_REWRITES}")
        if (n := self.stop.max_iters * self.candidates) > MAX_ITERATIONS:
            raise BadInput(
                f"{counted(self.stop.max_iters, 'iteration')} of {counted(self.candidates, 'candidate')} are "
                f"{n:,} videos; a run has at most {MAX_ITERATIONS:,}"
            )
        if self.seed < 0:
            raise BadInput(f"seed is {self.seed}; expected a whole number of at least 0")
        if not self.run_id:
            raise BadInput("the run id is empty; expected a name that no other run has")

    def run(self) -> RunResult:
        """Run to the end, which is always recorded: in the trace, then in the sink.

        Ctrl-C ends the run like a stop rule, with the reason ``interrupted``; a caller with more runs to do
        must check for it. Any other exception is recorded (``failed: <type>``) and raised. Raises BadInput if
        ``out_dir`` already holds a trace.
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
        """The loop itself, without recording; the last event has the reason why it stopped."""
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
            made = self._candidates(course, asked.prompts, text)
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
        """The bare goal and, with several candidates, what the controller would try next."""
        context = course.context()
        prompts: list[tuple[Arm | None, PromptState]] = [(None, course.best_state)]
        if others := self.candidates - 1:
            proposed = propose(course.best_state, others, self.controller, context, self.refiner, rng)
            prompts += RewriteChoice.as_proposed(proposed).made(others)
        return _Asked(context, prompts)

    def _next(
        self,
        course: Course,
        text: TextReward | None,
        proposing: np.random.Generator,
        sampling: np.random.Generator,
    ) -> tuple[_Asked, dict[str, Any]]:
        """The next step's prompts, and the fields that record the choice in the trace."""
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
        """Tell the controller what its chosen arms gained."""
        for (arm, _), one in zip(asked.prompts, compared, strict=True):
            if arm is not None and one.gain is not None:
                self.controller.update(asked.context, arm, one.gain)

    def _candidates(
        self,
        course: Course,
        prompts: Sequence[tuple[Arm | None, PromptState]],
        text: TextReward | None,
    ) -> list[TraceEvent]:
        wanted, times = [], Counter[str]()
        for idx, (arm, state) in enumerate(prompts, start=course.candidates):
            seed = self._generation_seed(course.steps, times[state.text])
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
        failures = FailuresInARow(self.stop.max_failures, before=course.failures)
        made = self.make(self.world, self.critics, self.goal, wanted, self.out_dir, failures=failures)
        events = [with_required(event, self.required) for event in made]
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
        """A seed of 31 bits, which every world model accepts."""
        entropy = [self.seed, _GENERATION, step, *([repeat] if repeat else [])]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def new_run_id(started: datetime, seed: int, *what: str) -> str:
    """``20250131_174751_seed1_099814a3``: start time, seed, and a hash of what else distinguishes runs."""
    # The folder's name need not be UTF-8.
    digest = hashlib.sha256("\0".join(what).encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{started:%Y%m%d_%H%M%S}_seed{seed}_{digest}"


def judge_text(name: str, reward: TextReward, goal: str, prompt: str) -> CriticResult:
    """A text reward as one more critic: P(this prompt is preferred to the bare goal), in [0, 1].

    That is comparable across goals, so that the reward model can weigh it.
    """
    (of_prompt, of_goal), _ = reward.rewards(goal, (prompt, goal))
    return CriticResult(
        critic_name=name,
        scores={TEXT_MODE: sigmoid(float(of_prompt - of_goal))},
        extra={"version": reward.version, "gate": reward.gate},
    )

"""The refinement loop: generate, let the critics judge, choose what to fix, rewrite the prompt, again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from runner.candidate import CandidateMaker, make_candidate
from runner.controller import Controller, context_features
from runner.interfaces import Critic, EventSink, RewardFeed, TextReward, TextRewardFeed, WorldModel
from runner.record import RunRecord
from runner.refiner import Arm, PromptState, refine
from runner.reward import PreferencePolicy, Verdict
from runner.rewrites import MAX_REWRITES, Refiner, choose, propose
from runner.stopping import StopRules
from runner.text_critic import judge_text
from streams.contracts import RewardSnapshot, TraceEvent
from streams.errors import BadInput

# Streams of random numbers that must not depend on each other.
_CONTROLLER, _GENERATION, _REWRITES = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run in short; everything in it can be read from its trace."""

    run_id: str
    iterations: int
    best_iter: int | None
    best_score: float | None
    """The critics' reward of the best; None where no candidate could be judged."""
    versions: tuple[tuple[int, int | None], ...]
    """(iter_idx, snapshot version) at which another version came into use; None: no snapshot any more."""
    stop_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementLoop:
    """One run: refine the prompt for ``goal`` until a stop rule ends it.

    ``out_dir`` gets the videos (``iter_00/…``) and ``trace.jsonl``. ``controller`` learns in place. ``clock``
    counts seconds. The same arguments give the same trace but for the times: every iteration has a
    generation seed of its own, drawn from ``seed``, so that trying a prompt again is another draw.
    Raises BadInput for arguments that cannot be used.
    """

    goal: str
    world: WorldModel
    critics: Sequence[Critic]
    controller: Controller
    stop: StopRules
    seed: int
    out_dir: Path
    run_id: str
    task_id: str | None = None
    """Runs for the same task have the same id; by default a run is its own task."""
    feed: RewardFeed | None = None
    policy: PreferencePolicy = field(default_factory=PreferencePolicy)
    text_feed: TextRewardFeed | None = None
    """A reward of prompts: its score is recorded as a critic's; where it may, it chooses among rewrites."""
    text_policy: PreferencePolicy = field(default_factory=PreferencePolicy)
    """Which rewards of prompts may choose; its weight is not used."""
    rewrites: int = 1
    """Prompts that are proposed for each video after the first, MAX_REWRITES at most."""
    sink: EventSink | None = None
    refiner: Refiner = refine
    clock: Callable[[], float] = time.monotonic
    make: CandidateMaker = make_candidate
    """Generates and judges; studies may do it without files."""

    def __post_init__(self) -> None:
        PromptState(self.goal)
        names = [critic.name for critic in self.critics]
        if not names or len(set(names)) < len(names):
            raise BadInput(f"critics are {names}; expected at least one, each with a name of its own")
        if not 1 <= self.rewrites <= MAX_REWRITES:
            raise BadInput(f"{self.rewrites} rewrites are asked for; expected 1 to {MAX_REWRITES}")
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
        return _result(self.run_id, record.events, stop_reason)

    def events(self) -> Iterator[TraceEvent]:
        """The loop itself, of which nothing is recorded; the last event says why it stopped."""
        rng = np.random.default_rng([self.seed, _CONTROLLER])
        sampling = np.random.default_rng([self.seed, _REWRITES])
        run_started = self.clock()
        best: TraceEvent | None = None
        state = best_state = PromptState(self.goal)
        arm: Arm | None = None  # that made the prompt of this iteration
        context = context_features({}, plateau_steps=0, prompt_chars=len(state.text))
        plateau_steps = drift_steps = 0
        indices, stop_reason = count(), ""

        while not stop_reason:
            idx = next(indices)
            started = self.clock()
            snapshot = self.feed.latest() if self.feed is not None else None
            text = self.text_feed.latest() if self.text_feed is not None else None
            event = self._candidate(idx, state.text, arm, text)

            verdict = self.policy.judge(event, best, snapshot)
            drifts = False
            progresses = verdict is not None and self.stop.progresses(verdict.gain)
            plateau_steps = 0 if progresses else plateau_steps + 1
            if verdict is not None:
                if verdict.gain is not None and arm is not None:
                    self.controller.update(context, arm, verdict.gain)
                drifts = self.stop.drifts(event, best)
                drift_steps = drift_steps + 1 if drifts else 0
                if verdict.gain is None or verdict.gain > 0.0:
                    best, best_state = event, state

            now = self.clock()
            stop_reason = self.stop.reason(
                iterations=idx + 1,
                best_score=best.overall_score if best is not None else None,
                plateau_steps=plateau_steps,
                drift_steps=drift_steps,
                elapsed_s=now - run_started,
            )
            made_by, state, chosen = arm, best_state, None
            if not stop_reason:
                context = context_features(
                    best.fused_scores if best is not None else {},
                    plateau_steps=plateau_steps,
                    prompt_chars=len(best_state.text),
                )
                proposed = propose(best_state, self.rewrites, self.controller, context, self.refiner, rng)
                may_choose = text is not None and self.text_policy.steers(text.gate)
                chosen = choose(proposed, self.goal, text, may_choose, sampling)
                arm, state = chosen.rewrite.arm, chosen.rewrite.state

            meta = {
                "arm": made_by,
                "chosen_arm": "" if stop_reason else arm,
                "next_prompt": state.text,
                "best_score": best.overall_score if best is not None else None,
                "best_iter": best.iter_idx if best is not None else None,
                "plateau_steps": plateau_steps,
                "drift_flag": drifts,
                "stop_now": bool(stop_reason),
                "stop_reason": stop_reason,
                "iter_time_s": now - started,
                **_reward_meta(verdict, snapshot),
                **(chosen.meta() if chosen is not None and (self.rewrites > 1 or text is not None) else {}),
            }
            yield replace(event, meta=event.meta | meta)

    def _candidate(self, idx: int, prompt: str, arm: Arm | None, text: TextReward | None) -> TraceEvent:
        seed = self._generation_seed(idx)
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
        event = self.make(
            self.world, self.critics, prompt, self.goal, idx=idx, seed=seed, run_dir=self.out_dir, meta=meta
        )
        if text is None or self.text_feed is None:
            return event
        of_text = judge_text(self.text_feed.name, text, self.goal, prompt)
        return replace(event, critic_results=(*event.critic_results, of_text))

    def _generation_seed(self, idx: int) -> int:
        """31 bits, which every world model takes."""
        return int(np.random.SeedSequence([self.seed, _GENERATION, idx]).generate_state(1)[0] >> 1)


def new_run_id(started: datetime, seed: int, *what: str) -> str:
    """``20250131_174751_seed1_099814a3``: when, the seed, and a hash of whatever else tells runs apart."""
    digest = hashlib.sha256("\0".join(what).encode()).hexdigest()[:8]
    return f"{started:%Y%m%d_%H%M%S}_seed{seed}_{digest}"


def _reward_meta(verdict: Verdict | None, snapshot: RewardSnapshot | None) -> dict[str, Any]:
    return {
        "combined_reward": verdict.combined if verdict is not None else None,
        "preference_prob": verdict.probability if verdict is not None else None,
        "preference_confidence": verdict.confidence if verdict is not None else 0.0,
        "reward_version": snapshot.version if snapshot is not None else None,
        "reward_gate": snapshot.gate if snapshot is not None else None,
    }


def _result(run_id: str, events: Sequence[TraceEvent], stop_reason: str) -> RunResult:
    versions: list[tuple[int, int | None]] = []
    current = None
    for event in events:
        if event.meta["reward_version"] != current:
            current = event.meta["reward_version"]
            versions.append((event.iter_idx, current))
    last = events[-1].meta if events else {}
    return RunResult(
        run_id=run_id,
        iterations=len(events),
        best_iter=last.get("best_iter"),
        best_score=last.get("best_score"),
        versions=tuple(versions),
        stop_reason=stop_reason,
    )

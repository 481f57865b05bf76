"""How far a run has come: its best, what each candidate was against it, and what the stop rules count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.critics.opinion import is_missing
from runner.loop.controller import Vector, context_features
from runner.loop.refiner import Arm, PromptState
from runner.loop.stopping import StopRules
from runner.rewards.preference import PreferencePolicy, Verdict
from streams.messages.contracts import RewardSnapshot, TraceEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A candidate against the best of the run."""

    verdict: Verdict | None
    """Against the best when its turn came, others of its step among them; null where no critic judged it."""
    gain: float | None
    """Over the best before its step; null for a run's first, too."""
    best: TraceEvent | None
    """Of the run, this one included."""
    drifts: bool

    def note(self, arm: Arm | None, snapshot: RewardSnapshot | None) -> dict[str, Any]:
        """For the candidate's ``meta``."""
        return {
            "arm": arm,
            "best_score": self.best.overall_score if self.best is not None else None,
            "best_iter": self.best.iter_idx if self.best is not None else None,
            "drift_flag": self.drifts,
            **_of_reward(self.verdict, snapshot),
        }


@dataclass(slots=True, kw_only=True)
class Course:
    """Changes with every step; ``best_state`` is what made the best, and at first the bare goal."""

    policy: PreferencePolicy
    stop: StopRules
    best_state: PromptState
    best: TraceEvent | None = None
    steps: int = 0
    candidates: int = 0
    plateau_steps: int = 0
    drift_steps: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """By critic, the videos in a row that it failed on; and as ``""``, candidates without a score."""

    def take_in(
        self, made: Sequence[TraceEvent], states: Sequence[PromptState], snapshot: RewardSnapshot | None
    ) -> list[Compared]:
        """The candidates of a step, in their order, each made of the prompt in its place."""
        before = self.best
        compared = [
            self._compare(event, state, before, snapshot) for event, state in zip(made, states, strict=True)
        ]
        gains = [one.gain for one in compared if one.verdict is not None]
        self.plateau_steps = 0 if any(map(self.stop.progresses, gains)) else self.plateau_steps + 1
        if gains:
            self.drift_steps = self.drift_steps + 1 if self.stop.drifts(_highest(made), before) else 0
        for event in made:
            self._count_failures(event)
        self.steps += 1
        self.candidates += len(made)
        return compared

    def stop_reason(self, elapsed_s: float) -> str:
        """Why the run ends now; empty where it goes on."""
        return self.stop.reason(
            iterations=self.steps,
            best_score=self.best.overall_score if self.best is not None else None,
            plateau_steps=self.plateau_steps,
            drift_steps=self.drift_steps,
            elapsed_s=elapsed_s,
            failures=max(self.failures.values(), default=0),
        )

    def context(self) -> Vector:
        """What the controller sees when it is to choose."""
        return context_features(
            self.best.fused_scores if self.best is not None else {},
            plateau_steps=self.plateau_steps,
            prompt_chars=len(self.best_state.text),
        )

    def _count_failures(self, event: TraceEvent) -> None:
        failed = {result.critic_name: is_missing(result) for result in event.critic_results}
        failed[""] = event.overall_score is None
        for name, has_failed in failed.items():
            self.failures[name] = self.failures.get(name, 0) + 1 if has_failed else 0

    def _compare(
        self,
        event: TraceEvent,
        state: PromptState,
        before: TraceEvent | None,
        snapshot: RewardSnapshot | None,
    ) -> Compared:
        verdict = self.policy.judge(event, self.best, snapshot)
        over_before = verdict if self.best is before else self.policy.judge(event, before, snapshot)
        if verdict is not None and (verdict.gain is None or verdict.gain > 0.0):
            self.best, self.best_state = event, state
        return Compared(
            verdict=verdict,
            gain=over_before.gain if over_before is not None else None,
            best=self.best,
            drifts=verdict is not None and self.stop.drifts(event, before),
        )


def has_failed(event: TraceEvent) -> bool:
    """Whether nothing could be made or judged, or a critic failed."""
    return event.overall_score is None or any(map(is_missing, event.critic_results))


def _highest(events: Sequence[TraceEvent]) -> TraceEvent:
    return max(events, key=lambda event: -1.0 if event.overall_score is None else event.overall_score)


def _of_reward(verdict: Verdict | None, snapshot: RewardSnapshot | None) -> dict[str, Any]:
    return {
        "combined_reward": verdict.combined if verdict is not None else None,
        "preference_prob": verdict.probability if verdict is not None else None,
        "preference_confidence": verdict.confidence if verdict is not None else 0.0,
        **_by_dimension(verdict),
        "reward_version": snapshot.version if snapshot is not None else None,
        "reward_gate": snapshot.gate if snapshot is not None else None,
    }


def _by_dimension(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None or not verdict.by_dimension:
        return {}
    return {
        "preference_by_dimension": {
            name: {"prob": of.probability, "confidence": of.confidence}
            for name, of in verdict.by_dimension.items()
        }
    }

"""The progress of a run: its best, each candidate's gain, and the counts for the stop rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.loop.controller import Vector, context_features
from runner.loop.refiner import Arm, PromptState
from runner.loop.stopping import StopRules
from runner.rewards.preference import PreferencePolicy
from runner.rewards.standings import Standing, Standings, best_of
from streams.messages.contracts import RewardSnapshot, TraceEvent
from streams.messages.no_score import critic_failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A candidate compared with the others of its run."""

    standing: Standing | None
    """Its standing; null if no critic judged it."""
    gain: float | None
    """Its lead over the best before its step, by the rewards now; null for the first judged candidate."""
    best_iter: int | None
    """Best candidate of the run so far."""
    best_score: float | None
    """The critic reward of that candidate."""
    drifts: bool

    def note(self, arm: Arm | None, snapshot: RewardSnapshot | None) -> dict[str, Any]:
        """Entries for the candidate's ``meta``."""
        return {
            "arm": arm,
            "critic_reward": self.standing.critic_reward if self.standing is not None else None,
            "best_score": self.best_score,
            "best_iter": self.best_iter,
            "drift_flag": self.drifts,
            **_of_reward(self.standing, snapshot),
        }


class Course:
    """Changes with every step; ``best_state`` is the prompt of the best, and at first the bare goal."""

    def __init__(self, policy: PreferencePolicy, stop: StopRules, goal: PromptState) -> None:
        self.best_state = goal
        self.steps = 0
        self.plateau_steps = 0
        self._stop = stop
        self._drift_steps = 0
        self._standings = Standings(policy)
        self._made: list[tuple[TraceEvent, PromptState]] = []
        """Candidates and their prompts, by ``iter_idx``."""
        self._failures: dict[str, int] = {}
        """Consecutive videos on which each critic failed; ``""`` counts candidates without a score."""
        self._best: TraceEvent | None = None
        self._best_score: float | None = None
        self._best_lacks = 0
        """Number of scores that others have and the best does not."""

    @property
    def candidates(self) -> int:
        """Candidates made so far, failed ones included."""
        return len(self._made)

    @property
    def failures(self) -> int:
        """Number of last candidates in a row that could not be made or judged."""
        return self._failures.get("", 0)

    def take_in(
        self, made: Sequence[TraceEvent], states: Sequence[PromptState], snapshot: RewardSnapshot | None
    ) -> list[Compared]:
        """Adds the candidates of a step, in order, each made from the prompt at its index."""
        before = self._best
        for event, state in zip(made, states, strict=True):
            self._made.append((event, state))
            self._standings.add(event)
        now = self._standings.under(snapshot)
        compared = [self._compare(event, before, now) for event in made]
        gains = [one.gain for one in compared if one.standing is not None]
        self.plateau_steps = 0 if any(map(self._stop.progresses, gains)) else self.plateau_steps + 1
        if gains:
            highest = max((one for one in made if one.iter_idx in now), key=lambda one: _reward(now, one))
            drifts = self._drifts(highest, before, now)
            self._drift_steps = self._drift_steps + 1 if drifts else 0
        for event in made:
            self._count_failures(event)
        best = best_of(now)
        if best is not None:
            self._best, self.best_state = self._made[best]
            self._best_score, self._best_lacks = now[best].critic_reward, now[best].lacked
        self.steps += 1
        return compared

    def stop_reason(self, elapsed_s: float) -> str:
        """Why the run ends now; empty if it continues.

        A best that a critic failed on, or that lacks a score of another candidate, meets no target:
        its reward assumes a score that nobody gave.
        """
        is_judged = self._best is not None and not self._best_lacks and not has_failed(self._best)
        return self._stop.reason(
            iterations=self.steps,
            best_score=self._best_score if is_judged else None,
            plateau_steps=self.plateau_steps,
            drift_steps=self._drift_steps,
            elapsed_s=elapsed_s,
            failures=max(self._failures.values(), default=0),
        )

    def context(self) -> Vector:
        """The controller's context for its next choice."""
        return context_features(
            self._best.fused_scores if self._best is not None else {},
            plateau_steps=self.plateau_steps,
            prompt_chars=len(self.best_state.text),
        )

    def _count_failures(self, event: TraceEvent) -> None:
        failed = {result.critic_name: critic_failed(result) for result in event.critic_results}
        failed[""] = event.overall_score is None
        for name, has_failed in failed.items():
            self._failures[name] = self._failures.get(name, 0) + 1 if has_failed else 0

    def _compare(self, event: TraceEvent, before: TraceEvent | None, now: Mapping[int, Standing]) -> Compared:
        standing = now.get(event.iter_idx)
        best = best_of({idx: of for idx, of in now.items() if idx <= event.iter_idx})
        gain = None
        if standing is not None and before is not None:
            gain = standing.reward - now[before.iter_idx].reward
        return Compared(
            standing=standing,
            gain=gain,
            best_iter=best,
            best_score=now[best].critic_reward if best is not None else None,
            drifts=standing is not None and self._drifts(event, before, now),
        )

    def _drifts(self, event: TraceEvent, before: TraceEvent | None, now: Mapping[int, Standing]) -> bool:
        return before is not None and self._stop.drifts(
            event, before, _reward(now, event) - _reward(now, before)
        )


def has_failed(event: TraceEvent) -> bool:
    """Whether the candidate was not made or not judged, or a critic failed."""
    return event.overall_score is None or any(map(critic_failed, event.critic_results))


def _reward(now: Mapping[int, Standing], event: TraceEvent) -> float:
    return now[event.iter_idx].critic_reward


def _of_reward(standing: Standing | None, snapshot: RewardSnapshot | None) -> dict[str, Any]:
    of_snapshot = {
        "reward_version": snapshot.version if snapshot is not None else None,
        "reward_gate": snapshot.gate if snapshot is not None else None,
    }
    if standing is None:
        nothing = {"combined_reward": None, "preference_prob": None, "preference_confidence": 0.0}
        return nothing | of_snapshot
    told: dict[str, Any] = {
        "combined_reward": standing.reward,
        "preference_prob": standing.probability,
        "preference_confidence": standing.confidence,
    }
    if standing.by_dimension:
        told["preference_by_dimension"] = {
            name: {"prob": probability, "confidence": confidence}
            for name, (probability, confidence) in standing.by_dimension.items()
        }
    return told | of_snapshot

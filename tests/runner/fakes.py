"""Hand-written stand-ins behind the runner's protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from runner.interfaces import Frames, Generation, GenerationFailed, Matrix
from runner.loop.controller import Vector
from runner.loop.refiner import Arm
from runner.video import write_video
from streams.messages.codec import feature_hash, sealed
from streams.messages.contracts import CriticResult, GateState, RewardSnapshot, RunEnd, TraceEvent

Scores = Mapping[str, float | None]


def snapshot(
    weights: Mapping[str, float] | None = None,
    *,
    version: int = 1,
    gate: GateState = "active",
    model: str = "default",
) -> RewardSnapshot:
    weights = dict({"eye.quality": 2.0} if weights is None else weights)
    return sealed(
        RewardSnapshot(
            model=model,
            version=version,
            gate=gate,
            statement="made by a test",
            feature_names=tuple(weights),
            feature_hash=feature_hash(weights),
            weights=weights,
            scales=dict.fromkeys(weights, 0.25),
            labels={"human": version},
            metrics={},
        )
    )


def judged(scores: Scores, *, iter_idx: int = 0) -> TraceEvent:
    """A candidate that one critic, "eye", gave these scores."""
    known = [score for score in scores.values() if score is not None]
    return TraceEvent(
        iter_idx=iter_idx,
        prompt="p",
        artifact_path="",
        critic_results=(CriticResult(critic_name="eye", scores=dict(scores)),),
        fused_scores=dict(scores),
        overall_score=sum(known) / len(known) if known else None,
        meta={"run_id": "r"},
    )


class FilmWorld:
    """A grey video for each generation; ``fails`` are the iterations (by call) that give none."""

    name = "film"

    def __init__(self, fails: Sequence[int] = (), **generation: object) -> None:
        self.fails = fails
        self.generation = generation
        self.prompts: list[str] = []
        self.seeds: list[int] = []

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        call = len(self.prompts)
        self.prompts.append(prompt)
        self.seeds.append(seed)
        if call in self.fails:
            raise GenerationFailed("out of memory")
        video = out_dir / "video.mp4"
        write_video(video, np.full((2, 16, 16, 3), 128, dtype=np.uint8), 8.0)
        return replace(Generation(video=video), **self.generation)  # type: ignore[arg-type]


class ScriptedCritic:
    """Gives its scores one after the other, then the last again; ``before`` runs first, with the call."""

    def __init__(
        self, *scores: Scores, name: str = "eye", before: Callable[[int], None] = lambda call: None
    ) -> None:
        self.name = name
        self.scores = scores
        self.before = before
        self.calls = 0

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        call, self.calls = self.calls, self.calls + 1
        self.before(call)
        return CriticResult(critic_name=self.name, scores=dict(self.scores[min(call, len(self.scores) - 1)]))


class ScriptedController:
    """Chooses the arms in turn; remembers what it is told."""

    def __init__(self, *arms: Arm) -> None:
        self.arms: tuple[Arm, ...] = arms or ("quality",)
        self.chosen = 0
        self.contexts: list[Vector] = []
        self.updates: list[tuple[Arm, float]] = []

    def choose(self, context: Vector, rng: np.random.Generator) -> Arm:
        self.contexts.append(context)
        arm = self.arms[self.chosen % len(self.arms)]
        self.chosen += 1
        return arm

    def update(self, context: Vector, arm: Arm, reward: float) -> None:
        self.updates.append((arm, reward))


class ListSink:
    def __init__(self, on_push: Callable[[TraceEvent | RunEnd], None] = lambda event: None) -> None:
        self.pushed: list[TraceEvent | RunEnd] = []
        self.on_push = on_push

    def push(self, event: TraceEvent | RunEnd) -> None:
        self.on_push(event)
        self.pushed.append(event)


class ScriptedFeed:
    """One snapshot for each iteration, then the last again."""

    def __init__(self, *snapshots: RewardSnapshot | None) -> None:
        self.snapshots = list(snapshots)

    def latest(self) -> RewardSnapshot | None:
        return self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]


class Clock:
    """Each look at it takes ``tick`` seconds."""

    def __init__(self, tick: float = 1.0) -> None:
        self.now = 0.0
        self.tick = tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class ScriptedTextReward:
    """What each prompt is worth by what it holds; ``asked`` is what it was asked of."""

    def __init__(
        self, worth: Mapping[str, float], *, sd: float = 0.0, gate: GateState = "active", version: int = 3
    ) -> None:
        self.worth, self.sd, self.gate, self.version = worth, sd, gate, version
        self.asked: list[Sequence[str]] = []

    def rewards(self, goal: str, prompts: Sequence[str]) -> tuple[Vector, Matrix]:
        self.asked.append(prompts)
        means = [sum(v for word, v in self.worth.items() if word in prompt) for prompt in prompts]
        return np.array(means, dtype=np.float64), np.eye(len(prompts)) * self.sd**2


class ScriptedTextFeed:
    """One reward of texts all the time."""

    name = "text_rm"

    def __init__(self, reward: ScriptedTextReward | None) -> None:
        self.reward = reward

    def latest(self) -> ScriptedTextReward | None:
        return self.reward

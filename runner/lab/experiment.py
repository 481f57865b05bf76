"""Runs the experiment: one seed's stream of tasks, refined with and without preferences.

``runner.lab.experiment_plan`` explains what is compared, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from msgspec.structs import replace

from runner.critics.pixel import default_critics
from runner.interfaces import AnyCritic, FailuresInARow, WorldModel
from runner.lab.experiment_plan import (
    ALL_CONDITIONS,
    RANDOM_SHARES,
    VOTES_PER_JUDGEMENT,
    ArmRun,
    ExperimentCondition,
    ExperimentPlan,
    Result,
    hidden_taste,
)
from runner.lab.people import People
from runner.lab.video_cache import VideoCache
from runner.loop.candidate import CandidateSpec, judged_candidate
from runner.loop.controller import ThompsonController
from runner.loop.refinement import RefinementLoop
from runner.loop.stopping import StopRules
from runner.rewards.preference import PreferencePolicy
from runner.rewards.text_feeds import RewardOfTexts
from runner.worlds.simulated import (
    SimulatedWorld,
    judgement,
    random_goal,
    true_quality,
)
from runner.worlds.simulated_checkpoint import WorldCheckpoint
from streams.messages.contracts import (
    CriticResult,
    PairMessage,
    RewardSnapshot,
    RunEnd,
    TraceEvent,
)
from trainers.bradley_terry.reward import critics_mean
from trainers.pairs.former import PairFormer
from trainers.pairs.pairing import PairingRules

if TYPE_CHECKING:
    from trainers.online.learner import OnlineLearner
    from trainers.text.learner import TextLearner

# Random streams that must be independent of each other.
# 0 is the hidden taste.
_BROKEN, _BROKEN_SCORE, _LABEL, _GARBAGE = range(1, 5)


@dataclass(slots=True)
class _Published:
    """A feed that holds the newest snapshot."""

    snapshot: RewardSnapshot | None = None

    def latest(self) -> RewardSnapshot | None:
        return self.snapshot


@dataclass(slots=True)
class _PublishedTexts:
    """A feed that holds the newest reward of texts."""

    name: ClassVar[str] = "text_rm"
    reward: RewardOfTexts | None = None

    def latest(self) -> RewardOfTexts | None:
        return self.reward


# Both import late: numba takes half a second, which the process that hands out the seeds does not need.


def _learner() -> OnlineLearner:
    from trainers.online.learner import OnlineLearner

    return OnlineLearner()


def _text_learner() -> TextLearner:
    from trainers.text.learner import TextLearner

    return TextLearner()


@dataclass(slots=True)
class Learning:
    """Everything that is learnt in one arm's stream of tasks, and the latest published version of it."""

    controller: ThompsonController = field(default_factory=ThompsonController)
    former: PairFormer = field(default_factory=lambda: PairFormer(PairingRules()))
    learner: OnlineLearner = field(default_factory=_learner)
    text_learner: TextLearner = field(default_factory=_text_learner)
    published: _Published = field(default_factory=_Published)
    texts: _PublishedTexts = field(default_factory=_PublishedTexts)


class SeedExperiment:
    """The stream of tasks of one seed. All conditions and both arms share its videos.

    ``checkpoint`` is that of the simulated world. ``first_task`` starts the stream later in the seed's tasks.
    """

    def __init__(
        self,
        plan: ExperimentPlan,
        seed: int,
        *,
        checkpoint: WorldCheckpoint | None = None,
        first_task: int = 0,
    ) -> None:
        self.plan = plan
        self.seed = seed
        self.taste = hidden_taste(seed)
        rng = Random(seed)
        goals = [random_goal(rng) for _ in range(first_task + plan.tasks)]
        self.videos = {
            task: VideoCache(
                SimulatedWorld(
                    goals[task], task_seed(seed, task), true_weights=self.taste, checkpoint=checkpoint
                ),
                rendered=plan.rendered,
            )
            for task in range(first_task, first_task + plan.tasks)
        }
        critics = default_critics()
        broken = int(_random(_BROKEN, seed).integers(len(critics)))
        self.broken_critic = critics[broken].name
        self._alone: dict[bool, list[list[TraceEvent]]] = {}

    def run(self, condition: ExperimentCondition) -> Result:
        """Results of both arms."""
        if condition.rewrites is not None:
            weight = self.plan.preference_weight
            one, _ = self.arm(condition, weight, rewrites=1)
            several, first = self.arm(condition, weight, rewrites=condition.rewrites)
            return self._result(condition, one, several, first)
        if condition.critic_fails not in self._alone:
            # Without preferences no label matters, so most conditions share this arm.
            self._alone[condition.critic_fails], _ = self.arm(condition, 0.0)
        steered, first = self.arm(condition, self.plan.preference_weight)
        return self._result(condition, self._alone[condition.critic_fails], steered, first)

    def arm(
        self,
        condition: ExperimentCondition,
        weight: float,
        rewrites: int | None = None,
        learning: Learning | None = None,
    ) -> tuple[list[list[TraceEvent]], int | None]:
        """The events of each run, and the first task that was steered. With weight 0 nothing is learnt.

        With ``rewrites``, a reward of texts is learnt too, and that many prompts are proposed for each video.
        ``learning`` is continued in place; by default it starts empty.
        """
        learning = learning or Learning()
        published, texts = learning.published, learning.texts
        policy = PreferencePolicy(weight=weight, gate=condition.gate)
        people = self._people(condition)
        runs: list[list[TraceEvent]] = []
        first = None
        for task, videos in self.videos.items():
            if first is None and published.snapshot is not None and policy.steers(published.snapshot.gate):
                first = task
            loop = RefinementLoop(
                goal=videos.world.goal,
                world=videos.world,
                critics=videos.critics,
                controller=learning.controller,
                stop=StopRules(max_iters=self.plan.iters),
                seed=task_seed(self.seed, task),
                out_dir=Path(),  # nothing is written
                run_id=f"seed-{self.seed}-task-{task}",
                feed=published,
                policy=policy,
                text_feed=texts if rewrites is not None else None,
                rewrites=rewrites or 1,
                make=_Take(self, condition, task),
            )
            runs.append(list(loop.events()))
            if weight > 0.0:
                messages = _pairs(runs[-1], learning.former)
                learning.learner.on_messages(messages)
                published.snapshot = learning.learner.snapshot()
                if people is not None:
                    people.watch(runs[-1], self.qualities(condition, task, runs[-1]))
                    for _ in range(self._votes_by(len(runs)) - self._votes_by(len(runs) - 1)):
                        if (pair := people.vote(published.snapshot)) is not None:
                            learning.learner.on_message(pair)
                            published.snapshot = learning.learner.snapshot()
                if rewrites is not None:
                    for message in messages:
                        learning.text_learner.on_message(message)
                    texts.reward = RewardOfTexts(learning.text_learner.snapshot())
        return runs, first

    def see(
        self, condition: ExperimentCondition, task: int, prompt: str, seed: int
    ) -> tuple[tuple[CriticResult, ...], float]:
        """The critics' results for a video under this condition, and its true quality."""
        failures, results = self.videos[task].see(prompt, seed)
        if condition.aligned:
            return results, critics_mean({r.critic_name: s for r in results for s in r.scores.values()})
        if condition.critic_fails and task >= self.plan.tasks // 2:
            rng = _random(_BROKEN_SCORE, task_seed(self.seed, task), seed)
            results = tuple(_garbled(r, rng) if r.critic_name == self.broken_critic else r for r in results)
        return results, true_quality(failures, self.taste)

    def label(
        self, condition: ExperimentCondition, task: int, quality: float, seed: int
    ) -> dict[str, Any] | None:
        """The outcome of a video of this true quality; null for most, and where people vote instead."""
        if condition.votes is not None:
            return None
        of_task = task_seed(self.seed, task)
        if condition.labels == "flipped":
            quality = 1.0 - quality
        elif condition.labels == "garbage":
            quality = float(_random(_GARBAGE, of_task, seed).random())
        share, noise = condition.label_share, condition.label_noise
        return judgement(
            quality,
            _random(_LABEL, of_task, seed),
            share=self.plan.label_share if share is None else share,
            noise=self.plan.label_noise if noise is None else noise,
        )

    def _result(
        self,
        condition: ExperimentCondition,
        first_arm: Sequence[Sequence[TraceEvent]],
        second_arm: Sequence[Sequence[TraceEvent]],
        steers_from_task: int | None,
    ) -> Result:
        return Result(
            seed=self.seed,
            condition=condition.name,
            taste=self.taste,
            critics_alone=self._courses(condition, first_arm),
            steered=self._courses(condition, second_arm),
            steers_from_task=steers_from_task,
        )

    def _courses(
        self, condition: ExperimentCondition, runs: Sequence[Sequence[TraceEvent]]
    ) -> tuple[ArmRun, ...]:
        courses = []
        for task, events in zip(self.videos, runs, strict=True):
            qualities = self.qualities(condition, task, events)
            picked = tuple(qualities[event.meta["best_iter"]] for event in events)
            courses.append(ArmRun(picked=picked, generated=max(qualities)))
        return tuple(courses)

    def qualities(
        self, condition: ExperimentCondition, task: int, events: Sequence[TraceEvent]
    ) -> list[float]:
        """The true quality of each video of a run."""
        return [self.see(condition, task, event.prompt, event.meta["generation_seed"])[1] for event in events]

    def _people(self, condition: ExperimentCondition) -> People | None:
        """The voters under this condition."""
        if condition.votes is None:
            return None
        share = RANDOM_SHARES[condition.votes]
        return People(random_share=share, noise=self.plan.label_noise, seed=self.seed)

    def _votes_by(self, runs: int) -> int:
        """Number of votes that people have given after this many runs."""
        judged = round(self.plan.label_share * self.plan.iters * runs, 6)
        return int(round(judged * VOTES_PER_JUDGEMENT, 6))


@dataclass(frozen=True, slots=True)
class _Take:
    """Makes the candidates of one task under one condition; see ``runner.loop.candidate.make_candidates``."""

    experiment: SeedExperiment
    condition: ExperimentCondition
    task: int

    def __call__(
        self,
        world: WorldModel,
        critics: Sequence[AnyCritic],
        goal: str,
        wanted: Sequence[CandidateSpec],
        run_dir: Path,
        *,
        failures: FailuresInARow,
    ) -> list[TraceEvent]:
        return [self._take(one) for one in wanted]

    def _take(self, wanted: CandidateSpec) -> TraceEvent:
        results, quality = self.experiment.see(self.condition, self.task, wanted.prompt, wanted.seed)
        outcome = self.experiment.label(self.condition, self.task, quality, wanted.seed)
        meta = wanted.meta if outcome is None else wanted.meta | {"outcome": outcome}
        return judged_candidate(wanted, results, artifact_path="", meta=meta)


def by_condition(plan: ExperimentPlan, seed: int) -> Callable[[str], Result]:
    """A function from a condition's name to both arms of the seed."""
    experiment = SeedExperiment(plan, seed)
    conditions = {condition.name: condition for condition in ALL_CONDITIONS}
    return lambda name: experiment.run(conditions[name])


def _pairs(events: Sequence[TraceEvent], former: PairFormer) -> list[PairMessage]:
    """The pairs of a finished run, as the live pair former makes them."""
    end = RunEnd(run_id=events[0].run_id, iterations=tuple(event.iter_idx for event in events))
    run: list[TraceEvent | RunEnd] = [*events, end]
    return [message for event in run for message in former.on_event(event).messages]


def _garbled(result: CriticResult, rng: np.random.Generator) -> CriticResult:
    """Replaces a score by a random one; stays null if the critic gave none."""
    scores = {mode: None if s is None else float(rng.random()) for mode, s in result.scores.items()}
    return replace(result, scores=scores)


def task_seed(seed: int, task: int) -> int:
    """A different seed for every task of every seed."""
    return seed * 100_003 + task


def _random(stream: int, *seeds: int) -> np.random.Generator:
    return np.random.default_rng([stream, *seeds])

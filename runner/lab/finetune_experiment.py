"""Measures the value of selected training data for the next world model: paired arms with the same seeds.

Everything is simulated: the world model, its fine-tuning (``runner.worlds.simulated_checkpoint``), and the
people. It shows whether the selection finds what would improve a model that imitates its training data.

A *seed* is a person with a hidden taste, as in ``runner.lab.experiment_plan``, and a stream of tasks. Their
runs are refined with the critics and steered by the preference learner, which learns from the judged fraction
of the videos. From the videos of a round, each arm makes a dataset of the same size, captioned with the
videos' own prompts, and fine-tunes the world model on it:

- ``reward``: those with the highest reward of the learnt snapshot, as ``data build --reward`` rates them;
- ``critics``: those with the highest critics' mean;
- ``random``: drawn at random, from which the simulated fine-tuning gains nothing in expectation.

The choice uses nothing of the hidden truth. In further rounds, each arm's next world model makes the videos
of new tasks, its learner continues, and the checkpoint is trained further. A checkpoint's *true quality* is
the mean, in the person's taste, of its videos for the plain goals of unseen tasks, with the same seeds for
every checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from msgspec.structs import replace

from runner.lab.experiment import Learning, SeedExperiment, task_seed
from runner.lab.experiment_figures import Estimate, estimate
from runner.lab.experiment_plan import CONDITIONS, ExperimentPlan
from runner.worlds.simulated import JUDGEMENT_NOISE, SimulatedWorld, random_goal, true_quality
from runner.worlds.simulated_checkpoint import WorldCheckpoint, finetuned
from streams.errors import BadInput
from streams.messages.contracts import RewardSnapshot, TraceEvent
from trainers.datasets.rewards import RatedSample, rate
from trainers.datasets.samples import Sample
from trainers.datasets.selection import SelectionPolicy, select
from trainers.pairs.critic_rewards import rewards_in_run

REWARD, CRITICS, RANDOM = "reward", "critics", "random"
ARMS = (REWARD, CRITICS, RANDOM)
COMPARISONS = ((REWARD, RANDOM), (CRITICS, RANDOM), (REWARD, CRITICS))
_CLEAN = CONDITIONS[0]
_UNSEEN = 60_000
"""Number of the first task that no round uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneExperimentPlan:
    """Settings that all seeds share. Raises BadInput if there is nothing to choose or to measure."""

    tasks: int = 80
    """Runs per round."""
    rounds: int = 2
    """Trainings, one after the other."""
    iters: int = 8
    """Videos per run."""
    fraction: float = 0.25
    """Fraction of a round's videos that is trained on, in (0, 1]."""
    unseen_tasks: int = 200
    videos_of_unseen: int = 4
    """Videos for each of the unseen tasks."""
    preference_weight: float = 0.25
    label_share: float = 0.5
    label_noise: float = JUDGEMENT_NOISE

    def __post_init__(self) -> None:
        SelectionPolicy("top", self.fraction)
        if min(self.tasks, self.rounds, self.iters, self.unseen_tasks, self.videos_of_unseen) < 1:
            raise BadInput("tasks, rounds, videos and unseen tasks must all be at least 1")
        if self.tasks * self.rounds > _UNSEEN:
            raise BadInput(f"{self.tasks} tasks in {self.rounds} rounds exceed {_UNSEEN}; ask for fewer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One arm of one seed, with one value per round."""

    quality: tuple[float, ...]
    """True quality of the checkpoint."""
    shown: tuple[float, ...]
    """Mean true quality of the videos that it was trained on."""
    videos: tuple[int, ...]
    """Number of those videos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneResult:
    """All arms of one seed."""

    seed: int
    taste: dict[str, float]
    before: float
    """True quality of the world model before any training."""
    arms: dict[str, ArmResult]
    gate_is_open: bool
    """Whether the first snapshot that selected videos was allowed to steer."""


def compare(plan: FinetuneExperimentPlan, seed: int) -> Callable[[str], FinetuneResult]:
    """A function to the single part of a seed's result."""
    return lambda _: _Seed(plan, seed).run()


@dataclass(frozen=True, slots=True)
class _Round:
    """The runs of one round, and what was learnt by its end."""

    experiment: SeedExperiment
    runs: list[list[TraceEvent]]
    learning: Learning

    @property
    def snapshot(self) -> RewardSnapshot | None:
        return self.learning.published.snapshot


class _Seed:
    def __init__(self, plan: FinetuneExperimentPlan, seed: int) -> None:
        self._plan, self._seed = plan, seed
        self._runs = ExperimentPlan(
            tasks=plan.tasks,
            learning_tasks=0,
            iters=plan.iters,
            preference_weight=plan.preference_weight,
            label_share=plan.label_share,
            label_noise=plan.label_noise,
        )
        rng = Random(task_seed(seed, _UNSEEN))
        self._unseen = [
            (random_goal(rng), task_seed(seed, _UNSEEN + number)) for number in range(plan.unseen_tasks)
        ]

    def run(self) -> FinetuneResult:
        base = WorldCheckpoint()
        first = self._collect(base, Learning(), 0)
        taste = first.experiment.taste
        return FinetuneResult(
            seed=self._seed,
            taste=taste,
            before=self._quality(base, taste),
            arms={arm: self._arm(arm, base, first) for arm in ARMS},
            gate_is_open=first.snapshot is not None and first.snapshot.gate == "active",
        )

    def _arm(self, arm: str, base: WorldCheckpoint, first: _Round) -> ArmResult:
        checkpoint, of_round = base, first
        qualities, shown_qualities, videos = [], [], []
        for number in range(self._plan.rounds):
            if number:
                of_round = self._collect(checkpoint, deepcopy(of_round.learning), number)
            shown = self._chosen(arm, of_round)
            checkpoint = finetuned(checkpoint, [surprise for surprise, _ in shown])
            qualities.append(self._quality(checkpoint, of_round.experiment.taste))
            shown_qualities.append(math.fsum(quality for _, quality in shown) / len(shown))
            videos.append(len(shown))
        return ArmResult(quality=tuple(qualities), shown=tuple(shown_qualities), videos=tuple(videos))

    def _collect(self, checkpoint: WorldCheckpoint, learning: Learning, number: int) -> _Round:
        """Refine the round's tasks; ``learning`` continues in place."""
        experiment = SeedExperiment(
            self._runs, self._seed, checkpoint=checkpoint, first_task=number * self._plan.tasks
        )
        runs, _ = experiment.arm(_CLEAN, self._plan.preference_weight, learning=learning)
        return _Round(experiment, runs, learning)

    def _chosen(self, arm: str, of_round: _Round) -> list[tuple[dict[str, float], float]]:
        """Surprise and true quality of the videos that the arm trains on."""
        samples, tasks = [], {}
        for task, events in zip(of_round.experiment.videos, of_round.runs, strict=True):
            rewards = rewards_in_run(events)
            for event in events:
                # Two tasks may share a goal here, and still be different scenes.
                event = replace(event, meta=event.meta | {"task_id": f"task {task}"})
                sample = Sample(event=event, video=Path(), critic_reward=rewards[event.iter_idx])
                samples.append(sample)
                tasks[sample.id] = task
        rated = rate(samples, of_round.snapshot if arm == REWARD else None)
        kind, luck = ("random", self._seed) if arm == RANDOM else ("top", 0)
        chosen = select(rated, SelectionPolicy(kind, self._plan.fraction, luck))  # type: ignore[arg-type]
        return [self._shown(of_round.experiment, tasks[one.id], one) for one in chosen]

    def _shown(
        self, experiment: SeedExperiment, task: int, rated: RatedSample
    ) -> tuple[dict[str, float], float]:
        prompt, seed = rated.sample.event.prompt, rated.sample.event.meta["generation_seed"]
        videos = experiment.videos[task]
        failures, _ = videos.see(prompt, seed)
        return videos.world.surprise(failures, prompt), true_quality(failures, experiment.taste)

    def _quality(self, checkpoint: WorldCheckpoint, taste: dict[str, float]) -> float:
        qualities = []
        for goal, number in self._unseen:
            world = SimulatedWorld(goal, number, checkpoint=checkpoint)
            for seed in range(self._plan.videos_of_unseen):
                qualities.append(true_quality(world.failures(goal, seed=seed), taste))
        return float(np.mean(qualities))


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneFigures:
    """Figures over all seeds, with one value per round."""

    quality: dict[str, tuple[float, ...]]
    """Mean true quality of the checkpoint on unseen tasks, by arm."""
    before: float
    gain: dict[str, tuple[Estimate, ...]]
    """True quality minus that of the untrained world model, by arm."""
    difference: dict[str, tuple[Estimate, ...]]
    """Differences in true quality between arms, by names such as ``reward minus random``."""
    shown: dict[str, tuple[float, ...]]
    """Mean true quality of the videos that the checkpoint was trained on, by arm."""
    gates_open: int
    """Seeds in which the first snapshot that selected videos was allowed to steer."""


def finetune_figures(results: Sequence[FinetuneResult]) -> FinetuneFigures:
    """Intervals are 95%, by bootstrap over seeds; the arms of a seed are drawn together."""
    quality = {arm: np.array([result.arms[arm].quality for result in results]) for arm in ARMS}
    before = np.array([[result.before] for result in results])
    return FinetuneFigures(
        quality={arm: tuple(of.mean(axis=0).tolist()) for arm, of in quality.items()},
        before=float(before.mean()),
        gain={arm: _by_round(of - before) for arm, of in quality.items()},
        difference={
            f"{one} minus {other}": _by_round(quality[one] - quality[other]) for one, other in COMPARISONS
        },
        shown={
            arm: tuple(np.mean([result.arms[arm].shown for result in results], axis=0).tolist())
            for arm in ARMS
        },
        gates_open=sum(result.gate_is_open for result in results),
    )


def _by_round(differences: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[Estimate, ...]:
    """An estimate for each round, from one value per seed and round, shape (S, R)."""
    n_seeds, n_rounds = differences.shape
    return tuple(
        estimate(lambda drawn, of=differences[:, number]: of[drawn].mean(axis=1), n_seeds)  # type: ignore[misc]
        for number in range(n_rounds)
    )

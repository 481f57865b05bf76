"""Measures the value of steering by preferences: paired runs of the same simulated tasks and seeds.

A *seed* is one person with a taste of their own and a stream of tasks. The hidden taste, the weights of the
five failures in the true quality, is drawn from a Dirichlet distribution with all concentrations 1: all
weightings are equally likely. It was fixed before any figure was seen. Two arms refine the same tasks with
the same generation seeds: *critics alone* (preference weight 0) and *steered*. The steered arm uses the live
learner, gate included: it learns the pairs of each run as the run ends, and the next run gets what it has
published.

No model steers before it has evidence, so the first tasks of a stream are for learning, and the main figures
are taken over the tasks after them. Figures for the learning tasks and for all tasks are given beside them.
Learning never stops, and each arm's controller learns over its whole stream.

Conditions, each with the same tasks:

- ``clean``: a fraction of the videos gets a judgement of the true quality, with noise.
- ``aligned``: the true quality is the critics' mean itself, so there is little to gain.
- ``garbage``: judgements are uniform random numbers.
- ``flipped``: judgements are of one minus the true quality. A consistent judge with the opposite taste cannot
  be told from an honest one, so this shows how much harm a wrong judge can do.
- ``critic_fails``: as clean, but from the middle of the stream on, one critic (drawn per seed) gives uniform
  random scores, in both arms.
- ``noise …`` and ``share …``: as clean, with other label noise, or another fraction of judged videos.
- ``votes``, ``half random``, ``all random``: instead of giving judgements, people vote on pairs of finished
  runs. There are a fifth as many votes as there are judgements otherwise. The live chooser picks the pairs,
  half of them are drawn at random, or all.
- ``no gate``, ``votes no gate``, ``random no gate``: as clean, or with such votes, but the model steers from
  the second run on, whatever its evidence.
- ``rewrites 4``: the value of proposing four prompts for each video and making the one that a reward of texts
  prefers. Both arms are steered and learn such a reward, which is one more critic; the first arm proposes one
  prompt. So "critics alone" means the arm with one rewrite there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runner.rewards.preference import PreferenceGate
from runner.worlds.simulated import JUDGEMENT_NOISE, TRUE_WEIGHTS
from streams.errors import BadInput, counted

CONCENTRATION = 1.0
"""Concentration of the Dirichlet distribution over the failures, from which each hidden taste is drawn."""

VOTES_PER_JUDGEMENT = 0.2
"""Number of votes, as a fraction of the judgements that people would give otherwise."""

Labels = Literal["true", "garbage", "flipped"]
Votes = Literal["chosen", "half random", "random"]
RANDOM_SHARES: Mapping[Votes, float | None] = {"chosen": None, "half random": 0.5, "random": 1.0}
"""Fraction of the votes that are random; None as in the live chooser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPlan:
    """Settings that all seeds and conditions share. Raises BadInput if there is nothing to measure."""

    tasks: int = 160
    learning_tasks: int = 100
    """The first tasks are for learning; figures are taken over the others. In seeds that are not reported,
    the gate had opened by task 80."""
    iters: int = 8
    """Generations of a run: the budget."""
    preference_weight: float = 0.25
    label_share: float = 0.5
    label_noise: float = JUDGEMENT_NOISE
    """Standard deviation of a judgement around the true quality, which is in [0, 1]."""
    rendered: bool = False
    """Whether critics look at decoded videos; otherwise their scores are computed from the scene."""

    def __post_init__(self) -> None:
        if not 0 <= self.learning_tasks < self.tasks:
            raise BadInput(
                f"{self.learning_tasks:,} of {counted(self.tasks, 'task')} for learning; leave at least one "
                "to measure"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentCondition:
    """One combination of labels and critics."""

    name: str
    labels: Labels = "true"
    aligned: bool = False
    """The true quality is the critics' mean rather than the hidden taste's."""
    critic_fails: bool = False
    label_share: float | None = None
    """Label share that replaces the plan's."""
    label_noise: float | None = None
    rewrites: int | None = None
    """Prompts proposed for each video, compared with one, with both arms steered."""
    votes: Votes | None = None
    """How pairs are chosen if people vote; None if they give judgements."""
    gate: PreferenceGate = "auto"
    """The snapshots that may steer."""


CONDITIONS = (
    ExperimentCondition(name="clean"),
    ExperimentCondition(name="aligned", aligned=True),
    ExperimentCondition(name="garbage", labels="garbage"),
    ExperimentCondition(name="flipped", labels="flipped"),
    ExperimentCondition(name="critic_fails", critic_fails=True),
)
SENSITIVITY = (
    ExperimentCondition(name="noise 0.1", label_noise=0.1),
    ExperimentCondition(name="noise 0.3", label_noise=0.3),
    ExperimentCondition(name="share 0.25", label_share=0.25),
    ExperimentCondition(name="share 0.1", label_share=0.1),
)
REWRITES = (ExperimentCondition(name="rewrites 4", rewrites=4),)
VOTES = (
    ExperimentCondition(name="votes", votes="chosen"),
    ExperimentCondition(name="half random", votes="half random"),
    ExperimentCondition(name="all random", votes="random"),
    ExperimentCondition(name="no gate", gate="ignore"),
    ExperimentCondition(name="votes no gate", votes="chosen", gate="ignore"),
    ExperimentCondition(name="random no gate", votes="random", gate="ignore"),
)
ALL_CONDITIONS = (*CONDITIONS, *SENSITIVITY, *REWRITES, *VOTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRun:
    """One run of one arm."""

    picked: tuple[float, ...]
    """True quality of the best so far, as the loop chose it, after each generation."""
    generated: float
    """The highest true quality among all videos of the run, picked or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Both arms of one seed under one condition, with a course for each task in the order of the stream."""

    seed: int
    condition: str
    taste: dict[str, float]
    """The hidden weights of the failures; they sum to 1."""
    critics_alone: tuple[ArmRun, ...]
    """Runs of the first arm."""
    steered: tuple[ArmRun, ...]
    steers_from_task: int | None
    """The first task whose run was steered; None if the gate stayed closed."""


def hidden_taste(seed: int) -> dict[str, float]:
    """The weights of the failures in a seed's true quality, drawn from the stated Dirichlet distribution."""
    drawn = np.random.default_rng([0, seed]).dirichlet([CONCENTRATION] * len(TRUE_WEIGHTS))
    return {name: float(weight) for name, weight in zip(sorted(TRUE_WEIGHTS), drawn, strict=True)}

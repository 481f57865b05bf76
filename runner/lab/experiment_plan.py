"""What steering by preferences is worth: the same simulated tasks and seeds with and without it, paired.

A *seed* is one person with a taste of their own and a stream of tasks. The hidden taste, the weights of the
five failures in the true quality, is drawn from a Dirichlet distribution with all concentrations 1: every way
to weigh them is equally likely. It was fixed before the first figure was seen. Two arms refine the same tasks
with the same generation seeds: *critics alone* (preference weight 0) and *steered*. The steered arm's learner
is the live one, gate included: it learns the pairs of each run as the run ends, and the next run is given
what it has published.

No model steers before it has evidence, so the first tasks of a stream are for learning, and the figures are
taken over the tasks after them; those of the learning tasks, and of all, are given beside them. Learning goes
on all the time, and each arm's controller learns over its whole stream.

Conditions, each with the same tasks:

- ``clean``: a share of the videos gets a judgement of the true quality, with noise.
- ``aligned``: the true quality is the critics' mean itself, so there is little to gain.
- ``garbage``: judgements are uniform random numbers.
- ``flipped``: judgements are of one minus the true quality. A consistent judge with the opposite taste cannot
  be told from an honest one, so this shows how much a wrong judge can do.
- ``critic_fails``: as clean, but from the middle of the stream on one critic (drawn per seed) gives uniform
  random scores, in both arms.
- ``noise …`` and ``share …``: as clean, with other label noise, or another share of judged videos.
- ``votes``, ``half random``, ``all random``: people vote on pairs of finished runs in place of judgements, a
  fifth as many votes as videos are judged otherwise. The pairs are those that the live chooser picks, half of
  them drawn at random, or all.
- ``no gate``, ``votes no gate``, ``random no gate``: as clean, and as with such votes, but the model steers
  from the second run on, whatever its evidence.
- ``rewrites 4``: what it is worth to propose four prompts for each video and make the one that a reward of
  texts prefers. Both arms are steered and learn such a reward, which is one more critic; in the first, one
  prompt is proposed. So "critics alone" stands for the arm with one rewrite there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runner.rewards.preference import PreferenceGate
from runner.worlds.simulated import JUDGEMENT_NOISE, TRUE_WEIGHTS
from streams.errors import BadInput

CONCENTRATION = 1.0
"""Of the Dirichlet distribution over the failures, from which each seed's hidden taste is drawn."""

VOTES_PER_JUDGEMENT = 0.2
"""What people are asked for where they vote, of what they would judge otherwise."""

Labels = Literal["true", "garbage", "flipped"]
Votes = Literal["chosen", "half random", "random"]
RANDOM_SHARES: Mapping[Votes, float | None] = {"chosen": None, "half random": 0.5, "random": 1.0}
"""Of the votes; None as in the live chooser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPlan:
    """What is the same for every seed and condition. Raises BadInput where there is nothing to measure."""

    tasks: int = 160
    learning_tasks: int = 100
    """The first so many tasks are for learning; figures are taken over the others. With seeds that are not
    reported, the gate had opened by task 80."""
    iters: int = 8
    """Generations of a run: the budget."""
    preference_weight: float = 0.25
    label_share: float = 0.5
    label_noise: float = JUDGEMENT_NOISE
    """Standard deviation of a judgement around the true quality, which is in [0, 1]."""
    rendered: bool = False
    """The critics look at decoded videos; otherwise what they say is computed from the scene."""

    def __post_init__(self) -> None:
        if not 0 <= self.learning_tasks < self.tasks:
            raise BadInput(
                f"{self.learning_tasks} of {self.tasks} tasks are for learning; leave at least one to measure"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One way in which labels and critics can be."""

    name: str
    labels: Labels = "true"
    aligned: bool = False
    """The true quality is the critics' mean rather than the hidden taste's."""
    critic_fails: bool = False
    label_share: float | None = None
    """Another than the plan's."""
    label_noise: float | None = None
    rewrites: int | None = None
    """Prompts that are proposed for a video, against one, with both arms steered."""
    votes: Votes | None = None
    """People vote in place of judgements."""
    gate: PreferenceGate = "auto"
    """Whose snapshots steer."""


CONDITIONS = (
    Condition(name="clean"),
    Condition(name="aligned", aligned=True),
    Condition(name="garbage", labels="garbage"),
    Condition(name="flipped", labels="flipped"),
    Condition(name="critic_fails", critic_fails=True),
)
SENSITIVITY = (
    Condition(name="noise 0.1", label_noise=0.1),
    Condition(name="noise 0.3", label_noise=0.3),
    Condition(name="share 0.25", label_share=0.25),
    Condition(name="share 0.1", label_share=0.1),
)
REWRITES = (Condition(name="rewrites 4", rewrites=4),)
VOTES = (
    Condition(name="votes", votes="chosen"),
    Condition(name="half random", votes="half random"),
    Condition(name="all random", votes="random"),
    Condition(name="no gate", gate="ignore"),
    Condition(name="votes no gate", votes="chosen", gate="ignore"),
    Condition(name="random no gate", votes="random", gate="ignore"),
)
ALL_CONDITIONS = (*CONDITIONS, *SENSITIVITY, *REWRITES, *VOTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One run of one arm."""

    picked: tuple[float, ...]
    """True quality of the best so far, as the loop chose it, after each generation."""
    generated: float
    """The highest true quality among all videos of the run, picked or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Both arms of one seed under one condition, a course for each task in the order of the stream."""

    seed: int
    condition: str
    taste: dict[str, float]
    """The hidden weights of the failures; they sum to 1."""
    critics_alone: tuple[Course, ...]
    """The first arm."""
    steered: tuple[Course, ...]
    steers_from_task: int | None
    """The first task whose run was steered; None where the gate stayed closed."""


def hidden_taste(seed: int) -> dict[str, float]:
    """The weights of the failures in a seed's true quality, drawn from the stated Dirichlet distribution."""
    drawn = np.random.default_rng([0, seed]).dirichlet([CONCENTRATION] * len(TRUE_WEIGHTS))
    return {name: float(weight) for name, weight in zip(sorted(TRUE_WEIGHTS), drawn, strict=True)}

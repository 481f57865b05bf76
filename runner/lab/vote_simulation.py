"""Votes simulated from people's labels: a rule chooses pairs, the labels answer, the learner learns.

Part of the tasks is held out. Each pair of the other tasks, ties included, can be asked about once, at the
cost of one vote. The learner is the published one, and learns vote by vote with the weights of the live one.
Its knowledge is measured on the held-out pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runner.lab.vote_picks import Judged
from streams.errors import BadInput, counted
from streams.messages.contracts import PreferencePair
from trainers.asking.chooser import SPREAD_RULE, random_share_after
from trainers.asking.rules import RULES
from trainers.bradley_terry.beliefs import Beliefs, in_units
from trainers.bradley_terry.estimators import PairEstimator, Recipe
from trainers.bradley_terry.features import reach_of
from trainers.bradley_terry.losses import gain_of_pair, log_loss
from trainers.evidence.evaluate import PairTable, tables
from trainers.evidence.gate import Gate
from trainers.pairs.weights import weight_of_nth

if TYPE_CHECKING:
    from trainers.compiled import Array, Flags, Ints
    from trainers.online.models import Models

ANY_PAIR = "random"
"""Asks about any pair, whatever is known: the baseline."""
ASKABLE = (ANY_PAIR, SPREAD_RULE, *RULES)
_HELD_OUT = 0.25
_LOOKED_AT = 400
"""Number of pairs that a rule chooses among, from the tasks that were asked about least."""
_POOL = 1_000
"""Number of pairs in the pool, a rule's sample of what the model will be used on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VotePlan:
    """How pairs are chosen and answered."""

    rule: str
    """``ANY_PAIR``, ``SPREAD_RULE`` for any pair of the tasks that were asked about least, or one of
    ``trainers.asking.rules``."""
    random_share: float | None = 0.0
    """Fraction of votes on random pairs of reserved tasks; None: it rises as in the live chooser."""
    flips: float = 0.0
    """Fraction of answers that differ from the label."""
    spread: bool = True
    """Whether a rule chooses only among the tasks that were asked about least."""
    votes: int = 400


@dataclass(frozen=True, slots=True)
class Split:
    """Tasks that people are asked about, and held-out tasks."""

    known: PairTable
    held_out: PairTable
    judged: Judged
    """The candidates of the held-out pairs."""

    @classmethod
    def of(cls, pairs: Sequence[PreferencePair], seed: int) -> Split:
        """Three quarters of the tasks, and the rest. Raises BadInput if either part would be empty."""
        tasks = sorted({pair.task_id for pair in pairs})
        n_apart = round(_HELD_OUT * len(tasks))
        if n_apart == 0:
            raise BadInput(
                f"the pairs are of {counted(len(tasks), 'task')}; expected 2 or more, since a part is "
                "kept apart to measure on"
            )
        apart = set(np.random.default_rng(seed).permutation(tasks)[:n_apart].tolist())
        kept_apart = [pair for pair in pairs if pair.task_id in apart]
        if all(pair.tie for pair in kept_apart):
            raise BadInput(
                f"found {counted(len(kept_apart), 'pair')} to measure on, each a tie; expected some in "
                "which one side is better; give more pairs, or another --seed"
            )
        known, held_out = tables([pair for pair in pairs if pair.task_id not in apart], kept_apart)
        return cls(known, held_out, Judged.of(kept_apart))


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Results of the votes of one plan on one split."""

    log_losses: tuple[float | None, ...]
    """Log loss in nats on the held-out pairs without ties, after each number of votes; null beyond the
    available pairs."""
    picked: tuple[float | None, ...]
    """Quality of the picks in the held-out tasks (``Judged.quality_of_picks``), likewise."""
    gate_opened_at: int | None
    """Votes after which the gate opened, counting only votes that the model did not choose."""


def run_votes(split: Split, plan: VotePlan, checkpoints: Sequence[int], seed: int) -> LearningCurve:
    """Ask, answer and learn ``plan.votes`` times, or until no pair is left. Deterministic for a seed."""
    from trainers.online.models import Models  # loads numba, not needed for the rules' names

    rng = np.random.default_rng([seed, 1])
    known, held_out = split.known, split.held_out
    models = Models.new(Recipe())
    learner, evidence = models.trusted.with_features(known.features), _Evidence(models, known)
    asking = _Asking(known, plan, rng)
    losses: dict[int, float] = {}
    picked: dict[int, float] = {}
    for vote in range(1, min(plan.votes, len(known.X)) + 1):
        row, is_random = asking.next(learner)
        sign, tie = _answer(bool(known.ties[row]), plan.flips, rng)
        nth = int(asking.asked[known.tasks[row]])
        evidence.hear(row, sign, vote, counts=is_random and nth == 1 and not tie)
        weight = np.array([weight_of_nth(nth)])
        learner.learn_many_differences(sign * known.X[[row]], weight, np.array([tie]))
        if not tie:
            evidence.learn(row, sign, weight)
        if vote in checkpoints:
            p = learner.predict_many_differences(held_out.features, held_out.X)
            losses[vote] = float(np.mean([log_loss(one) for one in p[~held_out.ties].tolist()]))
            picked[vote] = split.judged.quality_of_picks(p)
    return LearningCurve(
        tuple(losses.get(votes) for votes in checkpoints),
        tuple(picked.get(votes) for votes in checkpoints),
        evidence.opened_at,
    )


class _Asking:
    """The pairs that are left, and how often each task was asked about."""

    def __init__(self, known: PairTable, plan: VotePlan, rng: np.random.Generator) -> None:
        self._plan = plan
        self._rng = rng
        self._tasks = known.tasks
        self._left: Flags = np.ones(len(known.X), dtype=np.bool_)
        self.asked: Ints = np.zeros(known.n_tasks, dtype=np.int64)
        self._drawn: Array = np.empty(0)
        """A draw per task: if the share exceeds it, only random votes use the task (``is_for_chance``)."""
        if plan.random_share != 0.0:
            self._drawn = rng.random(known.n_tasks)
        self._X = known.X
        self._reach = np.array([reach_of(name) for name in known.features])
        self._of_task = 1.0 / np.bincount(known.tasks)[known.tasks]
        self._pool = rng.permutation(len(known.X))[:_POOL]
        self._scales: Array = np.empty(0)
        self._z: Array = np.empty((0, 0))

    def next(self, learner: PairEstimator) -> tuple[int, bool]:
        """Takes the next row to ask about; gives it, and whether it was chosen independently of the model."""
        row, is_random = self._chosen(learner)
        self._left[row] = False
        self.asked[self._tasks[row]] += 1
        return row, is_random

    def _chosen(self, learner: PairEstimator) -> tuple[int, bool]:
        plan, rng, left = self._plan, self._rng, np.flatnonzero(self._left)
        if share := random_share_after(int(self.asked.sum()), plan.random_share):
            for_chance = self._drawn[self._tasks[left]] < share
            drawn, others = left[for_chance], left[~for_chance]
            if rng.random() < share:
                left = self._least_asked(drawn if len(drawn) else left)
                task = rng.choice(np.unique(self._tasks[left]))
                return int(rng.choice(left[self._tasks[left] == task])), True
            left = others if len(others) else left
        if plan.rule == ANY_PAIR:
            return int(rng.choice(left)), True
        if plan.spread:
            left = self._least_asked(left)
        if plan.rule == SPREAD_RULE:
            return int(rng.choice(left)), plan.random_share == 0.0
        if len(left) > _LOOKED_AT:
            left = rng.choice(left, _LOOKED_AT, replace=False)
        known = self._beliefs(learner)
        asked, pool = known.of(left), known.of(self._pool)
        return int(left[np.argmax(RULES[plan.rule](asked, pool, self._of_task[self._pool]))]), False

    def _least_asked(self, rows: Ints) -> Ints:
        of_task = self.asked[self._tasks[rows]]
        least: Ints = rows[of_task == of_task.min()]
        return least

    def _beliefs(self, learner: PairEstimator) -> Beliefs:
        scales = np.array(list(learner.scales.values()))
        if not np.array_equal(scales, self._scales):
            self._scales = scales
            self._z = in_units(self._X, self._reach * scales, scales)
        covariance = learner.covariance
        if covariance is None:
            raise ValueError("the learner does not say how sure it is")
        weights = np.array(list(learner.weights.values()))
        return Beliefs(self._z, weights, covariance, learner.tie_nu)


class _Evidence:
    """The gate: the model against the critics' mean, on votes from tasks that no learnt vote comes from."""

    def __init__(self, models: Models, known: PairTable) -> None:
        self._models = models
        self._known = known
        critics = known.critics
        there = ~np.isnan(critics)
        means = np.where(there, critics, 0.0).sum(axis=1) / np.maximum(1, there.sum(axis=1))
        self._means: Array = means[:, None]
        self._gate = Gate()
        models.reference.with_features(["critics_mean"])
        self.opened_at: int | None = None

    def hear(self, row: int, sign: float, vote: int, *, counts: bool) -> None:
        """Bet on a vote before it is learnt."""
        if not counts or self.opened_at is not None:
            return
        p, p_reference = (
            float(model.predict_many_differences(model.features, sign * of[[row]])[0])
            for model, of in (
                (self._models.trusted, self._known.X),
                (self._models.reference, self._means),
            )
        )
        self._gate.bet(gain_of_pair(p, p_reference), pairs_learnt=vote)
        self.opened_at = self._gate.opened_at_pair

    def learn(self, row: int, sign: float, weight: Array) -> None:
        """Learn a vote that is not a tie."""
        self._models.reference.learn_many_differences(sign * self._means[[row]], weight)


def _answer(tie: bool, flips: float, rng: np.random.Generator) -> tuple[float, bool]:
    """1 for the label, −1 for the opposite, and whether it is a tie. An error on a tie picks either side."""
    if not flips or rng.random() >= flips:
        return 1.0, tie
    return (1.0 if tie and rng.random() < 0.5 else -1.0), False

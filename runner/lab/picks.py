"""How good a reward is at picking the best of k: the human score of the candidate that it picks.

The run's own reward picks the candidate with the highest reward of k, as in a run. The critics' mean, the
best single critic, and the human scores themselves (the oracle) pick from the same subsets, so the policies
differ only in their judgement.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from runner.rewards.preference import RewardComparison
from runner.rewards.standings import combined_rewards
from streams.errors import BadInput, counted
from streams.messages.contracts import TEXT_FEATURES, Candidate, PairMessage, PreferencePair, RewardSnapshot
from trainers.bradley_terry.estimators import LearnerName, Recipe
from trainers.bradley_terry.features import difference, differences
from trainers.bradley_terry.normalise import CriticRanges
from trainers.bradley_terry.reward import confidence, prob_prefer
from trainers.pairs.critic_rewards import critic_rewards

Array = NDArray[np.float64]
Policy = Literal["combined", "critics_mean", "best_single", "oracle"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
NAMES: Mapping[Policy, str] = {
    "combined": "combined reward",
    "critics_mean": "critics' mean",
    "best_single": "best single critic",
    "oracle": "oracle",
}
Interval = tuple[float, float]

_ORDERS = 200
"""Random orders of a task's candidates; if there are no more than this (n ≤ 5), all n! are used."""
_RESAMPLES = 2_000
"""Bootstrap draws of the tasks, for the intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What was learnt from the training pairs, to be used on new candidates."""

    ranges: CriticRanges
    snapshot: RewardSnapshot
    best_single_critic: str
    """The critic that agrees with most of the training pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCurve:
    """One policy's picks; every tuple has one entry per ``Picks.k``.

    Scores are in standard deviations of the candidates' human scores, and 0 is their mean. Intervals are 95%
    percentile intervals of a bootstrap over tasks; None where only one task has that many candidates.
    """

    human_score: tuple[float, ...]
    ci95: tuple[Interval | None, ...]
    minus_critics_mean: tuple[float, ...]
    """Difference from the critics' mean, paired over the same tasks, subsets and orders."""
    minus_critics_mean_ci95: tuple[Interval | None, ...]
    candidates_for_means_best: float | None
    """Candidates, interpolated, that this policy needs for the human score that the critics' mean reaches at
    the largest k; over the tasks with that many. None if it never gets there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """The measurement: ``tasks`` with at least two candidates, ``tasks_per_k`` of them with at least k."""

    tasks: int
    k: tuple[int, ...]
    tasks_per_k: tuple[int, ...]
    policies: Mapping[Policy, PolicyCurve]
    human_mean: float
    human_sd: float
    """Mean and standard deviation of the candidates' human scores, in their own unit."""


def learn(messages: Sequence[PairMessage], learner: LearnerName = "laplace", seed: int = 0) -> Judge:
    """One pass over the pairs, critics normalised, task by task in a random order.

    A file is often sorted by domain, which a learner made for streams takes for drift. In a random order
    every alarm of a drift detector is false, so it is off. Raises BadInput if there is nothing to learn.
    """
    pairs = [message for message in messages if isinstance(message, PreferencePair)]
    ranges = CriticRanges.of_pairs(pairs)
    if not ranges.ends:
        raise BadInput(
            f"nothing to learn from: found {counted(len(pairs), 'pair')}, and no critic whose scores differ; "
            "expected chosen_critics and rejected_critics with scores"
        )
    tasks: dict[str, list[PreferencePair]] = {}
    for pair in pairs:
        # Pairs for all models train this one model.
        normalised = replace(ranges.apply_to_pair(pair), model="default")
        tasks.setdefault(pair.run_id or pair.task_id, []).append(normalised)
    names = random.Random(seed).sample(list(tasks), len(tasks))
    shuffled = [pair for name in names for pair in tasks[name]]
    parameters = {"drift_delta": 0.0} if learner == "laplace" else None
    # Imported late: numba takes a second to load, and code that only names the policies does not need it.
    from trainers.online.train import train_on_pairs

    snapshot = train_on_pairs(shuffled, recipe=Recipe(learner=learner, parameters=parameters))
    return Judge(
        ranges=ranges, snapshot=snapshot, best_single_critic=_most_often_right(shuffled, ranges.ends)
    )


def measure(
    candidates: Iterable[Candidate],
    judge: Judge,
    *,
    preference_weight: float,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Picks:
    """Every policy's pick out of k, for k from 2 to the largest number of candidates of any task.

    Each k is a mean over the tasks with at least k candidates, and within a task over random subsets and
    orders of k. ``on_progress`` is called for each task. Raises BadInput if nothing can be measured.
    """
    tasks = _tasks(candidates)
    _check_critics(tasks, judge.snapshot)
    human = np.array([candidate.human_score for task in tasks for candidate in task])
    mean, sd = float(human.mean()), float(human.std())
    if not sd > 0.0:
        raise BadInput(
            f"found {counted(len(human), 'candidate')}, each with the human score {mean:g}; expected scores "
            "that differ"
        )
    rng = np.random.default_rng(seed)
    most = max(map(len, tasks))
    curves: dict[Policy, Array] = {policy: np.full((len(tasks), most), np.nan) for policy in POLICIES}
    for row, task in enumerate(tasks):
        human_N = (np.array([candidate.human_score for candidate in task]) - mean) / sd
        orders_ON = _orders(len(task), rng)
        for policy, picks_ON in _picks(task, judge, human_N, orders_ON, preference_weight):
            curves[policy][row, : len(task)] = human_N[picks_ON].mean(axis=0)
        on_progress(1)
    draws_BT = rng.multinomial(len(tasks), np.full(len(tasks), 1.0 / len(tasks)), _RESAMPLES)
    return Picks(
        tasks=len(tasks),
        k=tuple(range(2, most + 1)),
        tasks_per_k=tuple(sum(len(task) >= k for task in tasks) for k in range(2, most + 1)),
        policies={policy: _curve(curves[policy], curves["critics_mean"], draws_BT) for policy in POLICIES},
        human_mean=mean,
        human_sd=sd,
    )


def _tasks(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    by_task: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_task.setdefault(candidate.task_id, []).append(candidate)
    tasks = [task for task in by_task.values() if len(task) > 1]
    if not tasks:
        raise BadInput(
            f"nothing to pick from: found {counted(len(by_task), 'task')}, none with two candidates; "
            "give the candidates of a task the same task_id"
        )
    return tasks


def _check_critics(tasks: Iterable[Iterable[Candidate]], snapshot: RewardSnapshot) -> None:
    named = {name for task in tasks for candidate in task for name in candidate.critic_scores}
    if named.isdisjoint(snapshot.feature_names):
        raise BadInput(
            f"no critic is common to the candidates ({', '.join(sorted(named)) or 'none'}) and the pairs "
            f"({', '.join(snapshot.feature_names)}); expected the same names in both"
        )


def _most_often_right(pairs: Iterable[PreferencePair], names: Iterable[str]) -> str:
    """The critic that agrees with most pairs; a tied or missing score counts as right half the time."""
    right = dict.fromkeys(sorted(names), 0.0)
    for pair in pairs:
        d = difference(pair.chosen_critics, pair.rejected_critics)
        for name in right:
            right[name] += float(np.sign(d.get(name, 0.0)))
    return max(right, key=lambda name: right[name])


def _picks(
    task: Sequence[Candidate],
    judge: Judge,
    human_N: Array,
    orders_ON: NDArray[np.intp],
    preference_weight: float,
) -> Iterator[tuple[Policy, NDArray[np.intp]]]:
    """Each policy's picks, shape (O, N): among the first k of each order, for k from 1 to N."""
    sides = [replace(one, critic_scores=judge.ranges.apply(one.critic_scores)) for one in task]
    scores_NC = _scores(sides)
    leans_NN = _leans(sides, judge.snapshot)
    single_N = np.array([_known(side.critic_scores.get(judge.best_single_critic)) for side in sides])

    silent_N = np.asarray(np.isnan(scores_NC).all(axis=1))

    def critics_mean(of_Ok: NDArray[np.intp]) -> Array:
        rewards_Ok: Array = np.where(silent_N[of_Ok], -np.inf, critic_rewards(scores_NC[of_Ok]))
        return rewards_Ok

    def combined(of_Ok: NDArray[np.intp]) -> Array:
        lean_Ok = leans_NN[of_Ok[:, :, None], of_Ok[:, None, :]].sum(axis=2) / max(1, of_Ok.shape[1] - 1)
        return combined_rewards(critics_mean(of_Ok), lean_Ok, preference_weight)

    yield "combined", _picks_of_first(combined, orders_ON)
    yield "critics_mean", _picks_of_first(critics_mean, orders_ON)
    yield "best_single", _picks_of_first(lambda of_Ok: np.nan_to_num(single_N, nan=-np.inf)[of_Ok], orders_ON)
    yield "oracle", _picks_of_first(lambda of_Ok: human_N[of_Ok], orders_ON)


def _scores(sides: Sequence[Candidate]) -> Array:
    """Scores (N, C), NaN where a candidate lacks one; without text critics, as in the run's reward."""
    names = dict.fromkeys(name for side in sides for name in side.critic_scores if name not in TEXT_FEATURES)
    return np.array([[_known(side.critic_scores.get(name)) for name in names] for side in sides])


def _known(score: float | None) -> float:
    return math.nan if score is None else score


def _leans(sides: Sequence[Candidate], snapshot: RewardSnapshot) -> Array:
    """How much a steering model favours the row's candidate over the column's, shape (N, N)."""
    leans_NN = np.zeros((len(sides), len(sides)))
    for i, j in itertools.combinations(range(len(sides)), 2):
        d = differences(
            sides[i].critic_scores,
            sides[j].critic_scores,
            context=sides[i].context,
            of_a=sides[i].candidate_context,
            of_b=sides[j].candidate_context,
        )
        opinion = RewardComparison(probability=prob_prefer(snapshot, d), confidence=confidence(snapshot, d))
        leans_NN[i, j], leans_NN[j, i] = opinion.lean, -opinion.lean
    return leans_NN


def _orders(n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Orders (O, n) of a task's candidates; the first k of a random order are a random subset of k."""
    if math.factorial(n) <= _ORDERS:
        return np.array(list(itertools.permutations(range(n))), dtype=np.intp)
    return np.array([rng.permutation(n) for _ in range(_ORDERS)], dtype=np.intp)


def _picks_of_first(
    reward: Callable[[NDArray[np.intp]], Array], orders_ON: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The pick (O, N) among the first k of each order; ties go to the earlier one.

    ``reward`` maps candidates (O, k) to their rewards (O, k) when there are no others.
    """
    picks_ON = orders_ON.copy()
    for k in range(2, orders_ON.shape[1] + 1):
        of_Ok = orders_ON[:, :k]
        best_O = reward(of_Ok).argmax(axis=1)
        picks_ON[:, k - 1] = of_Ok[np.arange(len(of_Ok)), best_O]
    return picks_ON


def _curve(scores_TK: Array, of_mean_TK: Array, draws_BT: NDArray[np.int64]) -> PolicyCurve:
    """One policy's curve. Rows are tasks, column k − 1 is for k; NaN where a task has fewer candidates."""
    gain_TK = scores_TK - of_mean_TK
    return PolicyCurve(
        human_score=tuple(map(float, np.nanmean(scores_TK[:, 1:], axis=0))),
        ci95=_intervals(scores_TK[:, 1:], draws_BT),
        minus_critics_mean=tuple(map(float, np.nanmean(gain_TK[:, 1:], axis=0))),
        minus_critics_mean_ci95=_intervals(gain_TK[:, 1:], draws_BT),
        candidates_for_means_best=_first_to_reach(scores_TK, of_mean_TK),
    )


def _intervals(values_TK: Array, draws_BT: NDArray[np.int64]) -> tuple[Interval | None, ...]:
    """95% intervals of the means over tasks; ``draws_BT`` counts how often a draw has each task."""
    known_TK = ~np.isnan(values_TK)
    counts_BK = draws_BT @ known_TK
    with np.errstate(invalid="ignore"):
        means_BK = (draws_BT @ np.nan_to_num(values_TK)) / counts_BK
    return tuple(
        None if known_TK[:, k].sum() < 2 else _middle(means_BK[counts_BK[:, k] > 0, k])
        for k in range(values_TK.shape[1])
    )


def _middle(values: Array) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _first_to_reach(scores_TK: Array, of_mean_TK: Array) -> float | None:
    # Only tasks with the most candidates: over all tasks, the curve also moves because tasks drop out.
    full_T = ~np.isnan(of_mean_TK[:, -1])
    goal = float(of_mean_TK[full_T, -1].mean()) - 1e-12
    curve_K = scores_TK[full_T].mean(axis=0)
    for k, score in enumerate(curve_K, start=1):
        if score >= goal:
            before = curve_K[k - 2] if k > 1 else score
            return float(k - (score - goal) / (score - before)) if score > before else float(k)
    return None

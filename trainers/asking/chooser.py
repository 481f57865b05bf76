"""Chooses the next pair to ask people about."""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from streams.errors import BadInput
from streams.messages.contracts import OVERALL, TRUSTED_SOURCES, RewardSnapshot
from streams.messages.votes import RANDOM_RULE
from trainers.asking.known_differences import KnownDifferences
from trainers.asking.pool import Pair, VotableCandidate, named
from trainers.asking.rules import DEFAULT_RULE, RULES
from trainers.bradley_terry.beliefs import beliefs_of
from trainers.bradley_terry.reward import reward_on
from trainers.pairs.seen import hashed

RANDOM_SHARE, LATER_RANDOM_SHARE = 0.1, 0.5
"""Random shares of the first votes, which teach most if chosen, and of later ones, when that gain is over."""
_RISES = 100, 200
"""Number of votes at which the share starts to rise, and at which it reaches its later value."""
SPREAD_RULE = "spread"
"""The rule that takes any pair of the least asked tasks; used if no model can choose better."""
_REMEMBERED = 64
"""Number of asked pairs remembered, which the model may not have learnt yet."""


class Chosen(NamedTuple):
    """A pair to show, its orientation, and how it was chosen."""

    left: VotableCandidate
    right: VotableCandidate
    rule: str
    """``RANDOM_RULE``, ``SPREAD_RULE``, or the rule that used the model."""
    probability: float
    """Probability that these two were chosen, in either orientation: the random share times the random draw's
    probability, plus the rest times the rule's, which is 1 for the pair it puts first."""


def random_share_after(votes: int, given: float | None = None) -> float:
    """The random share for the next vote on a dimension after this many; always ``given``, if set.

    >>> [random_share_after(votes) for votes in (0, 100, 150, 200, 1000)]
    [0.1, 0.1, 0.3, 0.5, 0.5]
    """
    if given is not None:
        return given
    start, end = _RISES
    risen = min(1.0, max(0.0, (votes - start) / (end - start)))
    return RANDOM_SHARE + risen * (LATER_RANDOM_SHARE - RANDOM_SHARE)


def is_for_chance(task: str, share: float) -> bool:
    """Whether the task's name puts it in the reserved ``share`` of all tasks, on which no rule chooses."""
    return int(hashed(task), 16) < share * 2**64


class Chooser:
    """Chooses pairs, ``random_share`` of them independently of the model; reproducible with a seed.

    By default the share rises with the votes (``random_share_after``). The same share of the tasks is
    reserved for random pairs, and no rule chooses on them (``is_for_chance``). A random vote takes any pair
    of a least asked reserved task; other votes take the pair that ``rule`` puts first in the least asked
    other tasks. If either group has no task, it uses the other's. Until a newer snapshot has learnt the
    answers, the model treats the pairs it has chosen as answered, so that several people get different
    questions. Raises BadInput for an invalid share or an unknown rule.
    """

    def __init__(
        self, *, random_share: float | None = None, seed: int | None = None, rule: str = DEFAULT_RULE
    ) -> None:
        if random_share is not None and not 0.0 <= random_share <= 1.0:
            raise BadInput(f"the random share is {random_share:g}; expected a number from 0 to 1")
        if rule not in RULES:
            raise BadInput(f"no rule is called {rule!r}; expected one of {', '.join(RULES)}")
        self.random_share = random_share
        self.rule = rule
        self._random = random.Random(seed)
        self._waiting: dict[str, _Waiting] = {}
        self._differences = KnownDifferences()

    def choose(
        self,
        pool: Sequence[Pair],
        reward: RewardSnapshot | None,
        *,
        asked: Mapping[str, int],
        passed_over: Set[frozenset[tuple[str, int]]] = frozenset(),
        dimension: str = "",
    ) -> Chosen | None:
        """A pair of the pool; None if all were ``passed_over``.

        ``asked`` maps a task to its number of votes so far, 0 if absent. If nothing was learnt from people or
        validators on ``dimension``, or the model does not state its uncertainty, any pair of the least asked
        tasks may be chosen.
        """
        share = random_share_after(sum(asked.values()), self.random_share)
        by_chance = self._random.random() < share  # decided before anything else
        offered = [pair for pair in pool if named(pair) not in passed_over] if passed_over else list(pool)
        if not offered:
            return None
        of_tasks = Counter(pair[0].task_id for pair in offered)
        for_chance = {task for task in of_tasks if is_for_chance(task, share)}
        drawn = _least_asked(for_chance or of_tasks.keys(), asked)
        looked_at = _least_asked(of_tasks.keys() - for_chance or of_tasks.keys(), asked)
        fewest = [i for i, pair in enumerate(offered) if pair[0].task_id in looked_at]
        served = None if reward is None else _of_people(reward, dimension)
        if by_chance:
            task = self._random.choice(sorted(drawn))
            at = self._random.choice([i for i, pair in enumerate(offered) if pair[0].task_id == task])
            # The rule's choice affects only the probability here.
        first = fewest
        rule = SPREAD_RULE
        if served is not None:
            rule = self.rule
            first = self._first_of(offered, fewest, of_tasks, served, dimension)
        if not by_chance:
            at = self._random.choice(first)
        chosen = offered[at]
        task = chosen[0].task_id
        probability = share / (len(drawn) * of_tasks[task]) if task in drawn else 0.0
        if at in first:
            probability += (1.0 - share) / len(first)
        if served is not None:
            self._waiting[dimension].pairs.append(chosen)
        left, right = chosen if self._random.random() < 0.5 else chosen[::-1]
        return Chosen(left, right, RANDOM_RULE if by_chance else rule, min(1.0, probability))

    def _first_of(
        self,
        offered: Sequence[Pair],
        fewest: Sequence[int],
        of_tasks: Mapping[str, int],
        served: RewardSnapshot,
        dimension: str,
    ) -> list[int]:
        """Indices among ``fewest`` of the pair that the rule puts first; several if they tie."""
        waiting = self._waiting.setdefault(dimension, _Waiting())
        waiting.forget_what_is_in(served)
        asked = list(waiting.pairs)
        beliefs = beliefs_of(served, self._differences.of(served, [*offered, *asked]))
        for row in range(len(offered), len(beliefs)):
            beliefs = beliefs.after(row)
        pool = beliefs.of(np.arange(len(offered)))
        counts = np.array([1.0 / of_tasks[pair[0].task_id] for pair in offered])
        scores = RULES[self.rule](pool.of(np.array(fewest)), pool, counts)
        return [fewest[i] for i in np.flatnonzero(scores >= scores.max()).tolist()]


def _least_asked(tasks: Set[str], asked: Mapping[str, int]) -> set[str]:
    least = min(asked.get(task, 0) for task in tasks)
    return {task for task in tasks if asked.get(task, 0) == least}


class _Waiting:
    """Asked pairs that the model has not learnt yet."""

    def __init__(self) -> None:
        self.pairs: deque[Pair] = deque(maxlen=_REMEMBERED)
        self._learnt = math.inf

    def forget_what_is_in(self, served: RewardSnapshot) -> None:
        """Drop an oldest pair per label that the snapshot has newly learnt; drop all if it is older."""
        learnt = _labels_of_people(served)
        n = learnt - self._learnt if learnt >= self._learnt else len(self.pairs)
        for _ in range(min(int(n), len(self.pairs))):
            self.pairs.popleft()
        self._learnt = learnt


def _of_people(reward: RewardSnapshot, dimension: str) -> RewardSnapshot | None:
    """The reward on the dimension, if it was learnt from people or validators and states its uncertainty."""
    if dimension not in ("", OVERALL) and dimension not in reward.dimensions:
        return None
    served = reward_on(reward, dimension)
    return served if served.covariance and _labels_of_people(served) else None


def _labels_of_people(reward: RewardSnapshot) -> int:
    return sum(n for source, n in reward.labels.items() if source in TRUSTED_SOURCES)

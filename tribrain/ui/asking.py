"""The next two videos for an annotator: a new pair, or now and then one that was asked before."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from streams.messages.contracts import RewardSnapshot
from streams.messages.votes import Vote
from trainers.asking.chooser import Chooser
from trainers.asking.pool import Pair as Offered
from trainers.asking.pool import named, pairs_to_ask
from tribrain.ui.ballots import Ballots, Candidate, Pair, pair_of
from tribrain.ui.library import Library

AGAIN_SHARE = 0.1
"""Of the pairs, how many are asked again: what annotators agree on with themselves and each other."""
_AGAIN_AFTER = 5
"""Votes between a pair and its repetition, so that nobody answers from memory of the last one."""
_LEASE_S = 600.0
REPEAT_RULE = "repeat"
"""One's own pair again."""
OVERLAP_RULE = "overlap"
"""A pair that another annotator has judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Two videos as they are shown."""

    left: Candidate
    right: Candidate
    rule: str
    probability: float | None


class _Lease(NamedTuple):
    annotator: str
    until_s: float
    votes: int
    """That the annotator had given on the pair before."""


class Asker:
    """Gives every annotator pairs of their own; for any number of threads.

    Of new pairs ``random_share`` are drawn at random; by default that rises with the votes.
    What was handed out is kept apart until it is answered, and for ten minutes at most, so that two who vote
    at once see different pairs.
    """

    def __init__(
        self,
        library: Library,
        ballots: Ballots,
        reward: Callable[[], RewardSnapshot | None],
        *,
        again_share: float = AGAIN_SHARE,
        random_share: float | None = None,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library, self._ballots, self._reward = library, ballots, reward
        self._again_share = again_share
        self._random = random.Random(seed)
        self._chooser = Chooser(random_share=random_share, seed=seed)
        self._clock = clock
        self._lock = threading.Lock()
        self._pool_of: tuple[int, list[Offered]] = (-1, [])
        self._leases: dict[tuple[str, Pair], _Lease] = {}

    def next(self, annotator: str, dimension: str) -> Asked | None:
        """None where this annotator has judged all there is."""
        with self._lock:
            votes = self._ballots.standing(dimension)
            pairs = {named(pair): pair for pair in self._pool()}
            given = Counter((vote.annotator, pair_of(vote)) for vote in votes)
            leased = self._leased(dimension, given)
            asked = self._again(annotator, votes, pairs, leased)
            asked = asked or self._new(annotator, votes, pairs, leased, dimension)
            asked = asked or self._of_others(annotator, votes, pairs, leased)
            if asked is not None:
                pair = frozenset((asked.left, asked.right))
                until_s = self._clock() + _LEASE_S
                self._leases[dimension, pair] = _Lease(annotator, until_s, given[annotator, pair])
            return asked

    def give_back(self, asked: Asked, dimension: str) -> None:
        """A pair that was not shown after all."""
        with self._lock:
            self._leases.pop((dimension, frozenset((asked.left, asked.right))), None)

    def _leased(self, dimension: str, given: Mapping[tuple[str, Pair], int]) -> set[Pair]:
        now_s = self._clock()
        self._leases = {
            (of, pair): lease
            for (of, pair), lease in self._leases.items()
            if lease.until_s > now_s
            and not (of == dimension and given.get((lease.annotator, pair), 0) > lease.votes)
        }
        return {pair for of, pair in self._leases if of == dimension}

    def _again(
        self,
        annotator: str,
        votes: list[Vote],
        pairs: dict[Pair, Offered],
        leased: set[Pair],
    ) -> Asked | None:
        if self._random.random() >= self._again_share:
            return None
        own = [vote for vote in votes if vote.annotator == annotator]
        once = [pair_of(vote) for vote in own[:-_AGAIN_AFTER]]
        repeated = {pair_of(vote) for vote in own if vote.rule == REPEAT_RULE}
        due = [pair for pair in once if pair in pairs and pair not in repeated | leased]
        of_others = self._of_others(annotator, votes, pairs, leased)
        if of_others is not None and (not due or self._random.random() < 0.5):
            return of_others
        return self._shown(self._random.choice(due), REPEAT_RULE, 1 / len(due)) if due else None

    def _of_others(
        self,
        annotator: str,
        votes: list[Vote],
        pairs: dict[Pair, Offered],
        leased: set[Pair],
    ) -> Asked | None:
        own = {pair_of(vote) for vote in votes if vote.annotator == annotator}
        theirs = {pair_of(vote) for vote in votes} - own - leased
        found = sorted((pair for pair in theirs if pair in pairs), key=sorted)
        return self._shown(self._random.choice(found), OVERLAP_RULE, 1 / len(found)) if found else None

    def _new(
        self,
        annotator: str,
        votes: list[Vote],
        pairs: dict[Pair, Offered],
        leased: set[Pair],
        dimension: str,
    ) -> Asked | None:
        judged = {pair_of(vote) for vote in votes}
        tasks = Counter(pairs[pair][0].task_id for vote in votes if (pair := pair_of(vote)) in pairs)
        chosen = self._chooser.choose(
            list(pairs.values()),
            self._reward(),
            asked=tasks,
            passed_over=judged | leased,
            dimension=dimension,
        )
        if chosen is None:
            return None
        return self._shown(named((chosen.left, chosen.right)), chosen.rule, chosen.probability)

    def _pool(self) -> list[Offered]:
        """Made anew only when there is something new."""
        if self._pool_of[0] != self._library.version:
            self._pool_of = self._library.version, pairs_to_ask(self._library.votable())
        return self._pool_of[1]

    def _shown(self, pair: Pair, rule: str, probability: float) -> Asked:
        """Which is on the left says nothing: it is drawn, whatever order the pair came in."""
        left, right = self._random.sample(sorted(pair), 2)
        return Asked(left=left, right=right, rule=rule, probability=probability)

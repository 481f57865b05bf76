"""Chooses the next pair for an annotator: a new one, or now and then one that was already judged."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from streams.messages.contracts import RewardSnapshot
from streams.messages.votes import Vote
from trainers.asking.chooser import Chooser
from trainers.asking.pool import Pair as Offered
from trainers.asking.pool import named, pairs_to_ask
from trainers.pairs.pairing import PairingRules
from tribrain.ui.ballots import Ballots, Candidate, Pair, pair_of
from tribrain.ui.library import Library

AGAIN_SHARE = 0.1
"""Share of pairs that are asked again, to measure agreement within and between annotators."""
_AGAIN_AFTER = 5
"""Fewest votes between a pair and its repetition, so that nobody answers from memory."""
_LEASE_S = 600.0
REPEAT_RULE = "repeat"
"""A pair that the same annotator has judged before."""
OVERLAP_RULE = "overlap"
"""A pair that only other annotators have judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A pair as shown."""

    left: Candidate
    right: Candidate
    rule: str
    probability: float | None

    @property
    def pair(self) -> Pair:
        return frozenset((self.left, self.right))


Rest = Literal["no_pairs", "all_judged", "held"]
"""Why there is no next pair: none exists, this annotator has judged all, or somebody holds the others."""


class _Holding(NamedTuple):
    annotator: str
    dimension: str
    pair: Pair


class _Lease(NamedTuple):
    until_s: float
    votes: frozenset[str]
    """The annotator's standing votes on the pair before the lease. Any other one ends it."""


class Asker:
    """Gives every annotator pairs of their own; thread-safe.

    ``random_share`` of the new pairs are drawn at random; by default the share grows with the votes.
    ``model_by`` is as in PairingRules: no pair spans two reward models. A pair is reserved until it is
    answered, for at most ten minutes, so that simultaneous annotators see different pairs.
    """

    def __init__(
        self,
        library: Library,
        ballots: Ballots,
        reward: Callable[[], RewardSnapshot | None],
        *,
        again_share: float = AGAIN_SHARE,
        random_share: float | None = None,
        model_by: str | None = None,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library, self._ballots, self._reward = library, ballots, reward
        self._again_share = again_share
        self._rules = PairingRules(model_by=model_by)
        self._random = random.Random(seed)
        self._chooser = Chooser(random_share=random_share, seed=seed)
        self._clock = clock
        self._lock = threading.Lock()
        self._pool_of: tuple[int, list[Offered]] = (-1, [])
        self._leases: dict[_Holding, _Lease] = {}

    def next(self, annotator: str, dimension: str) -> Asked | None:
        """The next pair, or None if no pair is left for this annotator (see ``rest``)."""
        with self._lock:
            votes = self._ballots.standing(dimension)
            pairs = {named(pair): pair for pair in self._pool()}
            leased = self._leased(dimension, votes)
            asked = self._again(annotator, votes, pairs, leased)
            asked = asked or self._new(annotator, votes, pairs, leased, dimension)
            asked = asked or self._of_others(annotator, votes, pairs, leased)
            if asked is not None:
                self._lease(annotator, dimension, asked.pair, votes)
            return asked

    def rest(self, annotator: str, dimensions: Sequence[str]) -> Rest:
        """Why ``next`` has no pair in any of these dimensions."""
        with self._lock:
            pairs = {named(pair) for pair in self._pool()}
        if not pairs:
            return "no_pairs"
        votes = [vote for vote in self._ballots.standing() if vote.annotator == annotator]
        judged = [{pair_of(vote) for vote in votes if vote.dimension == each} for each in dimensions]
        return "all_judged" if all(pairs <= each for each in judged) else "held"

    def hold(self, annotator: str, dimension: str, pair: Pair) -> None:
        """Reserve a pair that is on this annotator's stage again, because they take their vote back.

        Before the vote is taken back: afterwards somebody may be given the pair first.
        """
        with self._lock:
            self._lease(annotator, dimension, pair, self._ballots.standing(dimension))

    def give_back(self, annotator: str, dimension: str, asked: Asked) -> None:
        """Release a pair that was not shown."""
        with self._lock:
            self._leases.pop(_Holding(annotator, dimension, asked.pair), None)

    def give_back_all(self, annotator: str) -> None:
        """Release all pairs of an annotator who has none on the stage."""
        with self._lock:
            for holding in [each for each in self._leases if each.annotator == annotator]:
                del self._leases[holding]

    def _lease(self, annotator: str, dimension: str, pair: Pair, votes: list[Vote]) -> None:
        own = frozenset(
            vote.vote_id for vote in votes if vote.annotator == annotator and pair_of(vote) == pair
        )
        self._leases[_Holding(annotator, dimension, pair)] = _Lease(self._clock() + _LEASE_S, own)

    def _leased(self, dimension: str, votes: list[Vote]) -> set[Pair]:
        now_s = self._clock()
        for vote in votes:
            holding = _Holding(vote.annotator, dimension, pair_of(vote))
            lease = self._leases.get(holding)
            if lease is not None and vote.vote_id not in lease.votes:
                del self._leases[holding]
        self._leases = {holding: lease for holding, lease in self._leases.items() if lease.until_s > now_s}
        return {holding.pair for holding in self._leases if holding.dimension == dimension}

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
        """All pairs that can be asked; rebuilt only when the library has changed."""
        if self._pool_of[0] != self._library.version:
            pairs = pairs_to_ask(
                self._library.votable(), model_of=lambda candidate: self._rules.model_in(candidate.context)
            )
            self._pool_of = self._library.version, pairs
        return self._pool_of[1]

    def _shown(self, pair: Pair, rule: str, probability: float) -> Asked:
        """The pair with its sides in random order, so that the side reveals nothing."""
        left, right = self._random.sample(sorted(pair), 2)
        return Asked(left=left, right=right, rule=rule, probability=probability)

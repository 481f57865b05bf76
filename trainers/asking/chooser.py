"""The next pair to ask people about."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from streams.messages.contracts import RewardSnapshot
from streams.messages.votes import RANDOM_RULE
from trainers.asking.pool import VotableCandidate

Pair = tuple[VotableCandidate, VotableCandidate]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Two candidates, the sides as they are shown, and how they were chosen."""

    left: VotableCandidate
    right: VotableCandidate
    rule: str
    probability: float


class Chooser:
    """Draws pairs of the tasks that were asked least."""

    def __init__(self, *, random_share: float = 0.2, seed: int | None = None) -> None:
        self._random = random.Random(seed)

    def choose(
        self,
        pool: Sequence[Pair],
        reward: RewardSnapshot | None,
        *,
        asked: Collection[Pair] = (),
        passed_over: Collection[Pair] = (),
        dimension: str = "",
    ) -> Chosen | None:
        """None where every pair was asked or is passed over."""
        out = {frozenset(_name(c) for c in pair) for pair in (*asked, *passed_over)}
        left = [pair for pair in pool if frozenset(map(_name, pair)) not in out]
        if not left:
            return None
        pair = self._random.choice(left)
        first, second = self._random.sample(pair, 2)
        return Chosen(first, second, RANDOM_RULE, 1 / len(left))


def _name(candidate: VotableCandidate) -> tuple[str, int]:
    return candidate.run_id, candidate.iter_idx

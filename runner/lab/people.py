"""Simulated people, who are shown two videos of a run and choose the better one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from streams.messages.contracts import PreferencePair, RewardSnapshot, TraceEvent
from streams.messages.votes import Vote
from trainers.asking.chooser import Chooser
from trainers.asking.pool import VotableCandidate, named, pairs_to_ask, votable
from trainers.pairs.pairing import PairingRules
from trainers.pairs.votes import pair_of_vote

_Name = tuple[str, int]


class People:
    """Vote on pairs of the runs that they have watched, each pair once, as the live chooser asks them.

    They judge each video with an error of standard deviation ``noise`` around its true quality, and prefer
    the one that seems better. ``random_share`` is the chooser's. ``seed`` makes the votes reproducible.
    """

    def __init__(self, *, random_share: float | None, noise: float, seed: int) -> None:
        self._chooser = Chooser(random_share=random_share, seed=seed)
        self._noise = noise
        self._random = np.random.default_rng([5, seed])
        self._seen: dict[_Name, tuple[TraceEvent, float]] = {}
        self._candidates: list[VotableCandidate] = []
        self._asked: Counter[str] = Counter()
        self._judged: set[frozenset[_Name]] = set()

    def watch(self, run: Sequence[TraceEvent], qualities: Sequence[float]) -> None:
        """Add a finished run, and the true quality of each of its videos, which only these people know."""
        for event, quality in zip(run, qualities, strict=True):
            self._seen[event.run_id, event.iter_idx] = event, quality
            self._candidates.append(votable(event, event.run_id))

    def vote(self, reward: RewardSnapshot | None) -> PreferencePair | None:
        """The pair from their next vote; None if they have judged every pair."""
        chosen = self._chooser.choose(
            pairs_to_ask(self._candidates), reward, asked=self._asked, passed_over=self._judged
        )
        if chosen is None:
            return None
        names = chosen.left.name, chosen.right.name
        self._judged.add(named((chosen.left, chosen.right)))
        self._asked[chosen.left.task_id] += 1
        (left, left_quality), (right, right_quality) = (self._seen[name] for name in names)
        lead = left_quality - right_quality + self._noise * (self._random.standard_normal(2) @ (1.0, -1.0))
        vote = Vote(
            vote_id=f"vote-{len(self._judged)}",
            left_run_id=left.run_id,
            left_iter_idx=left.iter_idx,
            right_run_id=right.run_id,
            right_iter_idx=right.iter_idx,
            answer="left" if lead > 0.0 else "right",
            rule=chosen.rule,
            probability=chosen.probability,
        )
        return pair_of_vote(vote, left, right, PairingRules())

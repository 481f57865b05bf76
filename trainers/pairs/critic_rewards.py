"""The critics' reward of candidates: the mean of their scores, in which a missing one is no advantage.

If a candidate lacks a score that another has, the lowest score of that critic among them is used: a critic's
failure improves no candidate. The lowest is 0 if one of them lacks the score because what the goal names is
not in its video (``streams.messages.no_score``). Runs, pairs, datasets and reports rank candidates by this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streams.messages.contracts import TEXT_FEATURES, TraceEvent
from streams.messages.no_score import names_not_seen, no_score

Array = NDArray[np.float64]
Scores = Mapping[str, float | None]
"""Score by critic and mode, as in ``TraceEvent.critic_scores``."""


def critic_rewards(scores_NK: Array) -> Array:
    """Critic rewards (…, N) of N candidates with K scores each (…, N, K), NaN where one is missing.

    A missing score counts as the lowest of its column; an empty column does not count. All NaN if no score is
    known.
    """
    missing = np.isnan(scores_NK)
    lowest_1K = np.where(missing, np.inf, scores_NK).min(axis=-2, keepdims=True)
    known = np.isfinite(lowest_1K) & np.ones_like(missing)
    total_N = np.where(known, np.where(missing, lowest_1K, scores_NK), 0.0).sum(axis=-1)
    counts_N = known.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        mean_N: Array = total_N / counts_N
    return mean_N


@dataclass(frozen=True, slots=True)
class Lowest:
    """The lowest score of each critic among some candidates; more can be added, in any order."""

    scores: Mapping[str, float] = field(default_factory=dict)
    not_seen: frozenset[str] = frozenset()
    """Scores that a candidate lacks because what they are about is not in its video."""
    is_lacked: bool = False
    """Whether one of the candidates lacks a score that another has."""
    _is_empty: bool = True

    def including(self, scores: Scores, not_seen: frozenset[str] = frozenset()) -> Self:
        """The lowest scores with one more candidate; returns itself if that changes nothing."""
        known = scores_of_video(scores)
        lower = {name: s for name, s in known.items() if s < self.scores.get(name, math.inf)}
        is_lacked = self.is_lacked or not (self._is_empty or known.keys() == self.scores.keys())
        if not (lower or not_seen - self.not_seen) and is_lacked == self.is_lacked and not self._is_empty:
            return self
        lowest = {**self.scores, **lower}
        not_seen |= self.not_seen
        lowest |= dict.fromkeys(lowest.keys() & not_seen, 0.0)
        return type(self)(lowest, not_seen, is_lacked, False)

    def reward(self, scores: Scores, overall: float) -> float:
        """Reward of one of the candidates; ``overall``, its overall score, if it lacks nothing."""
        if not self.is_lacked:
            return overall
        known = scores_of_video(scores)
        if known.keys() >= self.scores.keys():
            return overall
        # An exact sum, like that of an overall score, so that equal scores are a tie.
        return math.fsum({**self.scores, **known}.values()) / len(self.scores)


def rewards_in_run(events: Iterable[TraceEvent]) -> dict[int, float]:
    """``iter_idx`` to critic reward of a run's judged candidates, in the given order."""
    (rewards,) = rewards_in_runs([tuple(events)])
    return rewards


def scores_lacked(judged: Sequence[TraceEvent]) -> list[int]:
    """The number of scores that each of some judged candidates lacks and others of them have.

    Of two with the same reward, the one that lacks fewer is the better one.
    """
    known = [scores_of_video(event.critic_scores()).keys() for event in judged]
    names = set().union(*known)
    return [len(names - of_one) for of_one in known]


def rewards_in_runs(runs: Sequence[Sequence[TraceEvent]]) -> list[dict[int, float]]:
    """Like ``rewards_in_run``, for runs that are compared with each other.

    If a critic gave no score in a whole run, its lowest score in the others is used there, unless it
    reported for every video that it does not apply; 0 if it reported that it did not see what the goal names.
    """
    judged = [[event for event in run if event.overall_score is not None] for run in runs]
    of_each = [
        _lowest((event.critic_scores(), names_not_seen(event.critic_results)) for event in run)
        for run in judged
    ]
    anywhere = _lowest((lowest.scores, lowest.not_seen) for lowest in of_each)
    return [
        {event.iter_idx: lowest.reward(event.critic_scores(), event.overall_score or 0.0) for event in run}
        for run, lowest in zip(judged, _filled(judged, of_each, anywhere), strict=True)
    ]


def scores_of_video(scores: Scores) -> dict[str, float]:
    """The scores that are not missing, without those of the text alone."""
    return {name: s for name, s in scores.items() if s is not None and name not in TEXT_FEATURES}


def _lowest(candidates: Iterable[tuple[Scores, frozenset[str]]]) -> Lowest:
    """The lowest scores of candidates, each given as (scores, those not seen)."""
    lowest = Lowest()
    for scores, not_seen in candidates:
        lowest = lowest.including(scores, not_seen)
    return lowest


def _filled(
    runs: Sequence[Sequence[TraceEvent]], of_each: Sequence[Lowest], anywhere: Lowest
) -> Iterator[Lowest]:
    """Each run's lowest scores, completed by those of critics that should have given one in it."""
    if not anywhere.is_lacked:
        yield from of_each
        return
    names: dict[str, set[str]] = {}
    for run in runs:
        for result in (result for event in run for result in event.critic_results):
            of_critic = names.setdefault(result.critic_name, set())
            of_critic |= {f"{result.critic_name}.{mode}" for mode in result.scores}
    for run, lowest in zip(runs, of_each, strict=True):
        # If it failed on a single one, it might have given that one a score.
        of_videos = [
            {r.critic_name for r in event.critic_results if no_score(r) == "does_not_apply"} for event in run
        ]
        inapplicable = set.intersection(*of_videos) if of_videos else set()
        silent = anywhere.scores.keys() - lowest.scores.keys()
        silent -= {name for critic in inapplicable for name in names[critic]}
        yield Lowest(
            {**lowest.scores, **{name: anywhere.scores[name] for name in silent}},
            lowest.not_seen,
            lowest.is_lacked or bool(silent),
            False,
        )

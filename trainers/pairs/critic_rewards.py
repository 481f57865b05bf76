"""The critics' reward of candidates: the mean of the critics' scores, by which no missing score is a gain.

A score that a candidate lacks and another has counts as the lowest that the critic gave among them: a critic
that failed makes no candidate better. Runs, pairs, datasets and reports rank candidates by this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streams.messages.contracts import TEXT_FEATURES, TraceEvent
from streams.messages.no_score import no_score

Array = NDArray[np.float64]
Scores = Mapping[str, float | None]
"""Critic and mode to score, as in ``TraceEvent.critic_scores``."""


def critic_rewards(scores_NK: Array) -> Array:
    """Critic rewards (…, N) of N candidates with K scores each (…, N, K), NaN where one is missing.

    A missing score counts as the lowest of its column; a column without any does not count. NaN for all where
    no score is known.
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
    """The lowest score of each critic among some candidates; more may come, in any order."""

    scores: Mapping[str, float] = field(default_factory=dict)
    is_lacked: bool = False
    """Whether one of the candidates lacks a score that another has."""
    _is_empty: bool = True

    def including(self, scores: Scores) -> Self:
        """Among one candidate more; itself where that changes nothing."""
        known = scores_of_video(scores)
        lower = {name: s for name, s in known.items() if s < self.scores.get(name, math.inf)}
        is_lacked = self.is_lacked or not (self._is_empty or known.keys() == self.scores.keys())
        if not lower and is_lacked == self.is_lacked and not self._is_empty:
            return self
        return type(self)({**self.scores, **lower}, is_lacked, False)

    def reward(self, scores: Scores, overall: float) -> float:
        """Of one of the candidates, whose overall score it is where the candidate lacks nothing."""
        if not self.is_lacked:
            return overall
        known = scores_of_video(scores)
        if known.keys() >= self.scores.keys():
            return overall
        names = sorted(self.scores)  # in every order the same sum
        rows_2K = np.array([[of.get(name, math.nan) for name in names] for of in (known, self.scores)])
        return float(critic_rewards(rows_2K)[0])


def rewards_in_run(events: Iterable[TraceEvent]) -> dict[int, float]:
    """``iter_idx`` to critic reward of a run's judged candidates, in the order in which they are given."""
    (rewards,) = rewards_in_runs([tuple(events)])
    return rewards


def rewards_in_runs(runs: Sequence[Sequence[TraceEvent]]) -> list[dict[int, float]]:
    """As ``rewards_in_run`` for runs that are compared with each other.

    A critic that gave no score in a whole run counts there as the lowest that it gave in the others, unless
    it said that it does not apply.
    """
    judged = [[event for event in run if event.overall_score is not None] for run in runs]
    of_each = [_lowest(event.critic_scores() for event in run) for run in judged]
    anywhere = _lowest(lowest.scores for lowest in of_each)
    return [
        {event.iter_idx: lowest.reward(event.critic_scores(), event.overall_score or 0.0) for event in run}
        for run, lowest in zip(judged, _filled(judged, of_each, anywhere), strict=True)
    ]


def scores_of_video(scores: Scores) -> dict[str, float]:
    """Those that are there, without what was said of the text alone."""
    return {name: s for name, s in scores.items() if s is not None and name not in TEXT_FEATURES}


def _lowest(candidates: Iterable[Scores]) -> Lowest:
    lowest = Lowest()
    for scores in candidates:
        lowest = lowest.including(scores)
    return lowest


def _filled(
    runs: Sequence[Sequence[TraceEvent]], of_each: Sequence[Lowest], anywhere: Lowest
) -> Iterator[Lowest]:
    """Each run's lowest scores with those of critics that gave none in it and should have."""
    if not anywhere.is_lacked:
        yield from of_each
        return
    names: dict[str, set[str]] = {}
    for run in runs:
        for result in (result for event in run for result in event.critic_results):
            of_critic = names.setdefault(result.critic_name, set())
            of_critic |= {f"{result.critic_name}.{mode}" for mode in result.scores}
    for run, lowest in zip(runs, of_each, strict=True):
        inapplicable = {
            result.critic_name
            for event in run
            for result in event.critic_results
            if no_score(result) == "does_not_apply"
        }
        silent = anywhere.scores.keys() - lowest.scores.keys()
        silent -= {name for critic in inapplicable for name in names[critic]}
        yield Lowest(
            {**lowest.scores, **{name: anywhere.scores[name] for name in silent}},
            lowest.is_lacked or bool(silent),
            False,
        )

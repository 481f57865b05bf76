"""Whether a new checkpoint takes the place of the one before: what its comparison shows, by two judges.

The first judge is the one by which the videos of its training were selected. A checkpoint that learnt what
this judge likes may have learnt its mistakes, so it alone promotes nothing:

- where a reward selected, it has to show that the new checkpoint wins more than half of the tasks, and the
  critics' mean that it does not lose clearly, that is, wins more than a third;
- where the critics' mean selected, it has to show the former, and the critics counted one by one the latter:
  the share of their scores that is higher, so that none weighs more for the size of its numbers.

Both have to show it at the same level (an intersection-union test, Berger 1982). So the error of
``runner.finetune.evidence`` is that of promoting any checkpoint that is no better by the first judge or
clearly worse by the other, and two judges need no share each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from runner.finetune.comparison import PairResult
from runner.finetune.evidence import e_value, level

Judge = Literal["reward", "critics_mean", "critics_count"]

NO_BETTER = 0.5
CLEARLY_WORSE = 1 / 3
"""Win rate: two to one for the one before. The margin of non-inferiority, one sixth, is a choice: with none,
a judge that sees no difference would forbid every promotion. Of 40 tasks with two seeds, one to whom both
checkpoints are even agrees in 46% of first comparisons (8% with a margin of a tenth), one to whom the new one
wins 60% in 95%."""
_Z = 1.959963984540054
_NAMES: dict[Judge, str] = {
    "reward": "the reward",
    "critics_mean": "the critics' mean",
    "critics_count": "the critics one by one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate:
    """Of the new checkpoint. ``ci95`` is of this comparison alone, and decides nothing."""

    rate: float
    ci95: tuple[float, float]
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one judge shows."""

    judge: Judge
    win_rate: WinRate
    null: float
    """The win rate that has to be refuted, with all below it."""
    evidence: float
    """The e-value against that."""
    results: tuple[float, ...]
    """Of each task, in [0, 1]: the mean over its seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointVerdict:
    """Whether the new checkpoint takes the old one's place, and why.

    It follows from ``without_promotion`` and the results alone.
    """

    promote: bool
    statement: str
    without_promotion: int
    """Comparisons of this line before that promoted nothing."""
    needed: float
    """The e-value that both judges have to reach."""
    selector: Judged
    other: Judged

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(version: int, pairs: Sequence[PairResult], without_promotion: int) -> CheckpointVerdict:
    """By the reward, if it judged the pairs, and the critics' mean; else by that and the critics one by one.

    ``without_promotion`` is how many comparisons of the line before this one promoted nothing.
    """
    at = level(without_promotion)
    by_mean = [(pair.goal, pair.by_critics) for pair in pairs]
    by_reward = [(pair.goal, pair.by_reward) for pair in pairs if pair.by_reward is not None]
    if by_reward:
        selector = _judged("reward", by_reward, NO_BETTER, at)
        other = _judged("critics_mean", by_mean, CLEARLY_WORSE, at)
    else:
        selector = _judged("critics_mean", by_mean, NO_BETTER, at)
        other = _judged("critics_count", [(pair.goal, pair.by_count) for pair in pairs], CLEARLY_WORSE, at)
    needed = 1.0 / at
    wins, agrees = selector.evidence >= needed, other.evidence >= needed
    verb = "takes the place of the one before" if wins and agrees else "does not take its place"
    after = f", as {without_promotion} before promoted nothing" if without_promotion else ""
    why = ""
    if not wins:
        why = f"; {_NAMES[selector.judge]} has to show more"
    elif not agrees:
        why = f"; {_NAMES[other.judge]} must show, too, that it is not clearly worse"
    return CheckpointVerdict(
        promote=wins and agrees,
        statement=f"Version {version} {verb}: {_said(selector)}; {_said(other)}; evidence of {needed:,.0f} "
        f"is needed{after}{why}.",
        without_promotion=without_promotion,
        needed=needed,
        selector=selector,
        other=other,
    )


def by_task(results: Sequence[tuple[str, float]]) -> tuple[float, ...]:
    """Of (goal, result) of pairs, the mean of each goal: its pairs are one observation."""
    by_goal: dict[str, list[float]] = {}
    for goal, result in results:
        by_goal.setdefault(goal, []).append(result)
    return tuple(math.fsum(of) / len(of) for of in by_goal.values())


def win_rate(results: Sequence[float]) -> WinRate:
    """Of tasks' results. Without any, all is possible.

    The interval is Wilson's score interval for a proportion (1927) with as many observations as there are
    tasks: shares between 0 and 1 vary no more than wins and losses do.
    """
    n = len(results)
    if not n:
        return WinRate(rate=0.5, ci95=(0.0, 1.0), tasks=0)
    rate = math.fsum(results) / n
    shrunk = 1.0 + _Z * _Z / n
    middle = (rate + _Z * _Z / (2 * n)) / shrunk
    half = _Z / shrunk * math.sqrt(rate * (1.0 - rate) / n + (_Z / (2 * n)) ** 2)
    return WinRate(rate=rate, ci95=(max(0.0, middle - half), min(1.0, middle + half)), tasks=n)


def _judged(by: Judge, pairs: Sequence[tuple[str, float]], null: float, at: float) -> Judged:
    results = by_task(pairs)
    return Judged(
        judge=by,
        win_rate=win_rate(results),
        null=null,
        evidence=e_value(results, null, at),
        results=results,
    )


def _said(judged: Judged) -> str:
    rate = judged.win_rate
    return (
        f"by {_NAMES[judged.judge]} it wins {rate.rate:.0%} [{rate.ci95[0]:.0%}, {rate.ci95[1]:.0%}] of "
        f"{rate.tasks} tasks (evidence of more than {judged.null:.0%}: {judged.evidence:,.3g})"
    )

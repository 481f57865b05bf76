"""Whether a new checkpoint replaces the one before: two judges decide on its comparison.

The first judge is the one that selected the videos of its training. A checkpoint that learnt what this judge
likes may have learnt its mistakes, so this judge alone cannot promote:

- if a reward selected, the reward must show that the new checkpoint wins more than half of the tasks, and the
  critics' mean must show that it is not clearly worse, that is, wins more than a third;
- if the critics' mean selected, it must show the first, and the critics one by one the second: the fraction
  of their scores that are higher, so that no critic weighs more because its scores vary more.

Both must show it at the same level (an intersection-union test, Berger 1982). So the error bound of
``runner.finetune.evidence`` covers the promotion of any checkpoint that is no better by the first judge or
clearly worse by the other, and the two judges need not divide the level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from runner.finetune.comparison import Comparison
from runner.finetune.evidence import e_value, level

Judge = Literal["reward", "critics_mean", "critics_count"]

NO_BETTER = 0.5
CLEARLY_WORSE = 1 / 3
"""Win rate: one win to two losses. The margin of non-inferiority, one sixth, is a choice. Without one, a
judge that sees no difference would prevent every promotion. With 40 tasks of two seeds, a judge that sees no
difference agrees in 46% of first comparisons (8% with a margin of a tenth), and one that sees the new
checkpoint win 60% agrees in 95%."""
_Z = 1.959963984540054
_NAMES: dict[Judge, str] = {
    "reward": "the reward",
    "critics_mean": "the critics' mean",
    "critics_count": "the critics one by one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate:
    """Win rate of the new checkpoint. ``ci95`` is for this comparison alone, and decides nothing."""

    rate: float
    ci95: tuple[float, float]
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeResult:
    """The result of one judge."""

    judge: Judge
    win_rate: WinRate
    null: float
    """The null hypothesis: a win rate of at most this."""
    evidence: float
    """The e-value against the null."""
    results: tuple[float, ...]
    """One per task, in [0, 1]: the mean over its seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointVerdict:
    """Whether the new checkpoint replaces the old one, and why.

    Determined by ``without_promotion`` and the results alone.
    """

    promote: bool
    statement: str
    without_promotion: int
    """Earlier comparisons of this line that promoted nothing."""
    needed: float
    """The e-value that both judges must reach."""
    left_out: int
    """Pairs that could not be compared."""
    why_left_out: str
    """Why the first of them could not be compared; empty if there is none."""
    selector: JudgeResult
    other: JudgeResult

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(version: int, comparison: Comparison, without_promotion: int) -> CheckpointVerdict:
    """The verdict by the reward and the critics' mean; without a reward, by that mean and single critics.

    Pairs that could not be compared take no part; the statement says how many, and why the first could not.
    ``without_promotion`` counts the line's earlier comparisons that promoted nothing.
    """
    at, pairs, failed = level(without_promotion), comparison.pairs, comparison.failed
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
    why_left_out = str(failed[0]) if failed else ""
    left_out = f" {len(failed)} of {len(pairs) + len(failed)} pairs could not be compared" if failed else ""
    return CheckpointVerdict(
        promote=wins and agrees,
        statement=f"Version {version} {verb}: {_said(selector)}; {_said(other)}; evidence of {needed:,.0f} "
        f"is needed{after}{why}.{left_out and f'{left_out} ({why_left_out}).'}",
        without_promotion=without_promotion,
        needed=needed,
        left_out=len(failed),
        why_left_out=why_left_out,
        selector=selector,
        other=other,
    )


def by_task(results: Sequence[tuple[str, float]]) -> tuple[float, ...]:
    """The mean result of each goal, from (goal, result) pairs: the pairs of a goal are one observation."""
    by_goal: dict[str, list[float]] = {}
    for goal, result in results:
        by_goal.setdefault(goal, []).append(result)
    return tuple(math.fsum(of) / len(of) for of in by_goal.values())


def win_rate(results: Sequence[float]) -> WinRate:
    """Win rate over the tasks' results. Without results the interval is [0, 1].

    The interval is Wilson's score interval for a proportion (1927), with one observation per task: results
    between 0 and 1 vary no more than wins and losses do.
    """
    n = len(results)
    if not n:
        return WinRate(rate=0.5, ci95=(0.0, 1.0), tasks=0)
    rate = math.fsum(results) / n
    shrunk = 1.0 + _Z * _Z / n
    middle = (rate + _Z * _Z / (2 * n)) / shrunk
    half = _Z / shrunk * math.sqrt(rate * (1.0 - rate) / n + (_Z / (2 * n)) ** 2)
    return WinRate(rate=rate, ci95=(max(0.0, middle - half), min(1.0, middle + half)), tasks=n)


def _judged(by: Judge, pairs: Sequence[tuple[str, float]], null: float, at: float) -> JudgeResult:
    results = by_task(pairs)
    return JudgeResult(
        judge=by,
        win_rate=win_rate(results),
        null=null,
        evidence=e_value(results, null, at),
        results=results,
    )


def _said(judged: JudgeResult) -> str:
    rate = judged.win_rate
    return (
        f"by {_NAMES[judged.judge]} it wins {rate.rate:.0%} [{rate.ci95[0]:.0%}, {rate.ci95[1]:.0%}] of "
        f"{rate.tasks} tasks (evidence of more than {judged.null:.0%}: {judged.evidence:,.3g})"
    )

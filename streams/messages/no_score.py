"""Why a critic gave no score: it failed, or it does not apply.

A critic that gives null for a score says which of the two it means, in ``extra`` under ``NO_SCORE``. That a
thing is gone is neither: it was seen, it is bad, and it is scored.
"""

from __future__ import annotations

from typing import Literal, get_args

from streams.messages.contracts import CriticResult

NoScore = Literal["failed", "does_not_apply"]
"""``failed``: its program did not come to a judgement, which another try may. ``does_not_apply``: what it
assumes does not hold for this goal or this video, which is nobody's fault."""
REASONS: tuple[NoScore, ...] = get_args(NoScore)
NO_SCORE = "no_score"
"""Where ``CriticResult.extra`` has it; it holds for every score of the result that is null or absent."""


def no_score(result: CriticResult) -> NoScore | None:
    """What a critic said of the scores that it did not give; None where it said nothing."""
    for reason in REASONS:
        if result.extra.get(NO_SCORE) == reason:
            return reason
    # Traces from before there was the key have only this of a failed critic.
    return "failed" if "missing" in result.extra and not result.scores else None


def does_not_apply(critic: str, mode: str, why: str) -> CriticResult:
    """No score in ``mode``, since what the critic assumes does not hold."""
    return CriticResult(
        critic_name=critic, scores={mode: None}, notes=why, extra={NO_SCORE: "does_not_apply"}
    )

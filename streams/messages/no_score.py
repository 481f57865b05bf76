"""Why a critic gave no score: it failed, it does not apply, or it did not see what the goal names.

A critic that returns null for a score gives the reason in ``extra`` under ``NO_SCORE``. An object that
vanishes during the video is none of these cases: the critic has seen it, it is bad, and it gets a score.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from streams.messages.contracts import CriticResult

NoScore = Literal["failed", "does_not_apply", "not_seen"]
"""``failed``: the critic's program reached no judgement; a retry may. ``does_not_apply``: the critic's
assumptions do not hold for this goal or this video, which is not an error. ``not_seen``: what the goal names
is not in the video. If another video of the run shows it, this one has lost it, and the null counts as 0."""
REASONS: tuple[NoScore, ...] = get_args(NoScore)
NO_SCORE = "no_score"
"""Key in ``CriticResult.extra``; the reason applies to every score of the result that is null or absent."""


def no_score(result: CriticResult) -> NoScore | None:
    """The reason for a critic's missing scores, or None if it gave none."""
    for reason in REASONS:
        if result.extra.get(NO_SCORE) == reason:
            return reason
    # Traces of earlier versions mark a failed critic only in this way.
    return "failed" if "missing" in result.extra and not result.scores else None


def critic_failed(result: CriticResult) -> bool:
    """Whether the critic's program failed, even if it gave some of its scores."""
    lacks = not result.scores or None in result.scores.values()
    return lacks and no_score(result) == "failed"


def why_failed(result: CriticResult) -> str:
    """What is known about why a critic failed."""
    return str(result.extra.get("missing") or result.notes or "it says that it failed")


def does_not_apply(critic: str, mode: str, why: str) -> CriticResult:
    """A result without a score in ``mode``, because the critic's assumptions do not hold."""
    return _null(critic, mode, "does_not_apply", why)


def not_seen(critic: str, mode: str, why: str) -> CriticResult:
    """A result without a score in ``mode``, because what the goal names is not in the video."""
    return _null(critic, mode, "not_seen", why)


def names_not_seen(results: Iterable[CriticResult]) -> frozenset[str]:
    """The nulls that mean ``not_seen``, named as in ``TraceEvent.critic_scores``."""
    return frozenset(
        f"{result.critic_name}.{mode}"
        for result in results
        if result.extra and no_score(result) == "not_seen"
        for mode, score in result.scores.items()
        if score is None
    )


def _null(critic: str, mode: str, reason: NoScore, why: str) -> CriticResult:
    return CriticResult(critic_name=critic, scores={mode: None}, notes=why, extra={NO_SCORE: reason})

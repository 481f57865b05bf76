"""The course of a run: its rewards, its best so far, and both as a line in a small picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.messages.contracts import TraceEvent
from trainers.pairs.critic_rewards import rewards_in_run, scores_lacked

WIDTH, HEIGHT = 240, 56
_MARGIN = 5


@dataclass(frozen=True, slots=True)
class Point:
    """One iteration as a point; coordinates are pixels of the picture."""

    x: float
    y: float
    iteration: int
    reward: float
    version: int | None
    """Version of the model that contributed to the reward, or None."""
    is_swap: bool
    """Whether the version differs from that of the iteration before."""


def course(events: Sequence[TraceEvent]) -> list[Point]:
    """Judged iterations from left to right; rewards from 0 at the bottom to 1 at the top, clipped."""
    rewards = rewards_of(events)
    judged = [event for event in events if event.iter_idx in rewards]
    points: list[Point] = []
    before: int | None = None
    for number, event in enumerate(judged):
        reward = rewards[event.iter_idx]
        version = version_of(event)
        share = number / (len(judged) - 1) if len(judged) > 1 else 0.5
        points.append(
            Point(
                x=round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1),
                y=round(HEIGHT - _MARGIN - min(1.0, max(0.0, reward)) * (HEIGHT - 2 * _MARGIN), 1),
                iteration=event.iter_idx,
                reward=reward,
                version=version,
                is_swap=version is not None and version != before,
            )
        )
        before = version
    return points


def rewards_of(events: Sequence[TraceEvent]) -> dict[int, float]:
    """Iteration to reward, for those that have one: the combined reward if there is one, else the
    critics'."""
    rewards = rewards_in_run(events)
    for event in events:
        combined = event.meta.get("combined_reward")
        if isinstance(combined, int | float) and not isinstance(combined, bool):
            rewards[event.iter_idx] = float(combined)
    return rewards


def best_so_far(events: Sequence[TraceEvent]) -> list[TraceEvent | None]:
    """The best iteration so far after each iteration of a run, as the loop chose it.

    Where a trace names none, or one that is not there, the critics decide; of equals it is the one that lacks
    fewer scores, then the earlier. None before anything was judged.
    """
    known: dict[int, TraceEvent] = {}
    found: list[TraceEvent | None] = []
    for event in events:
        known[event.iter_idx] = event
        chosen = event.meta.get("best_iter")
        if isinstance(chosen, int) and not isinstance(chosen, bool) and chosen in known:
            found.append(known[chosen])
            continue
        found.append(_best_by_critics([one for one in known.values() if one.overall_score is not None]))
    return found


def _best_by_critics(judged: Sequence[TraceEvent]) -> TraceEvent | None:
    rewards = rewards_in_run(judged)
    lacked = {event.iter_idx: n for event, n in zip(judged, scores_lacked(judged), strict=True)}
    return min(
        judged, key=lambda one: (-rewards[one.iter_idx], lacked[one.iter_idx], one.iter_idx), default=None
    )


def version_of(event: TraceEvent) -> int | None:
    """The version of the reward model in use, or None."""
    version = event.meta.get("reward_version")
    return version if isinstance(version, int) and not isinstance(version, bool) else None

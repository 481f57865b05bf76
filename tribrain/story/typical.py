"""The run that a report begins with: a typical one rather than a flattering one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tribrain.story.album import Album
from tribrain.story.steps import Film
from tribrain.story.traced_run import TracedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Typical:
    """The first and the best video of a run, side by side."""

    number: int
    """Index of the run among all, from 0."""
    measure: str
    first: Film
    best: Film
    first_value: float
    best_value: float


def typical_run(runs: Sequence[TracedRun], videos: Album) -> Typical | None:
    """The run with the median gain of best over first video, in true quality where any is known.

    Of two in the middle it is the lower, and of equals the first that has both videos. None where that run
    lacks one of them, or its first is its best; and None for a single run, which is shown in full.
    """
    if len(runs) < 2:
        return None
    is_known = any(run.quality_gain is not None for run in runs)
    gains = [run.quality_gain if is_known else run.score_gain for run in runs]
    known = sorted(gain for gain in gains if gain is not None)
    if not known:
        return None
    gain = known[(len(known) - 1) // 2]
    found = (n for n, run in enumerate(runs) if gains[n] == gain and _can_be_shown(run, videos))
    if (number := next(found, None)) is None:
        return None
    run = runs[number]
    first, best = run.events[0], run.best
    assert best is not None
    videos.look_at(run, (first, best))
    value = (run.truths if is_known else run.rewards)[first.iter_idx]
    return Typical(
        number=number,
        measure="true quality" if is_known else "critics' score",
        first=videos.still(run, first),
        best=videos.film(run, best),
        first_value=value,
        best_value=value + gain,
    )


def _can_be_shown(run: TracedRun, videos: Album) -> bool:
    best = run.best
    if best is None or best.iter_idx == run.events[0].iter_idx:
        return False
    return videos.is_there(run, run.events[0]) and videos.is_held(run, best)

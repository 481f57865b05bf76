"""A run to begin a report with: a typical one, so that nothing is picked to please."""

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
    """Which of the runs it is, from 0."""
    measure: str
    first: Film
    best: Film
    first_value: float
    best_value: float


def typical_run(runs: Sequence[TracedRun], videos: Album) -> Typical | None:
    """The run with the median gain of best over first video, in true quality where any is known.

    Where its two videos are not there, or are one and the same, the nearest whose are. None of a single run,
    which is told in full.
    """
    if len(runs) < 2:
        return None
    is_known = any(run.quality_gain is not None for run in runs)
    found = [
        (gain, number)
        for number, run in enumerate(runs)
        if (gain := run.quality_gain if is_known else run.score_gain) is not None
    ]
    if not found:
        return None
    middle = sorted(found)[(len(found) - 1) // 2][0]
    shown = [each for each in found if _can_be_shown(runs[each[1]], videos)]
    if not shown:
        return None
    gain, number = min(shown, key=lambda each: (abs(each[0] - middle), each[1]))
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
    return (run.run_id, run.events[0].iter_idx) in videos.places and (
        run.run_id,
        best.iter_idx,
    ) in videos.held

"""The findings of a demo, in words that claim no more than its figures support.

What steering changed is compared from equal first videos, by what each run's best video has over its first:
the steered runs are the later ones, for other tasks, and their first videos, which nothing can steer, are
better or worse by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.errors import counted
from streams.messages.contracts import RewardSnapshot
from tribrain.story.gains import GainEstimate, difference_of_means, mean_over_runs
from tribrain.story.traced_run import Steered, TracedRun

QUALITY, SCORE = "true quality", "critics' score"
_OTHERWISE = (
    "The steered runs are the later ones, for other tasks, and what rewrites the prompts had learnt more by "
    "then. So this is what changed, and not what the model alone did."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """Gains of best videos over first ones, by when the model steered their runs."""

    measure: str
    """``QUALITY`` where it is known of any run; else ``SCORE``, which runs climb whatever it is worth."""
    everyone: Sequence[float]
    never: Sequence[float]
    throughout: Sequence[float]
    first_mean: float
    best_mean: float
    """Mean of the best videos over all runs with a gain; 0 where there is none."""

    @property
    def overall(self) -> GainEstimate | None:
        return mean_over_runs(self.everyone)

    @property
    def of_steering(self) -> GainEstimate | None:
        return difference_of_means(self.throughout, self.never)


def gains_of(runs: Sequence[TracedRun]) -> Gains:
    is_known = any(run.quality_gain is not None for run in runs)
    found = [(run, run.quality_gain if is_known else run.score_gain) for run in runs]
    known = [(run, gain) for run, gain in found if gain is not None]
    firsts = [(run.truths if is_known else run.rewards)[run.events[0].iter_idx] for run, _ in known]
    n = max(1, len(known))

    def group(name: Steered) -> list[float]:
        return [gain for run, gain in known if run.steered == name]

    first_mean = sum(firsts) / n
    return Gains(
        measure=QUALITY if is_known else SCORE,
        everyone=[gain for _, gain in known],
        never=group("never"),
        throughout=group("throughout"),
        first_mean=first_mean,
        best_mean=first_mean + sum(gain for _, gain in known) / n,
    )


def headline(n_runs: int, snapshot: RewardSnapshot | None, gains: Gains) -> str:
    """One sentence on what improved, and whether that is shown."""
    after = f"After {counted(n_runs, 'run')}"
    if not n_runs:
        return "No run had finished, so there is nothing to tell."
    if snapshot is None:
        return f"{after} no reward model was published, so nothing was steered."
    if snapshot.gate != "active":
        if _gate(snapshot).get("closed_times"):
            return f"{after} the model has lost its lead over the critics' mean, and steers nothing any more."
        return f"{after} the model has not been shown to beat the critics' mean, so it steered nothing."
    return f"{after} the model beat the critics' mean{_of_steering(gains)}."


def _of_steering(gains: Gains) -> str:
    found = gains.of_steering
    if found is None:
        return "; what steering changes is not known, as there are not two kinds of runs to compare"
    steered, never = (sum(values) / len(values) for values in (gains.throughout, gains.never))
    if found.is_rise:
        return (
            f", and runs that it steered improved their first video by {steered:.2f} rather than "
            f"{never:.2f} in {gains.measure}"
        )
    if found.is_fall:
        return (
            f", yet runs that it steered improved their first video by only {steered:.2f} rather than "
            f"{never:.2f} in {gains.measure}"
        )
    return "; steering was not shown to improve the videos"


def lead(snapshot: RewardSnapshot | None, gains: Gains) -> list[str]:
    """The sentences below the headline: how sure the model is, and what refinement did."""
    said = []
    trusted = (snapshot.metrics.get("trusted") if snapshot is not None else None) or {}
    if "accuracy" in trusted:
        said.append(
            f"It named the better of two videos in {trusted['accuracy']:.0%} of "
            f"{counted(trusted['n'], 'pair')} with a trusted label, before it learnt from them."
        )
    said.append(refinement(gains))
    return said


def refinement(gains: Gains) -> str:
    """Whether the best videos are better than the first ones, steered or not."""
    overall = gains.overall
    if overall is None:
        return "No run has both a first and a best video that were judged."
    text = f"The {gains.measure} of the runs' videos went from {gains.first_mean:.3f} (first) to "
    text += f"{gains.best_mean:.3f} (best)"
    if overall.ci95 is None:
        return f"{text}, in a single run."
    text += f", by {_signed(overall)}."
    if gains.measure == SCORE:
        return f"{text} Every run climbs this very score, so a rise is no proof of better videos."
    if overall.is_rise:
        return text
    return f"{text} Refinement was not shown to improve them."


def steering(gains: Gains) -> str:
    """The gain of steered runs, beside that of runs that were never steered."""
    found = gains.of_steering
    n_steered, n_never = len(gains.throughout), len(gains.never)
    if found is None:
        lacks = (
            "every judged run was steered in some part"
            if n_steered
            else "no judged run was steered from its second video on"
        )
        return f"There is nothing to compare: {lacks}."
    text = (
        f"Over its own first video, the best video gained {sum(gains.throughout) / n_steered:.3f} in "
        f"{gains.measure} in the {counted(n_steered, 'run')} that the model steered throughout, and "
        f"{sum(gains.never) / n_never:.3f} in the {counted(n_never, 'run')} that it never steered"
    )
    if found.ci95 is None:
        return f"{text}. With a single run in a group nothing more can be said."
    text += f": a difference of {_signed(found)}"
    if not (found.is_rise or found.is_fall):
        return f"{text}. The interval covers 0, so no difference is shown."
    return f"{text}. {_OTHERWISE}"


def _gate(snapshot: RewardSnapshot) -> Mapping[str, Any]:
    return snapshot.metrics.get("gate") or {}


def _signed(estimate: GainEstimate) -> str:
    low, high = estimate.ci95 or (estimate.mean, estimate.mean)
    return f"{estimate.mean:+.2f} (95% interval {low:+.2f} to {high:+.2f})".replace("-", "−")

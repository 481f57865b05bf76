"""Judges a finished run's videos again: its next revision, in which every iteration is rewritten.

A critic's new result replaces its old one. Where it fails now, even in part, the score that was there stays.
Scores, the best so far and the rewards are then computed as in the loop, under the snapshots that were in
use. What the run did at the time (prompts, arms, when it stopped) stays the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from msgspec.structs import replace

from runner.critics.opinion import is_missing
from runner.loop.candidate import CandidateSpec, judged_candidate, with_required
from runner.loop.course import Compared
from runner.loop.kept_rewards import KeptRewards
from runner.rewards.preference import PreferencePolicy
from runner.rewards.standings import Standings, best_of
from streams.messages.contracts import TEXT_CRITICS, CriticResult, RunEnd, TraceEvent
from streams.messages.no_score import NO_SCORE, critic_failed, no_score

_REQUIRED = "required"
_OF_CRITICS = ("critic_reward", "best_score", "best_iter", "combined_reward")
_OF_PREFERENCES = ("preference_prob", "preference_confidence", "preference_by_dimension")


def to_be_judged(event: TraceEvent, critics: Iterable[str], *, everything: bool) -> list[str]:
    """The critics that failed on this video or never judged it; with ``everything``, all of them."""
    found = {result.critic_name: result for result in event.critic_results}
    return [name for name in critics if everything or name not in found or critic_failed(found[name])]


def required_by(end: RunEnd) -> frozenset[str]:
    """The critics whose scores every candidate needs, as the rescoring that wrote this end recorded them."""
    names = end.meta.get(_REQUIRED)
    return frozenset(map(str, names)) if isinstance(names, list) else frozenset()


def revised(
    events: Sequence[TraceEvent],
    end: RunEnd,
    judged: Mapping[int, Sequence[CriticResult]],
    *,
    revision: int,
    required: Collection[str],
    policy: PreferencePolicy,
    run_dir: Path,
) -> tuple[list[TraceEvent], RunEnd]:
    """The next ``revision`` of a run whose newest state is ``events`` and ``end``.

    ``judged`` maps ``iter_idx`` to new results; a failure takes no score away. A video without the score of
    a ``required`` critic is not a candidate, which the end records (``required_by``). ``run_dir`` holds the
    snapshots that were in use.
    """
    made = [
        with_required(_rescored(event, judged.get(event.iter_idx, ()), revision), required)
        for event in sorted(events, key=lambda event: event.iter_idx)
    ]
    noted = list(_noted(made, policy, KeptRewards(run_dir)))
    iterations = tuple(event.iter_idx for event in noted)
    meta = {**end.meta, "revision": revision, _REQUIRED: sorted(required)}
    return noted, replace(end, iterations=iterations, meta=meta)


def kept_where_failed(new: CriticResult, before: Iterable[CriticResult]) -> CriticResult:
    """The new result; if the critic failed in part, with the earlier scores of the modes without one now."""
    if no_score(new) != "failed":
        return new
    earlier = [result for result in before if result.critic_name == new.critic_name]
    scores = dict(new.scores)
    for mode, score in (item for result in earlier for item in result.scores.items()):
        if scores.get(mode) is None:
            scores[mode] = score
    lacked = {mode for mode, score in scores.items() if score is None}
    extra = dict(new.extra)
    if not lacked:
        extra.pop(NO_SCORE)
    elif any(no_score(result) == "not_seen" and lacked & result.scores.keys() for result in earlier):
        extra[NO_SCORE] = "not_seen"  # a failure does not excuse the video
    return replace(new, scores=scores, extra=extra)


def _rescored(event: TraceEvent, results: Sequence[CriticResult], revision: int) -> TraceEvent:
    anew = {result.critic_name: result for result in results if not is_missing(result)}
    meta = {**event.meta, "revision": revision, "rescored": list(anew)}
    if not anew:
        return replace(event, meta=meta)
    meta["rescored_in"] = revision
    meta.pop("error", None)
    before = [result for result in event.critic_results if result.critic_name not in TEXT_CRITICS]
    of_prompt = [result for result in event.critic_results if result.critic_name in TEXT_CRITICS]
    new = {name: kept_where_failed(result, before) for name, result in anew.items()}
    of_video = [
        new.pop(result.critic_name, result)
        for result in before
        if result.critic_name in new or result.critic_name not in anew
    ]
    wanted = CandidateSpec(idx=event.iter_idx, prompt=event.prompt, seed=0, meta={})
    now = judged_candidate(wanted, (*of_video, *new.values()), artifact_path=event.artifact_path, meta=meta)
    return replace(
        event,
        critic_results=(*now.critic_results, *of_prompt),
        fused_scores=now.fused_scores,
        belief_probs=now.belief_probs,
        overall_score=now.overall_score,
        meta=now.meta,
    )


def _noted(
    events: Sequence[TraceEvent], policy: PreferencePolicy, rewards: KeptRewards
) -> Iterator[TraceEvent]:
    """The candidates, each with its standing now among those made up to then."""
    standings = Standings(policy)
    for _, together in groupby(events, key=lambda event: event.meta.get("step", event.iter_idx)):
        of_step = list(together)
        for event in of_step:
            standings.add(event)
        snapshot = rewards.at(of_step[0])
        now = standings.under(snapshot)
        for event in of_step:
            best = best_of({idx: of for idx, of in now.items() if idx <= event.iter_idx})
            compared = Compared(
                standing=now.get(event.iter_idx),
                gain=None,
                best_iter=best,
                best_score=now[best].critic_reward if best is not None else None,
                drifts=False,
            )
            note = compared.note(event.meta.get("arm"), snapshot)
            # If a snapshot was not kept, its earlier values stay.
            anew = _OF_CRITICS if snapshot is None else (*_OF_CRITICS, *_OF_PREFERENCES)
            meta = {name: value for name, value in event.meta.items() if name not in anew}
            yield replace(event, meta=meta | {name: note[name] for name in anew if name in note})

"""One candidate of a run: generated, decoded, and seen by every critic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from runner.controller import FAILURE_MODES, belief_probs
from runner.interfaces import Critic, Generation, GenerationFailed, WorldModel
from runner.video import read_video
from streams.contracts import CriticResult, TraceEvent


class CandidateMaker(Protocol):
    """Generates and judges one candidate, as ``make_candidate`` does."""

    def __call__(
        self,
        world: WorldModel,
        critics: Sequence[Critic],
        prompt: str,
        goal: str,
        *,
        idx: int,
        seed: int,
        run_dir: Path,
        meta: dict[str, Any],
    ) -> TraceEvent: ...


def make_candidate(
    world: WorldModel,
    critics: Sequence[Critic],
    prompt: str,
    goal: str,
    *,
    idx: int,
    seed: int,
    run_dir: Path,
    meta: dict[str, Any],
) -> TraceEvent:
    """Generate into ``run_dir/iter_XX`` and judge; the event has ``meta`` and what came to be known.

    ``overall_score`` is the plain mean of all scores that the critics gave: the critics' reward. Where the
    generation failed, or no critic gave a score, it is null and ``meta["error"]`` says why.
    """
    meta = dict(meta)
    artifact_path = ""
    results: tuple[CriticResult, ...] = ()
    directory = run_dir / f"iter_{idx:02d}"
    directory.mkdir(exist_ok=True)
    try:
        generation = world.generate(prompt, seed=seed, out_dir=directory)
        artifact_path = _path_in(run_dir, generation.video)
        meta |= _known_without_looking(generation)
        meta["candidate_context"] = {**meta.get("candidate_context", {}), **generation.context}
        frames, fps = read_video(generation.video)
        results = tuple(critic.judge(frames, fps=fps, goal=goal) for critic in critics)
    except GenerationFailed as error:
        meta["error"] = str(error) or "the generation failed"
    return judged_candidate(prompt, results, idx=idx, artifact_path=artifact_path, meta=meta)


def judged_candidate(
    prompt: str, results: tuple[CriticResult, ...], *, idx: int, artifact_path: str, meta: dict[str, Any]
) -> TraceEvent:
    """What the critics said of a candidate as an event; see ``make_candidate``."""
    overall = _mean(score for result in results for score in result.scores.values())
    if overall is None:
        meta = {**meta, "error": meta.get("error", "no critic could judge this video")}
    fused = fused_scores(results)
    return TraceEvent(
        iter_idx=idx,
        prompt=prompt,
        artifact_path=artifact_path,
        critic_results=results,
        fused_scores=fused,
        belief_probs=belief_probs(fused) if overall is not None else {},
        overall_score=overall,
        meta=meta,
    )


def fused_scores(results: Iterable[CriticResult]) -> dict[str, float | None]:
    """Per failure mode the plain mean over the critics that gave a score; null where none did."""
    by_mode: dict[str, list[float | None]] = {mode: [] for mode in FAILURE_MODES}
    for result in results:
        for mode, score in result.scores.items():
            by_mode.setdefault(mode, []).append(score)
    return {mode: _mean(scores) for mode, scores in by_mode.items()}


def _mean(scores: Iterable[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return math.fsum(known) / len(known) if known else None


def _path_in(run_dir: Path, video: Path) -> str:
    """The video's path from ``run_dir``, links followed; one that lies outside is refused."""
    root, target = run_dir.resolve(), video.resolve()
    if not target.is_relative_to(root):
        raise GenerationFailed(f"the world model's video {target} is outside the run's folder")
    return target.relative_to(root).as_posix()


def _known_without_looking(generation: Generation) -> dict[str, Any]:
    known: dict[str, Any] = {"generation": generation.meta} if generation.meta else {}
    if generation.outcome is not None:
        known["outcome"] = generation.outcome
    return known

"""The candidates of a run: generated, decoded, and judged by every critic."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from runner.critics.opinion import missing
from runner.interfaces import (
    AnyCritic,
    BatchWorldModel,
    FailuresInARow,
    Generation,
    GenerationFailed,
    GenerationRequest,
    Judgement,
    VideoCritic,
    WorldModel,
)
from runner.loop.controller import FAILURE_MODES, belief_probs
from runner.video import read_video
from streams.files import plain
from streams.messages.contracts import CriticResult, TraceEvent
from streams.messages.fitting import fitting_context, misfit, misfits
from streams.messages.no_score import critic_failed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSpec:
    """The ``idx``-th candidate of its run, still to be made; ``meta`` is what is already known about it."""

    idx: int
    prompt: str
    seed: int
    meta: dict[str, Any]


def candidate_folder(run_dir: Path, idx: int) -> Path:
    """``iter_07`` in the run's folder for the candidate with ``iter_idx`` 7."""
    return run_dir / f"iter_{idx:02d}"


class CandidateMaker(Protocol):
    """Generates and judges the candidates of one step, like ``make_candidates``."""

    def __call__(
        self,
        world: WorldModel,
        critics: Sequence[AnyCritic],
        goal: str,
        wanted: Sequence[CandidateSpec],
        run_dir: Path,
        *,
        failures: FailuresInARow,
    ) -> list[TraceEvent]: ...


def make_candidates(
    world: WorldModel,
    critics: Sequence[AnyCritic],
    goal: str,
    wanted: Sequence[CandidateSpec],
    run_dir: Path,
    *,
    failures: FailuresInARow | None = None,
) -> list[TraceEvent]:
    """Generate into ``run_dir/iter_XX`` and judge. Returns one event per candidate, in order.

    A batch world model makes them together. After too many ``failures`` in a row, the rest is not tried and
    counts as failed; by default, all are tried. ``overall_score`` is the critics' reward: the plain mean of
    all scores that the critics gave. If the generation failed, or no critic gave a score, it is null and
    ``meta["error"]`` says why.
    """
    requests = [
        GenerationRequest(prompt=one.prompt, seed=one.seed, out_dir=candidate_folder(run_dir, one.idx))
        for one in wanted
    ]
    for request in requests:
        request.out_dir.mkdir(exist_ok=True)
    made = _generated(world, requests, failures or FailuresInARow())
    return [_judged(one, result, critics, goal, run_dir) for one, result in zip(wanted, made, strict=True)]


def _generated(
    world: WorldModel, requests: Sequence[GenerationRequest], failures: FailuresInARow
) -> list[Generation | GenerationFailed]:
    if len(requests) > 1 and isinstance(world, BatchWorldModel):
        return world.generate_all(requests, failures=failures)
    made: list[Generation | GenerationFailed] = []
    for request in requests:
        if (refusal := failures.refusal()) is not None:
            made.append(refusal)
            continue
        try:
            made.append(world.generate(request.prompt, seed=request.seed, out_dir=request.out_dir))
        except GenerationFailed as error:
            made.append(error)
        failures.add(made[-1:])
    return made


def _judged(
    wanted: CandidateSpec,
    made: Generation | GenerationFailed,
    critics: Sequence[AnyCritic],
    goal: str,
    run_dir: Path,
) -> TraceEvent:
    meta = dict(wanted.meta)
    artifact_path = ""
    results: tuple[CriticResult, ...] = ()
    try:
        if isinstance(made, GenerationFailed):
            raise made
        artifact_path = _path_in(run_dir, made.video)
        context, unfit = fitting_context(made.context)
        meta |= _known_without_looking(made, unfit)
        meta["candidate_context"] = {**meta.get("candidate_context", {}), **context}
        results = judge(made.video, critics, prompt=wanted.prompt, goal=goal)
    except GenerationFailed as error:
        meta["error"] = plain(str(error)) or "the generation failed"
    return judged_candidate(wanted, results, artifact_path=artifact_path, meta=meta)


def judge(
    video: Path,
    critics: Sequence[AnyCritic],
    *,
    prompt: str,
    goal: str,
    others: Sequence[CriticResult] = (),
) -> tuple[CriticResult, ...]:
    """Every critic's result for a video, in their order. Raises GenerationFailed if it is not a video.

    Critics that take the file all run while the others judge the frames. A critic has failed if its result
    cannot be recorded beside those before it and ``others``, which the video has already.
    """
    frames, fps = read_video(video)
    with ExitStack() as stack:
        begun: dict[str, Judgement] = {}
        for critic in critics:
            if isinstance(critic, VideoCritic):
                begun[critic.name] = critic.begin(video, prompt=prompt, goal=goal)
                stack.callback(begun[critic.name].stop)
        seen = {
            critic.name: critic.judge(frames, fps=fps, goal=goal)
            for critic in critics
            if not isinstance(critic, VideoCritic)
        }
        told = {name: judgement.result() for name, judgement in begun.items()}
    results = [(seen | told)[critic.name] for critic in critics]
    unfit = misfits(results, others)
    return tuple(
        missing(result.critic_name, f"its result cannot be recorded: {unfit[result.critic_name]}")
        if result.critic_name in unfit
        else result
        for result in results
    )


def judged_candidate(
    wanted: CandidateSpec, results: tuple[CriticResult, ...], *, artifact_path: str, meta: dict[str, Any]
) -> TraceEvent:
    """The event of a candidate with these results; see ``make_candidates``."""
    overall = _mean(score for result in results for score in result.scores.values())
    if overall is None:
        meta = {**meta, "error": meta.get("error", "no critic could judge this video")}
    fused = fused_scores(results)
    return TraceEvent(
        iter_idx=wanted.idx,
        prompt=wanted.prompt,
        artifact_path=artifact_path,
        critic_results=results,
        fused_scores=fused,
        belief_probs=belief_probs(fused) if overall is not None else {},
        overall_score=overall,
        meta=meta,
    )


def with_required(event: TraceEvent, required: Collection[str]) -> TraceEvent:
    """The event itself; that of a candidate that was not judged if a required critic gave no score or failed,
    even in part."""
    gave = {r.critic_name for r in event.critic_results if any(s is not None for s in r.scores.values())}
    in_part = {r.critic_name for r in event.critic_results if critic_failed(r)} & gave
    lacking = [f"no score of {name}" for name in sorted(set(required) - gave)]
    lacking += [f"not all scores of {name}" for name in sorted(in_part.intersection(required))]
    if not lacking or event.overall_score is None:
        return event
    said = f"{', '.join(lacking)}, without which a video is no candidate"
    return replace(event, overall_score=None, belief_probs={}, meta={**event.meta, "error": said})


def fused_scores(results: Iterable[CriticResult]) -> dict[str, float | None]:
    """The plain mean per failure mode over the critics that gave a score; null if none did."""
    by_mode: dict[str, list[float | None]] = {mode: [] for mode in FAILURE_MODES}
    for result in results:
        for mode, score in result.scores.items():
            by_mode.setdefault(mode, []).append(score)
    return {mode: _mean(scores) for mode, scores in by_mode.items()}


def _mean(scores: Iterable[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return math.fsum(known) / len(known) if known else None


def _path_in(run_dir: Path, video: Path) -> str:
    """The video's path from ``run_dir``, with links resolved. Refuses a path outside of it."""
    root, target = run_dir.resolve(), video.resolve()
    if not target.is_relative_to(root):
        raise GenerationFailed(f"the world model's video {target} is outside the run's folder")
    name = target.relative_to(root).as_posix()
    if plain(name) != name:
        raise GenerationFailed(
            f"the world model's video is called {name}, which is not UTF-8; expected another name"
        )
    return name


def _known_without_looking(generation: Generation, unfit: str) -> dict[str, Any]:
    """What is known of a video before it is opened; ``unfit`` is why its context cannot be recorded."""
    meta = generation.meta
    if unfit:
        meta = {**meta, "context_error": f"the world model's context: {unfit}"}
    if "context_error" in meta:
        _say_once(str(meta["context_error"]))
    known: dict[str, Any] = {"generation": meta} if meta else {}
    if generation.outcome is not None:
        known["outcome"] = generation.outcome
    why = {name: misfit({name: value}) for name, value in known.items()}
    for name in filter(why.get, why):
        _say_once(f"what the world model says of its video, {why[name]}; left out")
    return {name: value for name, value in known.items() if not why[name]}


@lru_cache(maxsize=128)
def _say_once(line: str) -> None:
    """Warn once, as every video may have the same fault."""
    log.warning(line)

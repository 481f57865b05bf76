"""The result of a run, read from its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.critics.opinion import is_missing
from runner.loop.stopping import MAX_FAILURES
from streams.messages.contracts import CriticResult, TraceEvent
from streams.messages.no_score import critic_failed, why_failed

_LAST_WORDS = 200
"""Characters shown of the end of a critic's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A summary of a run; all of it but ``cannot_continue`` can be read from its trace."""

    run_id: str
    """The run's id, as in the trace."""
    iterations: int
    """Steps; each makes as many candidates as were requested."""
    candidates: int
    """Events of the trace except its end, including failed generations."""
    best_iter: int | None
    """``iter_idx`` of the best; None if no candidate could be judged."""
    best_score: float | None
    """The critics' reward of the best; None if no candidate could be judged."""
    versions: tuple[tuple[int, int | None], ...]
    """(iter_idx, snapshot version) where another version came into use; None for no snapshot."""
    stop_reason: str
    """The stop rule that was met, or ``interrupted``."""
    best_video: str | None = None
    """Path relative to the run's folder."""
    best_prompt: str | None = None
    """The prompt that the best was made from."""
    failure: str = ""
    """The last failure, if no candidate could be judged, a critic failed on every video, or the run was given
    up; else empty."""
    critic_failed: bool = False
    """Whether a critic failed rather than the world model."""
    cannot_continue: str = ""
    """Why a run that failed, was interrupted or was given up did not continue when started again."""


def run_result(run_id: str, events: Sequence[TraceEvent], stop_reason: str) -> RunResult:
    """The result of the run with these ``events``, in order, each once."""
    versions: list[tuple[int, int | None]] = []
    current = None
    for event in events:
        if event.meta["reward_version"] != current:
            current = event.meta["reward_version"]
            versions.append((event.iter_idx, current))
    last = events[-1].meta if events else {}
    best = next((event for event in events if event.iter_idx == last.get("best_iter")), None)
    is_given_up = stop_reason == MAX_FAILURES or all(event.overall_score is None for event in events)
    failure = "; ".join(_failures(events, is_given_up))
    return RunResult(
        run_id=run_id,
        iterations=last.get("step", len(events) - 1) + 1,
        candidates=len(events),
        best_iter=last.get("best_iter"),
        best_score=last.get("best_score"),
        versions=tuple(versions),
        stop_reason=stop_reason,
        best_video=best.artifact_path if best is not None else None,
        best_prompt=best.prompt if best is not None else None,
        failure=failure,
        critic_failed=failure != "" and (not is_given_up or _critic_failed(events[-1])),
    )


def _failures(events: Sequence[TraceEvent], is_given_up: bool) -> list[str]:
    errors, failed = [], _down(events)
    for event in events[-1:] if is_given_up else ():
        errors += [event.meta["error"]] if "error" in event.meta else []
        failed |= {result.critic_name: result for result in event.critic_results if critic_failed(result)}
    return errors + [f"critic {name}: {why_failed(r)}{_last_words(r)}" for name, r in failed.items()]


def _down(events: Sequence[TraceEvent]) -> dict[str, CriticResult]:
    """The last result of each critic that failed on every video."""
    results = {result.critic_name: result for event in events for result in event.critic_results}
    gave = {r.critic_name for event in events for r in event.critic_results if not is_missing(r)}
    return {name: result for name, result in results.items() if name not in gave}


def _last_words(result: CriticResult) -> str:
    said = str(result.extra.get("output") or "")
    return f", and said {said[-_LAST_WORDS:]!r}" if said else ""


def _critic_failed(event: TraceEvent) -> bool:
    """Whether a video was made and a critic failed on it."""
    return bool(event.artifact_path) and any(map(critic_failed, event.critic_results))

"""Small events and pairs for tests; every argument that matters is given by the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from streams.backup.archive import (
    Archive,
    Block,
    Committed,
    Contents,
    Partition,
    Topic,
    new_archive,
    open_archive,
)
from streams.messages.contracts import (
    Candidate,
    CriticResult,
    FinetuneEvent,
    FinetuneStep,
    LabelSource,
    PreferencePair,
    RunEnd,
    TraceEvent,
)
from streams.messages.stored import LogRecord


def event(
    iter_idx: int,
    score: float | None,
    *,
    run_id: str = "run-a",
    outcome: float | None = None,
    critics: Mapping[str, float | None] | None = None,
    context: Mapping[str, str] | None = None,
) -> TraceEvent:
    """An iteration whose only critic says ``score``, unless ``critics`` are given by ``name.mode``."""
    given = {"overall.quality": score} if critics is None else critics
    split = [(name.split(".")[0], name.split(".")[1], value) for name, value in given.items()]
    meta: dict[str, object] = {"run_id": run_id, "goal_instruction": "move the red cube to the bowl"}
    return TraceEvent(
        iter_idx=iter_idx,
        prompt=f"prompt {iter_idx}",
        artifact_path=f"iter_{iter_idx:02d}/video.mp4",
        critic_results=tuple(CriticResult(critic_name=name, scores={mode: v}) for name, mode, v in split),
        overall_score=score,
        meta=meta
        | ({} if outcome is None else {"outcome": {"score": outcome, "source": "a person"}})
        | ({} if score is not None else {"error": "no video"})
        | ({} if context is None else {"context": dict(context)}),
    )


def run(scores: Sequence[float | None], run_id: str = "run-a") -> list[TraceEvent | RunEnd]:
    """A finished run with these overall scores."""
    events = [event(i, score, run_id=run_id) for i, score in enumerate(scores)]
    return [*events, RunEnd(run_id=run_id, iterations=tuple(range(len(events))))]


def revision(
    messages: Sequence[TraceEvent | RunEnd], scores: Mapping[int, float | None], number: int = 1
) -> list[TraceEvent | RunEnd]:
    """A run's next revision, in which a judge gave ``scores`` to these iterations."""
    again: list[TraceEvent | RunEnd] = []
    for message in messages:
        if isinstance(message, RunEnd):
            again.append(replace(message, meta=message.meta | {"revision": number}))
            continue
        meta = message.meta | {"revision": number, "rescored": []}
        if message.iter_idx in scores:
            score = scores[message.iter_idx]
            judged = event(message.iter_idx, score, run_id=message.run_id)
            meta = {name: value for name, value in meta.items() if name != "error"} | judged.meta
            meta |= {"rescored": ["overall"], "rescored_in": number}
            message = replace(message, critic_results=judged.critic_results, overall_score=score)
        again.append(replace(message, meta=meta))
    return again


def pair(
    chosen: Mapping[str, float | None],
    rejected: Mapping[str, float | None],
    *,
    task_id: str = "task-a",
    label_source: LabelSource = "human",
    pair_id: str = "",
    run_id: str = "",
    weight: float = 1.0,
    model: str = "default",
) -> PreferencePair:
    return PreferencePair(
        model=model,
        task_id=task_id,
        run_id=run_id,
        pair_id=pair_id,
        label_source=label_source,
        chosen_critics=dict(chosen),
        rejected_critics=dict(rejected),
        weight=weight,
    )


def candidate(
    task_id: str, candidate_id: str, critics: Mapping[str, float | None], human_score: float
) -> Candidate:
    return Candidate(
        task_id=task_id, candidate_id=candidate_id, critic_scores=dict(critics), human_score=human_score
    )


def finetune_event(
    version: int,
    step: FinetuneStep,
    *,
    model: str = "default",
    job: str = "one",
    details: Mapping[str, Any] | None = None,
) -> FinetuneEvent:
    """A step of a training; each job's have ids of their own."""
    return FinetuneEvent(
        event_id=f"{job}-{model}-{version}-{step}",
        model=model,
        version=version,
        step=step,
        statement="",
        policy="all",
        base="",
        consumed={},
        details=dict(details or {}),
    )


def backed_up(
    path: Path,
    topics: Mapping[str, Sequence[Sequence[LogRecord]]],
    *,
    prefix: str,
    ends: Mapping[tuple[str, int], int] | None = None,
    configs: Mapping[str, str] | None = None,
    groups: Mapping[str, Sequence[Committed]] | None = None,
) -> Archive:
    """A backup of these messages, by topic and partition; each ends behind its last one, or at ``ends``."""
    described = {}
    with new_archive(path) as archive:
        for name, of_topic in topics.items():
            partitions = []
            for number, records in enumerate(of_topic):
                archive.add(Block(topic=name, partition=number, records=tuple(records)))
                end = (ends or {}).get((name, number), records[-1].offset + 1 if records else 0)
                partitions.append(Partition(end=end, records=len(records)))
            described[name] = Topic(
                topic_id=f"old-{name}", configs=dict(configs or {}), partitions=tuple(partitions)
            )
        of_groups = {name: tuple(committed) for name, committed in (groups or {}).items()}
        archive.finish(Contents(created_ms=0, topic_prefix=prefix, topics=described, groups=of_groups))
    return open_archive(path)

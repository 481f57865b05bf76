"""What the runners publish: runs with gaps, repetitions, disorder, and ends that come twice or never."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from streams.messages.contracts import RunEnd, TraceEvent
from tests.factories import event

FAMILY = "family"
"""The entry of a run's context by which it may have a model of its own."""


def draw_run(rng: random.Random, run_id: str) -> list[TraceEvent | RunEnd]:
    """The messages of one run in the order in which they are published."""
    n = rng.choice((1, 2, 3, 5, 8, 8, 13))
    if rng.random() < 0.0003:
        n = rng.choice((300, 2_000))
    context = rng.choice(({}, {FAMILY: "a"}, {FAMILY: "b"}))
    events = [_event(rng, run_id, i, context) for i in range(n)]
    first = 1 if n > 1 and rng.random() < 0.05 else 0  # the first could not be published
    messages: list[TraceEvent | RunEnd] = [*events[first:]]
    if rng.random() < 0.9:
        messages.append(RunEnd(run_id=run_id, iterations=tuple(range(first, n))))
    if len(messages) > 2 and rng.random() < 0.03:
        del messages[rng.randrange(1, len(messages) - 1)]
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        at = rng.randrange(len(messages))
        messages.insert(rng.randrange(at, len(messages) + 1), messages[at])
    if rng.random() < 0.3:
        for at in range(len(messages) - 1):
            if rng.random() < 0.3:
                messages[at], messages[at + 1] = messages[at + 1], messages[at]
    return messages


def complete_runs(published: Iterable[TraceEvent | RunEnd]) -> set[str]:
    """The runs of which there is an end, and all that it names."""
    events: dict[str, set[int]] = {}
    ends: dict[str, set[int]] = {}
    for message in published:
        if isinstance(message, RunEnd):
            ends[message.run_id] = set(message.iterations)
        else:
            events.setdefault(message.run_id, set()).add(message.iter_idx)
    return {run_id for run_id, named in ends.items() if named <= events.get(run_id, set())}


def _event(rng: random.Random, run_id: str, iter_idx: int, context: Mapping[str, str]) -> TraceEvent:
    score = None if rng.random() < 0.1 else round(rng.random(), 2)
    outcome = round(rng.random(), 2) if score is not None and rng.random() < 0.3 else None
    critics = {} if score is None else {"goal.task": score, "flicker.quality": round(rng.random(), 2)}
    return event(iter_idx, score, run_id=run_id, outcome=outcome, critics=critics, context=context)

"""What the runners publish: runs with gaps, repetitions, disorder, and ends that come twice or never."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from streams.messages.contracts import RunEnd, RunRevision, TraceEvent
from tests.factories import event, revision

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
    return _as_they_come(rng, messages)


def draw_revisions(
    rng: random.Random, published: Sequence[TraceEvent | RunEnd]
) -> list[list[TraceEvent | RunEnd]]:
    """The messages of each rescoring of a run; one whose publisher was killed is cut short."""
    made = {message.iter_idx: message for message in published if isinstance(message, TraceEvent)}
    events: list[TraceEvent | RunEnd] = [made[i] for i in sorted(made)]
    newest = [*events, RunEnd(run_id=published[0].run_id, iterations=tuple(sorted(made)))]
    revisions = []
    for number in range(1, 1 + rng.choice((0, 0, 0, 1, 2))):
        judged = {i: round(rng.random(), 2) for i in made if rng.random() < 0.4}
        newest = revision(newest, judged, number)
        sent = newest[: rng.randrange(1, len(newest))] if rng.random() < 0.1 else [*newest]
        revisions.append(_as_they_come(rng, sent))
    return revisions


def _as_they_come(rng: random.Random, messages: list[TraceEvent | RunEnd]) -> list[TraceEvent | RunEnd]:
    """With what is lost, repeated and in disorder."""
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


def complete_runs(published: Iterable[TraceEvent | RunEnd]) -> set[RunRevision]:
    """The runs, and revisions of them, of which there is an end, and all that it names."""
    events: dict[RunRevision, set[int]] = {}
    ends: dict[RunRevision, set[int]] = {}
    for message in published:
        if isinstance(message, RunEnd):
            ends[message.run] = set(message.iterations)
        else:
            events.setdefault(message.run, set()).add(message.iter_idx)
    return {run for run, named in ends.items() if named <= events.get(run, set())}


def _event(rng: random.Random, run_id: str, iter_idx: int, context: Mapping[str, str]) -> TraceEvent:
    score = None if rng.random() < 0.1 else round(rng.random(), 2)
    outcome = round(rng.random(), 2) if score is not None and rng.random() < 0.3 else None
    critics = {} if score is None else {"goal.task": score, "flicker.quality": round(rng.random(), 2)}
    return event(iter_idx, score, run_id=run_id, outcome=outcome, critics=critics, context=context)

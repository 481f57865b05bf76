"""Real messages to mutate: of the benchmark's runs, of contexts, of people and judges, of recorded runs."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from random import Random

from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair, RunEnd, RunRevision, TraceEvent
from streams.messages.files import read_trace
from streams.messages.revisions import missing_ends
from tests.bench.workload import make_workload
from tests.factories import revision
from trainers.pairs.pairing import PairingRules, pairs_of_run

_ARMS = ("physics", "task", "smoothness")
_WORLDS = ("dit-2b", "dit-7b")


def trace(seed: int, n_events: int) -> list[TraceEvent | RunEnd]:
    """Runs side by side, some with contexts, as a trace topic has them; then rescorings of some of them, and
    the runs of ``TRIBRAIN_DATA``."""
    random = Random(seed)
    messages = [_with_contexts(message, random) for message in make_workload(n_events, seed).events]
    return messages + _rescored(messages, random) + recorded()


def votes(events: list[TraceEvent | RunEnd], seed: int) -> list[bytes]:
    """What people and judges said of pairs of these runs."""
    random = Random(seed)
    runs: dict[RunRevision, list[TraceEvent]] = {}
    for event in events:
        if isinstance(event, TraceEvent):
            runs.setdefault(event.run, []).append(event)
    said = []
    for events_of_run in runs.values():
        for pair in pairs_of_run(events_of_run, PairingRules())[:4]:
            said.append(encode(_said_of(pair, random)))
    return said


def _said_of(pair: PreferencePair, random: Random) -> PreferencePair:
    if random.random() < 0.5:
        return replace(
            pair,
            label_source="human",
            pair_id=f"vote-{random.randrange(1000)}",
            dimension=random.choice(("", "", "physics", "quality")),
            tie=random.random() < 0.2,
            meta={"annotator": random.choice(("ann", "bob"))},
        )
    judge = random.choice(("clip", "vlm"))
    return replace(
        pair, label_source="proxy", pair_id=f"{judge}-{random.randrange(1000)}", meta={"judge": judge}
    )


def _with_contexts(message: TraceEvent | RunEnd, random: Random) -> TraceEvent | RunEnd:
    if isinstance(message, RunEnd) or hash_of(message.run_id) % 2:
        return message
    contexts = {
        "context": {"world_model": _WORLDS[hash_of(message.run_id) % 4 // 2], "task_family": "table"},
        "candidate_context": {"arm": random.choice(_ARMS), "cost": round(random.random(), 3)},
    }
    return replace(message, meta=message.meta | contexts)


def _rescored(messages: list[TraceEvent | RunEnd], random: Random) -> list[TraceEvent | RunEnd]:
    runs: dict[str, list[TraceEvent | RunEnd]] = {}
    for message in messages:
        runs.setdefault(message.run_id, []).append(message)
    return [
        message
        for run_id, of_run in runs.items()
        if hash_of(run_id) % 3 == 0
        for message in revision(of_run, {i: random.random() for i in range(4)})
    ]


def hash_of(run_id: str) -> int:
    """The same in every process."""
    return sum(run_id.encode())


@cache
def _files() -> tuple[Path, ...]:
    folder = os.environ.get("TRIBRAIN_DATA")
    return tuple(sorted(Path(folder).glob("**/trace.jsonl"))) if folder else ()


def recorded() -> list[TraceEvent | RunEnd]:
    """The runs of ``TRIBRAIN_DATA``, each with an end."""
    found: list[TraceEvent | RunEnd] = []
    for path in _files():
        messages = read_trace(path)
        found += [*messages, *missing_ends(messages)]
    return found

"""The events that every job of the benchmark gets: the same for the same seed, on every computer."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from streams.messages.codec import encode
from streams.messages.contracts import CriticResult, RunEnd, TraceEvent
from streams.messages.stored import StoredMessage

ITERATIONS = 8
EVENTS_PER_RUN = ITERATIONS + 1
"""The iterations and the end of the run."""

_CONCURRENT_RUNS = 16
_CRITICS = {
    "flicker": ("smoothness", "exposure"),
    "goal": ("task", "object"),
    "physics": ("contact", "gravity"),
}
_GOALS = ("move the red cube into the bowl", "pour the water into the glass", "open the drawer slowly")


@dataclass(frozen=True, slots=True)
class Workload:
    """Trace events in the order in which concurrent runs would send them."""

    seed: int
    runs: int
    events: tuple[TraceEvent | RunEnd, ...]

    @property
    def mean_bytes(self) -> float:
        """Mean length of an encoded event, in bytes."""
        return sum(len(encode(event)) for event in self.events) / len(self.events)

    def messages(self, topic: str) -> list[StoredMessage]:
        """The events as a broker with one partition would hold them."""
        return [
            StoredMessage(
                topic=topic,
                partition=0,
                offset=offset,
                timestamp_ms=0,
                key=event.run_id.encode(),
                value=encode(event),
            )
            for offset, event in enumerate(self.events)
        ]


def make_workload(n_events: int, seed: int) -> Workload:
    """At least ``n_events`` events, rounded up to whole runs; 16 runs are on their way at a time."""
    random = Random(seed)
    n_runs = -(-n_events // EVENTS_PER_RUN)
    events: list[TraceEvent | RunEnd] = []
    for first in range(0, n_runs, _CONCURRENT_RUNS):
        together = [
            _run(f"bench-{seed}-{index:05d}", random)
            for index in range(first, min(first + _CONCURRENT_RUNS, n_runs))
        ]
        events += [run[step] for step in range(EVENTS_PER_RUN) for run in together]
    return Workload(seed=seed, runs=n_runs, events=tuple(events))


def of_another_round(value: bytes, workload: Workload, number: int) -> bytes:
    """An encoded event of the workload as that of another run, a different one for each ``number``."""
    return value.replace(b"bench-%d-" % workload.seed, b"round-%d-" % number)


def of_run(value: bytes, run_id: str) -> bytes:
    """An encoded event of a workload's first run, with seed 0, as that of the run ``run_id``."""
    return value.replace(b"bench-0-00000", run_id.encode())


def _run(run_id: str, random: Random) -> list[TraceEvent | RunEnd]:
    """A video that tends to get better; people look at its physics, the critics' mean does not."""
    goal = random.choice(_GOALS)
    quality = random.uniform(0.2, 0.5)
    events: list[TraceEvent | RunEnd] = []
    for iter_idx in range(ITERATIONS):
        quality = _unit(quality + random.gauss(0.03, 0.08))
        events.append(_event(run_id, goal, iter_idx, quality, random))
    return [*events, RunEnd(run_id=run_id, iterations=tuple(range(ITERATIONS)), stop_reason="max_iterations")]


def _event(run_id: str, goal: str, iter_idx: int, quality: float, random: Random) -> TraceEvent:
    results = tuple(
        CriticResult(
            critic_name=name,
            scores={mode: _unit(random.gauss(quality, 0.15)) for mode in modes},
            notes=f"{modes[0]} is weakest in frames {random.randrange(40)} to {random.randrange(40, 81)}",
        )
        for name, modes in _CRITICS.items()
    )
    scores = {f"{r.critic_name}.{mode}": score or 0.0 for r in results for mode, score in r.scores.items()}
    overall = round(sum(scores.values()) / len(scores), 6)
    outcome = {"score": _unit(0.5 * scores["physics.contact"] + 0.5 * quality), "source": "validator"}
    return TraceEvent(
        iter_idx=iter_idx,
        prompt=f"{goal}, steady camera, soft light, step {iter_idx}",
        artifact_path=f"runs/{run_id}/iter_{iter_idx:02d}/video.mp4",
        critic_results=results,
        overall_score=overall,
        meta={"run_id": run_id, "goal_instruction": goal} | ({"outcome": outcome} if iter_idx % 2 else {}),
    )


def _unit(value: float) -> float:
    """Into [0, 1], with six digits."""
    return round(min(1.0, max(0.0, value)), 6)

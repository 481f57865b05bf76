"""How fast does a learner with a large state catch up? Pairs of 12 critics in contexts, 600 open tasks."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from random import Random

import orjson
from aiokafka import AIOKafkaProducer

from streams.kafka.follow import TopicFollower
from streams.kafka.settings import Settings
from streams.messages.codec import decode_snapshot, encode
from streams.messages.contracts import CriticResult, TraceEvent, snapshot_key
from streams.messages.stored import Outgoing, StoredMessage
from tests.bench.core import Core, on_topic, stored
from tests.bench.live import running
from tests.bench.measures import say
from tests.bench.results import Finding
from tests.waiting import wait_until
from trainers.pairs.pairing import PairingRules

_RUNS = 600
"""Open all the time: more than the 500 tasks whose weights a learner keeps."""
_ITERATIONS = 40
_CRITICS = 12
_WORLDS = 10
_LONGEST_S = 400.0


def main() -> None:
    settings = Settings.from_environment()
    pairs = _pairs(settings)
    asyncio.run(_publish(settings, pairs))
    seen: list[tuple[float, int]] = []
    key = snapshot_key(PairingRules().model).encode()

    def watch(message: StoredMessage) -> None:
        now = time.perf_counter()
        if message.key == key:
            snapshot = decode_snapshot(message.value, message.source)
            seen.append((now, snapshot.consumed.get(settings.pairs_topic, {}).get("0", 0)))

    with (
        tempfile.TemporaryDirectory(prefix="tribrain-bench-") as folder,
        running(settings, Path(folder) / "trainer.log"),
        TopicFollower(settings, (settings.snapshots_topic,), watch),
    ):
        wait_until(lambda: seen and seen[-1][1] >= len(pairs), _LONGEST_S)
    (began, first), (ended, last) = seen[0], seen[-1]
    rate = (last - first) / (ended - began) if last > first else len(pairs)
    megabytes = _state_mb(settings, pairs)
    note = f"{last - first:,} of {len(pairs):,} pairs; the learner's state has {megabytes:.1f} MB of JSON"
    say([Finding("learner catching up", rate, "pairs/s", note)])


def _state_mb(settings: Settings, pairs: list[Outgoing]) -> float:
    core = Core(settings)
    core.learn(on_topic(pairs, 0))
    return len(orjson.dumps(core.state(), option=orjson.OPT_SERIALIZE_NUMPY)) / 1e6


async def _publish(settings: Settings, pairs: list[Outgoing]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all", linger_ms=5)
    async with producer:
        sent = [await producer.send(p.topic, p.value, p.key, headers=list(p.headers)) for p in pairs]
        await asyncio.gather(*sent)


def _pairs(settings: Settings) -> list[Outgoing]:
    core, random = Core(settings), Random(0)
    formed: list[Outgoing] = []
    for iteration in range(_ITERATIONS):
        for run in range(_RUNS):
            offset = iteration * _RUNS + run
            value = encode(_event(run, iteration, random))
            formed += core.form([stored(settings.trace_topic, 0, offset, None, value)])
    return formed


def _event(run: int, iteration: int, random: Random) -> TraceEvent:
    results = tuple(
        CriticResult(critic_name=f"critic{number}", scores={"quality": round(random.random(), 6)}, notes="")
        for number in range(_CRITICS)
    )
    run_id, goal = f"open-{run:05d}", f"goal number {run}"
    return TraceEvent(
        iter_idx=iteration,
        prompt=f"{goal}, step {iteration}",
        artifact_path=f"runs/{run_id}/iter_{iteration:02d}/video.mp4",
        critic_results=results,
        overall_score=round(random.random(), 6),
        meta={
            "run_id": run_id,
            "goal_instruction": goal,
            "context": {"world": f"world{run % _WORLDS}"},
            "outcome": {"score": round(random.random(), 6), "source": "validator"},
        },
    )


if __name__ == "__main__":
    main()

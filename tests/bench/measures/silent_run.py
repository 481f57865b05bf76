"""What does a run pin whose computer is gone? The live trainer's memory by events behind its first."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path

from aiokafka import AIOKafkaProducer

from streams.kafka.follow import TopicFollower
from streams.kafka.settings import Settings
from streams.messages.codec import decode_pair
from streams.messages.contracts import PairsEnd
from streams.messages.stored import StoredMessage
from tests.bench.live import running
from tests.bench.measures import resident_bytes, say
from tests.bench.results import Finding
from tests.bench.workload import EVENTS_PER_RUN, make_workload, of_another_round, of_run
from tests.waiting import wait_until

_ROUNDS = 10
_COUNTED = 4
"""The last ones. Before, what is remembered of closed runs grows to its bound, silent run or not."""
_PER_ROUND = 18_000
_ROUND_S = 120.0


async def _publish(settings: Settings, values: list[bytes]) -> None:
    """All on one partition, the silent run's."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all", linger_ms=5)
    async with producer:
        sent = [await producer.send(settings.trace_topic, value, partition=0) for value in values]
        await asyncio.gather(*sent)


def main() -> None:
    settings = Settings.from_environment()
    workload = make_workload(_PER_ROUND, seed=0)
    values = [message.value for message in workload.messages("trace")]
    ended: set[str] = set()

    def watch(message: StoredMessage) -> None:
        decoded = decode_pair(message.value, message.source)
        if isinstance(decoded, PairsEnd):
            ended.add(decoded.run_id)

    resident: list[int] = []
    with (
        tempfile.TemporaryDirectory(prefix="tribrain-bench-") as folder,
        running(settings, Path(folder) / "trainer.log") as process,
        TopicFollower(settings, (settings.pairs_topic,), watch),
    ):
        asyncio.run(_publish(settings, [of_run(values[0], "silent")]))
        for number in range(_ROUNDS):
            asyncio.run(_publish(settings, [of_another_round(v, workload, number) for v in values]))
            wait_until(partial(_are, ended, (number + 1) * workload.runs), _ROUND_S)
            resident.append(resident_bytes(process.pid))
    events = _COUNTED * workload.runs * EVENTS_PER_RUN
    pinned = (resident[-1] - resident[-1 - _COUNTED]) / events
    note = (
        f"of {_ROUNDS * len(values):,} the last {events:,} count; {resident[-1] / 2**20:.0f} MiB in the end"
    )
    say([Finding("memory that one silent run pins, an event behind it", pinned, "bytes", note)])


def _are(ended: set[str], count: int) -> bool:
    return len(ended) >= count


if __name__ == "__main__":
    main()

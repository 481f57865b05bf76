from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from math import inf
from random import Random

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.structs import TopicPartition
from kafka.partitioner import murmur2

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.local_broker.broker import InMemoryBroker
from streams.messages.limits import MAX_PAIR_BYTES
from streams.messages.stored import Outgoing
from streams.worker.outbox import Outbox

PATIENCE_S = 60.0


class Told:
    """What the outbox says of the numbers."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.failed: list[list[int]] = []
        self.refused: list[tuple[int, Exception]] = []
        self.on_refusal: Callable[[], None] = lambda: None
        self._moved = asyncio.Event()

    async def until_settled(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.refused) + sum(map(len, [*self.sent, *self.failed])) < count:
                self._moved.clear()
                await self._moved.wait()

    def on_sent(self, numbers: Sequence[int]) -> None:
        self.sent.append(list(numbers))
        self._moved.set()

    def on_failed(self, numbers: Sequence[int], error: Exception) -> None:
        self.failed.append(list(numbers))
        self._moved.set()

    def on_refused(self, number: int, message: Outgoing, error: Exception) -> None:
        self.refused.append((number, error))
        self.on_refusal()
        self._moved.set()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Outbox, Told]]:
    told = Told()
    outbox = Outbox(settings, on_sent=told.on_sent, on_refused=told.on_refused, on_failed=told.on_failed)
    await outbox.start()
    try:
        yield outbox, told
    finally:
        await outbox.stop()


def test_each_number_is_told_once_in_the_order_of_its_partition_and_kafka_has_that_order(
    settings: Settings,
) -> None:
    async def scenario() -> tuple[Told, int, int]:
        async with opened(settings) as (outbox, told):
            for number in range(5_000):
                value = b"%d" % number
                outbox.send(number, Outgoing(settings.trace_topic, b"k", value, partition=number % 3))
            await told.until_settled(5_000)
            return told, outbox.unsent, outbox.unsent_bytes

    told, unsent, unsent_bytes = asyncio.run(scenario())
    assert not told.failed
    assert (unsent, unsent_bytes) == (0, 0)
    on_topic = [(m.partition, int(m.value)) for m in read_topic(settings, settings.trace_topic)]
    for partition in range(3):
        numbers = list(range(partition, 5_000, 3))
        assert [n for batch in told.sent for n in batch if n % 3 == partition] == numbers
        assert [n for at, n in on_topic if at == partition] == numbers


def test_a_key_leads_to_the_partition_that_every_other_client_chooses(settings: Settings) -> None:
    keys = [b"run-%d" % number for number in range(40)]

    async def scenario() -> None:
        async with opened(settings) as (outbox, told):
            for number, key in enumerate(keys):
                outbox.send(number, Outgoing(settings.trace_topic, key, b"v", (("nth", b"7"),)))
            await told.until_settled(len(keys))

    asyncio.run(scenario())
    stored = list(read_topic(settings, settings.trace_topic))
    assert {m.key: m.partition for m in stored} == {key: (murmur2(key) & 0x7FFFFFFF) % 4 for key in keys}
    assert {m.headers for m in stored} == {(("nth", b"7"),)}


@pytest.mark.parametrize("place", [0, 5, 9])
def test_a_message_that_is_too_large_for_its_topic_is_refused_alone_and_all_others_are_sent_in_their_order(
    settings: Settings, place: int
) -> None:
    """They wait when the first batch leaves, so that it has as many of them as go into one."""
    topics = [settings.finetune_topic, settings.trace_topic]
    small = [Outgoing(topics[n % 2], b"k", b"%d" % n, partition=0) for n in range(20)]
    too_large = Outgoing(settings.finetune_topic, b"k", Random(0).randbytes(3 << 20))

    async def scenario() -> Told:
        async with opened(settings) as (outbox, told):
            for number, message in enumerate([*small[: 2 * place], too_large, *small[2 * place :]]):
                outbox.send(number, message)
            await told.until_settled(21)
            return told

    told = asyncio.run(scenario())
    assert [(number, type(error).__name__) for number, error in told.refused] == [
        (2 * place, "MessageSizeTooLargeError")
    ]
    assert not told.failed
    for parity, topic in enumerate(topics):
        assert [int(m.value) for m in read_topic(settings, topic)] == list(range(parity, 20, 2))


def test_what_is_sent_in_the_place_of_a_refused_message_arrives(settings: Settings) -> None:
    too_large = Outgoing(settings.finetune_topic, b"k", Random(0).randbytes(3 << 20))

    async def scenario() -> Told:
        async with opened(settings) as (outbox, told):
            told.on_refusal = lambda: outbox.send(1, Outgoing(settings.finetune_topic, b"k", b"instead"))
            outbox.send(0, too_large)
            await told.until_settled(2)
            return told

    assert asyncio.run(scenario()).sent == [[1]]
    assert [m.value for m in read_topic(settings, settings.finetune_topic)] == [b"instead"]


def test_what_kafka_never_takes_fails_all_that_is_not_sent_and_sending_goes_on_after_it(
    settings: Settings,
) -> None:
    """A topic that is compacted takes no message without a key."""
    without_key = Outgoing(settings.closed_runs_topic, None, b"v")

    async def scenario() -> tuple[Told, Told]:
        async with opened(settings) as (outbox, told):
            outbox.send(0, without_key)
            for number in range(1, 10):
                outbox.send(number, Outgoing(settings.closed_runs_topic, b"k", b"%d" % number))
            await told.until_settled(10)
            before, told.sent, told.failed = (told.sent, told.failed), [], []
            for number in range(10, 20):
                outbox.send(number, Outgoing(settings.closed_runs_topic, b"k", b"%d" % number))
            await told.until_settled(10)
            first = Told()
            first.sent, first.failed = before
            return first, told

    failed, later = asyncio.run(scenario())
    assert (failed.sent, failed.failed) == ([], [list(range(10))])
    assert ([n for batch in later.sent for n in batch], later.failed) == (list(range(10, 20)), [])


def test_what_no_topic_takes_is_refused_at_once(settings: Settings) -> None:
    async def scenario() -> int:
        async with opened(settings) as (outbox, _):
            with pytest.raises(ValueError, match="no topic accepts more than"):
                outbox.send(0, Outgoing(settings.pairs_topic, None, bytes(MAX_PAIR_BYTES + 1)))
            return outbox.unsent

    assert asyncio.run(scenario()) == 0


def test_a_broker_that_stays_away_fails_what_is_left_when_the_outbox_stops() -> None:
    async def scenario() -> Told:
        told = Told()
        with InMemoryBroker() as broker:
            settings = Settings(bootstrap_servers=broker.bootstrap_servers)
            outbox = Outbox(
                settings, on_sent=told.on_sent, on_refused=told.on_refused, on_failed=told.on_failed
            )
            await outbox.start()
        outbox.send(1, Outgoing(settings.pairs_topic, b"k", b"v"))
        outbox.send(2, Outgoing(settings.pairs_topic, b"k", b"v"))
        await outbox.stop(timeout_s=0.5)
        return told

    told = asyncio.run(scenario())
    assert (told.sent, told.failed) == ([], [[1, 2]])


class Leaderless:
    """One partition has no leader for so many looks, and aiokafka gives its batches up at each."""

    def __init__(self, partition: TopicPartition, looks: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self._partition = partition
        self.looks_left = looks
        self._leader = ClusterMetadata.leader_for_partition
        monkeypatch.setattr(ClusterMetadata, "leader_for_partition", lambda *given: self._look(*given))
        monkeypatch.setattr(MessageBatch, "expired", lambda _: True)

    def _look(self, cluster: ClusterMetadata, partition: TopicPartition) -> int | None:
        if partition == self._partition and self.looks_left > 0:
            self.looks_left -= 1
            return -1
        leader: int | None = self._leader(cluster, partition)
        return leader


def test_a_partition_without_a_leader_is_waited_for_and_all_is_sent_in_its_order(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> Told:
        async with opened(settings) as (outbox, told):
            for number in range(100):
                value = b"%d" % number
                outbox.send(number, Outgoing(settings.trace_topic, b"k", value, partition=number % 2))
            await told.until_settled(100)
            return told

    leaderless = Leaderless(TopicPartition(settings.trace_topic, 0), 3, monkeypatch)
    told = asyncio.run(scenario())
    assert leaderless.looks_left == 0
    assert (told.failed, told.refused) == ([], [])
    on_topic = [(m.partition, int(m.value)) for m in read_topic(settings, settings.trace_topic)]
    for partition in range(2):
        numbers = list(range(partition, 100, 2))
        assert [n for batch in told.sent for n in batch if n % 2 == partition] == numbers
        assert [n for at, n in on_topic if at == partition] == numbers


def test_a_partition_that_stays_without_a_leader_fails_what_is_left_when_the_outbox_stops(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> Told:
        async with opened(settings) as (outbox, told):
            for number in range(2):
                outbox.send(number, Outgoing(settings.trace_topic, b"k", b"v", partition=number))
            await told.until_settled(1)
            await outbox.stop(timeout_s=0.5)
            return told

    Leaderless(TopicPartition(settings.trace_topic, 0), inf, monkeypatch)
    told = asyncio.run(scenario())
    assert (told.sent, told.failed) == ([[1]], [[0]])

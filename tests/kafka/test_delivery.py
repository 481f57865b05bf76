from __future__ import annotations

import asyncio
import hashlib
import inspect
import pkgutil
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streams.kafka.settings import Settings
from streams.local_broker.jars import KafkaJars
from streams.worker import batch_delivery
from streams.worker.batch_delivery import BatchDelivery
from streams.worker.delivery import BrokerAway, Limits, Revoked
from streams.worker.event_delivery import EventDelivery
from tests.faults.brokers import RestartableBroker
from tests.kafka.delivered import (
    PATIENCE_S,
    Keeper,
    committed,
    opened_transaction,
    running,
    write,
    write_odd_names,
)

PARTITIONS = 4

RELIED_ON = {
    "faust.app.base:App._on_partitions_assigned": "de932b7927db85b3",
    "faust.app.base:App._on_partitions_revoked": "d5c895bbe57dc73a",
    "faust.app.base:App._stop_consumer": "55854a5de12c3f52",
    "faust.tables.recovery:Recovery._resume_streams": "d986a6710c1aca98",
    "faust.topics:Topic.__aiter__": "838623ae001ec5d1",
    "faust.transport.base:Transport.create_consumer": "46cc2bf5ab14acfa",
    "faust.transport.conductor:Conductor.add": "9944e209d2cc2250",
    "faust.transport.consumer:Consumer._drain_messages": "44a2500309e83c63",
    "faust.transport.consumer:Consumer._get_active_partitions": "b24897f3c7afdb5d",
    "faust.transport.consumer:Consumer._set_active_tps": "401f4dc883191950",
    "faust.transport.consumer:Consumer.force_commit": "cc094614d22c70fb",
    "faust.transport.consumer:Consumer.on_partitions_assigned": "29ce96596f05a18c",
    "faust.transport.consumer:Consumer.on_partitions_revoked": "d04b7ae72c6fc206",
    "faust.transport.consumer:Consumer.perform_seek": "0e8c130ff4b0afd8",
    "faust.transport.consumer:Consumer.resume_flow": "db59630f25b5819b",
    "faust.transport.consumer:Consumer.stop_flow": "cf7e875a2b0d40e8",
    "faust.transport.consumer:Fetcher": "c922e4ab78d9e296",
    "faust.transport.consumer:ThreadDelegateConsumer": "a1b934b198fae1c0",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer": "c2701bfc3e6f6cad",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._ensure_consumer": "ff4a4c693b7ec63f",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._fetch_records": "39a2c6c79fc1455a",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_thread_stop": "8dfc004e258b6c25",
    "faust.transport.drivers.aiokafka:Consumer": "959f899e8ebfdd56",
    "faust.transport.drivers.aiokafka:ConsumerRebalanceListener": "f3d04f29dfb3f716",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.seek": "a9430f1f3b9ac419",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.end_offsets": "f4b19078581881ba",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.highwater": "044275efc968e286",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.start": "2f1ba70443327538",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.stop": "bc5da9c98595299a",
    "aiokafka.consumer.fetcher:Fetcher.close": "1cd24bc1c442149e",
    "aiokafka.consumer.fetcher:Fetcher._proc_offset_request": "40c09472da94d88c",
    "aiokafka.consumer.fetcher:PartitionRecords": "94aa0da0dbec8d1b",
    "aiokafka.consumer.fetcher:FetchResult": "d7db13f06de8248c",
    "aiokafka.consumer.fetcher:Fetcher.fetched_records": "be4348896b9b66af",
    "aiokafka.consumer.fetcher:Fetcher._get_actions_per_node": "1dab2cf937d165d0",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_commit_offsets": "c3a3ea5613f39cac",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._on_join_prepare": "4d9524afc0ee2c2f",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._on_join_complete": "0b0b3d204b408f3c",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.ensure_coordinator_known": "4dfb9ccd877aba5d",
    "aiokafka.producer.message_accumulator:MessageAccumulator.add_batch": "5ed1c5b1367ad854",
    "aiokafka.producer.sender:SendProduceReqHandler": "708c9da866caf440",
    "aiokafka.record.default_records:_DefaultRecordBatchPy": "f63fbb5a8a247d54",
    "aiokafka.record.memory_records:_MemoryRecordsPy": "795a0314fbca30af",
}
"""The code that the delivery in batches was written for. Where one has changed: read it, see that what
``batch_delivery`` and ``outbox`` say of it still holds, and only then write down its new fingerprint."""


@pytest.fixture(params=["batches", "events"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    """Both ways of delivery; the second is what a Faust of another version gets."""
    if request.param == "batches":
        return BatchDelivery
    monkeypatch.setitem(batch_delivery.KNOWN_VERSIONS, "faust-streaming", "0.0.1")
    return EventDelivery


@pytest.fixture
def group() -> str:
    return f"keepers-{uuid.uuid4().hex[:8]}"


def _numbered(count: int, first: int = 0) -> list[tuple[int, bytes]]:
    return [(number % PARTITIONS, b"%d" % number) for number in range(first, first + count)]


@pytest.mark.usefixtures("way")
def test_every_message_is_given_once_and_in_the_order_of_its_partition(
    settings: Settings, group: str, tmp_path: Path
) -> None:
    async def scenario() -> Keeper:
        await write(settings, _numbered(2_000))
        keeper = Keeper(settings, group, tmp_path)
        async with running(keeper):
            await keeper.until_given(2_000)
            await write(settings, _numbered(500, 2_000))
            await keeper.until_given(2_500)
        return keeper

    keeper = asyncio.run(scenario())
    assert sorted(map(int, keeper.values)) == list(range(2_500))
    assert all(offsets == list(range(625)) for offsets in keeper.given.values())


def test_another_version_of_faust_is_said_in_the_log_and_gets_single_events(
    settings: Settings, group: str, tmp_path: Path, way: type, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> Keeper:
        return Keeper(settings, group, tmp_path)

    keeper = asyncio.run(scenario())
    assert type(keeper.delivery) is way
    assert ("faust-streaming is 0.15.3" in caplog.text) == (way is EventDelivery)


@pytest.mark.usefixtures("way")
def test_records_without_key_value_or_the_value_of_a_header_are_given_as_empty(
    settings: Settings, group: str, tmp_path: Path
) -> None:
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    producer.produce(settings.trace_topic, None, None, partition=1)
    producer.produce(settings.trace_topic, b"v", b"k", partition=1, headers=[("a", None), ("b", b"1")])
    assert producer.flush(PATIENCE_S) == 0

    async def scenario() -> Keeper:
        keeper = Keeper(settings, group, tmp_path)
        async with running(keeper):
            await keeper.until_given(2)
        return keeper

    given = [message for batch in asyncio.run(scenario()).batches for message in batch.messages]
    assert [(m.key, m.value, m.headers) for m in given] == [
        (None, b"", ()),
        (b"k", b"v", (("a", b""), ("b", b"1"))),
    ]


@pytest.mark.parametrize("codec", [None, "zstd"])
@pytest.mark.usefixtures("way")
def test_a_header_whose_name_is_no_text_ends_nothing_and_costs_no_record(
    settings: Settings, group: str, tmp_path: Path, codec: str | None
) -> None:
    written = write_odd_names(settings, settings.trace_topic, codec)

    async def scenario() -> Keeper:
        keeper = Keeper(settings, group, tmp_path)
        async with running(keeper):
            await keeper.until_given(len(written))
        return keeper

    given = [message for batch in asyncio.run(scenario()).batches for message in batch.messages]
    assert [(m.value, m.headers) for m in given] == written


@pytest.mark.usefixtures("way")
def test_what_a_transaction_gave_up_is_not_given(settings: Settings, group: str, tmp_path: Path) -> None:
    opened_transaction(settings, b"given up").abort_transaction(PATIENCE_S)
    opened_transaction(settings, b"committed").commit_transaction(PATIENCE_S)

    async def scenario() -> list[bytes]:
        keeper = Keeper(settings, group, tmp_path)
        async with running(keeper):
            await keeper.until_given(1)
            await write(settings, [(0, b"last")])
            await keeper.until(lambda: b"last" in keeper.values)
        return keeper.values

    assert asyncio.run(scenario()) == [b"committed", b"last"]


@pytest.mark.parametrize("how", ["commit_transaction", "abort_transaction"])
@pytest.mark.usefixtures("way")
def test_the_mark_of_a_transaction_is_nothing_left_to_read(
    settings: Settings, group: str, tmp_path: Path, how: str
) -> None:
    async def scenario() -> None:
        await write(settings, [(0, b"1")])
        getattr(opened_transaction(settings, b"2"), how)(PATIENCE_S)
        keeper = Keeper(settings, group, tmp_path)
        async with running(keeper):
            await keeper.until_at_end()

    asyncio.run(scenario())


@pytest.mark.usefixtures("way")
def test_what_an_open_transaction_keeps_back_is_left_to_read(
    settings: Settings, group: str, tmp_path: Path
) -> None:
    async def scenario() -> tuple[bool, list[bytes]]:
        await write(settings, [(0, b"before")])
        keeper = Keeper(settings, group, tmp_path)
        async with running(keeper):
            await keeper.until_at_end()
            transaction = opened_transaction(settings, b"undecided")
            await write(settings, [(0, b"behind"), (1, b"beside")])
            await keeper.until(lambda: b"beside" in keeper.values)
            at_end, values = await keeper.delivery.is_at_end(settings.trace_topic), list(keeper.values)
            transaction.commit_transaction(PATIENCE_S)
            await keeper.until_at_end()
        return at_end, values

    at_end, values = asyncio.run(scenario())
    assert not at_end
    assert values == [b"before", b"beside"]


@pytest.mark.usefixtures("way")
def test_a_commit_is_exact(settings: Settings, group: str, tmp_path: Path) -> None:
    async def scenario() -> tuple[dict[tuple[str, int], int], Keeper]:
        topic = settings.trace_topic
        await write(settings, _numbered(400))
        first = Keeper(settings, group, tmp_path)
        async with running(first):
            await first.until_given(400)
            await first.delivery.commit(first.delivery.assignment, {(topic, 0): 37, (topic, 2): 100})
        stored = await committed(settings, group)
        second = Keeper(settings, group, tmp_path)
        async with running(second):
            await second.until_given(100 - 37 + 100 + 100)
        return stored, second

    stored, second = asyncio.run(scenario())
    topic = settings.trace_topic
    assert {tp: offset for tp, offset in stored.items() if offset >= 0} == {(topic, 0): 37, (topic, 2): 100}
    given = {partition: offsets for (_, (_, partition)), offsets in second.given.items()}
    assert given == {0: list(range(37, 100)), 1: list(range(100)), 3: list(range(100))}


@pytest.mark.usefixtures("way")
def test_a_partition_that_is_held_waits_and_holds_up_no_other(
    settings: Settings, group: str, tmp_path: Path
) -> None:
    async def scenario() -> tuple[list[int], Keeper]:
        topic = settings.trace_topic
        keeper = Keeper(settings, group, tmp_path)
        async with running(keeper):
            await keeper.until_owning(PARTITIONS)
            keeper.delivery.hold([(topic, 1)])
            await write(settings, _numbered(400))
            await keeper.until_given(300)
            before = list(keeper.given[keeper.delivery.assignment, (topic, 1)])
            keeper.delivery.release([(topic, 1)])
            await keeper.until_given(400)
        return before, keeper

    before, keeper = asyncio.run(scenario())
    assert before == []
    assert all(offsets == list(range(100)) for offsets in keeper.given.values() if offsets)


@pytest.mark.usefixtures("way")
def test_what_waits_for_a_slow_agent_is_bounded_and_a_batch_is_no_larger_than_said(
    settings: Settings, group: str, tmp_path: Path
) -> None:
    """1,600 messages of 10 kB, of which 100 kB may wait; more is read once there is room."""
    value = b"x" * 10_000
    limits = Limits(batch_messages=7, batch_bytes=35_000, waiting_bytes=100_000)

    async def scenario() -> tuple[int, Keeper]:
        keeper = Keeper(settings, group, tmp_path, limits)
        keeper.may_take.clear()
        await write(settings, [(number % PARTITIONS, value) for number in range(1_600)])
        async with running(keeper):
            inbox = await keeper.until_full()
            waiting = inbox.waiting_bytes
            keeper.may_take.set()
            await keeper.until_given(1_600)
        return waiting, keeper

    waiting, keeper = asyncio.run(scenario())
    one_read = PARTITIONS * (1 << 20)
    assert 100_000 <= waiting <= 100_000 + one_read
    assert len(keeper.values) == 1_600
    assert all(len(batch.messages) <= 3 for batch in keeper.batches)
    assert all(offsets == list(range(400)) for offsets in keeper.given.values())


def test_faust_keeps_nothing_of_what_is_delivered_in_batches(
    settings: Settings, group: str, tmp_path: Path
) -> None:
    async def scenario() -> Keeper:
        await write(settings, _numbered(2_000))
        keeper = Keeper(settings, group, tmp_path)
        async with running(keeper):
            await keeper.until_given(2_000)
        return keeper

    consumer = asyncio.run(scenario()).app.consumer
    assert not consumer.unacked
    assert not consumer._acked
    assert not consumer._gap


@pytest.mark.usefixtures("way")
def test_what_a_rebalance_takes_away_is_not_given_after_it_and_not_committed(
    settings: Settings, group: str, tmp_path: Path
) -> None:
    async def scenario() -> tuple[Keeper, Keeper]:
        topic = settings.trace_topic
        first = Keeper(settings, group, tmp_path, Limits(batch_messages=10))
        second = Keeper(settings, group, tmp_path, Limits(batch_messages=10))
        first.may_take.clear()
        await write(settings, _numbered(400))
        async with running(first):
            await first.until_given(1)
            old = first.delivery.assignment
            async with running(second):
                await second.until_owning(PARTITIONS // 2)
                await first.until_owning(PARTITIONS // 2)
                # Also of what it has again: another worker may have gone further meanwhile.
                for partition in range(PARTITIONS):
                    with pytest.raises(Revoked):
                        await first.delivery.commit(old, {(topic, partition): 1})
                first.may_take.set()
                await first.until(lambda: _count(first, first.delivery.assignment) == 200)
                await second.until(lambda: _count(second, second.delivery.assignment) == 200)
        return first, second

    first, second = asyncio.run(scenario())
    stale = [b for b in first.batches[1:] if b.assignment != first.changes[-1][0]]  # type: ignore[index]
    assert not stale
    last = {
        partition: offsets
        for keeper in (first, second)
        for (assignment, partition), offsets in keeper.given.items()
        if assignment == keeper.changes[-1][0]  # type: ignore[index]
    }
    assert last == {(settings.trace_topic, number): list(range(100)) for number in range(PARTITIONS)}


def test_a_broker_that_is_away_is_told_from_a_revocation_and_the_commit_goes_through_once_it_is_back(
    kafka_jars: KafkaJars, group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_delivery, "_COMMIT_S", 1.0)
    broker = RestartableBroker(kafka_jars, tmp_path)
    settings = broker.settings

    async def scenario() -> dict[tuple[str, int], int]:
        with ExitStack() as first_time:
            first_time.enter_context(broker.up())
            await write(settings, _numbered(40))
            keeper = Keeper(settings, group, tmp_path)
            await keeper.app.start()
            await keeper.until_given(40)
            first_time.close()
            with pytest.raises(BrokerAway):
                await keeper.delivery.commit(keeper.delivery.assignment, {(keeper.topic, 3): 7})
        with broker.up():
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    with suppress(BrokerAway, Revoked):
                        await keeper.delivery.commit(keeper.delivery.assignment, {(keeper.topic, 3): 7})
                        break
            stored = await committed(settings, group)
            await keeper.app.stop()
            return stored

    stored = asyncio.run(scenario())
    assert {number: offset for (_, number), offset in stored.items() if offset >= 0} == {3: 7}


@pytest.mark.parametrize("name", RELIED_ON)
def test_what_the_delivery_relies_on_in_faust_and_aiokafka_is_as_it_was_read(name: str) -> None:
    assert fingerprint(name) == RELIED_ON[name]


def fingerprint(name: str) -> str:
    return hashlib.sha256(inspect.getsource(pkgutil.resolve_name(name)).encode()).hexdigest()[:16]


def _count(keeper: Keeper, assignment: int) -> int:
    return sum(len(offsets) for (of, _), offsets in keeper.given.items() if of == assignment)

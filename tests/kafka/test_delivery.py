from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from streams.kafka.settings import Settings
from streams.worker import batch_delivery
from streams.worker.batch_delivery import BatchDelivery
from streams.worker.delivery import Limits, Revoked
from streams.worker.event_delivery import EventDelivery
from tests.kafka.delivered import Keeper, committed, running, write

PARTITIONS = 4


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
                with pytest.raises(Revoked):
                    await first.delivery.commit(old, {(topic, 0): 1})
                await first.until_owning(PARTITIONS // 2)
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


def _count(keeper: Keeper, assignment: int) -> int:
    return sum(len(offsets) for (of, _), offsets in keeper.given.items() if of == assignment)

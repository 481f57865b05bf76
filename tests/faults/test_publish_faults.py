"""Every event that was pushed is on Kafka in the end, whatever is killed, away, full or too large."""

from __future__ import annotations

import json
import os
import signal
import time
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from kafka.errors import KafkaTimeoutError
from msgspec import structs

from streams import fail_points
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.writer import TopicWriter
from streams.messages.codec import decode_trace, encode
from streams.messages.contracts import TraceEvent
from streams.messages.limits import MAX_RECORD_BYTES, MAX_TRACE_BYTES
from streams.spool.publisher import TracePublisher
from tests.factories import event
from tests.faults import pushing
from tests.faults.brokers import RestartableBroker
from tests.waiting import Reached, wait_until

AWAY = Settings(bootstrap_servers="127.0.0.1:9")
PLACES = ("spool.appended", "publisher.batch-read", "publisher.sent", "publisher.deleted")
DRAIN_S = 30.0


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


def on_kafka(settings: Settings) -> Counter[tuple[str, int]]:
    """How often each iteration is on the trace topic."""
    found: Counter[tuple[str, int]] = Counter()
    for message in read_topic(settings, settings.trace_topic):
        one = decode_trace(message.value, message.source)
        assert isinstance(one, TraceEvent)
        found[one.run_id, one.iter_idx] += 1
    return found


def iterations(run_id: str, count: int) -> set[tuple[str, int]]:
    return {(run_id, iter_idx) for iter_idx in range(count)}


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[int(share * len(seconds))]


def fsync_p99_s(folder: Path) -> float:
    """What the disk itself takes for as much as one event."""
    taken = []
    with (folder / "probe").open("wb") as file:
        for _ in range(500):
            started = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - started)
    return percentile(taken, 0.99)


@pytest.mark.parametrize("away_s", [0.0, pytest.param(60.0, marks=pytest.mark.long)])
def test_10000_events_pushed_without_a_broker_are_on_kafka_soon_after_it_is_back(
    away_s: float, broker: RestartableBroker, spool: Path
) -> None:
    with broker.up():
        pass
    with TracePublisher(broker.settings, spool) as publisher:
        push_spread_over(away_s, publisher)
        with broker.up():
            assert publisher.flush(DRAIN_S) == 0
            assert set(on_kafka(broker.settings)) == iterations("run-a", 10_000)


@pytest.mark.long
def test_a_push_without_a_broker_takes_under_five_milliseconds_at_the_99th_percentile(
    broker: RestartableBroker, spool: Path
) -> None:
    """Or under twice what the disk's own fsync takes at its 99th percentile, where that is more."""
    bar_s = max(0.005, 2 * fsync_p99_s(spool.parent))
    with broker.up():
        pass
    with TracePublisher(broker.settings, spool) as publisher:
        assert percentile(push_spread_over(0.0, publisher), 0.99) < bar_s


def push_spread_over(seconds: float, publisher: TracePublisher) -> list[float]:
    """Push 10,000 events; returns how many seconds each push took."""
    taken = []
    began = time.monotonic()
    for iter_idx in range(10_000):
        if iter_idx % 100 == 0:
            wait_until(Reached(began + seconds * iter_idx / 10_000))
        one = event(iter_idx, 0.5)
        started = time.perf_counter()
        publisher.push(one)
        taken.append(time.perf_counter() - started)
    return taken


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "occurrence", [1, 2, *(pytest.param(n, marks=pytest.mark.long) for n in range(3, 21))]
)
def test_a_publisher_killed_at_any_step_has_lost_nothing_when_started_again(
    place: str, occurrence: int, settings: Settings, spool: Path
) -> None:
    count = (occurrence + 2) * pushing.FLUSHED_EACH
    fail_at = {fail_points.VARIABLE: f"{place}:{occurrence}"}
    killed = pushing.start(settings, spool, fail_at, "events", "run-a", 0, count)
    said, _ = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    again = pushing.start(settings, spool, {}, "events", "run-a", len(said.split()), count)
    assert again.wait(60) == 0
    assert set(on_kafka(settings)) == iterations("run-a", count)
    assert not spool.exists()


def test_what_was_sent_and_not_deleted_is_sent_twice(settings: Settings, spool: Path) -> None:
    """So the fail point is where it says, and duplicates are what readers must expect."""
    killed = pushing.start(settings, spool, {fail_points.VARIABLE: "publisher.sent"}, "events", "run-a", 0, 5)
    killed.communicate(timeout=60)
    with TracePublisher(settings, spool) as publisher:
        assert publisher.flush(DRAIN_S) == 0
    assert 2 in on_kafka(settings).values()


def test_what_an_earlier_process_left_is_sent_without_a_push(settings: Settings, spool: Path) -> None:
    without_broker = replace(settings, bootstrap_servers=AWAY.bootstrap_servers)
    with TracePublisher(without_broker, spool) as publisher:
        publisher.push(event(0, 0.5))
        publisher.close(0.0)
    with TracePublisher(settings, spool) as publisher:
        assert publisher.flush(DRAIN_S) == 0
    assert on_kafka(settings) == Counter({("run-a", 0): 1})


def test_acknowledgements_that_get_lost_cost_duplicates_and_no_event(
    settings: Settings, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose = [True] * 3
    wait = TopicWriter._wait

    def lossy(sender: TopicWriter, future: object) -> None:
        wait(sender, future)
        if lose:
            lose.pop()
            raise KafkaTimeoutError("the acknowledgement got lost")

    monkeypatch.setattr(TopicWriter, "_wait", lossy)
    with TracePublisher(settings, spool) as publisher:
        for iter_idx in range(20):
            publisher.push(event(iter_idx, 0.5))
        assert publisher.flush(DRAIN_S) == 0
    found = on_kafka(settings)
    assert set(found) == iterations("run-a", 20)
    assert found.total() > 20


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.long)])
def test_a_broker_killed_while_events_are_sent_loses_none(
    times: int, broker: RestartableBroker, spool: Path
) -> None:
    pushed = 0

    def push(count: int) -> None:
        nonlocal pushed
        for _ in range(count):
            publisher.push(event(pushed, 0.5))
            pushed += 1

    with TracePublisher(broker.settings, spool) as publisher:
        for _ in range(times):
            with broker.up() as running:
                push(500)
                assert running.pid is not None
                os.kill(running.pid, signal.SIGKILL)
                push(200)
        with broker.up():
            assert publisher.flush(10.0) == 0
            assert set(on_kafka(broker.settings)) == iterations("run-a", pushed)


def sized(iter_idx: int, size: int) -> TraceEvent:
    """Of exactly ``size`` bytes, and random, so that compression cannot make it small."""
    one = event(iter_idx, 0.5)
    return structs.replace(
        one, prompt=b64encode(os.urandom(size)).decode()[: size - len(encode(one)) + len(one.prompt)]
    )


@pytest.mark.parametrize(
    ("size", "is_delivered"), [(MAX_RECORD_BYTES - 1_000, True), (1_100_000, False), (MAX_TRACE_BYTES, False)]
)
def test_an_event_over_the_limit_is_set_aside_and_the_next_is_delivered(
    size: int, is_delivered: bool, settings: Settings, spool: Path
) -> None:
    with TracePublisher(settings, spool) as publisher:
        publisher.push(sized(0, size))
        assert bool(publisher.quarantined) is not is_delivered
        publisher.push(event(1, 0.5))
        assert publisher.flush(DRAIN_S) == (0 if is_delivered else 1)
    assert set(on_kafka(settings)) == {("run-a", 1)} | ({("run-a", 0)} if is_delivered else set())
    assert spool.exists() is not is_delivered


@pytest.mark.parametrize("megabytes", [128, pytest.param(1024, marks=pytest.mark.long)])
def test_memory_does_not_grow_with_what_waits(megabytes: int, spool: Path) -> None:
    said, _ = pushing.start(AWAY, spool, {}, "megabytes", megabytes).communicate(timeout=300)
    result = json.loads(said)
    assert result["grown"] < 64 << 20
    assert result["waiting"] + result["refused"] == megabytes * 4


def test_of_two_processes_on_one_spool_one_sends_and_both_are_heard(settings: Settings, spool: Path) -> None:
    with TracePublisher(settings, spool) as publisher:
        other = pushing.start(settings, spool, {}, "events", "run-b", 0, 30)
        for iter_idx in range(30):
            publisher.push(event(iter_idx, 0.5))
        assert other.wait(60) == 0
        assert publisher.flush(DRAIN_S) == 0
    found = on_kafka(settings)
    assert set(found) == iterations("run-a", 30) | iterations("run-b", 30)
    assert found.total() == 60


def test_the_other_process_goes_on_sending_when_the_sender_is_killed(settings: Settings, spool: Path) -> None:
    stalled = replace(settings, bootstrap_servers=AWAY.bootstrap_servers)
    sender = pushing.start(stalled, spool, {}, "events", "run-b", 0, 1)
    try:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "1\n"
        with TracePublisher(settings, spool) as publisher:
            publisher.push(event(0, 0.5))
            wait_until(lambda: "another process" in (publisher.problem or ""))
            sender.kill()
            assert publisher.flush(DRAIN_S) == 0
    finally:
        sender.kill()
        sender.communicate()
    assert set(on_kafka(settings)) == {("run-a", 0), ("run-b", 0)}

from __future__ import annotations

import os
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from msgspec.structs import replace

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings, admin_config
from streams.kafka.topics import create_topics
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.jars import KafkaJars
from streams.messages.codec import decode_trace, encode
from streams.messages.contracts import RunEnd, TraceEvent
from streams.spool.publish_now import publish_trace_file
from streams.spool.publisher import TracePublisher
from tests.factories import event, run
from tests.ports import free_port
from tests.waiting import wait_until

_AWAY = Settings(bootstrap_servers="127.0.0.1:9")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


def _values(settings: Settings, run_id: str) -> list[bytes]:
    return [m.value for m in read_topic(settings, settings.trace_topic) if m.key == run_id.encode()]


def _with_prompt_of(size: int, iter_idx: int) -> TraceEvent:
    """Random, so that compression cannot make it small."""
    return replace(event(iter_idx, 0.5), prompt=b64encode(os.urandom(size)).decode())


@pytest.mark.parametrize("broker", ["settings", "in_memory_settings"])
def test_events_are_read_back_byte_for_byte_in_the_order_of_their_run(
    broker: str, spool: Path, request: pytest.FixtureRequest
) -> None:
    settings: Settings = request.getfixturevalue(broker)
    runs = {run_id: run([0.1 * i for i in range(9)], run_id) for run_id in ("run-a", "run-b", "run-c")}
    with TracePublisher(settings, spool) as publisher:
        for events in zip(*runs.values(), strict=True):
            for one in events:
                publisher.push(one)
        assert publisher.flush(10.0) == 0
        assert publisher.unsent_runs() == set()
    for run_id, events_of_run in runs.items():
        assert _values(settings, run_id) == [encode(one) for one in events_of_run]


def test_pushing_does_not_wait_for_a_broker_that_is_away(spool: Path) -> None:
    publisher = TracePublisher(_AWAY, spool)
    started = time.monotonic()
    for one in run([0.5] * 100):
        publisher.push(one)
    assert time.monotonic() - started < 2.0  # 100 fsyncs; a broker that is away costs 2 s an attempt
    assert publisher.flush(0.1) == 101
    assert publisher.unsent_runs() == {"run-a"}
    publisher.close(timeout_s=0.1)


def test_events_pushed_while_the_broker_is_away_are_delivered_when_it_starts(
    kafka_jars: KafkaJars, spool: Path, tmp_path: Path
) -> None:
    port = free_port()
    settings = Settings(bootstrap_servers=f"127.0.0.1:{port}")
    events = run([0.1, 0.2, 0.3])
    with TracePublisher(settings, spool) as publisher:
        publisher.push(events[0])
        wait_until(lambda: publisher.problem)
        with LocalBroker(kafka_jars, port=port, data_dir=tmp_path / "kafka"):
            create_topics(settings)
            assert publisher.flush(15.0) == 0
        for one in events[1:]:
            publisher.push(one)
        assert publisher.flush(0.2) == 3
        with LocalBroker(kafka_jars, port=port, data_dir=tmp_path / "kafka"):
            assert publisher.flush(15.0) == 0
            stored = _values(settings, "run-a")
    assert list(dict.fromkeys(stored)) == [encode(one) for one in events]


def test_a_topic_that_is_missing_is_named_as_the_problem(kafka: str, spool: Path) -> None:
    publisher = TracePublisher(Settings(bootstrap_servers=kafka, topic_prefix="test-missing"), spool)
    publisher.push(event(0, 0.5))
    wait_until(lambda: publisher.problem)
    assert "test-missing.trace" in str(publisher.problem)
    publisher.close(timeout_s=0.1)


def test_no_error_of_the_client_ends_the_sending(
    in_memory_settings: Settings,
    spool: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    send, failures = KafkaProducer.send, iter(range(3))

    def fail_thrice(producer: KafkaProducer, *arguments: Any, **options: Any) -> Any:
        if next(failures, None) is not None:
            raise RuntimeError("a fault of the client")
        return send(producer, *arguments, **options)

    monkeypatch.setattr(KafkaProducer, "send", fail_thrice)
    with TracePublisher(in_memory_settings, spool) as publisher:
        publisher.push(event(0, 0.5))
        assert publisher.flush(10.0) == 0
        wait_until(lambda: publisher.problem is None)
    said = [record for record in caplog.records if "RuntimeError" in record.getMessage()]
    assert len(said) == 1
    assert said[0].exc_info


def test_a_record_over_the_producers_limit_is_quarantined_and_the_next_is_delivered(
    settings: Settings, spool: Path
) -> None:
    events = [event(0, 0.5), _with_prompt_of(1_000_000, 1), event(2, 0.5)]
    with TracePublisher(settings, spool) as publisher:
        for one in events:
            publisher.push(one)
        assert publisher.flush(10.0) == 1
        assert publisher.unsent_runs() == {"run-a"}
        assert len(publisher.quarantined["run-a"]) == 1
    assert list(dict.fromkeys(_values(settings, "run-a"))) == [encode(events[0]), encode(events[2])]


def test_a_record_that_the_broker_refuses_does_not_take_its_neighbours_along(kafka: str, spool: Path) -> None:
    settings = Settings(bootstrap_servers=kafka, topic_prefix="test-small-records")
    with KafkaAdminClient(**admin_config(settings)) as admin:
        small = {"max.message.bytes": "20000"}
        options = {"num_partitions": 1, "replication_factor": 1, "configs": small}
        admin.create_topics({settings.trace_topic: options})
        admin.wait_for_topics([settings.trace_topic])
    events = [event(0, 0.5), _with_prompt_of(50_000, 1), event(2, 0.5)]
    with TracePublisher(settings, spool) as publisher:
        for one in events:
            publisher.push(one)
        assert publisher.flush(15.0) == 1
        assert len(publisher.quarantined["run-a"]) == 1
    assert set(_values(settings, "run-a")) == {encode(events[0]), encode(events[2])}


def test_a_trace_file_is_published_with_the_end_that_it_lacks(settings: Settings, tmp_path: Path) -> None:
    first, last = event(0, 0.5), event(2, 0.7)
    last = replace(last, meta=last.meta | {"stop_reason": "budget"})
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(encode(last) + b"\n" + encode(first) + b"\n" + encode(last) + b"\n")
    published = publish_trace_file(settings, trace)
    assert (published.runs, published.events, published.ends_added, published.refused) == (1, 3, 1, {})
    end = decode_trace(_values(settings, "run-a")[-1], "the last message")
    assert end == RunEnd(run_id="run-a", iterations=(0, 2), stop_reason="budget")


def test_a_trace_file_that_has_its_end_gets_no_other(settings: Settings, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    events = run([0.5, 0.6])
    trace.write_bytes(b"\n".join(encode(one) for one in events))
    assert publish_trace_file(settings, trace).ends_added == 0
    assert _values(settings, "run-a") == [encode(one) for one in events]


def test_publishing_a_file_without_a_broker_is_bad_input(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(encode(event(0, 0.5)))
    with pytest.raises(BadInput, match="no Kafka broker answers"):
        publish_trace_file(_AWAY, trace, timeout_s=0.3)

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Producer
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from streams.errors import BadInput
from streams.kafka.consumer import Consumer
from streams.kafka.reader import TopicReader, read_batches, read_topic
from streams.kafka.settings import Settings, no_broker_answers, producer_config
from streams.kafka.topics import create_topics
from streams.local_broker.broker import InMemoryBroker
from streams.messages.dead_letters import dead_letter
from tests.kafka.delivered import write_odd_names
from tests.waiting import wait_until


def _write(
    settings: Settings, topic: str, *values: bytes, transactional_id: str | None = None
) -> KafkaProducer:
    producer = KafkaProducer(**producer_config(settings), transactional_id=transactional_id)
    if transactional_id:
        producer.init_transactions()
        producer.begin_transaction()
    for value in values:
        producer.send(topic, value, b"key")
    producer.flush(10)
    return producer


@pytest.mark.parametrize("codec", ["none", "gzip", "lz4", "snappy", "zstd"])
def test_a_batch_that_another_client_compressed_is_read(codec: str, settings: Settings) -> None:
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "compression.type": codec})
    written = [f"{codec} {i} ".encode() * 50 for i in range(20)]
    for value in written:
        producer.produce(settings.pairs_topic, value, b"key")
    assert producer.flush(10) == 0
    read = list(read_topic(settings, settings.pairs_topic))
    assert [m.value for m in read] == written
    assert [m.offset for m in read] == list(range(20))
    assert {m.key for m in read} == {b"key"}


@pytest.mark.parametrize("codec", [None, "zstd"])
def test_a_header_whose_name_is_no_text_is_read(codec: str | None, settings: Settings) -> None:
    written = write_odd_names(settings, settings.pairs_topic, codec)
    assert [(m.value, m.headers) for m in read_topic(settings, settings.pairs_topic)] == written


def test_reading_ends_at_the_end_that_the_topic_had_at_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_for_ends = KafkaConsumer.end_offsets

    def then_write_more(*args: Any, **kwargs: Any) -> Any:
        ends = ask_for_ends(*args, **kwargs)
        _write(settings, settings.pairs_topic, b"3").close()
        return ends

    _write(settings, settings.pairs_topic, b"1", b"2").close()
    monkeypatch.setattr(KafkaConsumer, "end_offsets", then_write_more)
    assert [m.value for m in read_topic(settings, settings.pairs_topic)] == [b"1", b"2"]


def test_every_partition_of_the_in_memory_broker_is_read(in_memory_settings: Settings) -> None:
    settings = in_memory_settings
    producer = KafkaProducer(**producer_config(settings))
    for partition in sorted(producer.partitions_for(settings.pairs_topic)):
        producer.send(settings.pairs_topic, str(partition).encode(), partition=partition)
    producer.close()
    read = list(read_topic(settings, settings.pairs_topic))
    assert sorted(m.value for m in read) == sorted(str(m.partition).encode() for m in read)
    assert len(read) == 4


def test_an_empty_topic_reads_as_nothing(settings: Settings) -> None:
    assert list(read_topic(settings, settings.trace_topic)) == []


def test_transaction_markers_and_aborted_messages_are_read_past(settings: Settings) -> None:
    committed = _write(settings, settings.pairs_topic, b"1", transactional_id=settings.topic_prefix)
    committed.commit_transaction()
    committed.begin_transaction()
    committed.send(settings.pairs_topic, b"aborted", b"key").get(10)
    committed.abort_transaction()
    committed.close()
    assert [m.value for m in read_topic(settings, settings.pairs_topic)] == [b"1"]


def test_an_open_transaction_holds_nobody_up(settings: Settings) -> None:
    _write(settings, settings.pairs_topic, b"1").close()
    undecided = _write(settings, settings.pairs_topic, b"2", transactional_id=settings.topic_prefix)
    assert [m.value for m in read_topic(settings, settings.pairs_topic)] == [b"1"]
    undecided.abort_transaction()
    undecided.close()


def test_a_topic_that_does_not_exist_is_bad_input(settings: Settings) -> None:
    with pytest.raises(BadInput, match=r"'no-such-topic' does not exist at "):
        next(read_topic(settings, "no-such-topic"))


def test_a_broker_that_is_away_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no Kafka broker answers"):
        next(read_topic(Settings(bootstrap_servers="127.0.0.1:9"), "any", timeout_s=0.3))


def test_a_dead_letter_carries_the_bytes_and_says_where_they_are_from(settings: Settings) -> None:
    _write(settings, settings.trace_topic, b"\xff not JSON").close()
    (message,) = read_topic(settings, settings.trace_topic)
    letter = dead_letter(message, "not JSON", settings.dead_letters_topic)
    producer = KafkaProducer(**producer_config(settings))
    producer.send(letter.topic, letter.value, letter.key, list(letter.headers)).get(10)
    producer.close()
    (stored,) = read_topic(settings, settings.dead_letters_topic)
    assert (stored.key, stored.value) == (b"key", b"\xff not JSON")
    assert dict(stored.headers) == {
        "reason": b"not JSON",
        "kind": b"not usable",
        "source.topic": settings.trace_topic.encode(),
        "source.partition": str(message.partition).encode(),
        "source.offset": b"0",
        "source.timestamp_ms": str(message.timestamp_ms).encode(),
    }


def test_a_broker_that_goes_away_before_the_reading_is_said_to_be_away() -> None:
    with InMemoryBroker() as broker:
        settings = Settings(bootstrap_servers=broker.bootstrap_servers)
        create_topics(settings)
        reader = TopicReader(settings, settings.pairs_topic, timeout_s=1.0)
    with reader, pytest.raises(BadInput) as ended:
        list(reader.read_up())
    assert str(ended.value) == str(no_broker_answers(settings))


def test_a_reader_goes_on_where_it_is_told_to(settings: Settings) -> None:
    _write(settings, settings.pairs_topic, b"0", b"1", b"2").close()
    with TopicReader(settings, settings.pairs_topic, offsets={0: 1}) as reader:
        assert [m.value for m in reader.read_up()] == [b"1", b"2"]
        _write(settings, settings.pairs_topic, b"3").close()
        assert [m.value for m in reader.read_up()] == [b"3"]


def test_what_is_polled_is_not_read_again(settings: Settings) -> None:
    _write(settings, settings.pairs_topic, b"0", b"1").close()
    with TopicReader(settings, settings.pairs_topic, offsets={0: 1}) as reader:
        polled: list[bytes] = []

        def came() -> bool:
            polled.extend(message.value for message in reader.poll())
            return bool(polled)

        wait_until(came)
        assert polled == [b"1"]
        assert list(reader.read_up()) == []


def test_an_offset_behind_the_end_is_bad_input(settings: Settings) -> None:
    _write(settings, settings.pairs_topic, b"0").close()
    with pytest.raises(BadInput, match="ends at offset 1 of partition 0, but 7 have been read from it"):
        TopicReader(settings, settings.pairs_topic, offsets={0: 7})


def test_batches_are_the_messages_in_lists_of_one_partition_each(settings: Settings) -> None:
    for key in (b"a", b"b", b"c", b"d"):
        _write(settings, settings.trace_topic, *([key] * 3)).close()
    batches = list(read_batches(settings, settings.trace_topic))
    assert all(len({message.partition for message in batch}) == 1 for batch in batches)
    by_partition = [(m.partition, m.offset) for batch in batches for m in batch]
    assert sorted(by_partition) == sorted(
        (m.partition, m.offset) for m in read_topic(settings, settings.trace_topic)
    )
    assert len(batches) < len(by_partition) == 12


def test_a_reading_that_is_left_early_leaves_nothing_out_of_the_next(settings: Settings) -> None:
    _write(settings, settings.pairs_topic, b"0", b"1", b"2").close()
    with TopicReader(settings, settings.pairs_topic) as reader:
        with closing(reader.read_up()) as messages:
            assert next(messages).value == b"0"
        assert [m.value for m in reader.read_up()] == [b"0", b"1", b"2"]
        assert list(reader.read_up()) == []


def test_a_partition_that_falls_silent_leaves_nothing_out_of_the_next_reading(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = KafkaProducer(**producer_config(settings))
    for value in (b"0", b"written meanwhile"):
        producer.send(settings.trace_topic, value, partition=0).get(10)
    producer.close()

    def as_if_one_had_more(*_: Any) -> Mapping[TopicPartition, int]:
        return {TopicPartition(settings.trace_topic, number): 1 for number in (0, 1)}

    with TopicReader(settings, settings.trace_topic, timeout_s=0.5) as reader:
        read: list[bytes] = []
        with monkeypatch.context() as patched:
            patched.setattr(Consumer, "ends", as_if_one_had_more)
            with pytest.raises(BadInput, match="no Kafka broker answers"):
                read.extend(m.value for m in reader.read_up())
        assert read == [b"0"]
        assert [m.value for m in reader.read_up()] == [b"written meanwhile"]


def test_a_reader_that_cannot_begin_leaves_no_thread(settings: Settings) -> None:
    before = threading.active_count()
    with pytest.raises(BadInput, match="ends at offset 0"):
        TopicReader(settings, settings.pairs_topic, offsets={0: 7})
    assert threading.active_count() == before


def test_a_process_ends_with_its_error_while_a_topic_is_being_read(settings: Settings) -> None:
    _write(settings, settings.pairs_topic, b"0", b"1").close()
    program = f"""
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
messages = read_topic(Settings(bootstrap_servers="{settings.bootstrap_servers}"), "{settings.pairs_topic}")
next(messages)
raise ValueError("in the middle")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, "ValueError: in the middle")

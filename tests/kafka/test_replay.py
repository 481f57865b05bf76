from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer
from kafka import KafkaConsumer, KafkaProducer

from streams.errors import BadInput
from streams.kafka.reader import TopicReader, read_topic
from streams.kafka.settings import Settings, no_broker_answers, producer_config
from streams.kafka.topics import create_topics
from streams.local_broker.broker import InMemoryBroker
from streams.messages.dead_letters import dead_letter


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

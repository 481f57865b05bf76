"""What may happen to the log: disorder, repetition, bad messages, new partitions, topics made again."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from confluent_kafka import Producer

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings, trainer_group
from streams.kafka.topics import connect_admin, create_topics
from streams.messages.codec import decode_pair, encode
from streams.messages.contracts import PairsEnd, RewardSnapshot, RunEnd, TraceEvent
from streams.messages.dead_letters import pending_letters
from streams.snapshots.feed import read_latest_snapshot
from tests.faults import later_version
from tests.faults.recovery import check, recovery, uninterrupted, without_repetitions
from tests.kafka.test_trainer import (
    interleaved,
    pairs_on_kafka,
    publish,
    random_runs,
    wait_for_version,
    wait_until_learnt,
)
from tests.services import service, trainer
from tests.waiting import wait_until

_WAIT_S = 60.0
_DAY_MS = 86_400_000
Runs = list[list[TraceEvent | RunEnd]]


def send(
    settings: Settings, messages: Sequence[TraceEvent | RunEnd], rng: random.Random, compression: str = "none"
) -> None:
    """By another client, keyed by run, with a clock that is up to a day off either way."""
    producer = Producer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "partitioner": "murmur2_random",
            "compression.type": compression,
        }
    )
    refused: list[object] = []
    now = int(time.time() * 1000)
    for message in messages:
        producer.produce(
            settings.trace_topic,
            key=message.run_id.encode(),
            value=encode(message),
            timestamp=now + rng.randint(-_DAY_MS, _DAY_MS),
            on_delivery=lambda error, _: refused.append(error) if error else None,
        )
    assert producer.flush(_WAIT_S) == 0
    assert refused == []


def shuffled_with_duplicates(runs: Runs, rng: random.Random) -> list[TraceEvent | RunEnd]:
    """Every run's messages in any order, its end among them, and three in ten of them twice."""
    disordered = []
    for of_run in runs:
        messages = [*of_run, *rng.sample(of_run, round(0.3 * len(of_run)))]
        rng.shuffle(messages)
        disordered.append(messages)
    return interleaved(disordered, seed=rng.randint(0, 1 << 30))


@pytest.mark.parametrize("n_runs", [60, pytest.param(1_000, marks=pytest.mark.long)])
def test_disorder_and_repetition_within_runs_and_wrong_clocks_change_no_pair(
    n_runs: int, settings: Settings
) -> None:
    rng = random.Random(21)
    runs = random_runs(n_runs, seed=22)
    with trainer(settings):
        send(settings, shuffled_with_duplicates(runs, rng), rng)
        check(recovery(settings, runs))


def test_a_trainer_learns_from_batches_that_another_client_compressed_in_any_way(settings: Settings) -> None:
    runs = random_runs(20, seed=34)
    with trainer(settings):
        for n, codec in enumerate(("none", "gzip", "lz4", "snappy", "zstd")):
            send(settings, interleaved(runs[n::5], seed=35), random.Random(36), codec)
        check(recovery(settings, runs))


@contextmanager
def one_partition(kafka: Settings) -> Iterator[Settings]:
    settings = dataclasses.replace(kafka, topic_prefix=f"{kafka.topic_prefix}-one", trace_partitions=1)
    create_topics(settings)
    yield settings


@pytest.mark.parametrize("n_runs", [60, pytest.param(1_000, marks=pytest.mark.long)])
def test_partitions_that_are_added_in_the_middle_of_runs_lose_nothing(
    n_runs: int, settings: Settings
) -> None:
    runs = random_runs(n_runs, seed=23)
    with one_partition(settings) as grown, ExitStack() as workers:
        for _ in range(3):
            workers.enter_context(trainer(grown))
        publish(grown, [m for of_run in runs for m in of_run[:4]])
        wait_for_version(grown, 10)
        with connect_admin(grown, 5.0) as admin:
            admin.create_partitions({grown.trace_topic: 4})
        send(grown, [m for of_run in runs for m in of_run[4:]], random.Random(25))
        check(recovery(grown, runs))
    used = {m.partition for m in read_topic(grown, grown.trace_topic)}
    assert used == {0, 1, 2, 3}


MUTATIONS = {
    "byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "later schema": lambda raw: raw.replace(b"tribrain.trace/1", b"tribrain.trace/2"),
    "cut off": lambda raw: raw[:-1],
    "single quotes": lambda raw: raw.replace(b'"', b"'"),
}


def test_a_hundred_bad_messages_among_a_thousand_are_kept_and_learnt_once_the_cause_is_mended(
    settings: Settings, tribrain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(26)
    runs = random_runs(122, seed=27)  # of nine messages each
    messages = interleaved(runs, seed=28)
    bad = set(rng.sample([n for n, m in enumerate(messages) if isinstance(m, TraceEvent)], 100))
    kinds = list(MUTATIONS.values())
    values = [kinds[n % 4](encode(m)) if n in bad else encode(m) for n, m in enumerate(messages)]
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "partitioner": "murmur2_random"})
    for message, value in zip(messages, values, strict=True):
        producer.produce(settings.trace_topic, key=message.run_id.encode(), value=value)
    assert producer.flush(_WAIT_S) == 0

    def letters() -> list[bytes]:
        return sorted(
            letter.value for letter in pending_letters(read_topic(settings, settings.dead_letters_topic))
        )

    with trainer(settings):
        wait_until(lambda: len(letters()) == 100, _WAIT_S)
    assert letters() == sorted(values[n] for n in bad)
    later_version.upgrade(monkeypatch.setattr)  # for verify-state
    with service(settings, "serve-trainer", change=later_version.upgrade):  # can read what was refused
        assert tribrain("dlq", "replay")[0] == 0
        check(recovery(settings, runs))
    assert letters() == []
    before = len(list(read_topic(settings, settings.trace_topic)))
    assert tribrain("dlq", "replay")[0] == 0
    assert len(list(read_topic(settings, settings.trace_topic))) == before


def make_again(settings: Settings, topic: str) -> None:
    with connect_admin(settings, 5.0) as admin:
        admin.delete_topics([topic])
        wait_until(lambda: topic not in admin.list_topics(), _WAIT_S)
    create_topics(settings)


def learn(settings: Settings, runs: Runs, *options: str) -> RewardSnapshot:
    with trainer(settings, *options):
        publish(settings, interleaved(runs, seed=29))
        return wait_until_learnt(settings, len(runs))


def test_a_group_whose_offsets_kafka_has_forgotten_loses_nothing_and_doubles_nothing(
    settings: Settings,
) -> None:
    """As it does after a week without a trainer (``offsets.retention.minutes``)."""
    runs = random_runs(8, seed=61)
    with trainer(settings):
        publish(settings, interleaved(runs[:5], seed=62))
        wait_until_learnt(settings, 5)
    group = trainer_group(settings, "default")
    with connect_admin(settings, _WAIT_S) as admin:
        wait_until(lambda: not admin.describe_groups([group])[group]["members"], _WAIT_S)
        admin.delete_groups([group])
    with trainer(settings):
        publish(settings, interleaved(runs[5:], seed=63))
        check(recovery(settings, runs))
    assert pairs_on_kafka(settings) == without_repetitions(pairs_on_kafka(settings))


@pytest.mark.parametrize("which", ["trace_topic", "pairs_topic"])
def test_a_topic_made_again_stops_the_trainer_until_its_user_accepts_it(
    which: str, settings: Settings, tribrain: Any
) -> None:
    before = learn(settings, random_runs(10, seed=30))
    topic = getattr(settings, which)
    make_again(settings, topic)
    with trainer(settings) as stopped:
        assert stopped.wait(_WAIT_S) == 2
    assert f"topic '{topic}' was deleted and recreated" in stopped.said
    assert "--accept-new-topics" in stopped.said
    assert read_latest_snapshot(settings, "default") == before
    more = random_runs(10, seed=31, prefix="more")
    with trainer(settings, "--accept-new-topics"):
        publish(settings, interleaved(more, seed=29))
        wait_until(lambda: learnt_of(settings) == sum(before.labels.values()) + n_pairs(more), _WAIT_S)
    assert tribrain("snapshots", "verify")[0] == 0


def n_pairs(runs: Runs) -> int:
    ends = [decode_pair(raw, "uninterrupted") for raw in uninterrupted(runs)]
    return sum(end.n_pairs for end in ends if isinstance(end, PairsEnd))


def learnt_of(settings: Settings) -> int:
    latest = read_latest_snapshot(settings, "default")
    return sum(latest.labels.values()) if latest else 0


def test_a_topic_made_again_under_a_running_trainer_stops_it(settings: Settings) -> None:
    publish(settings, interleaved(random_runs(10, seed=32), seed=33))
    with trainer(settings) as stopped:
        wait_for_version(settings, 10)
        make_again(settings, settings.trace_topic)
        assert stopped.wait(_WAIT_S) == 2
        assert "was deleted and recreated: this trainer knows it as" in stopped.said
